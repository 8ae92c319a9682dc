import { afterAll, afterEach, expect, it, vi } from 'vitest';
import { openClickhouse } from '../../../clickhouse.js';
import { ClickhouseReader } from '../../clickhouse-reader.js';
import { ConcernedRows } from './concerned-rows.js';
import { stretchOf } from './stretch.js';

const reader = new ClickhouseReader(openClickhouse({ url: 'http://127.0.0.1:1' }));
afterEach(() => vi.restoreAllMocks());
afterAll(() => reader.close());

const settled = Math.floor((Date.now() - 600_000) / 900_000) * 900_000;
const STATE = { settled, history: 'h', isChanging: false };
const { signal } = new AbortController();

it('asks no set into which nobody knows what was copied', async () => {
  const failed: unknown[] = [];
  const batches: string[] = [];
  vi.spyOn(reader, 'copy').mockImplementation(async ({ text, params }) => {
    if (!text.includes('session IN')) return;
    batches.push(`${params.set} ${params.batch}`);
    if (failed.length > 0) return;
    failed.push(params.set);
    throw new Error('the answer was lost, the rows are stored');
  });
  vi.spyOn(reader, 'rows').mockImplementation(async ({ text }) =>
    text.includes('UNION ALL')
      ? [
          [1, '21'],
          [2, '11'],
          [2, '12'],
        ]
      : [['11', '21']],
  );
  const rows = new ConcernedRows(reader);
  const arrivals = {
    state: '1 1',
    latest: 1,
    at: performance.now(),
    recent: [['11', '21'] as const],
    cut: [],
  };
  const ask = (days: number) => {
    const base = { arrivedBefore: settled - days * 86_400_000, to: Date.now() };
    return rows.find('site', STATE, { stretch: stretchOf(base, Date.now()), ...arrivals }, signal);
  };
  const [first, second, third] = await Promise.allSettled([ask(1), ask(2), ask(3)]);
  expect(first).toMatchObject({ status: 'rejected' });
  expect(second).toMatchObject({
    status: 'fulfilled',
    value: { set: expect.not.stringMatching(String(failed[0])) },
  });
  expect(third).toEqual(second);
  expect(new Set(batches).size).toBe(batches.length);
});

it('keeps its copies when another question is about too much', async () => {
  vi.spyOn(reader, 'copy').mockResolvedValue();
  vi.spyOn(reader, 'rows').mockImplementation(async ({ text }) =>
    text.includes('UNION ALL') ? [[2, '11']] : [['11', '21']],
  );
  const rows = new ConcernedRows(reader);
  const ask = (days: number, pairs: readonly (readonly [string, string])[] | undefined) => {
    const base = { arrivedBefore: settled - days * 86_400_000, to: Date.now() };
    const arrivals = { state: `${days}`, latest: 1, at: performance.now(), recent: pairs, cut: [] };
    return rows.find('site', STATE, { stretch: stretchOf(base, Date.now()), ...arrivals }, signal);
  };
  const first = await ask(1, [['11', '21']]);
  expect(first).toBeDefined();
  expect(await ask(100, undefined)).toBeUndefined();
  expect(await ask(2, [['11', '21']])).toMatchObject({ set: first?.set });
});

it('reads the rows of a session once that only an earlier period needed, and then all', async () => {
  vi.spyOn(reader, 'copy').mockResolvedValue();
  vi.spyOn(reader, 'rows').mockImplementation(async ({ text }) =>
    text.includes('UNION ALL')
      ? [
          [1, '21'],
          [2, '11'],
          [2, '12'],
        ]
      : [],
  );
  const rows = new ConcernedRows(reader);
  const monthAgo = Date.now() - 30 * 86_400_000;
  const pairs = [['11', '21'] as const];
  const ask = (to: number, recent: typeof pairs, cut: typeof pairs) => {
    const arrivals = { state: `${recent.length}`, latest: 1, at: performance.now(), recent, cut };
    const stretch = stretchOf({ arrivedBefore: settled, to }, to);
    return rows.find('site', STATE, { stretch, ...arrivals }, signal);
  };
  expect((await ask(Date.now(), [], []))?.beside).toBeUndefined();
  expect((await ask(monthAgo, [], pairs))?.beside).toMatchObject({ batch: 1, less: [] });
  const all = await ask(Date.now(), pairs, []);
  expect(all?.batch).toBe(1);
  expect(all?.beside).toBeUndefined();
  const earlier = await ask(monthAgo, pairs, pairs);
  expect(earlier).toMatchObject({ set: all?.set, beside: { batch: 1, less: ['11', '12'] } });
});

it('begins anew for all who waited while a set got full', async () => {
  const many = (first: number) =>
    Array.from({ length: 13_000 }, (_, i) => [`${first + i}`, `${first + i}`] as const);
  vi.spyOn(reader, 'copy').mockResolvedValue();
  vi.spyOn(reader, 'rows').mockResolvedValue([]);
  const rows = new ConcernedRows(reader);
  const ask = (days: number) => {
    const base = { arrivedBefore: settled - days * 86_400_000, to: Date.now() };
    const arrivals = { state: `${days}`, latest: 1, at: 0, recent: many(days * 100_000), cut: [] };
    return rows.find('site', STATE, { stretch: stretchOf(base, Date.now()), ...arrivals }, signal);
  };
  const [first, second] = await Promise.all([ask(1), ask(2)]);
  expect(first).toBeDefined();
  expect(second).toBeDefined();
  expect(second?.set).not.toBe(first?.set);
});

it('tells who waits for copies of a time limit as of any other', async () => {
  const limit = AbortSignal.abort(new DOMException('it took too long', 'TimeoutError'));
  const sql = { text: 'SELECT 1', params: {} };
  await expect(reader.rows(sql, limit)).rejects.toMatchObject({ code: 'timeout' });
  await expect(reader.copy(sql, limit)).rejects.toMatchObject({ code: 'timeout' });
  const gone = AbortSignal.abort(new Error('gone'));
  await expect(reader.rows(sql, gone)).rejects.toThrow('gone');
  await expect(reader.copy(sql, gone)).rejects.toThrow('gone');
});
