import type {
  Automation,
  AutomationChange,
  AutomationInput,
  AutomationStats,
} from '../../automations/automation.js';
import { AUTOMATION_LIMITS } from '../../automations/automation.js';
import { AppError } from '../../errors.js';
import type { Database, Queryable, Row } from '../postgres.js';
import { bool, date, isRecord, jsonObject, number, text, textOrNull } from '../row.js';
import { thinOut } from './execution-removal.js';

/** A goal as far as automations ask for it. */
export interface WatchedGoal {
  readonly id: string;
  readonly siteId: string;
  /** `event` or `pageview`. */
  readonly type: string;
  readonly identifier: string;
}

/** Definitions of automations; sites are meant by their public ids. */
export interface AutomationStore {
  /** Newest first, at most 1,000. */
  list(siteId: string): Promise<Automation[]>;
  find(siteId: string, id: string): Promise<Automation | null>;
  /**
   * @returns null when the site has `limit` automations already
   * @throws AppError `limit_reached` when the configurations of a site's automations become too much together
   */
  create(siteId: string, userId: string, input: AutomationInput, limit: number): Promise<Automation | null>;
  /** @returns null when the site has no such automation. @throws AppError `limit_reached` as above, unless they become less */
  update(siteId: string, id: string, change: AutomationChange): Promise<Automation | null>;
  toggle(siteId: string, id: string): Promise<Automation | null>;
  setSecret(siteId: string, id: string, secret: string): Promise<Automation | null>;
  /** Removes it with its executions. */
  delete(siteId: string, id: string): Promise<boolean>;
  /** Figures of a site's automations, or of one of them, by automation id. */
  stats(siteId: string, id?: string): Promise<Map<string, AutomationStats>>;
  /** Active automations of sites that have automations switched on. */
  active(siteIds: readonly string[]): Promise<Automation[]>;
  goals(ids: readonly string[]): Promise<WatchedGoal[]>;
}

const parts = (table: string, kind: 'action' | 'condition') => `COALESCE((
    SELECT jsonb_agg(jsonb_build_object('id', p.id, 'type', p.${kind}_type, 'config', p.${kind}_config, 'order', p.order_index,
      'created', p.created_at, 'updated', ${kind === 'action' ? 'p.updated_at' : 'p.created_at'}) ORDER BY p.order_index, p.created_at, p.id)
    FROM ${table} p WHERE p.automation_id = a.id), '[]') AS ${kind}s`;

const COLUMNS = `a.id, a.website_id, a.user_id, a.name, COALESCE(a.description, '') AS description, a.trigger_type, a.trigger_config,
  COALESCE(a.is_active, true) AS is_active, a.webhook_secret, a.created_at, a.updated_at,
  ${parts('automation_actions', 'action')}, ${parts('automation_conditions', 'condition')}`;

const STATS = `SELECT a.id,
    (a.past_success + count(*) FILTER (WHERE e.status = 'success'))::float8 AS success,
    (a.past_failed + count(*) FILTER (WHERE e.status = 'failed'))::float8 AS failed,
    count(*) FILTER (WHERE e.status = 'pending')::float8 AS pending,
    count(*) FILTER (WHERE e.status <> 'skipped' AND e.executed_at > now() - interval '30 days')::float8 AS last_month
  FROM automations a LEFT JOIN automation_executions e ON e.automation_id = a.id
  WHERE a.website_id = $1 AND ($2::uuid IS NULL OR a.id = $2) GROUP BY a.id`;

export function createAutomationStore(db: Database): AutomationStore {
  const find = async (tx: Queryable, siteId: string, id: string): Promise<Automation | null> => {
    const [row] = await tx.query(
      `SELECT ${COLUMNS} FROM automations a WHERE a.website_id = $1 AND a.id = $2`,
      [siteId, id],
    );
    return row ? readAutomation(row) : null;
  };
  /** One at a time for a site, or two callers could both find room for one more. */
  const locked = (siteId: string, work: (tx: Queryable) => Promise<Automation | null>) =>
    db.transaction(async (tx) => {
      await tx.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [`automations ${siteId}`]);
      const before = await bytesOf(tx, siteId);
      const written = await work(tx);
      const after = written === null ? before : await bytesOf(tx, siteId);
      if (after > Math.max(before, AUTOMATION_LIMITS.siteBytes)) throw tooLarge();
      return written;
    });
  const set = (assignment: string) => async (siteId: string, id: string, value?: string) =>
    db.transaction(async (tx) => {
      await tx.query(
        `UPDATE automations SET ${assignment}, updated_at = now() WHERE website_id = $1 AND id = $2`,
        value === undefined ? [siteId, id] : [siteId, id, value],
      );
      return find(tx, siteId, id);
    });
  const toggle = set('is_active = NOT COALESCE(is_active, true)');
  const setSecret = set('webhook_secret = $3');

  return {
    async list(siteId) {
      const rows = await db.query(
        `SELECT ${COLUMNS} FROM automations a WHERE a.website_id = $1 ORDER BY a.created_at DESC, a.id LIMIT 1000`,
        [siteId],
      );
      return rows.map(readAutomation);
    },

    find: (siteId, id) => find(db, siteId, id),

    create: (siteId, userId, input, limit) =>
      locked(siteId, async (tx) => {
        const [row] = await tx.query(
          `INSERT INTO automations (website_id, user_id, name, description, trigger_type, trigger_config)
           SELECT $1::text, $2::text, $3::text, $4::text, $5::text, $6::jsonb
           WHERE (SELECT count(*) FROM automations WHERE website_id = $1::text) < $7::int RETURNING id`,
          [
            siteId,
            userId,
            input.name,
            input.description,
            input.triggerType,
            JSON.stringify(input.triggerConfig),
            limit,
          ],
        );
        if (!row) return null;
        const id = text(row, 'id');
        await writeActions(tx, id, input.actions);
        await writeConditions(tx, id, input.conditions);
        return find(tx, siteId, id);
      }),

    update: (siteId, id, change) =>
      locked(siteId, async (tx) => {
        const [row] = await tx.query(
          `UPDATE automations SET name = COALESCE($3, name), description = COALESCE($4, description),
             trigger_type = COALESCE($5, trigger_type), trigger_config = COALESCE($6::jsonb, trigger_config),
             is_active = COALESCE($7, is_active), updated_at = now()
           WHERE website_id = $1 AND id = $2 RETURNING id`,
          [
            siteId,
            id,
            change.name ?? null,
            change.description ?? null,
            change.triggerType ?? null,
            change.triggerConfig === undefined ? null : JSON.stringify(change.triggerConfig),
            change.isActive ?? null,
          ],
        );
        if (!row) return null;
        if (change.actions) {
          await tx.query('DELETE FROM automation_actions WHERE automation_id = $1', [id]);
          await writeActions(tx, id, change.actions);
        }
        if (change.conditions) {
          await tx.query('DELETE FROM automation_conditions WHERE automation_id = $1', [id]);
          await writeConditions(tx, id, change.conditions);
        }
        return find(tx, siteId, id);
      }),

    toggle: (siteId, id) => toggle(siteId, id),
    setSecret: (siteId, id, secret) => setSecret(siteId, id, secret),

    async delete(siteId, id) {
      // Most of them go before, or a single statement would have to remove them all.
      if ((await find(db, siteId, id)) !== null) await thinOut(db, { automationId: id });
      const rows = await db.query('DELETE FROM automations WHERE website_id = $1 AND id = $2 RETURNING id', [
        siteId,
        id,
      ]);
      return rows.length > 0;
    },

    async stats(siteId, id) {
      const rows = await db.query(STATS, [siteId, id ?? null]);
      return new Map(rows.map((row) => [text(row, 'id'), readStats(row)]));
    },

    async active(siteIds) {
      const rows = await db.query(
        `SELECT ${COLUMNS} FROM automations a JOIN websites w ON w.site_id = a.website_id
         WHERE a.website_id = ANY ($1::text[]) AND COALESCE(a.is_active, true) AND w.automation_enabled
         ORDER BY a.created_at DESC, a.id`,
        [siteIds],
      );
      return rows.map(readAutomation);
    },

    async goals(ids) {
      const rows = await db.query(
        `SELECT g.id, w.site_id, g.type, g.identifier FROM goals g JOIN websites w ON w.id = g.website_id
         WHERE g.id = ANY ($1::uuid[])`,
        [ids],
      );
      return rows.map((row) => ({
        id: text(row, 'id'),
        siteId: text(row, 'site_id'),
        type: text(row, 'type'),
        identifier: text(row, 'identifier'),
      }));
    },
  };
}

const BYTES = `SELECT COALESCE(sum(octet_length(a.trigger_config::text)
    + COALESCE((SELECT sum(octet_length(action_config::text)) FROM automation_actions WHERE automation_id = a.id), 0)
    + COALESCE((SELECT sum(octet_length(condition_config::text)) FROM automation_conditions WHERE automation_id = a.id), 0)
  ), 0)::float8 AS bytes FROM automations a WHERE a.website_id = $1`;

/** Of all configurations of a site's automations. */
async function bytesOf(tx: Queryable, siteId: string): Promise<number> {
  const [row] = await tx.query(BYTES, [siteId]);
  return row ? number(row, 'bytes') : 0;
}

const tooLarge = () =>
  new AppError(
    'limit_reached',
    `The automations of a website can have at most ${AUTOMATION_LIMITS.siteBytes / 1_048_576} MiB of configuration together`,
  );

async function writeActions(tx: Queryable, id: string, actions: AutomationInput['actions']): Promise<void> {
  await tx.query(
    `INSERT INTO automation_actions (automation_id, action_type, action_config, order_index)
     SELECT $1::uuid, p->>'actionType', p->'actionConfig', n - 1 FROM jsonb_array_elements($2::jsonb) WITH ORDINALITY AS t(p, n)`,
    [id, JSON.stringify(actions)],
  );
}

async function writeConditions(
  tx: Queryable,
  id: string,
  conditions: AutomationInput['conditions'],
): Promise<void> {
  await tx.query(
    `INSERT INTO automation_conditions (automation_id, condition_type, condition_config, order_index)
     SELECT $1::uuid, p->>'conditionType', p->'conditionConfig', n - 1 FROM jsonb_array_elements($2::jsonb) WITH ORDINALITY AS t(p, n)`,
    [id, JSON.stringify(conditions)],
  );
}

function readAutomation(row: Row): Automation {
  return {
    id: text(row, 'id'),
    websiteId: text(row, 'website_id'),
    userId: text(row, 'user_id'),
    name: text(row, 'name'),
    description: textOrNull(row, 'description') ?? '',
    triggerType: text(row, 'trigger_type'),
    triggerConfig: jsonObject(row, 'trigger_config'),
    isActive: bool(row, 'is_active'),
    webhookSecret: text(row, 'webhook_secret'),
    createdAt: date(row, 'created_at'),
    updatedAt: date(row, 'updated_at'),
    actions: readParts(row, 'actions').map(({ id, type, config, order, created, updated }) => ({
      id,
      actionType: type,
      actionConfig: config,
      orderIndex: order,
      createdAt: created,
      updatedAt: updated,
    })),
    conditions: readParts(row, 'conditions').map(({ id, type, config, created }) => ({
      id,
      conditionType: type,
      conditionConfig: config,
      createdAt: created,
    })),
  };
}

function readParts(row: Row, column: string) {
  const list = row[column];
  if (!Array.isArray(list)) throw new TypeError(`column ${column}: expected a list`);
  return list.filter(isRecord).map((part) => ({
    id: text(part, 'id'),
    type: text(part, 'type'),
    config: jsonObject(part, 'config'),
    order: number(part, 'order'),
    // The original lets these be null.
    created: new Date(textOrNull(part, 'created') ?? 0),
    updated: new Date(textOrNull(part, 'updated') ?? 0),
  }));
}

function readStats(row: Row): AutomationStats {
  const successCount = number(row, 'success');
  const failureCount = number(row, 'failed');
  const ended = successCount + failureCount;
  return {
    totalExecutions: ended + number(row, 'pending'),
    successCount,
    failureCount,
    successRate: ended === 0 ? 0 : (successCount / ended) * 100,
    last30Days: number(row, 'last_month'),
  };
}
