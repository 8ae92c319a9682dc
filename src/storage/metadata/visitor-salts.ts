import type { Database, Row } from '../postgres.js';
import { date } from '../row.js';

/** Keys of cookieless visitors, one a UTC day, the same for all nodes. Days are `YYYY-MM-DD`. */
export interface VisitorSaltStore {
  /**
   * The key of a day; `proposal` becomes it when there is none yet.
   * @param madeAt by the caller's clock, as is `destroyMadeBefore`
   */
  share(day: string, proposal: Uint8Array, madeAt: Date): Promise<SharedSalt>;
  /** The key of a day, when there is one. */
  find(day: string): Promise<SharedSalt | null>;
  /** Removes the keys made at or before that time, and those of days before `day`. @returns how many */
  destroy(madeBefore: Date, day: string): Promise<number>;
}

export interface SharedSalt {
  /** 32 bytes. */
  readonly salt: Uint8Array;
  readonly madeAt: Date;
}

export function createVisitorSaltStore(db: Database): VisitorSaltStore {
  const find: VisitorSaltStore['find'] = async (day) => {
    const [row] = await db.query('SELECT salt, made_at FROM visitor_salts WHERE day = $1', [day]);
    return row === undefined ? null : sharedSalt(row);
  };
  return {
    find,
    async share(day, proposal, madeAt) {
      await db.query(
        'INSERT INTO visitor_salts (day, salt, made_at) VALUES ($1, $2, $3) ON CONFLICT (day) DO NOTHING',
        [day, Buffer.from(proposal), madeAt],
      );
      const shared = await find(day);
      if (shared === null) throw new Error('the key of the day was destroyed while it was read');
      return shared;
    },
    async destroy(madeBefore, day) {
      const rows = await db.query(
        'DELETE FROM visitor_salts WHERE made_at <= $1 OR day < $2 RETURNING 1 AS gone',
        [madeBefore, day],
      );
      return rows.length;
    },
  };
}

function sharedSalt(row: Row): SharedSalt {
  const { salt } = row;
  if (!Buffer.isBuffer(salt)) throw new TypeError('column salt: expected bytes');
  return { salt: Uint8Array.from(salt), madeAt: date(row, 'made_at') };
}
