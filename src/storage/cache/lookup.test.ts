import { describe, expect, it } from 'vitest';
import { silentTelemetry } from '../../telemetry.js';
import { createBatchLoader } from './batch-loader.js';
import { createLookup } from './lookup.js';

const settle = () => new Promise((resolve) => setImmediate(resolve));

describe('a look-up', () => {
  const setUp = (maxLoading = 1_000) => {
    const loads: { key: string; finish: (value: string | Error) => void }[] = [];
    const lookup = createLookup<string>({
      name: 'test',
      maxEntries: 2,
      ttlMs: 60_000,
      maxLoading,
      telemetry: silentTelemetry(),
      load: (key) =>
        new Promise((resolve, reject) => {
          loads.push({ key, finish: (value) => (value instanceof Error ? reject(value) : resolve(value)) });
        }),
    });
    return { lookup, loads };
  };

  it('shares one load among callers and keeps its value, not its failure', async () => {
    const { lookup, loads } = setUp();
    const failing = Promise.allSettled([lookup.get('a'), lookup.get('a')]);
    loads[0]?.finish(new Error('away'));
    expect((await failing).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    const both = Promise.all([lookup.get('a'), lookup.get('a')]);
    loads[1]?.finish('A');
    expect(await both).toEqual(['A', 'A']);
    expect(await lookup.get('a')).toBe('A');
    expect(loads).toHaveLength(2);
  });

  it('does not keep what was being loaded when the key was dropped', async () => {
    const { lookup, loads } = setUp();
    const before = lookup.get('a');
    lookup.drop('a');
    const after = lookup.get('a');
    loads[1]?.finish('new');
    loads[0]?.finish('old');
    expect([await before, await after, await lookup.get('a')]).toEqual(['old', 'new', 'new']);
  });

  it('is bounded in entries and in loads', async () => {
    const { lookup, loads } = setUp(3);
    const values = Promise.all(['a', 'b', 'c'].map((key) => lookup.get(key)));
    await expect(lookup.get('d')).rejects.toMatchObject({ code: 'overloaded' });
    for (const { key, finish } of loads) finish(key);
    await values;
    void lookup.get('a').catch(() => {});
    expect(loads.map(({ key }) => key)).toEqual(['a', 'b', 'c', 'a']);
  });
});

describe('a batch loader', () => {
  it('asks in few batches, at most so many at once, and refuses beyond its limit', async () => {
    const batches: (readonly string[])[] = [];
    const open: (() => void)[] = [];
    const loader = createBatchLoader<string>({
      maxBatch: 3,
      maxQueries: 2,
      maxLoading: 8,
      loadMany: async (keys) => {
        batches.push(keys);
        await new Promise<void>((resolve) => open.push(resolve));
        return new Map(keys.filter((key) => key !== 'none').map((key) => [key, key.toUpperCase()]));
      },
    });
    const keys = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'none'];
    const answers = Promise.all(keys.map((key) => loader.load(key)));
    await expect(loader.load('i')).rejects.toMatchObject({ code: 'overloaded' });
    await settle();
    expect(batches).toEqual([
      ['a', 'b', 'c'],
      ['d', 'e', 'f'],
    ]);
    for (const finish of open.splice(0)) finish();
    await settle();
    expect(batches[2]).toEqual(['g', 'none']);
    for (const finish of open) finish();
    expect(await answers).toEqual(['A', 'B', 'C', 'D', 'E', 'F', 'G', null]);
    // What has settled no longer counts.
    const again = loader.load('i');
    await settle();
    for (const finish of open) finish();
    expect(await again).toBe('I');
  });
});
