import { Counter, Gauge } from 'prom-client';
import { AppError } from '../errors.js';
import { frameSize, type SiteFrame } from '../events/frame.js';
import type { SiteSink } from '../events/site-sink.js';
import type { Telemetry } from '../telemetry.js';
import { Answers } from './answers.js';
import { ActorGroup } from './runtime/group.js';
import { type Delivery, SiteActor, type SiteActorHost } from './site-actor.js';

export interface SiteBatcherOptions {
  /** Makes a frame durable; resolves once it is (P1). */
  readonly publish: (frame: SiteFrame) => Promise<void>;
  readonly telemetry: Telemetry;
  /** Events a site may send a minute, and as many heat points and funnel events each; 0 = no limit (default). */
  readonly quotaPerMinute?: number;
  /** Requests that may wait for a site. Default 2,000. */
  readonly mailboxRequests?: number;
  /** Bytes that may wait for a site. Default 8 MiB. */
  readonly mailboxBytes?: number;
  /** Bytes that may wait or be on their way for all sites of this process. Default 256 MiB. */
  readonly totalBytes?: number;
  /** Publishes of one site on their way at once. Default 4. */
  readonly publishesInFlight?: number;
  /** Requests are merged up to this size. Default 256 KiB. */
  readonly mergeBytes?: number;
  /** After this time without requests a site's actor leaves memory; below a minute it would forget used quota. Default 60,000. */
  readonly idleMs?: number;
  /** ms; tests replace it. */
  readonly now?: () => number;
}

/** The sink in front of the stream: one actor a site, which merges what waits. */
export interface SiteBatcher extends SiteSink {
  /** Refuses new requests, lets the waiting ones become durable, and refuses what is left at the deadline. */
  stop(deadlineMs: number): Promise<void>;
}

/**
 * Each site has its own bounded mailbox, quota and publishes in flight, so a site at full blast fills and slows nothing of another's.
 * A request that finds its site idle is published at once; while publishes are in flight, requests gather and go out as one frame.
 */
export function createSiteBatcher(options: SiteBatcherOptions): SiteBatcher {
  const { telemetry, publish } = options;
  const totalBytes = options.totalBytes ?? 256 * 1024 * 1024;
  const answers = new Answers();
  const metrics = siteMetrics(telemetry, { bytesHeld: () => bytesHeld, answers });
  let bytesHeld = 0;

  const host: SiteActorHost = {
    publish: (frame, requests) => {
      metrics.publishes.inc();
      metrics.requests.inc(requests);
      return publish(frame);
    },
    overQuota: () => metrics.overQuota.inc(),
    answers,
    quotaPerMinute: options.quotaPerMinute ?? 0,
    publishesInFlight: options.publishesInFlight ?? 4,
    mergeBytes: options.mergeBytes ?? 256 * 1024,
    now: options.now ?? Date.now,
  };
  const actors = new ActorGroup<string, Delivery>({
    name: 'site',
    telemetry,
    create: (context) => new SiteActor(context, host),
    mailbox: {
      messages: options.mailboxRequests ?? 2_000,
      weight: options.mailboxBytes ?? 8 * 1024 * 1024,
      weigh: (delivery) => delivery.bytes,
    },
    idleMs: options.idleMs ?? 60_000,
    onDropped: (_siteId, delivery, error) =>
      delivery.settle(new AppError('storage_unavailable', 'the server is stopping', { cause: error })),
  });

  return {
    deliver(frame) {
      return new Promise((resolve, reject) => {
        const bytes = frameSize(frame);
        const settle = (error?: unknown) => {
          bytesHeld -= bytes;
          if (error === undefined) resolve();
          else reject(error);
        };
        if (bytesHeld + bytes > totalBytes) return reject(SERVER_FULL);
        bytesHeld += bytes;
        if (!actors.tell(frame.siteId, { frame, bytes, settle })) settle(SITE_FULL);
      });
    },
    async stop(deadlineMs) {
      await actors.stop(deadlineMs);
      answers.flush();
    },
  };
}

/** Made once: refusing must stay cheap when there is most to refuse, and a stack trace a refusal is not. */
const SERVER_FULL = overloaded('the server has too much waiting');
const SITE_FULL = overloaded('too many requests of this website are waiting');

function overloaded(message: string): AppError {
  return new AppError('overloaded', message, { retryAfterSeconds: 1 });
}

function siteMetrics({ registry }: Telemetry, state: { bytesHeld(): number; readonly answers: Answers }) {
  const gauge = (name: string, help: string, value: () => number) =>
    new Gauge({
      ...{ name, help, registers: [registry] },
      collect() {
        this.set(value());
      },
    });
  gauge(
    'seentics_site_batcher_bytes',
    'Bytes of frames that wait for, or are on, their way to the stream',
    state.bytesHeld,
  );
  gauge(
    'seentics_site_batcher_answers_waiting',
    'Requests whose events are durable and whose answers wait for their turn',
    () => state.answers.waiting,
  );
  const counter = (name: string, help: string) => new Counter({ name, help, registers: [registry] });
  return {
    publishes: counter('seentics_site_batcher_publishes_total', 'Frames handed to the stream'),
    requests: counter('seentics_site_batcher_requests_total', 'Requests merged into those frames'),
    overQuota: counter('seentics_site_batcher_over_quota_total', 'Requests refused by a quota of a website'),
  };
}
