import type { EventRow } from '../events/row-decoder.js';
import { countryName } from '../metrics/countries.js';
import { isRecord } from '../storage/row.js';
import type { Config } from './config-fields.js';
import { UnknownFacts } from './facts.js';
import type { Occasion } from './plan.js';

/** What the server knows of an event. Of the page's address only the path, UTM values and click id are kept; cookies never come here. */
export class EventFacts extends UnknownFacts {
  readonly properties: Config;

  constructor(readonly row: EventRow) {
    super();
    const value: unknown = JSON.parse(row.properties);
    this.properties = isRecord(value) ? value : {};
  }

  override device(): string | undefined {
    return this.row.device === '' ? undefined : this.row.device.toLowerCase();
  }

  override page(): string {
    return this.row.page;
  }

  override urlParam(name: string): string | null | undefined {
    const { row } = this;
    switch (name.toLowerCase()) {
      case 'utm_source':
        return row.utm_source || null;
      case 'utm_medium':
        return row.utm_medium || null;
      case 'utm_campaign':
        return row.utm_campaign || null;
      case 'utm_term':
        return row.utm_term || null;
      case 'utm_content':
        return row.utm_content || null;
      default:
        return row.click_id_name !== '' && name.toLowerCase() === row.click_id_name
          ? row.click_id
          : undefined;
    }
  }

  override eventProperty(name: string): string | null {
    const value = Object.hasOwn(this.properties, name) ? this.properties[name] : undefined;
    if (value === undefined || value === null) return null;
    return typeof value === 'object' ? JSON.stringify(value) : String(value);
  }

  override property(name: string): readonly string[] {
    const own = this.eventProperty(name);
    if (own !== null) return [own];
    const { row } = this;
    const key = name.toLowerCase();
    if (key === 'country') return texts(row.country_code, countryName(row.country_code));
    const known: Readonly<Record<string, string>> = {
      ...{ country_code: row.country_code, region: row.region, city: row.city, continent: row.continent },
      ...{ browser: row.browser, os: row.os, device: row.device, device_type: row.device.toLowerCase() },
      ...{
        language: row.language,
        page: row.page,
        page_path: row.page,
        url: row.page,
        hostname: row.hostname,
      },
      ...{
        page_title: row.title,
        referrer: row.referrer,
        referrer_host: row.referrer_host,
        event_type: row.event_type,
      },
      ...{ utm_source: row.utm_source, utm_medium: row.utm_medium, utm_campaign: row.utm_campaign },
      ...{ utm_term: row.utm_term, utm_content: row.utm_content },
      ...{ visitor_id: row.visitor_id, session_id: row.session_id },
    };
    return Object.hasOwn(known, key) ? texts(known[key] ?? '') : [];
  }

  occasion(): Occasion {
    const { row, properties } = this;
    return {
      siteId: row.site_id,
      visitorId: row.visitor_id,
      sessionId: row.session_id,
      at: row.timestamp,
      data: {
        ...{
          event_type: row.event_type,
          page: row.page,
          visitor_id: row.visitor_id,
          session_id: row.session_id,
        },
        properties,
        timestamp: new Date(row.timestamp).toISOString(),
        ...{ page_title: row.title, referrer: row.referrer, country: row.country_code, city: row.city },
        ...{ device: row.device.toLowerCase(), browser: row.browser, os: row.os, language: row.language },
        ...{ utm_source: row.utm_source, utm_medium: row.utm_medium, utm_campaign: row.utm_campaign },
      },
    };
  }
}

const texts = (...values: readonly string[]): string[] => values.filter((value) => value !== '');
