import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createFolderStore } from '../../src/storage/objects/folder.js';
import type { ObjectStore } from '../../src/storage/objects/objects.js';
import { createS3Store } from '../../src/storage/objects/s3.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshName } from '../support/fresh.js';
import { Relay } from './relay.js';

const folder = await mkdtemp(join(tmpdir(), 'seentics-objects-'));

const stores: readonly [string, () => Promise<ObjectStore>][] = [
  ['folder', async () => createFolderStore(folder)],
  [
    's3',
    () =>
      createS3Store(
        { ...inject('servers').s3, region: 'us-east-1', bucket: freshName('objects').replaceAll('_', '-') },
        silentTelemetry(),
      ),
  ],
];

describe.each(stores)('objects in %s', (_name, open) => {
  let store: ObjectStore;
  beforeAll(async () => {
    store = await open();
    await store.ping();
  });
  afterAll(async () => {
    await store.close();
    await rm(folder, { recursive: true, force: true });
  });
  const keysUnder = async (prefix: string) => {
    const keys: string[] = [];
    for await (const key of store.list(prefix)) keys.push(key);
    return keys;
  };

  it('gives back the bytes that were put, whole and by range', async () => {
    const body = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 31) % 256));
    await store.put('replays/a/1.bin', body, 'application/octet-stream');
    expect(Buffer.from((await store.get('replays/a/1.bin')) ?? []).equals(body)).toBe(true);
    const part = await store.get('replays/a/1.bin', { start: 1_000, end: 1_999 });
    expect(Buffer.from(part ?? []).equals(body.subarray(1_000, 2_000))).toBe(true);
    const tail = await store.get('replays/a/1.bin', { start: 299_990, end: 400_000 });
    expect(Buffer.from(tail ?? []).equals(body.subarray(299_990))).toBe(true);
  });

  it('answers null for an object that is not there', async () => {
    expect(await store.get('replays/none')).toBeNull();
  });

  it('replaces an object as a whole', async () => {
    await store.put('replace/x', Buffer.from('a long first text'), 'text/plain');
    await store.put('replace/x', Buffer.from('short'), 'text/plain');
    expect(Buffer.from((await store.get('replace/x')) ?? []).toString()).toBe('short');
  });

  it('lists by prefix in order and deletes for good', async () => {
    for (const key of ['list/b/2', 'list/a/1', 'list/a/10', 'other/z'])
      await store.put(key, Buffer.from(key), 'text/plain');
    expect(await keysUnder('list/')).toEqual(['list/a/1', 'list/a/10', 'list/b/2']);
    expect(await keysUnder('list/a/1')).toEqual(['list/a/1', 'list/a/10']);
    await store.delete(['list/a/1', 'list/a/10', 'list/b/2', 'list/never']);
    expect(await keysUnder('list/')).toEqual([]);
    expect(await keysUnder('other/')).toEqual(['other/z']);
  });

  it.each(['../secret', 'a/../../b', '/etc/passwd', 'a//b', '.hidden', 'a/.b', 'nul\0', 'ä', ''])(
    'refuses the key %j',
    async (key) => {
      await expect(store.put(key, Buffer.from('x'), 'text/plain')).rejects.toThrow('invalid object key');
      await expect(store.get(key)).rejects.toThrow('invalid object key');
    },
  );
});

describe('objects in a folder', () => {
  it('leave no temporary file and no empty folder behind', async () => {
    const own = await mkdtemp(join(tmpdir(), 'seentics-objects-'));
    const store = createFolderStore(own);
    await store.put('deep/er/x', Buffer.from('x'), 'text/plain');
    await store.delete(['deep/er/x']);
    expect((await readdir(own, { recursive: true })).filter((name) => name !== '.tmp')).toEqual([]);
    await rm(own, { recursive: true });
  });
});

it('asks an S3 store again over another connection when its host dies without a word', async () => {
  const server = inject('servers').s3;
  const relay = await Relay.before(server.endpoint);
  const bucket = freshName('objects').replaceAll('_', '-');
  const store = await createS3Store(
    {
      ...server,
      ...{ endpoint: relay.through(server.endpoint), region: 'us-east-1', bucket, idleTimeoutMs: 200 },
    },
    silentTelemetry(),
  );
  const body = Buffer.alloc(100_000, 'x');
  await store.put('a', body, 'text/plain');
  relay.lose();
  expect((await store.get('a'))?.byteLength).toBe(body.byteLength);
  relay.lose();
  await store.put('b', body, 'text/plain');
  expect((await store.get('b'))?.byteLength).toBe(body.byteLength);
  await store.close();
  relay.stop();
});
