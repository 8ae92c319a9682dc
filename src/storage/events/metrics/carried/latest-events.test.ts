import { afterAll, afterEach, expect, it, vi } from 'vitest';
import { openClickhouse } from '../../../clickhouse.js';
import { ClickhouseReader } from '../../clickhouse-reader.js';
import { RollupArrivals } from './arrivals.js';
import { LatestCustomEvents } from './latest-events.js';

const reader = new ClickhouseReader(openClickhouse({ url: 'http://127.0.0.1:1' }));
afterEach(() => vi.restoreAllMocks());
afterAll(() => reader.close());

const { signal } = new AbortController();
const TO = Date.parse('2026-11-02T03:37:13Z');
const SCOPE = { siteId: 's', from: TO - 86_400_000, to: TO, filters: [] };

/** Asks for the latest event of session 11 first; later ones are asked for as rows of type, properties, instant, session, 0, and sessions that are concerned. */
async function setUp() {
  const arrivals = new RollupArrivals(reader);
  let arrived = 0;
  let changes: unknown[][] = [];
  vi.spyOn(arrivals, 'state').mockResolvedValue({ settled: TO - 1_800_000, history: 'h', isChanging: false });
  vi.spyOn(arrivals, 'since').mockImplementation(async () => ({
    stretch: { arrivedSince: 0, slotFrom: 0, slotTo: 0 },
    state: `${arrived}`,
    latest: TO - 1,
    at: 0,
    recent: [],
    cut: [],
  }));
  vi.spyOn(arrivals, 'concerned').mockResolvedValue({ set: 'a', batch: 1, recent: 'b' });
  const rows = vi.spyOn(reader, 'rows').mockImplementation(async () => changes);
  const latest = new LatestCustomEvents(reader, arrivals);
  await latest.anew(SCOPE, signal, async () => [['signup', '{"a":1}', TO - 5_000, '11']]);
  const now = async (found: unknown[][]) => {
    arrived++;
    changes = found;
    return (await latest.now(SCOPE, signal))?.get('signup')?.properties;
  };
  return { latest, rows, now };
}

it('keeps the latest event while nothing changes, and takes a later one of changed sessions', async () => {
  const { latest, rows, now } = await setUp();
  expect((await latest.now(SCOPE, signal))?.get('signup')?.properties).toBe('{"a":1}');
  expect(rows).not.toHaveBeenCalled();
  expect(await now([['signup', '{"a":0}', TO - 6_000, '12', 0]])).toBe('{"a":1}');
  expect(await now([['signup', '{"a":2}', TO - 4_000, '12', 0]])).toBe('{"a":2}');
  expect(await now([['', '', 0, '11', 1]])).toBe('{"a":2}');
});

it('knows no latest event when that of a changed session counts no more, or another is as late', async () => {
  const { now } = await setUp();
  expect(
    await now([
      ['signup', '{"a":0}', TO - 6_000, '12', 0],
      ['', '', 0, '11', 1],
    ]),
  ).toBeUndefined();
  expect(await now([['', '', 0, '11', 1]])).toBeUndefined();
  expect(await now([['signup', '{"a":3}', TO - 5_000, '12', 0]])).toBeUndefined();
  expect(await now([['signup', '{"a":1}', TO - 5_000, '12', 0]])).toBe('{"a":1}');
});
