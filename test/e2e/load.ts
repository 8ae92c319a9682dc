/** A running load of marked events that a crash test can count afterwards. */
import type { Site } from '../support/api.js';
import { seededRandom } from '../support/random.js';
import { pause, until } from '../support/wait.js';

interface Request {
  readonly path: 'event' | 'batch';
  readonly body: string;
  /** Markers of the events in it. */
  readonly markers: readonly string[];
}

export interface LoadOptions {
  /** Base URL; asked before each request. */
  readonly url: () => string;
  readonly site: Site;
  readonly seed: number;
  /** Requests under way at most. Default 6. */
  readonly senders?: number;
  /** Pause of a sender after each answer, ms. Default 60. */
  readonly pauseMs?: number;
}

const DAY_MS = 86_400_000;

/**
 * Sends single events and batches until it is stopped. A request that got no 2xx, for whatever reason, is sent again until it
 * gets one; now and then a random earlier request is sent once more, as a tracker does that repeats from local storage.
 * Each event is a page view of the page `/m/<number>`, so the store can be asked which events it holds.
 */
export class Load {
  /** Markers of events whose request was answered 2xx. */
  readonly accepted = new Set<string>();
  /** Requests answered 2xx, repeats included. */
  answered = 0;
  /** Requests that failed (no connection, no answer, not 2xx) and were sent again. */
  repeatedAfterFailure = 0;
  readonly statuses = new Map<number, number>();

  readonly #options: LoadOptions;
  readonly #random: () => number;
  readonly #senders: Promise<void>[] = [];
  readonly #answeredRequests: Request[] = [];
  #serial = 0;
  #running = false;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#random = seededRandom(options.seed);
  }

  start(): void {
    this.#running = true;
    for (let index = 0; index < (this.#options.senders ?? 6); index++) this.#senders.push(this.#send());
  }

  /** Waits until `count` more requests have been answered 2xx. */
  progress(count: number): Promise<true> {
    const goal = this.answered + count;
    return until(() => this.answered >= goal || undefined, {
      what: `${count} more answered requests (statuses so far: ${JSON.stringify([...this.statuses])})`,
      timeoutMs: 60_000,
    });
  }

  /** Makes no new requests, delivers those under way, and returns when every one is answered. */
  async stop(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#senders);
  }

  async #send(): Promise<void> {
    while (this.#running) {
      const request = this.#next();
      await this.#deliver(request);
      for (const marker of request.markers) this.accepted.add(marker);
      this.#answeredRequests.push(request);
      const earlier = this.#answeredRequests[Math.floor(this.#random() * this.#answeredRequests.length)];
      if (earlier && this.#random() < 0.15) await this.#deliver(earlier);
      await pause(this.#options.pauseMs ?? 60);
    }
  }

  /** Sends until answered 2xx, for at most two minutes. */
  async #deliver(request: Request): Promise<void> {
    const end = performance.now() + 120_000;
    for (let waitMs = 50; ; waitMs = Math.min(waitMs * 2, 500)) {
      const status = await this.#post(request);
      if (status >= 200 && status < 300) {
        this.answered++;
        return;
      }
      this.repeatedAfterFailure++;
      if (performance.now() > end)
        throw new Error(`a request was refused for two minutes, last with ${status}`);
      await pause(waitMs);
    }
  }

  /** Status of the answer, 0 when there was none. */
  async #post(request: Request): Promise<number> {
    let status = 0;
    try {
      const answer = await fetch(`${this.#options.url()}/api/v1/analytics/${request.path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', origin: `https://${this.#options.site.host}` },
        body: request.body,
        signal: AbortSignal.timeout(15_000),
      });
      status = answer.status;
      await answer.arrayBuffer();
    } catch {
      // An answer that broke off may have been a promise, but nobody heard it: the request is sent again.
      status = 0;
    }
    this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1);
    return status;
  }

  #next(): Request {
    const single = this.#random() < 0.4;
    const count = single ? 1 : 1 + Math.floor(this.#random() * 20);
    const events = Array.from({ length: count }, () => this.#event());
    const markers = events.map((event) => event.page);
    const { site } = this.#options;
    // Both forms of the id must land in the same site.
    const siteId = this.#random() < 0.5 ? site.id : site.siteId;
    const [first] = events;
    if (single && first)
      return { path: 'event', body: JSON.stringify({ website_id: siteId, ...first }), markers };
    return { path: 'batch', body: JSON.stringify({ siteId, domain: site.host, events }), markers };
  }

  #event() {
    const serial = this.#serial++;
    const page = `/m/${serial}`;
    // One in ten comes out of a local storage that was days without a connection.
    const ageMs = this.#random() < 0.1 ? Math.floor(this.#random() * 5 * DAY_MS) : 0;
    const visitor = Math.floor(this.#random() * 200);
    return {
      event_type: 'pageview',
      event_name: 'page_view',
      visitor_id: `visitor-${visitor}`,
      session_id: `session-${visitor}-${Math.floor(ageMs / DAY_MS)}`,
      page_view_id: `view-${serial}`,
      page,
      page_url: `https://${this.#options.site.host}${page}`,
      page_title: 'Shop',
      referrer: '',
      user_agent:
        'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36',
      language: 'en',
      timestamp: new Date(Date.now() - ageMs).toISOString(),
    };
  }
}

export interface Tally {
  readonly missing: readonly string[];
  readonly twice: readonly string[];
  readonly unknown: readonly string[];
}

/** Compares what the store holds (events per marker) with what was accepted; three empty lists mean: each exactly once. */
export function tally(accepted: ReadonlySet<string>, stored: ReadonlyMap<string, number>): Tally {
  return {
    missing: short([...accepted].filter((marker) => !stored.has(marker))),
    twice: short([...stored].filter(([, count]) => count > 1).map(([marker]) => marker)),
    unknown: short([...stored.keys()].filter((marker) => !accepted.has(marker))),
  };
}

const short = (markers: readonly string[]) =>
  markers.length > 10 ? [...markers.slice(0, 10), `and ${markers.length - 10} more`] : markers;
