import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createPartitionWriter, type PartitionWriter } from '../../src/actors/partition-writer.js';
import { partitionOf } from '../../src/events/partition.js';
import { hexId } from '../../src/events/row-head.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { FakeStore, type Fault, rowKey } from './fake-store.js';
import { type FakeNode, FakePartition } from './fake-stream.js';
import { idOf, messageOf, siteOf, type TestEvent, tableOfEvent } from './rows.js';

const PARTITIONS = 3;
const LEASE_MS = 25;
const SITES = Array.from({ length: PARTITIONS * 2 }, (_, i) => siteOf(i % PARTITIONS, i));
const START = Date.now();

/**
 * The same number is the same row whenever it comes: of any table, of now or of days ago, bot or not, taken or refused by the store. Two
 * sites in turn use the same ids, and so do the tables.
 */
function eventOf(number: number): TestEvent {
  const place = number % 60;
  return {
    site: SITES[place % SITES.length] ?? '',
    number: Math.floor(place / 2),
    ...(number < 60 ? {} : { table: number < 90 ? 'heat_points' : 'funnel_events' }),
    timestamp: number % 5 === 0 ? START - 3 * 86_400_000 : START + (number % 100),
    receivedAt: Date.now(),
    bot: number % 11 === 3,
    lookup: number % 7 === 2,
    bad: number % 23 === 4,
  };
}

type Step =
  | { readonly do: 'send'; readonly numbers: readonly number[] }
  | { readonly do: 'wait'; readonly ms: number }
  /** Faults of the next calls, then of each insert until the next step of this kind. */
  | { readonly do: 'faults'; readonly faults: readonly Fault[]; readonly inserts: Fault }
  | { readonly do: 'release' | 'expire'; readonly partition: number }
  | { readonly do: 'crash' };

const number = fc.nat(120);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant('send'),
      numbers: fc.array(number, { minLength: 1, maxLength: 12 }),
    }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('wait'), ms: fc.nat(12) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('faults'),
      faults: fc.array(fc.constantFrom<Fault>('none', 'away', 'answer lost', 'late', 'very late'), {
        maxLength: 8,
      }),
      inserts: fc.constantFrom<Fault>('none', 'none', 'away', 'very late'),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constantFrom('release', 'expire'), partition: fc.nat(PARTITIONS - 1) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('crash') }) },
);

/** A little cluster: one store, all partitions, two nodes, each partition owned by one of them. */
class Cluster {
  readonly store = new FakeStore();
  readonly partitions = Array.from(
    { length: PARTITIONS },
    (_, partition) => new FakePartition(partition, LEASE_MS),
  );
  readonly #nodes: (FakeNode & { die(): void })[] = [];
  readonly #writers: PartitionWriter[] = [];
  readonly #owners = new Map<number, number>();
  #faults: Fault[] = [];
  #insertFault: Fault = 'none';

  async start(): Promise<void> {
    this.store.fault = (step) => this.#faults.shift() ?? (step === 'insert' ? this.#insertFault : 'none');
    this.#nodes.push(this.#node(), this.#node());
    for (const { partition } of this.partitions) await this.#give(partition, partition % 2);
  }

  #node(): FakeNode & { die(): void } {
    const { store, die } = this.store.connect();
    const consumer = createPartitionWriter({
      ...{ store, partitions: PARTITIONS, telemetry: silentTelemetry() },
      ...{ flushMs: 2, blockRows: 40, dedupeWindowEvents: 60, refillIds: 40, insertMs: 20 },
      ...{ retryFirstMs: 1, retryMaxMs: 4, leaveMs: 5 },
    });
    this.#writers.push(consumer);
    return { consumer, die, isDead: false };
  }

  async #give(partition: number, to: number): Promise<void> {
    const node = this.#nodes[to];
    if (node === undefined) throw new RangeError('no such node');
    this.#owners.set(partition, to);
    await this.partitions[partition]?.give(node);
  }

  async run(step: Step): Promise<void> {
    switch (step.do) {
      case 'send':
        this.send(step.numbers);
        return;
      case 'wait':
        await new Promise((resolve) => setTimeout(resolve, step.ms));
        return;
      case 'faults':
        this.#faults = [...step.faults];
        this.#insertFault = step.inserts;
        return;
      case 'release':
      case 'expire':
        await this.partitions[step.partition]?.[step.do]();
        await this.#give(step.partition, this.#owners.get(step.partition) === 0 ? 1 : 0);
        return;
      case 'crash':
        await this.crash(0);
    }
  }

  send(numbers: readonly number[]): void {
    for (const partition of this.partitions) {
      const events = numbers
        .map(eventOf)
        .filter(({ site }) => partitionOf(site, PARTITIONS) === partition.partition);
      if (events.length > 0) partition.append(messageOf(events));
    }
  }

  /** `kill -9`; a fresh process takes its place and gets the partitions back when the leases have run out. */
  async crash(at: number): Promise<void> {
    const dead = this.#nodes[at];
    if (dead === undefined) return;
    dead.isDead = true;
    dead.die();
    const orphans = this.partitions.filter(({ partition }) => this.#owners.get(partition) === at);
    await Promise.all(orphans.map((partition) => partition.abandon()));
    this.#nodes[at] = this.#node();
    for (const { partition } of orphans) await this.#give(partition, at);
  }

  async settle(): Promise<void> {
    this.#faults = [];
    this.#insertFault = 'none';
    for (let left = 400; this.partitions.some(({ unacknowledged }) => unacknowledged > 0); left--) {
      if (left === 0) throw new Error('messages are left');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Dead nodes included: their timers are of this process. */
  async end(): Promise<void> {
    await Promise.all(this.#writers.map((writer) => writer.stop(0)));
  }
}

it('P3: every event is stored exactly once, whatever fails in between', { timeout: 120_000 }, async () => {
  let crossed = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 40 }),
      fc.boolean(),
      async (steps, isNaming) => {
        const cluster = new Cluster();
        cluster.store.namesBadRows = isNaming;
        await cluster.start();
        const sent: number[] = [];
        for (const each of steps) {
          await cluster.run(each);
          if (each.do === 'send') sent.push(...each.numbers);
          if (each.do === 'crash') crossed++;
        }
        await cluster.settle();
        await cluster.end();
        const events = sent.map(eventOf);
        const key = (event: TestEvent) => rowKey(event.site, idOf(event.number), tableOfEvent(event));
        const good = new Set(events.filter(({ bad }) => !bad).map(key));
        const bad = new Set(events.filter((event) => event.bad).map(key));
        const counts = cluster.store.counts();
        expect(new Set(counts.keys())).toEqual(good);
        expect(Math.max(0, ...counts.values())).toBeLessThanOrEqual(1);
        const kept = [...cluster.store.kept.values()];
        expect(new Set(kept.map(({ siteId, table, bytes }) => rowKey(siteId, hexId(bytes), table)))).toEqual(
          bad,
        );
        expect(kept).toHaveLength(bad.size);
        for (const { table, site, id } of cluster.store.rows) {
          const event = events.find((other) => key(other) === rowKey(site, id, table));
          expect(table).toBe(event && tableOfEvent(event));
        }
        const { received, stored, duplicate, bot, rejected, quarantined } = cluster.store.totals();
        expect(received).toBe(stored + duplicate + bot + rejected + quarantined);
        expect(received).toBeGreaterThanOrEqual(sent.length);
        expect(stored + bot).toBeLessThanOrEqual(good.size);
      },
    ),
    { seed: 20, numRuns: 80, endOnFailure: true },
  );
  expect(crossed).toBeGreaterThan(20);
});

it('P2: without a crash the books are exact', { timeout: 60_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        step.filter((each) => each.do === 'send' || each.do === 'wait' || each.do === 'faults'),
        { maxLength: 30 },
      ),
      async (steps) => {
        const cluster = new Cluster();
        await cluster.start();
        let sent = 0;
        for (const each of steps) {
          await cluster.run(each);
          if (each.do === 'send') sent += each.numbers.length;
        }
        await cluster.settle();
        await cluster.end();
        const totals = cluster.store.totals();
        const tables = cluster.store.rows.map(({ table }) => table);
        expect(totals.received).toBe(sent);
        expect(totals.stored).toBe(tables.filter((table) => table !== 'bot_events').length);
        expect(totals.bot).toBe(tables.filter((table) => table === 'bot_events').length);
      },
    ),
    { seed: 21, numRuns: 40, endOnFailure: true },
  );
});
