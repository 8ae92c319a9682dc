import { parseCampaign } from '../enrich/campaign.js';
import { channelOf } from '../enrich/channel.js';
import { normalisePage } from '../enrich/page.js';
import { parseReferrer } from '../enrich/referrer.js';
import { splitUrl } from '../enrich/url.js';
import { isRecord } from '../storage/row.js';
import { type Config, textOf } from './config-fields.js';
import type { Facts, Traffic } from './facts.js';

/** What a caller of the test route says has happened. Names may be written as in events (`page_url`) or in camel case (`pageUrl`). */
export class TrialData implements Facts {
  readonly #data: Map<string, unknown>;
  readonly #properties: Config;

  constructor(data: Config) {
    this.#data = new Map(Object.entries(data).map(([name, value]) => [plain(name), value]));
    const properties = this.#data.get('properties');
    this.#properties = isRecord(properties) ? properties : {};
  }

  /** The first of these names that has a text or a number, else among the properties; '' when there is none. */
  text(...names: readonly string[]): string {
    for (const name of names) {
      const text = textOf(this.#data.get(plain(name))) || textOf(this.#properties[name]);
      if (text !== '') return text;
    }
    return '';
  }

  number(...names: readonly string[]): number | undefined {
    const text = this.text(...names);
    return text === '' || Number.isNaN(Number(text)) ? undefined : Number(text);
  }

  get eventType(): string {
    return this.text('event_type', 'event_name', 'event', 'type');
  }

  /** Is it said to be such an event, or nothing said at all? */
  isEvent(type: string): boolean {
    return this.eventType === '' || this.eventType.toLowerCase().replace('page_view', 'pageview') === type;
  }

  page(): string | undefined {
    const text = this.text('page', 'page_path', 'path', 'page_url', 'url');
    if (text === '') return undefined;
    return normalisePage(text.includes('://') ? splitUrl(text).path : text);
  }

  device(): string | undefined {
    return this.text('device_type', 'device').toLowerCase() || undefined;
  }

  urlParam(name: string): string | null | undefined {
    const url = this.text('page_url', 'url', 'page');
    return url === '' ? undefined : new URLSearchParams(splitUrl(url).query).get(name);
  }

  cookie(name: string): string | null | undefined {
    const cookies = this.#data.get('cookies');
    return isRecord(cookies) ? (typeof cookies[name] === 'string' ? cookies[name] : null) : undefined;
  }

  eventProperty(name: string): string | null {
    const value = this.#properties[name];
    return typeof value === 'boolean' ? String(value) : textOf(value) || null;
  }

  property(name: string): readonly string[] {
    const value = this.eventProperty(name) ?? this.text(name);
    return value === '' ? [] : [value];
  }

  isNewVisitor(): boolean | undefined {
    const status = this.text('visitor_type', 'visitor_status', 'visitor').toLowerCase();
    return status === '' ? undefined : status === 'new';
  }

  pageViews(): number | undefined {
    return this.number('page_views', 'page_view_count');
  }

  traffic(): Traffic | undefined {
    const referrer = this.text('referrer');
    const url = this.text('page_url', 'url');
    if (referrer === '' && url === '' && !this.#data.has('referrer')) return undefined;
    const campaign = parseCampaign(splitUrl(url).query, {
      utm_source: this.text('utm_source'),
      utm_medium: this.text('utm_medium'),
      utm_campaign: this.text('utm_campaign'),
      utm_term: this.text('utm_term'),
      utm_content: this.text('utm_content'),
    });
    const referrerHost = parseReferrer(referrer, { host: '', allowedHosts: [] }, splitUrl(url).host).host;
    return { channel: channelOf(campaign, referrerHost), referrerHost, utmSource: campaign.source };
  }
}

const plain = (name: string): string => name.toLowerCase().replaceAll('_', '');
