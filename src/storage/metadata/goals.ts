import type { Database, Row } from '../postgres.js';
import { date, text, textOrNull } from '../row.js';
import type { GoalRecord, GoalStore } from './metadata.js';

const COLUMNS = 'id, website_id, name, type, identifier, selector, created_at, updated_at';

// The website's row is locked by a statement before, so that goals made at the same time are counted one after the other.
const LOCK = 'SELECT id FROM websites WHERE id = $1 FOR UPDATE';
const CREATE = `INSERT INTO goals (id, website_id, name, type, identifier, selector)
  SELECT $1, id, $3, $4, $5, $6 FROM websites WHERE id = $2 AND (SELECT count(*) FROM goals WHERE website_id = $2) < $7
  RETURNING ${COLUMNS}`;

function readGoal(row: Row): GoalRecord {
  return {
    id: text(row, 'id'),
    websiteId: text(row, 'website_id'),
    name: text(row, 'name'),
    type: text(row, 'type'),
    identifier: text(row, 'identifier'),
    selector: textOrNull(row, 'selector'),
    createdAt: date(row, 'created_at'),
    updatedAt: date(row, 'updated_at'),
  };
}

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

    async list(websiteId) {
      const rows = await db.query(
        `SELECT ${COLUMNS} FROM goals WHERE website_id = $1 ORDER BY created_at DESC, id LIMIT 500`,
        [websiteId],
      );
      return rows.map(readGoal);
    },

    create: ({ id, websiteId, name, type, identifier, selector }, limit) =>
      db.transaction(async (tx) => {
        await tx.query(LOCK, [websiteId]);
        const [row] = await tx.query(CREATE, [id, websiteId, name, type, identifier, selector, limit]);
        return row ? readGoal(row) : null;
      }),

    async delete(websiteId, id) {
      const rows = await db.query('DELETE FROM goals WHERE website_id = $1 AND id = $2 RETURNING id', [
        websiteId,
        id,
      ]);
      return rows.length > 0;
    },
  };
}
