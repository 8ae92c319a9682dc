import { describe, expect, it, vi } from 'vitest';
import { encodeRow, makeRow } from '../../test/integration/event-rows.js';
import type { NewExecution } from '../storage/metadata/executions.js';
import { silentTelemetry } from '../telemetry.js';
import type { Allowance } from './allowance.js';
import { createEvaluator, type SeenRow } from './evaluator.js';
import type { LiveAutomation } from './live-automation.js';
import { serverRules } from './server-rules.js';

const SITE = '0123456789abcdef01234567';

function automation(id: string): LiveAutomation {
  const trigger = { kind: 'customEvent', eventName: 'buy', eventKey: '', eventValue: '' } as const;
  const action = { kind: 'wait', ms: 0 } as const;
  const steps = [{ index: 0, action }];
  return {
    definition: { id, name: id, trigger, frequency: 'always', conditions: [], actions: [action], steps },
    planned: [],
    conditions: [],
  };
}

/** Executions that cannot be stored until `isUp`; an allowance of so many executions of an automation. */
function setUp(count: number, perAutomation: number) {
  const automations = Array.from({ length: count }, (_, i) => automation(`automation ${i}`));
  const rules = serverRules(automations, []);
  const known = { byId: new Map(), payload: '', rules };
  const taken = new Map<string, number>();
  const allowance: Allowance = {
    take: vi.fn(async (id: string, wanted: number) => {
      const before = taken.get(id) ?? 0;
      taken.set(id, before + wanted);
      return Math.max(0, Math.min(wanted, perAutomation - before));
    }),
  };
  const stored: NewExecution[] = [];
  const state = { isUp: false };
  const executions = {
    begin: async (begun: readonly NewExecution[]) => {
      if (!state.isUp) throw new Error('Postgres is away');
      stored.push(...begun);
      return new Set(begun.map(({ id }) => id));
    },
  };
  const evaluator = createEvaluator({
    ...{ sites: { peek: () => known, get: async () => known }, executions, allowance },
    ...{ onBegun() {}, telemetry: silentTelemetry() },
  });
  return { evaluator, allowance, stored, state };
}

const rows = (count: number): SeenRow[] =>
  Array.from({ length: count }, (_, i) => ({
    ...{ siteId: SITE, table: 'events', source: 'batch' },
    bytes: encodeRow(
      makeRow({
        ...{ event_id: i.toString(16).padStart(32, '0'), site_id: SITE, visitor_id: `v${i}` },
        ...{ event_type: 'buy', kind: 2, timestamp: Date.now(), received_at: Date.now() },
      }),
    ),
  }));

describe('the evaluator', () => {
  it('takes from the allowance once what comes again while it cannot be stored', async () => {
    const { evaluator, stored, state } = setUp(1, 60);
    const block = rows(50);
    for (let attempt = 0; attempt < 5; attempt++)
      await expect(evaluator.observe(block)).rejects.toThrow('Postgres');
    state.isUp = true;
    await evaluator.observe(block);
    expect(stored).toHaveLength(50);
    // Of the next fifty there is room for ten.
    const more = rows(100).slice(50);
    await evaluator.observe(more);
    expect(stored).toHaveLength(60);
  });

  it('asks all allowances at once', async () => {
    const { evaluator, allowance, state } = setUp(5, 60);
    state.isUp = true;
    let release: () => void = () => {};
    const hung = new Promise<void>((resolve) => {
      release = resolve;
    });
    const take = vi.mocked(allowance.take).mockImplementation(async (_, wanted) => {
      await hung;
      return wanted;
    });
    const observed = evaluator.observe(rows(2));
    await vi.waitFor(() => expect(take).toHaveBeenCalledTimes(5), { interval: 1 });
    release();
    await observed;
  });
});
