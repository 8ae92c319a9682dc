import { describe, expect, it } from 'vitest';
import { AppError } from '../errors.js';
import type { WebsiteRecord } from '../storage/metadata/metadata.js';
import { silentTelemetry } from '../telemetry.js';
import { createSiteDirectory } from './site-directory.js';
import type { SiteIds } from './site-notices.js';

const hex = (n: number) => n.toString(16).padStart(24, '0');
const uuid = (n: number) => `00000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}`;

function record(n: number): WebsiteRecord {
  return {
    id: uuid(n),
    siteId: hex(n),
    userId: uuid(9_999),
    name: `Site ${n}`,
    url: 'https://www.Example.com/x',
    trackingId: `ST-${n}`,
    isActive: true,
    isVerified: false,
    automationEnabled: true,
    funnelEnabled: true,
    heatmapEnabled: true,
    heatmapIncludePatterns: null,
    heatmapExcludePatterns: null,
    replayEnabled: true,
    replaySamplingRate: 1,
    replayIncludePatterns: null,
    replayExcludePatterns: null,
    settings: { allowedOrigins: ['https://*.shop.example', 'app.example:8080', '%%'] },
    createdAt: new Date(0),
    updatedAt: new Date(0),
  };
}

function setUp() {
  const rows = new Map([1, 2].map((n) => [n, record(n)]));
  const queries: string[][] = [];
  const world = {
    time: 1_000_000,
    away: false,
    /** Holds queries back until called. */
    gate: Promise.resolve(),
    change: (_site: SiteIds): void => {},
  };
  const directory = createSiteDirectory({
    telemetry: silentTelemetry(),
    now: () => world.time,
    notices: {
      onChange(listener) {
        world.change = listener;
      },
    },
    websites: {
      async findMany(ids) {
        queries.push([...ids]);
        const found = [...rows.values()].filter(({ id, siteId }) => ids.includes(id) || ids.includes(siteId));
        await world.gate;
        if (world.away) throw new AppError('storage_unavailable', 'away');
        return found;
      },
    },
  });
  return { rows, queries, world, directory };
}

describe('site directory', () => {
  it('knows a site under both id forms, in any case, after one query', async () => {
    const { directory, queries } = setUp();
    expect(directory.peek(uuid(1))).toBeUndefined();
    const site = await directory.resolve(uuid(1).toUpperCase());
    expect(site).toMatchObject({
      siteId: hex(1),
      host: 'example.com',
      allowedHosts: ['shop.example', 'app.example'],
    });
    expect(directory.peek(uuid(1))).toBe(site);
    expect(directory.peek(hex(1))).toBe(site);
    expect(queries).toEqual([[uuid(1)]]);
  });

  it('asks once for all ids that miss at the same time', async () => {
    const { directory, queries } = setUp();
    const sites = await Promise.all([hex(1), uuid(2), hex(1), hex(3)].map((id) => directory.resolve(id)));
    expect(sites.map((site) => site?.name)).toEqual(['Site 1', 'Site 2', 'Site 1', undefined]);
    expect(queries).toEqual([[hex(1), uuid(2), hex(3)]]);
  });

  it.each(['', 'x', '../etc', '\u0000'.repeat(24), 'g'.repeat(24), '-'.repeat(36), 'a'.repeat(1e6)])(
    'asks nobody about ids that cannot exist (%#)',
    async (id) => {
      const { directory, queries } = setUp();
      expect(directory.peek(id)).toBeNull();
      expect(await directory.resolve(id)).toBeNull();
      expect(queries).toEqual([]);
    },
  );

  it('remembers for a short time that an id is unknown', async () => {
    const { directory, queries, rows, world } = setUp();
    expect(await directory.resolve(hex(3))).toBeNull();
    rows.set(3, record(3));
    expect(directory.peek(hex(3))).toBeNull();
    world.time += 10_000;
    expect(directory.peek(hex(3))).toBeUndefined();
    expect((await directory.resolve(hex(3)))?.name).toBe('Site 3');
    expect(queries).toHaveLength(2);
  });

  it('forgets at a notice, under both forms, and does not keep what was being read meanwhile', async () => {
    const { directory, rows, world } = setUp();
    let open = () => {};
    world.gate = new Promise((resolve) => {
      open = resolve;
    });
    const before = directory.resolve(hex(1));
    await new Promise((resolve) => setImmediate(resolve));
    rows.set(1, { ...record(1), name: 'Renamed' });
    world.change({ id: uuid(1), siteId: hex(1) });
    const after = directory.resolve(hex(1));
    open();
    expect((await before)?.name).toBe('Site 1');
    expect((await after)?.name).toBe('Renamed');
    expect(directory.peek(uuid(1))?.name).toBe('Renamed');
    rows.delete(1);
    world.change({ id: uuid(1), siteId: hex(1) });
    expect(await directory.resolve(uuid(1))).toBeNull();
    expect(await directory.resolve(hex(1))).toBeNull();
  });

  it('sees a change without a notice within its 30 s, refreshing behind from the middle on', async () => {
    const { directory, rows, world, queries } = setUp();
    await directory.resolve(hex(1));
    rows.set(1, { ...record(1), name: 'Renamed' });
    world.time += 15_000;
    expect(directory.peek(hex(1))?.name).toBe('Site 1');
    expect(directory.peek(hex(1))?.name).toBe('Site 1');
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    expect(directory.peek(hex(1))?.name).toBe('Renamed');
    expect(queries).toHaveLength(2);
    world.time += 30_000;
    expect(directory.peek(hex(1))).toBeUndefined();
  });

  it('serves a known site for an hour while the store is away, and says of others that it is', async () => {
    const { directory, world } = setUp();
    await directory.resolve(hex(1));
    world.away = true;
    world.time += 31_000;
    expect((await directory.resolve(hex(1)))?.name).toBe('Site 1');
    expect(directory.peek(hex(1))?.name).toBe('Site 1');
    await expect(directory.resolve(hex(2))).rejects.toMatchObject({ code: 'storage_unavailable' });
    world.time += 3_600_000;
    await expect(directory.resolve(hex(1))).rejects.toMatchObject({ code: 'storage_unavailable' });
  });
});
