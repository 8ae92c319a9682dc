/** Doing what accounts ask for about personal data: by whichever node takes the request, again after a crash, until it is done. */
import type { MetadataStore } from '../storage/metadata/metadata.js';
import type {
  NewPrivacyRequest,
  PrivacyRequest,
  TakenPrivacyRequest,
} from '../storage/metadata/privacy-requests.js';
import type { Logger } from '../telemetry.js';
import type { Eraser } from './eraser.js';
import type { ErasureMetrics } from './erasure-metrics.js';

export interface PrivacyRequestsOptions {
  readonly metadata: Pick<MetadataStore, 'privacyRequests' | 'erasures'>;
  readonly eraser: Eraser;
  readonly metrics: ErasureMetrics;
  readonly log: Logger;
  /** How long the asking call waits for the end, ms. Default 10,000. */
  readonly waitMs?: number;
  /** How often to look for requests that wait, ms. Default 5,000. */
  readonly pollMs?: number;
}

export interface PrivacyRequests {
  /** Stores a request and does it. @returns it, `pending` when it takes longer than a call waits or failed for now */
  submit(request: NewPrivacyRequest): Promise<PrivacyRequest>;
  /** Looks for requests that wait from now on. */
  start(): void;
  close(): Promise<void>;
}

const LEASE_MS = 60_000;
const RENEW_MS = 15_000;
const MOST_ATTEMPTS = 100;
const FIRST_RETRY_MS = 5_000;
const MOST_RETRY_MS = 600_000;
const DAY_MS = 86_400_000;
/** Longer than a row can wait in a stream or spool, and than an event may be old. */
const ERASURE_AGE_MS = 90 * DAY_MS;
const REQUEST_AGE_MS = 365 * DAY_MS;
const POLLS_BETWEEN_CLEANINGS = 720;

export function createPrivacyRequests(options: PrivacyRequestsOptions): PrivacyRequests {
  const { metadata, eraser, metrics, log } = options;
  const { privacyRequests: requests } = metadata;
  let timer: NodeJS.Timeout | undefined;
  let polls = 0;
  let closed = false;
  const running = new Set<Promise<unknown>>();

  const perform = async ({ id, type, siteId, visitorId, salt }: PrivacyRequest): Promise<void> => {
    if (type === 'delete_website' || type === 'delete_data')
      for (const site of await requests.sitesOf(id)) await eraser.siteData(site, id);
    if (type === 'delete_visitor' && siteId !== null && visitorId !== null)
      await eraser.visitor(siteId, visitorId);
    if (type === 'anonymize' && salt !== null)
      for (const site of await requests.sitesOf(id))
        await eraser.anonymise(site, { before: Date.now(), salt });
    // An export is made while it is downloaded, so that there is no second copy of personal data.
  };

  const attempt = async (request: TakenPrivacyRequest): Promise<void> => {
    const { id, type, lease, attempts } = request;
    const renewal = setInterval(() => void requests.renew(id, lease, LEASE_MS).catch(() => false), RENEW_MS);
    try {
      await perform(request);
      await requests.complete(id, lease);
      metrics.requests.inc({ type, outcome: 'completed' });
    } catch (err) {
      metrics.requests.inc({ type, outcome: 'failed' });
      log.warn({ request: id, type, attempts, err }, 'a privacy request could not be done yet');
      const isOver = attempts >= MOST_ATTEMPTS;
      const retryMs = Math.min(MOST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempts - 1, 10));
      await requests.fail(id, lease, 'a store could not be reached', isOver ? null : retryMs);
    } finally {
      clearInterval(renewal);
    }
  };

  /** Does one request, or that one. False when there is none to do. */
  const doNext = async (id: string | null): Promise<boolean> => {
    const taken = await requests.take(LEASE_MS, id);
    if (taken === null) return false;
    await attempt(taken);
    return true;
  };

  const track = <T>(work: Promise<T>): Promise<T> => {
    const tracked = work.finally(() => running.delete(tracked));
    running.add(tracked);
    return tracked;
  };

  const poll = async (): Promise<void> => {
    try {
      if (polls++ % POLLS_BETWEEN_CLEANINGS === 0) {
        await metadata.erasures.expire(ERASURE_AGE_MS);
        await requests.expire(REQUEST_AGE_MS);
      }
      while (!closed && (await doNext(null)));
    } catch (err) {
      log.warn({ err }, 'privacy requests cannot be looked for');
    } finally {
      schedule();
    }
  };
  const schedule = () => {
    if (closed) return;
    timer = setTimeout(() => void track(poll()), options.pollMs ?? 5_000);
    timer.unref();
  };

  return {
    async submit(request) {
      const stored = await requests.create(request);
      const work = track(doNext(stored.id));
      work.catch((err: unknown) => log.warn({ request: stored.id, err }, 'a privacy request has to wait'));
      let wait: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        wait = setTimeout(resolve, options.waitMs ?? 10_000);
      });
      await Promise.race([work.catch(() => false), late]).finally(() => clearTimeout(wait));
      return (await requests.find(request.userId, stored.id)) ?? stored;
    },
    start: schedule,
    async close() {
      closed = true;
      clearTimeout(timer);
      await Promise.allSettled(running);
    },
  };
}
