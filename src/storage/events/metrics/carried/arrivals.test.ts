import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { openClickhouse } from '../../../clickhouse.js';
import { ClickhouseReader } from '../../clickhouse-reader.js';
import type { Sql } from '../clickhouse-conditions.js';
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

it('shares what is being found out ahead with a question that needs it now', async () => {
  const asked: string[] = [];
  let goOn: () => void = () => {};
  const gate = new Promise<void>((resolve) => (goOn = resolve));
  class Gated extends ClickhouseReader {
    override async rows({ text }: Sql): Promise<unknown[][]> {
      asked.push(text);
      if (text.includes('system.mutations')) return [[1_700_000_000_000, 'h', 0]];
      // What had arrived before.
      if (text.includes('NOT (')) await gate;
      return [['1', '1', 0, '[]']];
    }
  }
  const reader = new Gated(openClickhouse({ url: 'http://127.0.0.1:1' }));
  const arrivals = new RollupArrivals(reader, { settled: () => BASE.arrivedBefore });
  const look = arrivals.lookAhead('s', [{ base: BASE, to: TO }], wait());
  await expect.poll(() => asked.length).toBe(3);
  const ask = () => Promise.all([arrivals.state('s', wait()), arrivals.since('s', BASE, TO, wait())]);
  const question = ask();
  goOn();
  await Promise.all([look, question]);
  expect(await ask()).toEqual(await question);
  expect(asked).toHaveLength(3);
});

it('goes on to a settled moment when everything was looked ahead for it', async () => {
  let serverMs = 1_700_000_000_000;
  const reader = new Answering(async () => [[serverMs, 'h', 0]]);
  let clock = 1;
  const arrivals = new RollupArrivals(reader, { clock: () => clock });
  const settled = async () => (await arrivals.state('s', wait())).settled;
  const first = await settled();
  await arrivals.lookAhead('s', [], wait());
  serverMs += 900_000;
  clock += 10_000;
  expect(await settled()).toBe(first);
  expect((await arrivals.state('other', wait())).settled).toBe(first + 900_000);
  await arrivals.lookAhead('s', [], wait());
  expect(await settled()).toBe(first + 900_000);
});
