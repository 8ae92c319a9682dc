/** Evaluation as events flow: the partition writer shows each new event before it is stored (architecture.md). */
import { Counter } from 'prom-client';
import type { Source } from '../events/frame.js';
import { decodeRow, decodeRowOf } from '../events/row-decoder.js';
import type { ExecutionStore, NewExecution } from '../storage/metadata/executions.js';
import type { Telemetry } from '../telemetry.js';
import { type Allowance, droppedCounter } from './allowance.js';
import type { Condition } from './conditions.js';
import { EventFacts } from './event-facts.js';
import { EventView } from './event-view.js';
import { type Facts, holds } from './facts.js';
import { FunnelFacts } from './funnel-facts.js';
import { Grants } from './grants.js';
import type { LiveAutomation, WordedCondition } from './live-automation.js';
import { LATEST_MS, type Occasion, plan } from './plan.js';
import type { ServerRules } from './server-rules.js';
import type { SiteAutomations, SiteAutomationsCache } from './site-automations.js';
import { uuidFrom } from './storable.js';

/** A row of the stream, as the partition writer shows it. */
export interface SeenRow {
  readonly siteId: string;
  readonly table: 'events' | 'funnel_events';
  readonly source: Source;
  readonly bytes: Uint8Array;
}

export interface EvaluatorOptions {
  readonly sites: SiteAutomationsCache;
  readonly executions: Pick<ExecutionStore, 'begin'>;
  readonly allowance: Allowance;
  /** Told when executions began: the runner need not wait for its next look. */
  readonly onBegun: () => void;
  readonly telemetry: Telemetry;
}

export interface Evaluator {
  /** Whether an event of the site may start anything. Quick; true while it is not known. */
  wants(siteId: string): boolean;
  /** Stores the executions that these rows start. The same row again starts nothing more. Rejects when that cannot be stored. */
  observe(rows: readonly SeenRow[]): Promise<void>;
}

/** Executions stored in one statement. */
const CHUNK = 500;

export function createEvaluator(options: EvaluatorOptions): Evaluator {
  const { sites, executions, onBegun, telemetry } = options;
  const grants = new Grants(options.allowance);
  const dropped = droppedCounter(telemetry.registry);
  const begun = new Counter({
    name: 'seentics_automation_matches_total',
    help: 'Matches of events that began an execution.',
    registers: [telemetry.registry],
  });
  const view = new EventView();

  const matchesOf = (
    rows: readonly SeenRow[],
    known: ReadonlyMap<string, SiteAutomations>,
  ): NewExecution[] => {
    const found: NewExecution[] = [];
    for (const row of rows) {
      const rules = known.get(row.siteId)?.rules;
      // What is imported happened long ago, elsewhere.
      if (rules === undefined || row.source === 'import') continue;
      try {
        look(row, rules, found);
      } catch {
        // A damaged row: the writer puts it into the quarantine.
        dropped.inc({ reason: 'invalid' });
      }
    }
    return found;
  };
  const look = (row: SeenRow, rules: ServerRules, found: NewExecution[]): void => {
    const since = Date.now() - LATEST_MS;
    if (row.table === 'funnel_events') {
      const facts = new FunnelFacts(decodeRowOf('funnel_events', row.bytes));
      if (facts.row.timestamp < since) return;
      for (const automation of rules.startedByFunnel(facts.moment()))
        add(found, automation, facts, facts.occasion(), facts.row.event_id);
      return;
    }
    const started = rules.startedBy(view.open(row.bytes));
    if (started.length === 0 || view.timestamp < since) return;
    const facts = new EventFacts(decodeRow(row.bytes));
    for (const automation of started) add(found, automation, facts, facts.occasion(), facts.row.event_id);
  };
  const add = (
    to: NewExecution[],
    automation: LiveAutomation,
    facts: Facts,
    occasion: Occasion,
    eventId: string,
  ): void => {
    const checks = openChecks(automation, facts);
    if (checks === undefined) {
      dropped.inc({ reason: 'condition' });
      return;
    }
    const id = uuidFrom(automation.definition.id, eventId);
    to.push(plan(automation, occasion, { id, triggerEventId: eventId, checks }));
  };

  return {
    wants(siteId) {
      const known = sites.peek(siteId);
      return known === undefined || known.rules !== undefined;
    },

    async observe(rows) {
      const known = new Map<string, SiteAutomations>();
      const siteIds = [...new Set(rows.map(({ siteId }) => siteId))];
      await Promise.all(siteIds.map(async (siteId) => known.set(siteId, await sites.get(siteId))));
      const found = matchesOf(rows, known);
      const matches = await grants.allowed(found);
      let count = 0;
      for (let at = 0; at < matches.length; at += CHUNK)
        count += (await executions.begin(matches.slice(at, at + CHUNK))).size;
      grants.settled(found);
      if (matches.length > 0) {
        begun.inc(count);
        dropped.inc({ reason: 'known' }, matches.length - count);
      }
      if (count > 0) onBegun();
    },
  };
}

/** Facts that are not in the event but can be looked up where the session is stored. */
const LATER: ReadonlySet<Condition['kind']> = new Set([
  'visitor',
  'pageViews',
  'trafficSource',
  'device',
  'property',
]);

/**
 * The conditions that must be decided later; undefined when one does not hold already, or asks for what the server can never know.
 */
function openChecks({ conditions }: LiveAutomation, facts: Facts): WordedCondition[] | undefined {
  const later: WordedCondition[] = [];
  for (const { condition, worded } of conditions) {
    const verdict = holds(condition, facts);
    if (verdict === true) continue;
    if (verdict === false || !LATER.has(condition.kind)) return undefined;
    later.push(worded);
  }
  return later;
}
