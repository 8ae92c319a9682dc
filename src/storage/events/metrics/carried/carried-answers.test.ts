import { Registry } from 'prom-client';
import { afterEach, expect, it } from 'vitest';
import { AppError } from '../../../../errors.js';
import { openClickhouse } from '../../../clickhouse.js';
import { ClickhouseReader } from '../../clickhouse-reader.js';
import type { Sql } from '../clickhouse-conditions.js';
import { CarriedAnswers, type CarriedOptions, type CarriedQuestion } from './carried-answers.js';

const { signal } = new AbortController();
const closing = new Set<CarriedAnswers>();
afterEach(() => {
  for (const answers of closing) answers.close();
  closing.clear();
});

/** Answers by hand: 100 of DE in the whole period, and of one visitor what the test says. */
class OneVisitor extends ClickhouseReader {
  minutes = 0;
  /** Of that visitor, by label: at the kept moment, now, at the moment that is settled by now. */
  counts: Readonly<Record<string, readonly [number, number, number]>> = {};

  failure: AppError | undefined;
  periodRows = 400_000;
  siteRows = 400_000;

  constructor() {
    super(openClickhouse({ url: 'http://127.0.0.1:1' }));
  }

  override async copy(): Promise<void> {}

  override async rows({ text, params }: Sql): Promise<unknown[][]> {
    const now = 1_700_000_000_000 + this.minutes * 60_000;
    if (text === 'WHOLE') return Array.from({ length: Number(params.parts) }, (_, i) => [i, 'DE', 100]);
    if (text.includes('system.mutations')) return [[now, '0', 0]];
    if (text.includes('groupUniqArray')) return [[`${this.minutes}`, '1', now, '[(11,21)]']];
    if (text.startsWith('SELECT count()'))
      return [[Number(params.slotFrom) === 0 ? this.siteRows : this.periodRows]];
    return text.includes('cell.1 AS part') ? this.changes(text) : [['11', '21']];
  }

  private changes(text: string): unknown[][] {
    if (this.failure) throw this.failure;
    const moments = text.match(/AS counts\d/g)?.length ?? 0;
    const parts = text.match(/if\(browser = ''/g)?.length ?? 0;
    return Array.from({ length: parts }, (_, part) =>
      Object.entries(this.counts).map(([label, counts]) => [
        part,
        label,
        ...counts.slice(0, moments).map((count) => [count, count]),
      ]),
    ).flat();
  }
}

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const FROM = 1_699_900_200_000;

function setUp(options: CarriedOptions = {}) {
  const reader = new OneVisitor();
  const registry = new Registry();
  const answers = new CarriedAnswers(reader, {
    clock: () => reader.minutes * 60_000 + 1,
    telemetry: { registry },
    finished: { minRows: 1e9 },
    ...options,
  });
  closing.add(answers);
  /** The same breakdown so many times, as lists of several lengths ask for it. */
  const ask = (times: number, to = 1_700_000_000_000, from = FROM) => {
    const question = (byMs: number): CarriedQuestion => ({
      scope: { siteId: 's', from: from + byMs, to: to + byMs, filters: [] },
      parts: Array.from({ length: times }, () => 'breakdown'),
      changed: Array.from({ length: times }, () => ({ on: 'breakdown', attribute: 'browser', missing: '' })),
      sql: (parts) => ({ text: 'WHOLE', params: { parts: parts.length } }),
      read: ([part, label, count]) => [Number(part), String(label), [Number(count)]],
      later: (more) => question(byMs + more),
    });
    return answers.ask(question(0), signal);
  };
  const counted = async () =>
    (await registry.getSingleMetric('seentics_metrics_carried_answers_total')?.get())?.values.find(
      ({ labels }) => labels.outcome === 'counted',
    )?.value;
  const keptLabels = async () =>
    (await registry.getSingleMetric('seentics_metrics_kept_labels')?.get())?.values[0]?.value;
  return { reader, answers, ask, counted, keptLabels };
}

it('moves counts on once that several parts of a question share', async () => {
  const { reader, ask } = setUp();
  const germany = async () => (await ask(2))?.map((counts) => counts.get('DE')?.[0]);
  reader.counts = { DE: [10, 13, 12] };
  expect(await germany()).toEqual([103, 103]);
  reader.minutes = 20;
  expect(await germany()).toEqual([103, 103]);
  reader.minutes = 40;
  reader.counts = { DE: [12, 13, 13] };
  expect(await germany()).toEqual([103, 103]);
});

it('carries a few rows on when they are of a big site, and no small site', async () => {
  const { reader, ask } = setUp();
  reader.counts = { DE: [10, 13, 12] };
  reader.periodRows = 10;
  expect((await ask(1))?.[0]?.get('DE')).toEqual([103]);
  const small = setUp();
  small.reader.periodRows = 10;
  small.reader.siteRows = 10;
  expect(await small.ask(1)).toBeUndefined();
});

it('carries a running period on all day long', async () => {
  const { reader, ask, counted } = setUp();
  reader.counts = { DE: [10, 10, 10] };
  const midnight = FROM + DAY;
  for (const hour of [0.1, 11.9, 12.1, 23.9]) {
    reader.minutes = (midnight + hour * HOUR - 1_700_000_000_000) / 60_000;
    expect((await ask(1, midnight + hour * HOUR - 1))?.[0]?.get('DE')).toEqual([100]);
  }
  expect(await counted()).toBe(1);
});

it('counts an earlier period anew when its end has moved on by hours', async () => {
  const { ask, counted } = setUp();
  const end = FROM + DAY / 2 + 1;
  await ask(1, end);
  await ask(1, end + 60_000);
  expect(await counted()).toBe(1);
  await ask(1, end + 2 * HOUR);
  expect(await counted()).toBe(2);
});

it('counts what was asked on a day for the next one before it is asked, for three days', async () => {
  const days = { now: FROM + 2 * DAY - HOUR, slept: 0 };
  const sleep = async () => {
    days.slept++;
    await new Promise((resolve) => setImmediate(resolve));
  };
  const dayTime = { now: () => days.now, sleep };
  const { reader, ask, counted } = setUp({ lookAhead: { share: 1 }, dayTime });
  /** The period of two days that ran then, and an earlier one. */
  const askBoth = async (now: number, from: number) => {
    await ask(1, now - 1, from);
    await ask(1, now - 3 * DAY - 1, from - 3 * DAY);
  };
  await askBoth(days.now, FROM);
  expect(await counted()).toBe(2);
  for (let day = 1; day <= 3; day++) {
    days.now += DAY + 1;
    reader.minutes += 24 * 60;
    if (day < 3) await expect.poll(counted).toBe(2 * (day + 1));
  }
  // Nobody has asked for three days then: it ends.
  let before = -1;
  await expect
    .poll(() => {
      const isOver = before === days.slept;
      before = days.slept;
      return isOver;
    })
    .toBe(true);
  expect(await counted()).toBe(6);
  await askBoth(FROM + 4 * DAY - HOUR, FROM + 2 * DAY);
  expect(await counted()).toBe(6);
});

it('counts the labels that an answer has gained, and keeps none with too many', async () => {
  const { reader, ask, keptLabels } = setUp();
  const gain = (first: number) => {
    reader.counts = Object.fromEntries(
      Array.from({ length: 20_000 }, (_, i) => [`${first + i}`, [0, 1, 1]] as const),
    );
  };
  await ask(1);
  expect(await keptLabels()).toBe(11);
  gain(0);
  reader.minutes = 20;
  await ask(1);
  expect(await keptLabels()).toBe(20_011);
  gain(20_000);
  reader.minutes = 40;
  expect((await ask(1))?.[0]?.get('39999')).toEqual([1, 1]);
  expect(await keptLabels()).toBe(0);
  expect(await ask(1)).toBeUndefined();
});

it('has a question counted at once when what has changed is too much for one query', async () => {
  const { reader, ask } = setUp();
  for (const code of ['query_too_expensive', 'timeout'] as const) {
    reader.failure = new AppError(code, 'too much');
    expect(await ask(1)).toBeUndefined();
  }
  reader.failure = new AppError('storage_unavailable', 'down');
  await expect(ask(1)).rejects.toMatchObject({ code: 'storage_unavailable' });
});

it('reads whole big periods one at a time, site by site, for those who still wait', async () => {
  const { answers } = setUp();
  const order: string[] = [];
  let end: () => void = () => {};
  const read = (siteId: string, own = signal) => {
    const scope = { siteId, from: 0, to: 900_000, filters: [] };
    return answers.whole(scope, own, async () => {
      order.push(siteId);
      if (order.length === 1) await new Promise<void>((resolve) => (end = resolve));
    });
  };
  const leaving = new AbortController();
  const big = ['big', 'big', 'big'].map((site) => read(site));
  await expect.poll(() => order).toEqual(['big']);
  const left = read('third', leaving.signal);
  const other = read('other');
  await new Promise((resolve) => setImmediate(resolve));
  leaving.abort(new Error('gone'));
  await expect(left).rejects.toThrow('gone');
  expect(order).toEqual(['big']);
  end();
  await Promise.all([...big, other]);
  expect(order).toEqual(['big', 'big', 'other', 'big']);
});
