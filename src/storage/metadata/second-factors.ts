import type { Database } from '../postgres.js';
import { dateOrNull, number, texts } from '../row.js';

export interface SecondFactorState {
  /** null: a secret was given out and not yet confirmed. */
  readonly enabledAt: Date | null;
  readonly recoveryCodesLeft: number;
}

/** What an attempt is checked against. */
export interface FactorAttempt {
  /** Sealed. */
  readonly secret: Uint8Array;
  /** Time step of the last code taken. */
  readonly lastStep: number;
  readonly isEnabled: boolean;
}

/** Second factors of accounts. */
export interface SecondFactorStore {
  find(userId: string): Promise<SecondFactorState | null>;
  /** Keeps a secret that is still to be confirmed, instead of an earlier one; false when the factor is enabled already. */
  begin(userId: string, secret: Uint8Array): Promise<boolean>;
  /**
   * Counts an attempt before it is made, so that simultaneous ones count too. From the fifth without success on, each locks the factor for
   * twice as long as the one before: 30 seconds, at most an hour.
   * @returns null when the account has no factor; how long it is locked when it is
   */
  attempt(userId: string): Promise<FactorAttempt | { readonly lockedSeconds: number } | null>;
  /**
   * Enables a factor with the code of a step, if its secret is still the one that was confirmed, and revokes the account's sessions with
   * it, all at once.
   * @returns ids of the revoked sessions; null when nothing was enabled
   */
  enable(userId: string, confirmed: ConfirmedFactor): Promise<string[] | null>;
  /** Uses up a step and all before it, and forgets the failures; false when somebody used it meanwhile. */
  useStep(userId: string, step: number): Promise<boolean>;
  /** Uses up a recovery code and forgets the failures; false when there is no such code. */
  useRecoveryCode(userId: string, codeHash: Uint8Array): Promise<boolean>;
  remove(userId: string): Promise<void>;
}

export interface ConfirmedFactor {
  readonly secret: Uint8Array;
  readonly step: number;
  readonly recoveryHashes: readonly Uint8Array[];
  /** The one session that goes on; null: none. */
  readonly keepSession: string | null;
}

const FREE_ATTEMPTS = 5;
const FIRST_LOCK_SECONDS = 30;
const LONGEST_LOCK_SECONDS = 3600;

const FIND = `SELECT f.enabled_at, (SELECT count(*)::int FROM recovery_codes r WHERE r.user_id = f.user_id) AS codes
  FROM second_factors f WHERE f.user_id = $1`;

const BEGIN = `INSERT INTO second_factors AS f (user_id, secret) VALUES ($1, $2)
  ON CONFLICT (user_id) DO UPDATE SET secret = $2, created_at = now() WHERE f.enabled_at IS NULL RETURNING 1 AS begun`;

const ATTEMPT = `UPDATE second_factors SET failures = least(failures + 1, 1000),
    locked_until = CASE WHEN failures + 1 >= $2::int
      THEN now() + least($3::int * 2 ^ least(failures + 1 - $2::int, 20), $4::int) * interval '1 second' END
  WHERE user_id = $1 AND (locked_until IS NULL OR locked_until <= now())
  RETURNING secret, last_step, enabled_at`;

const LOCKED = `SELECT greatest(1, coalesce(ceil(extract(epoch FROM locked_until - now())), 1))::int AS seconds
  FROM second_factors WHERE user_id = $1`;

const ENABLE = `WITH enabled AS (
    UPDATE second_factors SET enabled_at = now(), last_step = $3, failures = 0, locked_until = NULL
    WHERE user_id = $1 AND enabled_at IS NULL AND secret = $2 RETURNING user_id
  ), codes AS (
    INSERT INTO recovery_codes (user_id, code_hash) SELECT user_id, unnest($4::bytea[]) FROM enabled
  ), ended AS (
    UPDATE auth_sessions s SET revoked_at = now(), revoked_reason = 'second factor enabled' FROM enabled
    WHERE s.user_id = enabled.user_id AND s.revoked_at IS NULL AND s.id IS DISTINCT FROM $5::uuid RETURNING s.id
  )
  SELECT array(SELECT id::text FROM ended) AS ended FROM enabled`;

const USE_STEP = `UPDATE second_factors SET last_step = $2, failures = 0, locked_until = NULL
  WHERE user_id = $1 AND last_step < $2 RETURNING 1 AS used`;

const USE_RECOVERY_CODE = `WITH used AS (
    DELETE FROM recovery_codes WHERE user_id = $1 AND code_hash = $2 RETURNING user_id
  )
  UPDATE second_factors f SET failures = 0, locked_until = NULL FROM used WHERE f.user_id = used.user_id RETURNING 1 AS used`;

export function createSecondFactorStore(db: Database): SecondFactorStore {
  const didSomething = async (query: string, values: readonly unknown[]) =>
    (await db.query(query, values)).length > 0;
  return {
    async find(userId) {
      const [row] = await db.query(FIND, [userId]);
      return row
        ? { enabledAt: dateOrNull(row, 'enabled_at'), recoveryCodesLeft: number(row, 'codes') }
        : null;
    },

    begin: (userId, secret) => didSomething(BEGIN, [userId, Buffer.from(secret)]),

    async attempt(userId) {
      const limits = [FREE_ATTEMPTS, FIRST_LOCK_SECONDS, LONGEST_LOCK_SECONDS];
      const [row] = await db.query(ATTEMPT, [userId, ...limits]);
      if (row !== undefined) {
        if (!(row.secret instanceof Uint8Array)) throw new TypeError('column secret: expected bytes');
        const isEnabled = dateOrNull(row, 'enabled_at') !== null;
        return { secret: row.secret, lastStep: number(row, 'last_step'), isEnabled };
      }
      const [locked] = await db.query(LOCKED, [userId]);
      return locked === undefined ? null : { lockedSeconds: number(locked, 'seconds') };
    },

    async enable(userId, { secret, step, recoveryHashes, keepSession }) {
      const hashes = recoveryHashes.map((hash) => Buffer.from(hash));
      const [row] = await db.query(ENABLE, [userId, Buffer.from(secret), step, hashes, keepSession]);
      return row === undefined ? null : texts(row, 'ended');
    },

    useStep: (userId, step) => didSomething(USE_STEP, [userId, step]),

    useRecoveryCode: (userId, hash) => didSomething(USE_RECOVERY_CODE, [userId, Buffer.from(hash)]),

    async remove(userId) {
      await db.query('DELETE FROM second_factors WHERE user_id = $1', [userId]);
    },
  };
}
