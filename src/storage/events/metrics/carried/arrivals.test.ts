import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { openClickhouse } from '../../../clickhouse.js';
import { ClickhouseReader } from '../../clickhouse-reader.js';
import { RollupArrivals } from './arrivals.js';

setFlagsFromString('--expose-gc');
const gc: unknown = runInNewContext('gc');

function collectGarbage(): void {
  if (typeof gc !== 'function') throw new TypeError('no garbage collector');
  gc();
}

const wait = () => new AbortController().signal;
const BASE = { arrivedBefore: 3_600_000, to: 1_800_000 };
const TO = 1_000_000;

class Answering extends ClickhouseReader {
  constructor(private readonly answer: (signal: AbortSignal) => Promise<unknown[][]>) {
    super(openClickhouse({ url: 'http://127.0.0.1:1' }));
  }

  override rows(_: unknown, signal: AbortSignal): Promise<unknown[][]> {
    return this.answer(signal);
  }
}

/** As the server writes so many pairs of hashes. */
function pairsText(first: bigint, count: number): string {
  const pairs = Array.from({ length: count }, (_, i) => {
    const hash = 10_000_000_000_000_000_000n + first + BigInt(i);
    return `(${hash},${hash + 1n})`;
  });
  return `[${pairs.join(',')}]`;
}

it('asks again when all who waited for an answer have left', async () => {
  const asked: AbortSignal[] = [];
  let ended: () => void = () => {};
  const reader = new Answering((signal) => {
    asked.push(signal);
    if (asked.length > 1) return Promise.resolve([[1_700_000_000_000, 'h', 0]]);
    return new Promise((_, reject) => (ended = () => reject(signal.reason)));
  });
  const arrivals = new RollupArrivals(reader);
  const leaving = new AbortController();
  const left = arrivals.state('s', leaving.signal).catch(String);
  await expect.poll(() => asked.length).toBe(1);
  leaving.abort(new Error('gone'));
  expect(await left).toBe('Error: gone');
  expect(await arrivals.state('s', wait())).toMatchObject({ history: 'h' });
  // The end of the first question is no matter of the second one.
  ended();
  await new Promise((resolve) => setImmediate(resolve));
  expect(await arrivals.state('s', wait())).toMatchObject({ history: 'h' });
  expect(asked).toHaveLength(2);
});

it('keeps no text of an answer by the hashes of it', async () => {
  const kept: string[] = [];
  const read = async (i: number) => {
    const reader = new Answering(async () => [['1', '1', 1, pairsText(BigInt(i * 6_000), 6_000)]]);
    const { recent } = await new RollupArrivals(reader, { clock: () => 1 }).since('s', BASE, TO, wait());
    kept.push(...(recent?.[0] ?? []));
  };
  await read(0);
  collectGarbage();
  const before = process.memoryUsage().heapUsed;
  for (let i = 1; i <= 20; i++) await read(i);
  collectGarbage();
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(2_000_000);
  expect(kept.slice(-2)).toEqual(['10000000000000120000', '10000000000000120001']);
});

it('lets answers go that serve no more', async () => {
  const answers: WeakRef<unknown[][]>[] = [];
  const reader = new Answering(async () => {
    const rows = [['1', '1', 1, pairsText(0n, 10)]];
    answers.push(new WeakRef(rows));
    return rows;
  });
  const arrivals = new RollupArrivals(reader, { freshMs: 20 });
  await arrivals.since('s', BASE, TO, wait());
  await expect
    .poll(() => {
      collectGarbage();
      return answers[0]?.deref() === undefined;
    })
    .toBe(true);
  await arrivals.since('s', BASE, TO, wait());
  // What had arrived before is not asked again.
  expect(answers).toHaveLength(3);
});
