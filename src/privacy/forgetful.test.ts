import { describe, expect, it } from 'vitest';
import type { EventStore, QuarantinedRow } from '../storage/events/event-store.js';
import type { Erasure } from '../storage/metadata/erasures.js';
import { silentTelemetry } from '../telemetry.js';
import { erasureMetrics } from './erasure-metrics.js';
import { forgetfulObserver, forgetfulStore } from './forgetful.js';

const SITE = '5f5e10000000000000000001';
const RECEIVED_AT = 1_900_000_000_000;

/** The head of a row whose site id says to be `length` bytes long; in a memory of its own, so that nothing follows it. */
function head(siteId: string, length = siteId.length): Uint8Array {
  const row = new Uint8Array(33 + siteId.length);
  new DataView(row.buffer).setBigInt64(24, BigInt(RECEIVED_AT), true);
  row[32] = length;
  row.set(Buffer.from(siteId, 'latin1'), 33);
  return row;
}

function setUp(erased: readonly string[]) {
  const { registry } = silentTelemetry();
  const stored: Uint8Array[] = [];
  const kept: QuarantinedRow[] = [];
  const options = {
    erasures: {
      of: async (): Promise<Erasure[]> =>
        erased.map((siteId) => ({ siteId, visitorHash: null, receivedUntil: RECEIVED_AT })),
    },
    onDropped: async () => {},
    undoneOf: async () => new Set<string>(),
    metrics: erasureMetrics(registry),
  };
  const written: Pick<EventStore, 'insertRows' | 'addToBooks' | 'quarantine'> = {
    insertRows: async (_table, rows) => void stored.push(...rows),
    addToBooks: async () => {},
    quarantine: async (rows) => void kept.push(...rows),
  };
  const store = forgetfulStore(written, options);
  return { store, stored, kept, options };
}

/** Rows that end before their site id does, or where it would begin. */
const DAMAGED = [head(SITE, 127), head('', 100), head(SITE).subarray(0, 33).slice(), new Uint8Array(32)];

describe('a store that leaves out erased rows', () => {
  it('leaves out those of an erased site and no others', async () => {
    const { store, stored } = setUp([SITE]);
    const other = head('5f5e10000000000000000002');
    await store.insertRows('heat_points', [head(SITE), other, head(SITE)], 'token', Date.now() + 1_000);
    expect(stored).toEqual([other]);
  });

  it('P4: hands rows on whose site cannot be read, whatever follows them in memory: the store refuses them', async () => {
    const { store, stored, options } = setUp(['elsewhere']);
    for (const row of DAMAGED) await store.insertRows('events', [row], 'token', Date.now() + 1_000);
    expect(stored).toEqual(DAMAGED);
    const seen: Uint8Array[] = [];
    const observer = forgetfulObserver(
      { wants: () => true, observe: async (rows) => void seen.push(...rows.map(({ bytes }) => bytes)) },
      options,
    );
    const shown = DAMAGED.map(
      (bytes) => ({ siteId: 'other', table: 'events', source: 'event', bytes }) as const,
    );
    await observer.observe(shown);
    expect(seen).toEqual(DAMAGED);
  });

  it('P2: keeps what nobody can read in the quarantine', async () => {
    const { store, kept } = setUp([]);
    const entries: QuarantinedRow[] = [...DAMAGED, new Uint8Array(0), Uint8Array.of(1, 2, 3)].map(
      (bytes, at) => ({
        id: `${at}`,
        siteId: '',
        source: 'event',
        table: 'events',
        quarantinedAt: RECEIVED_AT,
        reason: 'cannot be read',
        bytes,
      }),
    );
    await store.quarantine(entries, 'token');
    expect(kept).toEqual(entries);
  });
});
