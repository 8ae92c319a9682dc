import type { Database } from '../postgres.js';
import { text } from '../row.js';
import type { GoalStore } from './metadata.js';

export function createGoalStore(db: Database): GoalStore {
  return {
    async withSelector(websiteId) {
      const rows = await db.query(
        `SELECT id, identifier, selector FROM goals
         WHERE website_id = $1 AND type = 'event' AND selector <> '' ORDER BY created_at DESC, id LIMIT 500`,
        [websiteId],
      );
      return rows.map((row) => ({
        id: text(row, 'id'),
        identifier: text(row, 'identifier'),
        selector: text(row, 'selector'),
      }));
    },
  };
}
