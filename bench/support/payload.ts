/** Bodies as the unmodified tracker sends them: about 550 bytes an event, many sites, visitors, pages, browsers and addresses. */

export interface PayloadSite {
  readonly siteId: string;
  readonly host: string;
}

const AGENTS = [
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36',
  'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15',
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1',
  'Mozilla/5.0 (Linux; Android 15; SM-S931B) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36',
  'Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0',
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36 Edg/138.0.0.0',
];
const REFERRERS = [
  '',
  '',
  'https://www.google.com/',
  'https://t.co/x1',
  'https://news.example.org/a/b',
  'https://www.bing.com/search?q=x',
];
const QUERIES = [
  '',
  '',
  '',
  '?utm_source=newsletter&utm_medium=email&utm_campaign=spring',
  '?gclid=Cj0KCQjw',
];

/** Makes distinct bodies; the same seed makes the same sequence. */
export class Payloads {
  #state: number;
  #count = 0;
  constructor(
    private readonly sites: readonly PayloadSite[],
    seed: number,
  ) {
    this.#state = seed >>> 0 || 1;
  }

  /** xorshift32: the generator must cost next to nothing. */
  #random(below: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state % below;
  }

  #site(): PayloadSite {
    const site = this.sites[this.#random(this.sites.length)];
    if (site === undefined) throw new Error('no sites');
    return site;
  }

  #event(site: PayloadSite): string {
    const n = ++this.#count;
    const visitor = this.#random(50_000).toString(16).padStart(12, '0');
    const page = `/products/category-${this.#random(20)}/item-${this.#random(500)}`;
    const query = QUERIES[this.#random(QUERIES.length)];
    return `{"website_id":"${site.siteId}","event_type":"pageview","event_name":"page_view","page_view_id":"7c9e6679-7425-40de-944b-${(n % 0xffffffffffff).toString(16).padStart(12, '0')}","page_url":"https://${site.host}${page}${query}","page":"${page}","page_title":"Item of the shop","referrer":"${REFERRERS[this.#random(REFERRERS.length)]}","screen_width":1920,"screen_height":1080,"viewport_width":1903,"viewport_height":969,"user_agent":"${AGENTS[this.#random(AGENTS.length)]}","language":"en-US","visitor_id":"3fa85f64-5717-4562-b3fc-${visitor}","session_id":"9b1deb4d-3b7d-4bad-9bdd-${visitor}","timestamp":"${new Date().toISOString()}"}`;
  }

  /** Body of `analytics/event`. */
  single(): string {
    return this.#event(this.#site());
  }

  /** Body of `analytics/batch` with `events` events of one site. */
  batch(events: number): string {
    const site = this.#site();
    let list = this.#event(site);
    for (let i = 1; i < events; i++) list += `,${this.#event(site)}`;
    return `{"siteId":"${site.siteId}","domain":"${site.host}","events":[${list}]}`;
  }

  /** A public address, so that geo look-ups are real; 20,000 different ones. */
  address(): string {
    const n = this.#random(20_000);
    return `${80 + (n % 12)}.${(n * 7) % 250}.${(n * 13) % 250}.${1 + (n % 250)}`;
  }
}
