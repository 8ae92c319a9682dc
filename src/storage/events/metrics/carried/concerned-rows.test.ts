import { afterAll, expect, it, vi } from 'vitest';
import { openClickhouse } from '../../../clickhouse.js';
import { ClickhouseReader } from '../../clickhouse-reader.js';
import { ConcernedRows } from './concerned-rows.js';
import { stretchOf } from './stretch.js';

const reader = new ClickhouseReader(openClickhouse({ url: 'http://127.0.0.1:1' }));
afterAll(() => reader.close());

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
  const settled = Math.floor((Date.now() - 600_000) / 900_000) * 900_000;
  const state = { settled, history: 'h', isChanging: false };
  const arrivals = { state: '1 1', latest: 1, at: performance.now(), pairs: [['11', '21'] as const] };
  const { signal } = new AbortController();
  const ask = (days: number) => {
    const base = { arrivedBefore: settled - days * 86_400_000, to: Date.now() };
    return rows.find('site', stretchOf(base, Date.now()), state, arrivals, signal);
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
