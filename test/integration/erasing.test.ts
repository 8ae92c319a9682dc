/** What an erasure leaves alone, and what it may not leave, when it is begun anew. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createEraser, type EraserOptions } from '../../src/privacy/eraser.js';
import { erasureMetrics } from '../../src/privacy/erasure-metrics.js';
import { createPrivacyRequests } from '../../src/privacy/privacy-requests.js';
import type { MetadataStore } from '../../src/storage/metadata/metadata.js';
import { createMetadataStore } from '../../src/storage/metadata/postgres-store.js';
import type { PrivacyRequestType } from '../../src/storage/metadata/privacy-requests.js';
import { type Database, openPostgres } from '../../src/storage/postgres.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshPostgres } from '../support/fresh.js';

let database: Awaited<ReturnType<typeof freshPostgres>>;
let metadata: MetadataStore;
let sql: Database;
beforeAll(async () => {
  database = await freshPostgres();
  const connection = {
    url: database.url,
    maxConnections: 2,
    minConnections: 0,
    telemetry: silentTelemetry(),
  };
  metadata = await createMetadataStore(connection);
  sql = openPostgres({ ...connection, name: 'test' });
});
afterAll(async () => {
  await metadata.close();
  await sql.close();
  await database.drop();
});

/** An account with so many sites. */
async function accountWith(sites: number): Promise<{ userId: string; siteIds: string[] }> {
  const userId = randomUUID();
  await sql.query("INSERT INTO users (id, name, email) VALUES ($1, 'ada', $2)", [
    userId,
    `${userId}@a.example`,
  ]);
  const siteIds: string[] = [];
  for (let made = 0; made < sites; made++) siteIds.push(await addSite(userId));
  return { userId, siteIds };
}

async function addSite(userId: string): Promise<string> {
  const siteId = randomUUID().replaceAll('-', '').slice(0, 24);
  await sql.query(
    "INSERT INTO websites (id, site_id, user_id, name, url, tracking_id) VALUES ($1, $2, $3, 'a', 'a.example', $2)",
    [randomUUID(), siteId, userId],
  );
  return siteId;
}

/** What was done to the stores, in order; `fails` names steps that fail. */
function setUp() {
  const steps: string[] = [];
  const fails = new Set<string>();
  const drains: number[] = [];
  const uploads: string[] = [];
  const step = async (name: string) => {
    steps.push(name);
    if (fails.has(name)) throw new Error(`${name} failed`);
  };
  const telemetry = silentTelemetry();
  const metrics = erasureMetrics(telemetry.registry);
  const options: EraserOptions = {
    erasures: metadata.erasures,
    personal: {
      rows: async function* () {},
      sessionsOf: async () => [],
      deleteVisitor: () => step('delete visitor'),
      deleteSite: (siteId) => step(`delete ${siteId}`),
      anonymise: (siteId) => step(`anonymise ${siteId}`),
      rewritten: () => step('rewritten'),
      close: async () => {},
    },
    replays: { deleteSite: async () => {}, deleteSessions: async () => {}, sweep: async () => {} },
    executions: { deleteVisitor: async () => {}, deleteSite: async () => {}, anonymise: async () => {} },
    deleteUpload: async (id) => void uploads.push(id),
    streams: [{ drain: async () => void drains.push(performance.now()) }],
    withLock: (_siteId, work) => work(),
    metrics,
    log: telemetry.log,
  };
  const eraser = createEraser(options);
  const requests = createPrivacyRequests({
    metadata,
    eraser,
    metrics,
    log: telemetry.log,
  });
  return { steps, fails, drains, uploads, eraser, requests };
}

const deletions = (steps: readonly string[]) => new Set(steps.filter((name) => name.startsWith('delete ')));

it('P9: every erasure and every deletion of a site changes the version of the erasures', async () => {
  const { userId, siteIds } = await accountWith(2);
  const [siteId = '', other = ''] = siteIds;
  const request = await metadata.privacyRequests.create({ userId, type: 'delete_website', siteId });
  const { erasures } = metadata;
  const changes: Readonly<Record<string, () => Promise<unknown>>> = {
    noted: () => erasures.note({ siteId, visitorHash: null, receivedUntil: 1_000 }),
    'noted again': () => erasures.note({ siteId, visitorHash: null, receivedUntil: 1_000 }),
    wiped: () => erasures.wiped(siteId, request.id, 2_000),
    'site deleted': async () => {
      const [site] = await metadata.websites.findMany([siteId]);
      return metadata.websites.delete(site?.id ?? '');
    },
    'account deleted': () => metadata.accountDeletion.delete(userId, null),
  };
  const seen = [await erasures.version()];
  for (const [what, change] of Object.entries(changes)) {
    await change();
    const version = await erasures.version();
    expect(seen, what).not.toContain(version);
    seen.push(version);
    expect(await erasures.version(), what).toBe(version);
  }
  expect(await erasures.of([siteId, other], Date.now())).toHaveLength(2);
  expect(await erasures.of([siteId, other], 2_000)).toHaveLength(3);
});

it('P9: notes of a site or visitor move on when noted again, that of an undone import stays', async () => {
  const { siteIds } = await accountWith(1);
  const [siteId = ''] = siteIds;
  const { erasures } = metadata;
  const importId = randomUUID();
  const visitorHash = 'ab'.repeat(32);
  for (const receivedUntil of [5_000, 9_000]) {
    await erasures.note({ siteId, visitorHash: null, receivedUntil });
    await erasures.note({ siteId, visitorHash, receivedUntil });
    await erasures.noteUndone(siteId, importId, receivedUntil);
  }
  const noted = await erasures.of([siteId]);
  expect(noted).toHaveLength(3);
  expect(noted).toEqual(
    expect.arrayContaining([
      { siteId, visitorHash: null, receivedUntil: 9_000 },
      { siteId, visitorHash, receivedUntil: 9_000 },
      { siteId, visitorHash: null, importId, receivedUntil: 5_000 },
    ]),
  );
});

it('P9: drains no sooner than all writers know of the erasure', async () => {
  const { userId, siteIds } = await accountWith(1);
  const [siteId = ''] = siteIds;
  const world = setUp();
  const beganAt = performance.now();
  await world.requests.submit({ userId, type: 'delete_website', siteId });
  expect(world.drains.length).toBeGreaterThan(0);
  for (const at of world.drains) expect(at - beganAt).toBeGreaterThan(500);
});

it('P9: removes the files of imports that went with their website', async () => {
  const { siteIds } = await accountWith(1);
  const [siteId = ''] = siteIds;
  const world = setUp();
  const ids = [randomUUID(), randomUUID()];
  for (const [n, state] of ['queued', 'done'].entries())
    await sql.query(
      `INSERT INTO imports (id, website_id, site_id, format, file_name, state, bytes)
       SELECT $2, id, site_id, 'csv', 'a.csv', $3, 1 FROM websites WHERE site_id = $1`,
      [siteId, ids[n], state],
    );
  const [site] = await metadata.websites.findMany([siteId]);
  await metadata.websites.delete(site?.id ?? '');
  await world.eraser.deletedSite(siteId);
  // Once; that of the other one went when it was done.
  expect(world.uploads).toEqual([ids[0]]);
});

describe('a privacy request that is begun anew', () => {
  let world: ReturnType<typeof setUp>;
  beforeEach(() => {
    world = setUp();
  });
  const again = async (userId: string, type: PrivacyRequestType, siteId?: string) => {
    await sql.query('UPDATE privacy_requests SET due_at = now() WHERE user_id = $1', [userId]);
    return world.requests.submit({ userId, type, ...(siteId === undefined ? {} : { siteId }) });
  };

  it('P9: removes nothing that was received after it had emptied the site', async () => {
    const { userId, siteIds } = await accountWith(1);
    const [siteId = ''] = siteIds;
    world.fails.add('rewritten');
    const first = await world.requests.submit({ userId, type: 'delete_website', siteId });
    expect(first).toMatchObject({ status: 'pending', attempts: 1 });
    expect(deletions(world.steps)).toEqual(new Set([`delete ${siteId}`]));
    const noted = await metadata.erasures.of([siteId]);
    // What comes from now on counts, also while the bytes are being rewritten.
    expect(noted[0]?.receivedUntil).toBeLessThanOrEqual(Date.now());

    world.steps.length = 0;
    world.fails.clear();
    const second = await again(userId, 'delete_website', siteId);
    expect(second).toMatchObject({ id: first.id, status: 'completed' });
    expect(world.steps).toEqual(['rewritten']);
    expect(await metadata.erasures.of([siteId])).toEqual(noted);
  });

  it('P9: empties a site again that it could not empty', async () => {
    const { userId, siteIds } = await accountWith(1);
    const [siteId = ''] = siteIds;
    world.fails.add(`delete ${siteId}`);
    expect(await again(userId, 'delete_website', siteId)).toMatchObject({ status: 'pending' });
    world.fails.clear();
    world.steps.length = 0;
    expect(await again(userId, 'delete_website', siteId)).toMatchObject({ status: 'completed' });
    expect(deletions(world.steps)).toEqual(new Set([`delete ${siteId}`]));
  });

  it('goes on with the sites that are left, and leaves alone those made after it', async () => {
    const { userId, siteIds } = await accountWith(2);
    const [first = '', second = ''] = siteIds.sort();
    world.fails.add(`delete ${second}`);
    expect(await again(userId, 'delete_data')).toMatchObject({ status: 'pending' });
    await addSite(userId);
    world.fails.clear();
    expect(deletions(world.steps)).toEqual(new Set([`delete ${first}`, `delete ${second}`]));
    world.steps.length = 0;
    expect(await again(userId, 'delete_data')).toMatchObject({ status: 'completed' });
    expect(deletions(world.steps)).toEqual(new Set([`delete ${second}`]));
  });
});
