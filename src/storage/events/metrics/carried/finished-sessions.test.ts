import { afterEach, expect, it } from 'vitest';
import { openClickhouse } from '../../../clickhouse.js';
import { ClickhouseReader } from '../../clickhouse-reader.js';
import type { Sql } from '../clickhouse-conditions.js';
import { FinishedSessions, type ReadyOptions } from './finished-sessions.js';

const DAY = 86_400_000;
const HOUR = 3_600_000;
const { signal } = new AbortController();
const closing = new Set<FinishedSessions>();
afterEach(() => {
  for (const finished of closing) finished.close();
  closing.clear();
});

/** A site with two days of rows. */
class TwoDays extends ClickhouseReader {
  saved: unknown[] = [];
  asked = 0;
  busy = false;

  constructor(private readonly firstDay: number) {
    super(openClickhouse({ url: 'http://127.0.0.1:1' }));
  }

  override get isBusy(): boolean {
    return this.busy;
  }

  override async copy({ text, params }: Sql): Promise<void> {
    if (text.startsWith('INSERT INTO finished_days')) this.saved.push(params.asOf);
  }

  override async rows({ text }: Sql): Promise<unknown[][]> {
    this.asked++;
    if (!text.includes('AS day')) return [];
    return [
      [this.firstDay, 10],
      [this.firstDay + 1, 10],
    ];
  }
}

function setUp(ready: Partial<ReadyOptions> = {}, isAwaited = true) {
  const now = { settled: 20_000 * DAY + 12 * HOUR, history: 'h', isChanging: false };
  const reader = new TwoDays(19_998);
  const counts = { states: 0 };
  const finished = new FinishedSessions(reader, {
    ...{ minRows: 0, isAwaited },
    ready: {
      state: async () => {
        counts.states++;
        return { ...now };
      },
      ...{ share: 1, everyMs: 5, ...ready },
    },
  });
  closing.add(finished);
  return { now, reader, finished, counts, ask: () => finished.of('s', 1, { ...now }, signal) };
}

it('has finished days ready before they are asked for again', async () => {
  const { now, reader, ask, counts } = setUp();
  await ask();
  expect(reader.saved).toHaveLength(1);
  await expect.poll(() => counts.states).toBeGreaterThan(2);
  expect(reader.saved).toHaveLength(1);
  now.settled += 45 * 60_000;
  await expect.poll(() => reader.saved).toHaveLength(2);
  expect((await ask())?.asOf).toBe(now.settled);
  expect(reader.saved).toHaveLength(2);
});

it('lets questions that read the rollup go first when all days have to be made', async () => {
  const { reader, ask } = setUp({}, false);
  reader.busy = true;
  expect(await ask()).toBeUndefined();
  // What is stored, which days there are.
  await expect.poll(() => reader.asked).toBe(2);
  await new Promise((resolve) => setImmediate(resolve));
  expect(reader.saved).toEqual([]);
  reader.busy = false;
  await expect.poll(() => reader.saved).toHaveLength(1);
  expect(await ask()).toBeDefined();
});

it('makes nothing for sites that nobody asks for any more, nor everything when rows were removed', async () => {
  const { now, reader, ask, counts } = setUp({ askedMs: 60 });
  await ask();
  now.history = 'other';
  now.settled += 2 * HOUR;
  await expect.poll(() => counts.states).toBeGreaterThan(2);
  // Nothing looks at it any more.
  let before = -1;
  await expect
    .poll(
      () => {
        const isOver = before === counts.states;
        before = counts.states;
        return isOver;
      },
      { interval: 100 },
    )
    .toBe(true);
  expect(reader.saved).toHaveLength(1);
});
