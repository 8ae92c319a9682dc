/** The columns referrer to click_id, as one encoded block that most events share with others. */
import { LRUCache } from 'lru-cache';
import { encodeStrings } from './byte-writer.js';
import { type ExplicitUtm, hasClickId, isMarked, NO_CAMPAIGN, parseCampaign } from './campaign.js';
import { channelOf } from './channel.js';
import { DIRECT, parseReferrer } from './referrer.js';

interface AttributedSite {
  /** Names the site and its hosts. */
  readonly key: string;
  readonly host: string;
  readonly allowedHosts: readonly string[];
}

/** Longer keys are not worth their memory. */
const KEY_LIMIT = 512;

export class AttributionCache {
  private readonly cache: LRUCache<string, Uint8Array>;

  /** @param entries most blocks to remember */
  constructor(entries: number) {
    this.cache = new LRUCache({ max: entries });
  }

  /**
   * @param referrer `document.referrer` as sent
   * @param pageHost host of the page, '' unknown
   * @param query of the page's URL, with `?`
   * @param explicit the event's own utm fields, null when it has none
   */
  block(
    site: AttributedSite,
    referrer: string,
    pageHost: string,
    query: string,
    explicit: ExplicitUtm | null,
  ): Uint8Array {
    const marked = isMarked(query);
    if (referrer === '' && !marked && explicit === null) return DIRECT_BLOCK;
    if (explicit !== null || (marked && hasClickId(query)))
      return attribute(site, referrer, pageHost, query, explicit ?? NOTHING_EXPLICIT);
    const key = `${site.key} ${pageHost} ${referrer} ${marked ? query : ''}`;
    const known = this.cache.get(key);
    if (known !== undefined) return known;
    const made = attribute(site, referrer, pageHost, query, NOTHING_EXPLICIT);
    if (key.length <= KEY_LIMIT) this.cache.set(key, made);
    return made;
  }
}

function attribute(
  site: AttributedSite,
  referrerText: string,
  pageHost: string,
  query: string,
  explicit: ExplicitUtm,
): Uint8Array {
  const referrer = parseReferrer(referrerText, site, pageHost);
  return encode(referrer, parseCampaign(query, explicit));
}

function encode(referrer: { url: string; host: string }, campaign: typeof NO_CAMPAIGN): Uint8Array {
  return encodeStrings([
    referrer.url,
    referrer.host,
    channelOf(campaign, referrer.host),
    campaign.source,
    campaign.medium,
    campaign.campaign,
    campaign.term,
    campaign.content,
    campaign.clickIdName,
    campaign.clickId,
  ]);
}

const NOTHING_EXPLICIT: ExplicitUtm = {
  utm_source: '',
  utm_medium: '',
  utm_campaign: '',
  utm_term: '',
  utm_content: '',
};

const DIRECT_BLOCK = encode(DIRECT, NO_CAMPAIGN);
