import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { MOST_OVERDUE } from '../../src/storage/metadata/execution-queries.js';
import {
  anonymiseExecutions,
  removeClaims,
  removeExecutions,
  thinOut,
} from '../../src/storage/metadata/execution-removal.js';
import { createExecutionStore } from '../../src/storage/metadata/executions.js';
import { createMetadataStore } from '../../src/storage/metadata/postgres-store.js';
import { openPostgres } from '../../src/storage/postgres.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshPostgres } from '../support/fresh.js';

const CLAIMS = `INSERT INTO automation_claims (automation_id, scope, subject, website_id, visitor_id, claimed_at, window_ms, expires_at)
  SELECT $1::uuid, 'visitor', n::text, $2::text, 'v' || n % 2, now(), 0, now() + interval '1 day' FROM generate_series(0, 4) n`;
const connection = { maxConnections: 2, minConnections: 0, telemetry: silentTelemetry() };
let database: Awaited<ReturnType<typeof freshPostgres>>;
let db: ReturnType<typeof openPostgres>;
/** Rows that each statement has found. */
const found: unknown[] = [];
const [a, b] = [randomUUID(), randomUUID()];

beforeAll(async () => {
  database = await freshPostgres();
  await (await createMetadataStore({ ...connection, url: database.url })).close();
  db = openPostgres({ ...connection, name: 'test', url: database.url });
});
afterAll(async () => {
  await db.close();
  await database.drop();
});
beforeEach(async () => {
  found.length = 0;
  await db.query('DELETE FROM automations');
  for (const [id, site] of [
    [a, 'site-a'],
    [b, 'site-b'],
  ]) {
    await db.query(
      `INSERT INTO automations (id, website_id, user_id, name, trigger_type, trigger_config) VALUES ($1, $2, $3, 'n', 't', '{}')`,
      [id, site, randomUUID()],
    );
    await db.query(
      `INSERT INTO automation_executions (automation_id, website_id, visitor_id, session_id, status, execution_data, error_message)
       SELECT $1::uuid, $2::text, CASE WHEN n < 5 THEN 'v' || n % 2 END, 's', CASE WHEN n = 0 THEN 'pending' ELSE 'failed' END, '{"x": 1}', 'e'
       FROM generate_series(0, 6) n`,
      [id, site],
    );
    await db.query(CLAIMS, [id, site]);
  }
});

const watched = {
  async query(text: string, values?: readonly unknown[]) {
    const rows = await db.query(text, values);
    found.push(rows[0]?.found);
    return rows;
  },
};
const left = async () => {
  const [row] = await db.query(
    `SELECT (SELECT array_agg(website_id || ' ' || COALESCE(visitor_id, '-') ORDER BY website_id, visitor_id) FROM automation_executions) AS executions,
       (SELECT array_agg(website_id || ' ' || visitor_id ORDER BY website_id, visitor_id) FROM automation_claims) AS claims`,
  );
  return row;
};

it('removes the executions and claims of a website, a visitor or an automation, and no others, however many there are', async () => {
  const before = await left();
  await removeExecutions(watched, { siteId: 'site-a', visitorId: 'v1' }, 1);
  expect(found).toEqual([1, 1, 0]);
  await removeExecutions(watched, { siteIds: ['site-a', 'none'] }, 2);
  expect(found).toEqual([1, 1, 0, 2, 2, 1]);
  await removeClaims(watched, { siteIds: ['site-a'] }, 5);
  const after = await left();
  expect(after?.executions).toEqual(ofB(before?.executions));
  expect(after?.claims).toEqual(ofB(before?.claims));
  await thinOut(watched, { automationId: b }, { portion: 2, fewClaims: 1 });
  expect(await left()).toEqual({ executions: null, claims: [expect.any(String)] });
  await db.query('DELETE FROM automation_claims');
  await db.query(CLAIMS, [b, 'site-b']);
  await removeClaims(watched, { siteId: 'site-b', visitorId: 'v0' }, 10);
  expect(await left()).toEqual({ executions: null, claims: ['site-b v1', 'site-b v1'] });
});

it('makes finished executions anonymous, and leaves those that are under way', async () => {
  await anonymiseExecutions(watched, 'site-a', 2);
  expect(found).toEqual([2, 2, 0, 2, 0]);
  const rows = await db.query(
    `SELECT count(*)::int AS n, status FROM automation_executions WHERE website_id = 'site-a'
       AND COALESCE(visitor_id, session_id, execution_data::text, error_message) IS NULL GROUP BY status`,
  );
  expect(rows).toEqual([{ n: 6, status: 'failed' }]);
  const [others] = await db.query(
    `SELECT count(*)::int AS n FROM automation_executions WHERE session_id IS NOT NULL`,
  );
  expect(others).toEqual({ n: 8 });
});

it('begins nothing more for a website that is far behind, but what browsers have done', async () => {
  const overdue = (minutes: number) =>
    db.query(
      `UPDATE automation_executions SET due_at = now() - $1::int * interval '1 minute' WHERE website_id = 'site-a' AND status = 'pending'`,
      [minutes],
    );
  await db.query(
    `INSERT INTO automation_executions (automation_id, website_id, status) SELECT $1::uuid, 'site-a', 'pending' FROM generate_series(2, $2::int)`,
    [a, MOST_OVERDUE],
  );
  const execution = (automationId: string, siteId: string, status: 'pending' | 'success' = 'pending') => ({
    ...{
      id: randomUUID(),
      automationId,
      siteId,
      visitorId: 'v',
      sessionId: 's',
      triggerEventId: null,
      status,
    },
    ...{ error: null, data: {}, steps: [], checks: [], claim: null, executedAt: Date.now(), delayMs: 0 },
  });
  const executions = createExecutionStore(db);
  const begun = async () => {
    const some = [execution(a, 'site-a'), execution(b, 'site-b'), execution(a, 'site-a', 'success')];
    const ids = await executions.begin(some);
    return some.map(({ id }) => ids.has(id));
  };
  await overdue(11);
  expect(await begun()).toEqual([false, true, true]);
  // Those that wait because they were told to count for nothing.
  await overdue(9);
  expect(await begun()).toEqual([true, true, true]);
  await overdue(11);
  await db.query(
    `DELETE FROM automation_executions WHERE id IN (SELECT id FROM automation_executions WHERE website_id = 'site-a' AND status = 'pending' LIMIT 2)`,
  );
  expect(await begun()).toEqual([true, true, true]);
});

const ofB = (list: unknown): unknown[] =>
  Array.isArray(list) ? list.filter((text) => String(text).startsWith('site-b')) : [];
