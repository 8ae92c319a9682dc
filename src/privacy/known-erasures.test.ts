import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Erasure } from '../storage/metadata/erasures.js';
import { silentTelemetry } from '../telemetry.js';
import { createKnownErasures, ERASURES_KNOWN_AFTER_MS } from './known-erasures.js';

const NOW = Date.UTC(2030, 0, 1);
const BEFORE_MS = 1_000;

describe('what a writer knows of erasures', () => {
  let noted: Erasure[];
  /** Queries, by name. */
  let asked: string[];
  /** Answers wait for it. */
  let gate: Promise<void>;

  beforeEach(() => {
    vi.useFakeTimers({ now: NOW, toFake: ['Date', 'performance'] });
    noted = [];
    asked = [];
    gate = Promise.resolve();
  });
  afterEach(() => vi.useRealTimers());

  const answered = async <T>(name: string, answer: T): Promise<T> => {
    asked.push(name);
    await gate;
    return answer;
  };
  const open = () =>
    createKnownErasures(
      {
        version: () => answered('version', String(noted.length)),
        of: (siteIds, since = 0) =>
          answered(
            `of ${siteIds.join()}`,
            noted.filter(({ siteId, receivedUntil }) => siteIds.includes(siteId) && receivedUntil >= since),
          ),
      },
      silentTelemetry(),
    );
  const note = (siteId: string, receivedUntil = Date.now()) =>
    noted.push({ siteId, visitorHash: null, receivedUntil });
  const oldest = () => Date.now() - BEFORE_MS;

  it('asks the store nothing for a block like the one before', async () => {
    const known = open();
    await known.of(['a', 'b'], oldest());
    expect(asked).toEqual(['version', 'of a,b']);
    for (let block = 0; block < 100; block++) expect(await known.of(['a', 'b'], oldest())).toEqual([]);
    expect(asked).toHaveLength(2);
    vi.advanceTimersByTime(ERASURES_KNOWN_AFTER_MS);
    await known.of(['b', 'a', 'c'], oldest());
    expect(asked.slice(2)).toEqual(['version', 'of c']);
  });

  it('knows of an erasure when a stream is drained for it, of a site it knew before too', async () => {
    const known = open();
    await known.of(['a'], oldest());
    note('a');
    vi.advanceTimersByTime(ERASURES_KNOWN_AFTER_MS);
    expect(await known.of(['a'], oldest())).toEqual(noted);
  });

  it('trusts no question that was asked before the erasure, however late its answer', async () => {
    const known = open();
    let answer = () => {};
    gate = new Promise((resolve) => {
      answer = resolve;
    });
    const early = known.of(['a'], oldest());
    note('a');
    vi.advanceTimersByTime(ERASURES_KNOWN_AFTER_MS);
    const late = known.of(['a'], oldest());
    answer();
    expect(await early).toEqual(noted);
    expect(await late).toEqual(noted);
    expect(asked.filter((name) => name === 'version')).toHaveLength(2);
  });

  it('asks again for rows that were received long ago', async () => {
    const known = open();
    note('a', NOW - 3_600_000);
    expect(await known.of(['a'], oldest())).toEqual([]);
    expect(await known.of(['a'], NOW - 7_200_000)).toEqual(noted);
    expect(await known.of(['a'], -1e18)).toEqual(noted);
    await expect(known.of(['a'], Number.POSITIVE_INFINITY)).resolves.toBeDefined();
  });

  it('keeps no failure', async () => {
    const known = open();
    gate = Promise.reject(new Error('away'));
    await expect(known.of(['a'], oldest())).rejects.toThrow('away');
    gate = Promise.resolve();
    expect(await known.of(['a'], oldest())).toEqual([]);
  });
});
