import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import type { Expected } from './arrivals.js';
import { LookAhead } from './look-ahead.js';

const SLOT = 900_000;
const SHARE = 0.05;

/** Sites that are looked ahead for by a clock that only moves when somebody sleeps or works. */
function setUp(options: { readonly tookMs?: number; readonly fails?: boolean } = {}) {
  const state = { ms: 1_000, isBusy: false, endAt: Number.POSITIVE_INFINITY, slotParts: 0 };
  const looks: { readonly site: string; readonly at: number; readonly bases: readonly number[] }[] = [];
  const prepared: Expected[] = [];
  const registry = new Registry();
  /** Called whenever time has passed. */
  const asking = new Set<() => void>();
  const pass = async (ms: number) => {
    state.ms += ms;
    for (const ask of asking) ask();
    if (state.ms > state.endAt) ahead.close();
    await new Promise((resolve) => setImmediate(resolve));
  };
  const ahead = new LookAhead(
    {
      lookAhead: async (site, expected) => {
        const bases = [...new Set(expected.map(({ base }) => base.arrivedBefore / SLOT))];
        looks.push({ site, at: state.ms, bases });
        await pass(options.tookMs ?? 50);
        if (options.fails) throw new Error('down');
      },
      prepareSlot: async (_site, expected) => {
        prepared.push(expected);
        await pass(10);
        return prepared.length >= state.slotParts;
      },
      isBusy: () => state.isBusy,
    },
    { share: SHARE, telemetry: { registry }, time: { now: () => state.ms, sleep: (ms) => pass(ms) } },
  );
  const ask = (site: string, to = 10 * SLOT + 1_000) => {
    ahead.asked(site, { arrivedBefore: 5 * SLOT, to: 11 * SLOT }, to);
    ahead.carried(site);
  };
  const metric = async (name: string) => (await registry.getSingleMetric(name)?.get())?.values[0]?.value;
  return { ahead, state, looks, prepared, asking, ask, metric };
}

const quiet = async (count: () => number) => {
  let before = -1;
  while (before !== count()) {
    before = count();
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  }
};

it('takes no more than its share of the time, whatever it takes and for however many sites', async () => {
  for (const tookMs of [5, 120, 1_500]) {
    const { state, looks, asking, ask, metric } = setUp({ tookMs });
    for (const site of ['a', 'b', 'c']) asking.add(() => ask(site));
    state.endAt = 400_000;
    ask('a');
    await expect.poll(() => state.ms).toBeGreaterThan(state.endAt);
    await quiet(() => looks.length);
    const spentMs = looks.length * tookMs;
    // What had been saved, and the last look.
    expect(spentMs).toBeLessThanOrEqual(SHARE * state.ms + 1_000 + tookMs);
    if (tookMs > 5) expect(spentMs).toBeGreaterThan(SHARE * state.ms * 0.9);
    expect(await metric('seentics_metrics_look_ahead_seconds_total')).toBeCloseTo(
      (looks.length * tookMs) / 1_000,
    );
    const times = ['a', 'b', 'c'].map((site) => looks.filter((look) => look.site === site).length);
    expect(Math.max(...times) - Math.min(...times)).toBeLessThanOrEqual(1);
  }
});

it('looks again before what is known is too old, until a minute after the last question', async () => {
  const { looks, ask, metric } = setUp();
  ask('a');
  expect(await metric('seentics_metrics_watched_sites')).toBe(1);
  await expect.poll(() => looks.length).toBeGreaterThan(20);
  await quiet(() => looks.length);
  const steps = looks.slice(1).map(({ at }, i) => at - (looks[i]?.at ?? 0));
  expect(Math.max(...steps)).toBeLessThan(2_600);
  expect(looks.at(-1)?.at).toBeLessThan(62_000);
  expect(await metric('seentics_metrics_watched_sites')).toBe(0);
  ask('a');
  await expect.poll(() => looks.at(-1)?.at).toBeGreaterThan(63_000);
});

it('does nothing for a site whose answers are computed at once', async () => {
  const { ahead, looks, asking, ask } = setUp();
  asking.add(() => ahead.asked('small', { arrivedBefore: 5 * SLOT, to: 11 * SLOT }, 10 * SLOT + 1));
  ahead.asked('small', { arrivedBefore: 5 * SLOT, to: 11 * SLOT }, 10 * SLOT + 1);
  ask('big');
  await expect.poll(() => looks.length).toBeGreaterThan(20);
  await quiet(() => looks.length);
  expect(new Set(looks.map(({ site }) => site))).toEqual(new Set(['big']));
});

it('looks ahead for what answers are carried on from now, and for every end that was asked for', async () => {
  const { ahead, state, looks } = setUp();
  state.endAt = 10_000;
  const carried = (arrivedBefore: number, to: number) => {
    ahead.asked('a', { arrivedBefore: arrivedBefore * SLOT, to: 11 * SLOT }, to);
    ahead.carried('a');
  };
  carried(5, 10 * SLOT + 1);
  carried(6, 10 * SLOT + 1);
  carried(4, 9 * SLOT);
  await expect.poll(() => state.ms).toBeGreaterThan(state.endAt);
  await quiet(() => looks.length);
  expect(looks[0]?.bases.toSorted()).toEqual([4, 6]);
});

it('gives way to questions under way', async () => {
  const { state, looks, asking, ask } = setUp();
  asking.add(() => ask('a'));
  state.isBusy = true;
  ask('a');
  await expect.poll(() => state.ms).toBeGreaterThan(20_000);
  expect(looks).toEqual([]);
  state.isBusy = false;
  await expect.poll(() => looks.length).toBeGreaterThan(0);
  state.endAt = state.ms;
  await quiet(() => looks.length);
});

it('prepares the next slot of an earlier period in parts, before its end is there', async () => {
  const { state, looks, prepared, asking, ask } = setUp();
  state.slotParts = 4;
  // Three minutes before the end of the slot.
  const start = 10 * SLOT + 12 * 60_000;
  asking.add(() => ask('a', start + state.ms));
  state.endAt = 120_000;
  ask('a', start + state.ms);
  await expect.poll(() => state.ms).toBeGreaterThan(state.endAt);
  await quiet(() => looks.length);
  expect(prepared.map(({ to }) => Math.floor(to / SLOT))).toEqual([11, 11, 11, 11]);
  expect(looks.length).toBeGreaterThan(40);
});

it('leaves a site of which it could not find out anything to the next question', async () => {
  const { looks, ask, metric } = setUp({ fails: true });
  ask('a');
  await expect.poll(() => looks.length).toBe(1);
  await quiet(() => looks.length);
  expect(looks).toHaveLength(1);
  expect(await metric('seentics_metrics_watched_sites')).toBe(0);
  ask('a');
  await expect.poll(() => looks.length).toBe(2);
});
