import { describe, expect, it } from 'vitest';
import type { NewExecution } from '../storage/metadata/executions.js';
import { silentTelemetry } from '../telemetry.js';
import type { LiveAutomation } from './live-automation.js';
import { createReports, type ExecutionReport } from './reports.js';

const ID = '6b8f1c1e-8a40-4c5e-9a55-0123456789ab';
const AUTOMATION: LiveAutomation = {
  definition: {
    ...{ id: ID, name: 'hello', frequency: 'once_per_visitor', conditions: [], actions: [], steps: [] },
    trigger: { kind: 'pageView', urlPattern: '' },
  },
  ...{ planned: [], conditions: [] },
};

async function stored(report: ExecutionReport): Promise<NewExecution[]> {
  const known = { byId: new Map([[ID, AUTOMATION]]), payload: '', rules: undefined };
  const executions: NewExecution[] = [];
  const reports = createReports({
    sites: { peek: () => known, get: async () => known },
    executions: {
      async begin(begun) {
        executions.push(...begun);
        return new Set(begun.map(({ id }) => id));
      },
    },
    allowance: { take: async (_, wanted) => wanted },
    ...{ onBegun() {}, telemetry: silentTelemetry() },
  });
  await reports.take({ siteId: '0123456789abcdef01234567' }, [{ automationId: ID, ...report }], '');
  return executions;
}

describe('a report whose texts are too long', () => {
  it('holds no half of a character, which Postgres would refuse with all others of the request', async () => {
    const [execution] = await stored({
      visitorId: `${'v'.repeat(254)}😀`,
      sessionId: `${'s'.repeat(254)}😀`,
      status: 'failed',
      errorMessage: `${'e'.repeat(499)}😀`,
    });
    expect(execution).toMatchObject({
      ...{ visitorId: 'v'.repeat(254), sessionId: 's'.repeat(254), error: 'e'.repeat(499) },
      data: { visitor_id: 'v'.repeat(254), session_id: 's'.repeat(254) },
    });
    expect(JSON.stringify(execution)).not.toMatch(/\\ud/);
  });
});

it('takes each session without a visitor for a visitor of its own', async () => {
  const [one] = await stored({ sessionId: 's1' });
  const [other] = await stored({ sessionId: 's2' });
  expect([one?.claim?.scope, other?.claim?.scope]).toEqual(['visitor', 'visitor']);
  expect(one?.claim?.subject).not.toBe(other?.claim?.subject);
});
