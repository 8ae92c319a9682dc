/** Counts in the event store itself, past the program. */
import Type from 'typebox';
import { Value } from 'typebox/value';
import { expect } from 'vitest';
import type { Api, Books, Site } from '../support/api.js';
import { until } from '../support/wait.js';
import { type Load, tally } from './load.js';

const Rows = Type.Object({
  data: Type.Array(Type.Object({ page: Type.String(), count: Type.Union([Type.Number(), Type.String()]) })),
});

/** Stored events of a site per page, straight from ClickHouse. */
export async function storedByPage(
  clickhouse: string,
  database: string,
  siteId: string,
): Promise<Map<string, number>> {
  const sql = `SELECT page, count() AS count FROM ${database}.events WHERE site_id = {site:String} GROUP BY page FORMAT JSON`;
  const answer = await fetch(`${clickhouse}/?param_site=${siteId}`, { method: 'POST', body: sql });
  const text = await answer.text();
  if (!answer.ok) throw new Error(text);
  const parsed: unknown = JSON.parse(text);
  if (!Value.Check(Rows, parsed)) throw new Error(`unexpected answer: ${text.slice(0, 500)}`);
  return new Map(parsed.data.map(({ page, count }) => [page, Number(count)]));
}

/**
 * P2: every event that was received is in the books under one heading. Rows of a block that was stored, but not yet booked when its
 * writer was killed, come again and are booked as duplicates; so after a kill `stored` may fall short of what is in the store.
 */
export function expectBalanced(books: Books, accepted: number): void {
  expect(books).toMatchObject({ balanced: true, bot: 0, rejected: 0, quarantined: 0 });
  expect(books.received).toBeGreaterThanOrEqual(accepted);
  expect(books.stored).toBeLessThanOrEqual(accepted);
}

/** Waits until the dashboard shows what the load was promised, in vain if need be: the comparison afterwards says more than a time-out. */
export async function untilShown(api: Api, site: Site, load: Load): Promise<void> {
  await api.booked(site, load.accepted.size).catch(() => {});
  await until(async () => (await api.dashboard(site)).page_views >= load.accepted.size, {
    what: `the dashboard to show ${load.accepted.size} page views`,
    timeoutMs: 60_000,
    everyMs: 250,
  }).catch(() => {});
}

/**
 * Every accepted event is on the dashboard, in the store and in the books, and in the store once.
 * @param stored asks the store itself for the events by page
 */
export async function expectEachOnce(
  api: Api,
  site: Site,
  load: Load,
  stored: () => Promise<Map<string, number>>,
): Promise<void> {
  await untilShown(api, site, load);
  expect(tally(load.accepted, await stored())).toEqual({ missing: [], twice: [], unknown: [] });
  expect((await api.dashboard(site)).page_views).toBe(load.accepted.size);
  expectBalanced(await api.books(site), load.accepted.size);
}
