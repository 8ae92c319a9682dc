/**
 * `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a POST of an account that carries one is done once. The same request
 * again is answered as the first time; a key that stands for another request is refused.
 */
import { createHmac } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { Counter } from 'prom-client';
import { derivedKey } from '../auth/derived-key.js';
import { AppError } from '../errors.js';
import type { IdempotencyStore } from '../storage/metadata/idempotency.js';
import type { Telemetry } from '../telemetry.js';
import { type Reply, TextBody } from './route.js';

export interface IdempotentCall {
  readonly userId: string;
  readonly key: string;
  readonly method: string;
  /** With its query. */
  readonly target: string;
  readonly body: Uint8Array;
  /** The answer holds a secret that is shown once: it is not kept. */
  readonly secret: boolean;
  readonly run: () => Promise<Reply<unknown>>;
}

export interface Idempotency {
  /**
   * @throws AppError `invalid_parameter` (the key), `idempotency_mismatch`, `request_in_progress`, `conflict` (done, its answer was shown
   * once), and whatever the call throws
   */
  run(call: IdempotentCall): Promise<Reply<unknown>>;
  close(): Promise<void>;
}

export interface IdempotencyOptions {
  readonly store: IdempotencyStore;
  /** Of the instance: bodies hold passwords, which nobody who reads the table may try out. */
  readonly secret: string;
  readonly telemetry: Telemetry;
  /** A request that takes longer has died with its node. Default 60,000 ms. */
  readonly staleMs?: number;
  /** How long answers are kept. Default 24 hours, in ms. */
  readonly keepMs?: number;
  /** Characters of answers that are kept for an account in that time by this process; further ones are not. Default 32 Mi. */
  readonly keptOfAccount?: number;
}

/** Printable ASCII. */
const KEY = /^[\x21-\x7e]{1,255}$/;
/** Characters; a larger answer is not kept, and the key let go. */
const MAX_ANSWER = 256 * 1024;
/** Whose answers are counted at the same time. */
const ACCOUNTS = 20_000;
const EXPIRE_EVERY_MS = 3_600_000;
const REPLAYED = { 'Idempotency-Replayed': 'true' };

/** Whether an answer is that of an earlier request: nothing was done. */
export const isReplayed = (headers: Reply<unknown>['headers']): boolean =>
  headers?.['Idempotency-Replayed'] !== undefined;

export function createIdempotency(options: IdempotencyOptions): Idempotency {
  const { store, telemetry, staleMs = 60_000, keepMs = 86_400_000, keptOfAccount = 32 << 20 } = options;
  const kept = new LRUCache<string, number>({ max: ACCOUNTS, ttl: keepMs });
  /** Null: it is not kept, and the same request again is told only that it was done. */
  const withinQuota = (userId: string, answer: string): string | null => {
    const sum = (kept.get(userId) ?? 0) + answer.length;
    if (sum > keptOfAccount) return null;
    kept.set(userId, sum, { noUpdateTTL: true });
    return answer;
  };
  const fingerprintKey = derivedKey(options.secret, 'idempotency fingerprint');
  const requests = new Counter({
    name: 'seentics_http_idempotent_requests_total',
    help: 'Requests with an Idempotency-Key, by what came of them',
    labelNames: ['outcome'],
    registers: [telemetry.registry],
  });
  const expire = () =>
    store.expire(keepMs).catch((err: unknown) => telemetry.log.warn({ err }, 'old idempotency keys stay'));
  const timer = setInterval(expire, EXPIRE_EVERY_MS);
  timer.unref();

  /** What came of the call is told in any case: whoever heard of a failure instead would do it again. */
  const noted = (work: Promise<void>) =>
    work.catch((err: unknown) =>
      telemetry.log.warn({ err }, 'what became of a request with an Idempotency-Key was not noted'),
    );

  const first = async (call: IdempotentCall, claim: string): Promise<Reply<unknown>> => {
    const { userId, key } = call;
    let reply: Reply<unknown>;
    try {
      reply = await call.run();
    } catch (error) {
      // Nothing was done, or nobody knows: the client may try again.
      await noted(store.release(userId, key, claim));
      throw error;
    }
    const answer = call.secret ? null : keptAnswer(reply);
    await noted(
      answer === undefined
        ? store.release(userId, key, claim)
        : store.finish(userId, key, claim, reply.status, answer && withinQuota(userId, answer)),
    );
    return reply;
  };

  return {
    async run(call) {
      if (!KEY.test(call.key))
        throw new AppError('invalid_parameter', 'Idempotency-Key must be 1 to 255 printable characters');
      const claim = await store.claim(call.userId, call.key, fingerprint(fingerprintKey, call), staleMs);
      requests.inc({ outcome: claim.state });
      switch (claim.state) {
        case 'claimed':
          return first(call, claim.claim);
        case 'done':
          return replayed(claim.status, claim.answer);
        case 'running':
          throw new AppError(
            'request_in_progress',
            'The request with this Idempotency-Key is still being done',
            {
              retryAfterSeconds: 1,
            },
          );
        case 'mismatch':
          throw new AppError('idempotency_mismatch', 'This Idempotency-Key was used for another request');
      }
    },
    async close() {
      clearInterval(timer);
    },
  };
}

/** Undefined: it cannot be kept. */
function keptAnswer({ body }: Reply<unknown>): string | undefined {
  if (body === undefined) return '';
  if (body instanceof TextBody) return undefined;
  const text = JSON.stringify(body);
  return text.length > MAX_ANSWER ? undefined : text;
}

function replayed(status: number, answer: string | null): Reply<unknown> {
  if (answer === null)
    throw new AppError('conflict', 'This request was done already; its answer is shown only once');
  const body = answer === '' ? undefined : new TextBody(answer, 'application/json; charset=utf-8');
  return { status, body, headers: REPLAYED };
}

function fingerprint(key: Uint8Array, { method, target, body }: IdempotentCall): Buffer {
  return createHmac('sha256', key).update(`${method} ${target}\n`).update(body).digest();
}
