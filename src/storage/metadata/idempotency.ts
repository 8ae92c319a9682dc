import { randomUUID } from 'node:crypto';
import type { Database } from '../postgres.js';
import { numberOrNull, text, textOrNull } from '../row.js';

/** What became of the attempt to take a key. */
export type IdempotencyClaim =
  | { readonly state: 'claimed'; readonly claim: string }
  /** Somebody is doing the request just now. */
  | { readonly state: 'running' }
  /** `answer` null: it was not kept. */
  | { readonly state: 'done'; readonly status: number; readonly answer: string | null }
  /** The key belongs to another request. */
  | { readonly state: 'mismatch' };

/** Keys of requests by account, each taken once. */
export interface IdempotencyStore {
  /**
   * @param fingerprint of the request
   * @param staleMs a claim without an answer counts as given up after this time: its node has died
   */
  claim(userId: string, key: string, fingerprint: Buffer, staleMs: number): Promise<IdempotencyClaim>;
  /** Keeps the answer, unless the claim was taken over meanwhile. */
  finish(userId: string, key: string, claim: string, status: number, answer: string | null): Promise<void>;
  /** Lets the key go: nothing was done. */
  release(userId: string, key: string, claim: string): Promise<void>;
  /** Forgets keys older than this. @returns how many */
  expire(maxAgeMs: number): Promise<number>;
}

/** A claim that is stale is taken over; any other conflict leaves the row and answers it. */
const CLAIM = `WITH taken AS (
    INSERT INTO idempotency_keys (user_id, key, fingerprint, claim) VALUES ($1, $2, $3, $4)
    ON CONFLICT (user_id, key) DO UPDATE SET claim = $4, claimed_at = now()
      WHERE idempotency_keys.status IS NULL AND idempotency_keys.fingerprint = $3
        AND idempotency_keys.claimed_at < now() - make_interval(secs => $5::double precision / 1000)
    RETURNING claim
  )
  SELECT 'claimed' AS state, NULL::int AS status, NULL AS answer FROM taken
  UNION ALL
  SELECT CASE WHEN fingerprint <> $3 THEN 'mismatch' WHEN status IS NULL THEN 'running' ELSE 'done' END, status, answer
  FROM idempotency_keys WHERE user_id = $1 AND key = $2 AND NOT EXISTS (SELECT FROM taken)`;

export function createIdempotencyStore(db: Database): IdempotencyStore {
  const claim: IdempotencyStore['claim'] = async (userId, key, fingerprint, staleMs) => {
    const id = randomUUID();
    const [row] = await db.query(CLAIM, [userId, key, fingerprint, id, staleMs]);
    // Neither taken nor visible: another request inserted it after this statement had begun.
    if (row === undefined) return { state: 'running' };
    switch (text(row, 'state')) {
      case 'claimed':
        return { state: 'claimed', claim: id };
      case 'done':
        return {
          state: 'done',
          status: numberOrNull(row, 'status') ?? 200,
          answer: textOrNull(row, 'answer'),
        };
      case 'running':
        return { state: 'running' };
      default:
        return { state: 'mismatch' };
    }
  };
  return {
    claim,
    async finish(userId, key, id, status, answer) {
      await db.query(
        'UPDATE idempotency_keys SET status = $4, answer = $5 WHERE user_id = $1 AND key = $2 AND claim = $3',
        [userId, key, id, status, answer],
      );
    },
    async release(userId, key, id) {
      await db.query(
        'DELETE FROM idempotency_keys WHERE user_id = $1 AND key = $2 AND claim = $3 AND status IS NULL',
        [userId, key, id],
      );
    },
    async expire(maxAgeMs) {
      const rows = await db.query(
        `DELETE FROM idempotency_keys
         WHERE claimed_at < now() - make_interval(secs => $1::double precision / 1000) RETURNING 1 AS gone`,
        [maxAgeMs],
      );
      return rows.length;
    },
  };
}
