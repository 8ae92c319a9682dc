import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FairQueue } from './fair-queue.js';

const LIMITS = { laneItems: 1000, laneBytes: 1 << 20, totalItems: 5000, totalBytes: 8 << 20 };

describe('FairQueue', () => {
  it('serves a quiet site at once behind a noisy one', () => {
    const queue = new FairQueue<string>(LIMITS);
    for (let i = 0; i < 500; i++) queue.push('noisy', `n${i}`, 2000);
    queue.push('quiet', 'q', 500);
    expect(queue.take(10, 1 << 20)).toContain('q');
  });

  it('shares by bytes, so large requests of one site do not crowd out small ones of others', () => {
    const queue = new FairQueue<string>(LIMITS);
    for (let i = 0; i < 5; i++) queue.push('large', 'L', 200_000);
    for (let i = 0; i < 100; i++) queue.push('small', 's', 1000);
    const taken = queue.take(200, 300_000);
    expect(taken.filter((item) => item === 's')).toHaveLength(100);
    expect(taken.filter((item) => item === 'L').length).toBeGreaterThan(0);
  });

  it('lets the others go first while a lane owes for the time that its requests took', () => {
    let now = 5_000;
    const queue = new FairQueue<string>(LIMITS, () => now);
    const fill = () => {
      for (let i = 0; i < 3; i++) queue.push('slow', 's', 100);
      for (let i = 0; i < 200; i++) queue.push('other', 'o', 1_000);
    };
    fill();
    // 4 ms are 128 KiB: as much of the other lane goes first.
    queue.charge('slow', 100, 4);
    expect(queue.take(120, 1 << 20).filter((item) => item === 's')).toHaveLength(0);
    expect(queue.take(30, 1 << 20).filter((item) => item === 's')).toHaveLength(3);
    while (queue.items > 0) queue.take(100, 1 << 20);
    // A lane that has nothing waiting at the moment owes all the same, until as much time has passed.
    queue.charge('slow', 100, 4);
    now += 3;
    fill();
    expect(queue.take(20, 1 << 20).filter((item) => item === 's')).toHaveLength(0);
    while (queue.items > 0) queue.take(100, 1 << 20);
    queue.charge('slow', 100, 4);
    now += 4;
    fill();
    expect(queue.take(25, 1 << 20).filter((item) => item === 's')).toHaveLength(3);
  });

  it('has time pay what a lane owes, however many others wait', () => {
    let now = 5_000;
    const queue = new FairQueue<string>(LIMITS, () => now);
    for (let lane = 0; lane < 100; lane++) for (let i = 0; i < 20; i++) queue.push(`${lane}`, 'o', 8_000);
    // The first owes while it waits, the second before it comes: a minute that is no more than 100 ms.
    queue.push('waiting', 's', 100);
    queue.charge('waiting', 100, 60_000);
    queue.charge('away', 100, 60_000);
    queue.push('away', 's', 100);
    now += 99;
    expect(queue.take(102, 1 << 20)).not.toContain('s');
    now += 1;
    expect(queue.take(102, 1 << 20).filter((item) => item === 's')).toHaveLength(2);
  });

  it('charges nothing that the bytes account for, and serves a lane that is alone at once whatever it owes', () => {
    const queue = new FairQueue<string>(LIMITS, () => 0);
    queue.charge('a', 400_000, 10);
    queue.push('a', 'a', 8_000);
    queue.push('b', 'b', 8_000);
    expect(queue.take(1, 1 << 20)).toEqual(['a']);
    queue.charge('a', 0, 1e9);
    queue.charge('b', 0, 50);
    queue.push('a', 'a', 10);
    expect(queue.take(1, 1 << 20)).toEqual(['b']);
    expect(queue.take(1, 1 << 20)).toEqual(['a']);
  });

  it('refuses what exceeds a bound of the lane or of the whole, and leaves no empty lane', () => {
    const queue = new FairQueue<number>({ laneItems: 2, laneBytes: 100, totalItems: 3, totalBytes: 1000 });
    expect(queue.push('a', 1, 101)).toBe(false);
    expect(queue.laneCount).toBe(0);
    expect([queue.push('a', 1, 10), queue.push('a', 2, 10), queue.push('a', 3, 10)]).toEqual([
      true,
      true,
      false,
    ]);
    expect([queue.push('b', 4, 10), queue.push('b', 5, 10)]).toEqual([true, false]);
    expect(queue.take(10, 1000)).toHaveLength(3);
    expect([queue.items, queue.bytes, queue.laneCount]).toEqual([0, 0, 0]);
  });

  it('gives everything back exactly once, in order within a lane', () => {
    const push = fc.record({ lane: fc.nat(4), bytes: fc.nat(60_000) });
    fc.assert(
      fc.property(fc.array(fc.oneof(push, fc.constant('take' as const)), { maxLength: 200 }), (steps) => {
        const queue = new FairQueue<{ lane: number; n: number }>(LIMITS);
        const out: { lane: number; n: number }[] = [];
        let pushed = 0;
        for (const step of steps) {
          if (step === 'take') out.push(...queue.take(7, 100_000));
          else if (queue.push(String(step.lane), { lane: step.lane, n: pushed }, step.bytes)) pushed++;
        }
        while (queue.items > 0) {
          const taken = queue.take(7, 100_000);
          expect(taken.length).toBeGreaterThan(0);
          out.push(...taken);
        }
        expect(out).toHaveLength(pushed);
        for (let lane = 0; lane <= 4; lane++) {
          const order = out.filter((item) => item.lane === lane).map((item) => item.n);
          expect(order).toEqual([...order].sort((a, b) => a - b));
        }
        expect([queue.bytes, queue.laneCount]).toEqual([0, 0]);
      }),
      { seed: 3, numRuns: 300 },
    );
  });
});
