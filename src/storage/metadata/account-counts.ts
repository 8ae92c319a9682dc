import type { Database } from '../postgres.js';
import { number, texts } from '../row.js';

/** What an account has made. */
export interface AccountCounts {
  /** Public ids of the websites that it owns. */
  readonly siteIds: readonly string[];
  /** On these websites. */
  readonly funnels: number;
  readonly automations: number;
}

export interface AccountCountStore {
  /** All zero for an account that there is not. */
  of(userId: string): Promise<AccountCounts>;
}

const COUNT = `WITH own AS (SELECT site_id FROM websites WHERE user_id = $1)
  SELECT COALESCE((SELECT array_agg(site_id::text ORDER BY site_id) FROM own), '{}') AS site_ids,
    (SELECT count(*)::int FROM funnels WHERE website_id IN (SELECT site_id FROM own)) AS funnels,
    (SELECT count(*)::int FROM automations WHERE website_id IN (SELECT site_id FROM own)) AS automations`;

export function createAccountCountStore(db: Database): AccountCountStore {
  return {
    async of(userId) {
      const [row] = await db.query(COUNT, [userId]);
      if (row === undefined) throw new Error('the counts of an account did not come back');
      return {
        siteIds: texts(row, 'site_ids'),
        funnels: number(row, 'funnels'),
        automations: number(row, 'automations'),
      };
    },
  };
}
