import type { Database, Queryable, Row } from '../postgres.js';
import { bool, date, number, text, textOrNull } from '../row.js';
import type { FunnelRecord, FunnelStepRecord, FunnelStore, NewFunnelStep } from './metadata.js';

/** Funnels beside their steps. @param chosen condition on the funnel; $1 is the site */
const select = (chosen: string): string => `SELECT f.id, f.website_id, f.user_id, f.name, f.description,
    COALESCE(f.is_active, true) AS is_active, f.created_at, f.updated_at,
    s.id AS step_id, s.name AS step_name, s.step_order, s.step_type, s.page_path, s.event_type,
    COALESCE(s.match_type, '') AS match_type
  FROM (SELECT * FROM funnels WHERE website_id = $1 ${chosen} ORDER BY created_at DESC, id LIMIT 200) f
  LEFT JOIN funnel_steps s ON s.funnel_id = f.id
  ORDER BY f.created_at DESC, f.id, s.step_order, s.id`;

const ACTIVE = select('AND is_active');
const ALL = select('');
const ONE = select('AND id = $2');

const UPDATE = `UPDATE funnels SET name = COALESCE($3, name), description = COALESCE($4, description),
    is_active = COALESCE($5, is_active), updated_at = now()
  WHERE website_id = $1 AND id = $2 RETURNING id`;

const INSERT_STEPS = `INSERT INTO funnel_steps (funnel_id, name, step_order, step_type, page_path, event_type, match_type)
  SELECT $1, * FROM unnest($2::text[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::text[])`;

function readStep(row: Row): FunnelStepRecord {
  return {
    id: text(row, 'step_id'),
    name: text(row, 'step_name'),
    order: number(row, 'step_order'),
    stepType: text(row, 'step_type'),
    pagePath: textOrNull(row, 'page_path'),
    eventType: textOrNull(row, 'event_type'),
    matchType: text(row, 'match_type'),
  };
}

function readFunnels(rows: readonly Row[]): FunnelRecord[] {
  const funnels = new Map<string, FunnelRecord & { steps: FunnelStepRecord[] }>();
  for (const row of rows) {
    const id = text(row, 'id');
    let funnel = funnels.get(id);
    if (!funnel) {
      funnel = {
        id,
        siteId: text(row, 'website_id'),
        userId: text(row, 'user_id'),
        name: text(row, 'name'),
        description: textOrNull(row, 'description') ?? '',
        isActive: bool(row, 'is_active'),
        createdAt: date(row, 'created_at'),
        updatedAt: date(row, 'updated_at'),
        steps: [],
      };
      funnels.set(id, funnel);
    }
    if (row.step_id !== null) funnel.steps.push(readStep(row));
  }
  return [...funnels.values()];
}

const insertSteps = (tx: Queryable, id: string, steps: readonly NewFunnelStep[]): Promise<Row[]> =>
  tx.query(INSERT_STEPS, [
    id,
    steps.map(({ name }) => name),
    steps.map(({ order }) => order),
    steps.map(({ stepType }) => stepType),
    steps.map(({ pagePath }) => pagePath),
    steps.map(({ eventType }) => eventType),
    steps.map(({ matchType }) => matchType),
  ]);

export function createFunnelStore(db: Database): FunnelStore {
  const one = async (tx: Queryable, siteId: string, id: string): Promise<FunnelRecord | null> =>
    readFunnels(await tx.query(ONE, [siteId, id]))[0] ?? null;
  return {
    active: async (siteId) => readFunnels(await db.query(ACTIVE, [siteId])),

    list: async (siteId) => readFunnels(await db.query(ALL, [siteId])),

    find: (siteId, id) => one(db, siteId, id),

    create: ({ id, siteId, userId, name, description, steps }, limit) =>
      db.transaction(async (tx) => {
        // Funnels made at the same time are counted one after the other, and none is made for a site that goes.
        const [site] = await tx.query('SELECT id FROM websites WHERE site_id = $1 FOR UPDATE', [siteId]);
        const existing = await tx.query('SELECT id FROM funnels WHERE website_id = $1 LIMIT $2', [
          siteId,
          limit,
        ]);
        if (!site || existing.length >= limit) return null;
        await tx.query(
          'INSERT INTO funnels (id, website_id, user_id, name, description, is_active) VALUES ($1, $2, $3, $4, $5, true)',
          [id, siteId, userId, name, description],
        );
        await insertSteps(tx, id, steps);
        return one(tx, siteId, id);
      }),

    update: (siteId, id, { name, description, isActive, steps }) =>
      db.transaction(async (tx) => {
        const [row] = await tx.query(UPDATE, [siteId, id, name, description, isActive]);
        if (!row) return null;
        if (steps !== null) {
          await tx.query('DELETE FROM funnel_steps WHERE funnel_id = $1', [id]);
          await insertSteps(tx, id, steps);
        }
        return one(tx, siteId, id);
      }),

    async delete(siteId, id) {
      const rows = await db.query('DELETE FROM funnels WHERE website_id = $1 AND id = $2 RETURNING id', [
        siteId,
        id,
      ]);
      return rows.length > 0;
    },
  };
}
