/** Whose import is worked on next. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { createMetadataStore } from '../../src/storage/metadata/postgres-store.js';
import { openPostgres } from '../../src/storage/postgres.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshPostgres } from '../support/fresh.js';
import { until } from '../support/wait.js';

const LEASE_MS = 60_000;
const LIMITS = { all: 100, reports: 100, waiting: 100, ofOwner: 100 };

const database = await freshPostgres();
const options = { url: database.url, maxConnections: 8, minConnections: 0, telemetry: silentTelemetry() };
const metadata = await createMetadataStore(options);
const db = openPostgres({ ...options, name: 'test' });
const { imports } = metadata;
const accounts = [randomUUID(), randomUUID()];
const sites = [randomUUID(), randomUUID(), randomUUID()];

beforeAll(async () => {
  for (const id of accounts)
    await db.query("INSERT INTO users (id, name, email, password_hash) VALUES ($1, 'x', $2, '')", [
      id,
      `${id}@shop.example`,
    ]);
  for (const [n, id] of sites.entries())
    await db.query(
      "INSERT INTO websites (id, site_id, tracking_id, user_id, name, url) VALUES ($1, $2, $2, $3, 'x', 'x')",
      [id, `site-${n}`, owner(n)],
    );
});
beforeEach(() => db.query('DELETE FROM imports'));
afterAll(async () => {
  await Promise.all([metadata.close(), db.close()]);
  await database.drop();
});

/** The last site is of the second account, the others of the first. */
const owner = (site: number): string => accounts[site === 2 ? 1 : 0] ?? '';

async function queue(site: number): Promise<string> {
  const id = randomUUID();
  const websiteId = sites[site] ?? '';
  const file = { format: 'csv', fileName: '', bytes: 9, report: null, rows: 0 } as const;
  await imports.create({ id, websiteId, siteId: `site-${site}`, userId: owner(site), ...file }, LIMITS);
  return id;
}

it('is one of a site at a time, also when many nodes ask at once', async () => {
  for (let n = 0; n < 8; n++) await queue(0);
  const takes = await db.transaction(async (tx) => {
    await tx.query('LOCK TABLE imports IN ACCESS EXCLUSIVE MODE');
    const asking = Array.from({ length: 8 }, () => imports.take(LEASE_MS));
    // All of them are on their way before the first one gets an answer.
    await until(async () => (await waiting()) === 8, { what: 'eight nodes to ask' });
    return asking;
  });
  const taken = await Promise.all(takes);
  expect(taken.filter((item) => item !== null)).toHaveLength(1);
});

/** Statements that wait for a lock. */
async function waiting(): Promise<number> {
  const rows = await db.query(
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
  );
  return rows.length;
}

it('is of the account that waits longest, and an undoing before all', async () => {
  const [a, b, second] = [await queue(0), await queue(1), await queue(0)];
  const other = await queue(2);
  const next = async (): Promise<string | undefined> => {
    const item = await imports.take(LEASE_MS);
    if (item !== null)
      await imports.end(item.id, item.lease, item.state === 'undoing' ? 'undone' : 'done', null);
    return item?.id;
  };
  expect(await next()).toBe(a);
  expect(await next()).toBe(other);
  const held = await imports.take(LEASE_MS);
  expect(held?.id).toBe(b);
  const late = await queue(2);
  // The first account has one under way.
  expect(await next()).toBe(late);
  await imports.requestUndo(sites[2] ?? '', other);
  expect([await next(), await next(), await next()]).toEqual([other, second, undefined]);
});

it('is of each import in turn, and the one that had its turn comes last', async () => {
  const [long, next] = [await queue(0), await queue(0)];
  const short = await queue(1);
  const taken = await imports.take(LEASE_MS);
  expect(taken?.id).toBe(long);
  await imports.pass(long, taken?.lease ?? '');
  expect((await imports.find(sites[0] ?? '', long))?.state).toBe('queued');
  const other = await queue(2);
  const order: (string | undefined)[] = [];
  for (let n = 0; n < 6; n++) {
    const item = await imports.take(LEASE_MS);
    order.push(item?.id);
    if (item !== null) await imports.pass(item.id, item.lease);
  }
  expect(order).toEqual([other, next, other, short, other, long]);
});

it('is of what was left in the midst of the work before other imports of the site', async () => {
  const [left, next] = [await queue(0), await queue(0)];
  const take = async () => {
    const item = await imports.take(LEASE_MS);
    return { id: item?.id, lease: item?.lease ?? '' };
  };
  const first = await take();
  await imports.leave(left, first.lease, 60_000);
  expect((await take()).id).toBeUndefined();
  await db.query('UPDATE imports SET lease_until = now() WHERE id = $1', [left]);
  const again = await take();
  expect([first.id, again.id]).toEqual([left, left]);
  await imports.pass(left, again.lease);
  expect((await take()).id).toBe(next);
});
