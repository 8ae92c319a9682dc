import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CLOCK_MARGIN_MS, DedupeWindow } from './dedupe-window.js';
import { Fingerprint, FingerprintSet, NO_SITE, siteSalt } from './fingerprint.js';

const seeded = () => new Fingerprint(Buffer.from('fixed678'));

function id(number: number): Uint8Array {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt32LE(number, 12);
  return bytes;
}

describe('a fingerprint', () => {
  it('depends on each of the 16 bytes', () => {
    const fingerprint = seeded();
    const seen = new Set<string>();
    for (let at = 0; at < 16; at++)
      for (let value = 1; value < 256; value++) {
        const bytes = new Uint8Array(16);
        bytes[at] = value;
        const { hi, lo } = fingerprint.read(bytes, 7);
        seen.add(`${hi} ${lo}`);
      }
    expect(seen.size).toBe(16 * 255);
  });

  it('spreads counting ids evenly: no collision in either half beyond chance', () => {
    const fingerprint = seeded();
    const high = new Set<number>();
    const low = new Set<number>();
    for (let i = 0; i < 100_000; i++) {
      const { hi, lo } = fingerprint.read(id(i), NO_SITE);
      high.add(hi);
      low.add(lo);
    }
    // Chance: n²/2^33 = 1.2 pairs.
    expect(high.size).toBeGreaterThan(100_000 - 10);
    expect(low.size).toBeGreaterThan(100_000 - 10);
  });

  it('differs with the seed and with the site', () => {
    const fingerprints = [new Fingerprint(), new Fingerprint()].flatMap((fingerprint) =>
      ['', 'a', 'b'].map((site) => {
        const { hi, lo } = fingerprint.read(id(1), site === '' ? NO_SITE : siteSalt(site));
        return `${hi} ${lo}`;
      }),
    );
    expect(new Set(fingerprints).size).toBe(6);
  });
});

it('a fingerprint set behaves as a set', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(2_000), { maxLength: 3_000 }), fc.nat(2_000), (added, asked) => {
      const set = new FingerprintSet();
      const model = new Set<number>();
      const fingerprint = seeded();
      for (const number of added) {
        expect(set.add(fingerprint.read(id(number), 1))).toBe(!model.has(number));
        model.add(number);
      }
      expect(set.size).toBe(model.size);
      expect(set.has(fingerprint.read(id(asked), 1))).toBe(model.has(asked));
    }),
    { seed: 1 },
  );
});

type Step =
  | { readonly do: 'add'; readonly partition: number; readonly id: number }
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'open'; readonly partition: number; readonly back: number }
  | { readonly do: 'close'; readonly partition: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 10, arbitrary: fc.record({ do: fc.constant('add'), partition: fc.nat(2), id: fc.nat(200) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait'), ms: fc.nat(100) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('open'), partition: fc.nat(2), back: fc.nat(300) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('close'), partition: fc.nat(2) }) },
);

describe('the dedupe window', () => {
  it('knows everything received since coveredSince, nothing that was never there, and stays within its capacity', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), fc.constantFrom(4, 16, 64), (steps, capacity) => {
        let now = 1_000_000;
        const window = new DedupeWindow(capacity, () => now, seeded());
        // The store's view: when each partition's ids were last received, whoever owned the partition.
        const stored: { partition: number; id: number; at: number }[] = [];
        const owned = new Set<number>();
        const key = (partition: number, number: number) => id(partition * 1_000 + number);
        for (const s of steps) {
          if (s.do === 'wait') now += s.ms;
          if (s.do === 'close') {
            window.close(s.partition);
            owned.delete(s.partition);
          }
          if (s.do === 'open') {
            const since = now - s.back;
            const recent = stored.filter(({ partition, at }) => partition === s.partition && at >= since);
            window.open(
              s.partition,
              since,
              recent.map((row) => key(row.partition, row.id)),
            );
            owned.add(s.partition);
          }
          if (s.do === 'add') {
            // Written by us when the partition is ours, else by another node, of which the window learns nothing.
            if (owned.has(s.partition)) window.add(key(s.partition, s.id), s.partition + 1);
            stored.push({ partition: s.partition, id: s.id, at: now });
          }
          expect(window.size).toBeLessThanOrEqual(capacity);
          for (const row of stored) {
            if (row.at < window.coveredSince(row.partition)) continue;
            const rowId = key(row.partition, row.id);
            expect(window.knows(rowId, row.partition + 1) || window.suspects(rowId)).toBe(true);
            expect(window.knows(rowId, 9)).toBe(false);
          }
          expect(window.knows(id(999_999), 1) || window.suspects(id(999_999))).toBe(false);
        }
      }),
      { seed: 2, numRuns: 300 },
    );
  });

  it('answers as two sets that replace each other', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(60), { maxLength: 500 }), (numbers) => {
        const window = new DedupeWindow(20, () => 0, seeded());
        let current = new Set<number>();
        let older = new Set<number>();
        for (const number of numbers) {
          if (current.size >= 10) {
            older = current;
            current = new Set();
          }
          current.add(number);
          window.add(id(number), 1);
          for (let asked = 0; asked <= 60; asked++) {
            expect(window.knows(id(asked), 1)).toBe(current.has(asked) || older.has(asked));
          }
        }
      }),
      { seed: 3 },
    );
  });

  it('judges only what happened two minutes after its cover began', () => {
    const window = new DedupeWindow(100, () => 10_000_000);
    expect(window.judges(3, 10_000_000)).toBe(false);
    window.open(3, 9_000_000, []);
    expect(window.judges(3, 9_000_000 + CLOCK_MARGIN_MS)).toBe(true);
    expect(window.judges(3, 9_000_000 + CLOCK_MARGIN_MS - 1)).toBe(false);
    window.close(3);
    expect(window.judges(3, 10_000_000)).toBe(false);
  });

  it('takes memory as ids come: 128 MiB at most for eight million, a few KiB at first', () => {
    const window = new DedupeWindow(8_000_000);
    expect(window.byteLength).toBeLessThan(32 * 1024);
    const bytes = Buffer.alloc(16);
    for (let i = 0; i < 8_500_000; i++) {
      bytes.writeUInt32LE(i, 0);
      window.add(bytes, 1);
    }
    expect(window.byteLength).toBeLessThanOrEqual(128 * 1024 * 1024);
    expect(window.size).toBeLessThanOrEqual(8_000_000);
    bytes.writeUInt32LE(8_499_999, 0);
    expect(window.knows(bytes, 1)).toBe(true);
  });
});
