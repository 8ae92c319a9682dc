import type { Database, Row } from '../postgres.js';
import { date, number, text, textOrNull } from '../row.js';
import type { FunnelRecord, FunnelStepRecord, FunnelStore } from './metadata.js';

const ACTIVE = `SELECT f.id, f.website_id, f.name, f.description, f.created_at, f.updated_at,
    s.id AS step_id, s.name AS step_name, s.step_order, s.step_type, s.page_path, s.event_type,
    COALESCE(s.match_type, '') AS match_type
  FROM (SELECT * FROM funnels WHERE website_id = $1 AND is_active ORDER BY created_at DESC, id LIMIT 200) f
  LEFT JOIN funnel_steps s ON s.funnel_id = f.id
  ORDER BY f.created_at DESC, f.id, s.step_order, s.id`;

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

export function createFunnelStore(db: Database): FunnelStore {
  return {
    async active(siteId) {
      const rows = await db.query(ACTIVE, [siteId]);
      const funnels = new Map<string, FunnelRecord & { steps: FunnelStepRecord[] }>();
      for (const row of rows) {
        const id = text(row, 'id');
        let funnel = funnels.get(id);
        if (!funnel) {
          funnel = {
            id,
            siteId: text(row, 'website_id'),
            name: text(row, 'name'),
            description: textOrNull(row, 'description') ?? '',
            createdAt: date(row, 'created_at'),
            updatedAt: date(row, 'updated_at'),
            steps: [],
          };
          funnels.set(id, funnel);
        }
        if (row.step_id !== null) funnel.steps.push(readStep(row));
      }
      return [...funnels.values()];
    },
  };
}
