import { randomUUID } from 'node:crypto';
import type { Database, Row } from '../postgres.js';
import { bool, date, isRecord, jsonObject, number, text } from '../row.js';
import { BEGIN, CONFIRM, EXPIRE, EXPIRE_OF_SITE, SETTLE, TAKE } from './execution-queries.js';
import { anonymiseExecutions, removeClaims, removeExecutions } from './execution-removal.js';

/** What a frequency allows once: at most one execution of a subject (a session or a visitor) within the window. */
export interface Claim {
  readonly scope: string;
  readonly subject: string;
  /** ms; 0: for as long as the claim is kept. */
  readonly windowMs: number;
  /** How long the claim is remembered, ms. */
  readonly keepMs: number;
}

/** An action as it was when the execution began. */
export interface PlannedStep {
  /** Place of the action in its automation. */
  readonly index: number;
  readonly actionType: string;
  readonly actionConfig: Readonly<Record<string, unknown>>;
}

/** `skipped`: a condition that was decided late did not hold, or the frequency allowed no more. */
export type ExecutionStatus = 'pending' | 'success' | 'failed' | 'skipped';

export interface NewExecution {
  /** UUID made of the automation and its trigger: the same again is the same execution. */
  readonly id: string;
  readonly automationId: string;
  /** Public site id. */
  readonly siteId: string;
  readonly visitorId: string;
  readonly sessionId: string;
  /** 32 hex characters; null when no event of ours triggered it. */
  readonly triggerEventId: string | null;
  readonly status: Exclude<ExecutionStatus, 'skipped'>;
  readonly error: string | null;
  /** What triggered it, for payloads and templates. */
  readonly data: Readonly<Record<string, unknown>>;
  readonly steps: readonly PlannedStep[];
  /** Conditions that the runner has to decide first. */
  readonly checks: readonly Readonly<Record<string, unknown>>[];
  readonly claim: Claim | null;
  /** ms since epoch */
  readonly executedAt: number;
  /** When the runner may begin, ms from now. */
  readonly delayMs: number;
}

/** An execution that this runner holds under a lease. */
export interface TakenExecution {
  readonly id: string;
  readonly lease: string;
  readonly automationId: string;
  readonly automationName: string;
  readonly siteId: string;
  readonly visitorId: string;
  readonly sessionId: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly steps: readonly PlannedStep[];
  readonly nextStep: number;
  /** Failed attempts of the next step. */
  readonly attempts: number;
  /** The runner before this one died while it ran the next step. */
  readonly wasInFlight: boolean;
  readonly checks: readonly Readonly<Record<string, unknown>>[];
  readonly executedAt: Date;
  readonly webhookSecret: string;
  /** Whether the automation and its site are still switched on. */
  readonly isWanted: boolean;
}

export interface StepOutcome {
  readonly status: ExecutionStatus;
  readonly nextStep: number;
  readonly attempts: number;
  /** Of a pending one: when to go on, ms from now; the lease ends. */
  readonly delayMs: number;
  readonly error: string | null;
  /** Entries for the record of what became of the steps. */
  readonly results: readonly Readonly<Record<string, unknown>>[];
}

/** Executions and the claims of frequencies. */
export interface ExecutionStore {
  /**
   * Stores executions, each once and within what its claim allows, whatever other nodes do at the same time. Those of automations that
   * are gone are left out, and what the server would have to run of websites that are far behind (`MOST_OVERDUE`): targets that hang must
   * not let executions pile up.
   * @returns ids of those that were new
   */
  begin(executions: readonly NewExecution[]): Promise<Set<string>>;
  /** Takes due executions for `leaveMs`; of a site at most `perSite`, of `busySites` none. */
  take(options: {
    readonly limit: number;
    readonly perSite: number;
    readonly busySites: readonly string[];
    readonly leaseMs: number;
  }): Promise<TakenExecution[]>;
  /** ms until the next execution is due (0 or less: now); null when none is waiting. */
  nextDueMs(): Promise<number | null>;
  /** Notes that the next step is being run, and renews the lease. False when the lease is lost. */
  startStep(id: string, lease: string, leaseMs: number): Promise<boolean>;
  /** Notes what became of a step and ends the lease. False when it was lost: somebody else goes on. */
  settle(id: string, lease: string, outcome: StepOutcome): Promise<boolean>;
  /** The late conditions hold: makes the execution's claim. False when the frequency allows no more: the execution is skipped. */
  confirm(id: string, lease: string): Promise<boolean>;
  /** Removes executions older than this, after adding them to their automations' figures, and claims that are over. @returns how many */
  expire(maxAgeMs: number, limit: number): Promise<number>;
  /** Removes executions of a site that began before a time, as `expire` does, and claims from before it. @returns how many executions */
  expireOf(siteId: string, before: Date, limit: number): Promise<number>;
  /** What a visitor has triggered on a site, for an export; the oldest first, at most 10,000. */
  ofVisitor(siteId: string, visitorId: string): Promise<Readonly<Record<string, unknown>>[]>;
  /** Removes everything about a visitor of a site. */
  deleteVisitor(siteId: string, visitorId: string): Promise<void>;
  /** Removes all executions and claims of a site; its automations stay, their figures begin anew. */
  deleteSite(siteId: string): Promise<void>;
  /** Removes from a site's finished executions what tells who triggered them, and all claims. */
  anonymise(siteId: string): Promise<void>;
}

export function createExecutionStore(db: Database): ExecutionStore {
  return {
    async begin(executions) {
      const begun = new Set<string>();
      for (const round of roundsOf(executions)) {
        const rows = await db.query(BEGIN, [JSON.stringify(round.map(recordOf))]);
        for (const row of rows) begun.add(text(row, 'id'));
      }
      return begun;
    },

    async take({ limit, perSite, busySites, leaseMs }) {
      return (await db.query(TAKE, [limit, perSite, busySites, randomUUID(), leaseMs])).map(readTaken);
    },

    async nextDueMs() {
      const [row] = await db.query(
        `SELECT (extract(epoch FROM min(due_at) - now()) * 1000)::float8 AS ms FROM automation_executions WHERE status = 'pending'`,
      );
      return row && row.ms !== null ? number(row, 'ms') : null;
    },

    async startStep(id, lease, leaseMs) {
      const rows = await db.query(
        `UPDATE automation_executions SET in_flight = true, due_at = now() + $3::float8 * interval '1 millisecond'
         WHERE id = $1 AND lease = $2 AND status = 'pending' RETURNING id`,
        [id, lease, leaseMs],
      );
      return rows.length > 0;
    },

    async settle(id, lease, { status, nextStep, attempts, delayMs, results, error }) {
      const values = [id, lease, status, nextStep, attempts, delayMs, JSON.stringify(results), error];
      return (await db.query(SETTLE, values)).length > 0;
    },

    async confirm(id, lease) {
      const [row] = await db.query(CONFIRM, [id, lease]);
      return row !== undefined && bool(row, 'is_free');
    },

    async expire(maxAgeMs, limit) {
      const [row] = await db.query(EXPIRE, [maxAgeMs, limit]);
      return row ? number(row, 'rows') : 0;
    },

    async expireOf(siteId, before, limit) {
      const [row] = await db.query(EXPIRE_OF_SITE, [siteId, before, limit]);
      return row ? number(row, 'rows') : 0;
    },

    ofVisitor: (siteId, visitorId) =>
      db.query(
        `SELECT id, automation_id, session_id, status, execution_data AS data, executed_at, completed_at FROM automation_executions
         WHERE website_id = $1 AND visitor_id = $2 ORDER BY executed_at, id LIMIT 10000`,
        [siteId, visitorId],
      ),

    async deleteVisitor(siteId, visitorId) {
      await removeExecutions(db, { siteId, visitorId });
      await removeClaims(db, { siteId, visitorId });
    },

    async deleteSite(siteId) {
      await removeExecutions(db, { siteIds: [siteId] });
      await removeClaims(db, { siteIds: [siteId] });
      await db.query('UPDATE automations SET past_success = 0, past_failed = 0 WHERE website_id = $1', [
        siteId,
      ]);
    },

    async anonymise(siteId) {
      await anonymiseExecutions(db, siteId);
      await db.query('DELETE FROM automation_claims WHERE website_id = $1', [siteId]);
    },
  };
}

/**
 * One statement makes each claim once at most: the earliest execution of a subject tries first, then (where the window can have passed
 * within what came together) the latest.
 */
function roundsOf(executions: readonly NewExecution[]): NewExecution[][] {
  const first = new Map<string, NewExecution>();
  const last = new Map<string, NewExecution>();
  const byTime = executions.toSorted((a, b) => a.executedAt - b.executedAt);
  for (const execution of byTime) {
    const { claim, automationId, checks } = execution;
    const isClaimed = claim !== null && checks.length === 0;
    const key = isClaimed ? JSON.stringify([automationId, claim.scope, claim.subject]) : execution.id;
    if (!first.has(key)) first.set(key, execution);
    else if (isClaimed && claim.windowMs > 0) last.set(key, execution);
  }
  return [first, last].filter((round) => round.size > 0).map((round) => [...round.values()]);
}

function recordOf(execution: NewExecution) {
  const { steps, checks } = execution;
  return {
    id: execution.id,
    automation_id: execution.automationId,
    website_id: execution.siteId,
    visitor_id: execution.visitorId,
    session_id: execution.sessionId,
    trigger_event_id: execution.triggerEventId,
    status: execution.status,
    error: execution.error,
    data: execution.data,
    // JSON null would become the jsonb value null, so what is not there is left out.
    ...(steps.length > 0 ? { steps } : {}),
    ...(checks.length > 0 ? { checks } : {}),
    ...(execution.claim === null ? {} : { claim: execution.claim }),
    executed_at: execution.executedAt,
    delay_ms: execution.delayMs,
  };
}

function readTaken(row: Row): TakenExecution {
  return {
    id: text(row, 'id'),
    lease: text(row, 'lease'),
    automationId: text(row, 'automation_id'),
    automationName: text(row, 'name'),
    siteId: text(row, 'website_id'),
    visitorId: text(row, 'visitor_id'),
    sessionId: text(row, 'session_id'),
    data: jsonObject(row, 'execution_data'),
    steps: list(row, 'steps').map((step) => ({
      index: number(step, 'index'),
      actionType: text(step, 'actionType'),
      actionConfig: jsonObject(step, 'actionConfig'),
    })),
    nextStep: number(row, 'next_step'),
    attempts: number(row, 'attempts'),
    wasInFlight: bool(row, 'in_flight'),
    checks: list(row, 'checks'),
    executedAt: date(row, 'executed_at'),
    webhookSecret: text(row, 'webhook_secret'),
    isWanted: bool(row, 'is_wanted'),
  };
}

function list(row: Row, column: string): Readonly<Record<string, unknown>>[] {
  const value = row[column];
  return Array.isArray(value) ? value.filter(isRecord) : [];
}
