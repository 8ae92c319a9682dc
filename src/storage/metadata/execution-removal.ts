/** Removing many executions of automations: in portions, because a single statement over all of them would meet its time-out for ever. */
import type { Queryable } from '../postgres.js';
import { number } from '../row.js';

const PORTION = 10_000;

const SOME = 't.ctid = ANY (ARRAY(SELECT id FROM portion))';

/** Whose they are. */
export type Concerned =
  | { readonly siteIds: readonly string[] }
  | { readonly siteId: string; readonly visitorId: string }
  | { readonly automationId: string };

/** Removes executions; what comes meanwhile may stay. */
export const removeExecutions = (db: Queryable, whose: Concerned, portion = PORTION): Promise<void> =>
  remove(db, 'automation_executions', whose, portion);

/** Removes claims, so that frequencies begin anew. */
export const removeClaims = (db: Queryable, whose: Concerned, portion = PORTION): Promise<void> =>
  remove(db, 'automation_claims', whose, portion);

/** Claims that a single statement can remove. */
const FEW_CLAIMS = 1_000_000;

/**
 * What goes before automations that are deleted, so that what is left can go with them in one statement. Claims do as long as they are
 * few: until the end they hold back what was allowed once.
 */
export async function thinOut(
  db: Queryable,
  whose: Concerned,
  { portion = 5 * PORTION, fewClaims = FEW_CLAIMS } = {},
): Promise<void> {
  await removeExecutions(db, whose, portion);
  await remove(db, 'automation_claims', whose, portion, fewClaims);
}

function remove(
  db: Queryable,
  table: 'automation_executions' | 'automation_claims',
  whose: Concerned,
  portion: number,
  spared = 0,
): Promise<void> {
  const [which, values] = conditionOf(whose);
  const from = `${table} WHERE ${which} OFFSET ${spared}`;
  return inPortions(db, `DELETE FROM ${table} t WHERE ${SOME}`, from, values, portion);
}

const FORGET = `UPDATE automation_executions t SET visitor_id = NULL, session_id = NULL, trigger_event_id = NULL, execution_data = NULL,
  error_message = NULL, results = '[]' WHERE ${SOME} AND status <> 'pending'`;

/** Removes from a site's finished executions what tells who triggered them. */
export async function anonymiseExecutions(db: Queryable, siteId: string, portion = PORTION): Promise<void> {
  const ended = "automation_executions WHERE website_id = $1 AND status <> 'pending'";
  await inPortions(db, FORGET, `${ended} AND visitor_id IS NOT NULL`, [siteId], portion);
  // A database of the original may hold some without a visitor.
  const rest = 'session_id IS NOT NULL OR trigger_event_id IS NOT NULL OR execution_data IS NOT NULL';
  const unnamed = `${ended} AND visitor_id IS NULL AND (${rest} OR error_message IS NOT NULL)`;
  await inPortions(db, FORGET, unnamed, [siteId], portion);
}

function conditionOf(whose: Concerned): [which: string, values: readonly unknown[]] {
  if ('siteIds' in whose) return ['website_id = ANY ($1::text[])', [whose.siteIds]];
  if ('automationId' in whose) return ['automation_id = $1::uuid', [whose.automationId]];
  return ['website_id = $1 AND visitor_id = $2', [whose.siteId, whose.visitorId]];
}

/** @param change does something to the rows with the ids in `portion` */
async function inPortions(
  db: Queryable,
  change: string,
  from: string,
  values: readonly unknown[],
  portion: number,
): Promise<void> {
  const statement = `WITH portion AS MATERIALIZED (SELECT ctid AS id FROM ${from} LIMIT ${portion}), changed AS (${change})
    SELECT count(*)::int AS found FROM portion`;
  for (;;) {
    const [row] = await db.query(statement, [...values]);
    if (row === undefined || number(row, 'found') < portion) return;
  }
}
