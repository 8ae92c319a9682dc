/** The columns referrer to click_id, as one encoded block that most events share with others. */
import { encodeStrings } from './byte-writer.js';
import {
  type Campaign,
  type ExplicitUtm,
  hasClickId,
  isMarked,
  NO_CAMPAIGN,
  parseCampaign,
} from './campaign.js';
import { channelOf } from './channel.js';
import { RecentCache } from './recent-cache.js';
import { DIRECT, parseReferrer, type Referrer } from './referrer.js';

interface AttributedSite {
  /** Names the site and its hosts. */
  readonly key: string;
  readonly host: string;
  readonly allowedHosts: readonly string[];
}

/** Longer keys are not worth their memory. */
const KEY_LIMIT = 512;

export class AttributionCache {
  /** Whole blocks, and blocks without their last column. */
  private readonly cache: RecentCache<Uint8Array>;

  /** @param entries most blocks to remember */
  constructor(entries: number) {
    this.cache = new RecentCache(entries);
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
      return this.unique(site, referrer, pageHost, parseCampaign(query, explicit ?? NOTHING_EXPLICIT));
    // With its length the referrer, which may hold anything, cannot run into the query.
    const key = `${site.key} ${pageHost} ${referrer.length} ${referrer}${marked ? query : ''}`;
    const known = this.cache.get(key);
    if (known !== undefined) return known;
    const campaign = parseCampaign(query, NOTHING_EXPLICIT);
    const made = encode(parseReferrer(referrer, site, pageHost), campaign);
    if (key.length <= KEY_LIMIT) this.cache.set(key, made);
    return made;
  }

  /** A click's id is its own; the columns before it are those of many, and what costs most is to find the channel. */
  private unique(site: AttributedSite, referrer: string, pageHost: string, campaign: Campaign): Uint8Array {
    const { source, medium, campaign: name, term, content, clickIdName, clickId } = campaign;
    const lengths = `${referrer.length} ${source.length} ${medium.length} ${name.length} ${term.length}`;
    const texts = `${referrer}${source}${medium}${name}${term}${content}`;
    const key = `${site.key}\n${pageHost}\n${clickIdName} ${lengths} ${texts}`;
    let shared = this.cache.get(key);
    if (shared === undefined) {
      shared = encode(parseReferrer(referrer, site, pageHost), { ...campaign, clickId: '' });
      if (key.length <= KEY_LIMIT) this.cache.set(key, shared);
    }
    return clickId === '' ? shared : withClickId(shared, clickId);
  }
}

/** @param block ends with an empty click id: one byte */
function withClickId(block: Uint8Array, clickId: string): Uint8Array {
  const last = encodeStrings([clickId]);
  const whole = Buffer.allocUnsafe(block.length - 1 + last.length);
  whole.set(block);
  whole.set(last, block.length - 1);
  return whole;
}

function encode(referrer: Referrer, campaign: Campaign): Uint8Array {
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
