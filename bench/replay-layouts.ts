/**
 * How recordings could lie in an object store, compared on the two stores there are: an object a chunk, an object a session and flush,
 * an object a site and flush (byte ranges in it). A thousand sessions of twenty sites for a minute; then one of half an hour is read.
 */
import { join } from 'node:path';
import { compressEvents } from '../src/replays/compression.js';
import { createFolderStore } from '../src/storage/objects/folder.js';
import type { ObjectStore } from '../src/storage/objects/objects.js';
import { createS3Store } from '../src/storage/objects/s3.js';
import { silentTelemetry } from '../src/telemetry.js';
import { startS3 } from '../test/support/engines/ceph.js';
import { Guard } from '../test/support/guard.js';
import { ensureInstalled } from '../test/support/installed.js';
import { Recording, USUAL_PAGE } from './support/recording.js';

const SITES = 20;
const SESSIONS = 1_000;
const CHUNK_SECONDS = 10;
const SECONDS = 60;
/** Within a flush of eight seconds a session sends one chunk at most, so that an object a session and flush is one a chunk, but for bursts. */
const FLUSH_SECONDS = 8;
const LONG_CHUNKS = 180;
const AT_ONCE = 16;

interface Chunk {
  readonly session: number;
  readonly atMs: number;
  readonly data: Uint8Array;
}

/** By what chunks share an object. */
const LAYOUTS: Readonly<Record<string, (chunk: Chunk, index: number) => string>> = {
  'a chunk': (_, index) => `${index}`,
  'a session and flush': ({ session, atMs }) => `${session}-${flushOf(atMs)}`,
  'a site and flush': ({ session, atMs }) => `${session % SITES}-${flushOf(atMs)}`,
};
const flushOf = (atMs: number) => Math.floor(atMs / (FLUSH_SECONDS * 1_000));

interface Range {
  readonly key: string;
  readonly start: number;
  readonly end: number;
}

/** Prints a table; about a minute. */
export async function runReplayLayoutsBench(): Promise<void> {
  const guard = await Guard.start();
  try {
    const installed = await ensureInstalled(console.error);
    const { endpoint, accessKeyId, secretAccessKey } = await startS3(guard, installed);
    const s3 = await createS3Store(
      { endpoint, region: 'us-east-1', bucket: 'layouts', accessKeyId, secretAccessKey },
      silentTelemetry(),
    );
    const folder = createFolderStore(join(guard.directory, 'objects'));
    process.stderr.write('recording …\n');
    const chunks = minuteOfAll();
    console.log(
      '| store | an object | PUTs a recorded hour | KB each | write s | CPU s here | read 30 min, requests | ms |',
    );
    console.log('| --- | --- | --- | --- | --- | --- | --- | --- |');
    for (const store of [folder, s3])
      for (const layout of Object.keys(LAYOUTS)) await measure(store, layout, chunks);
    await s3.close();
  } finally {
    await guard.stop();
  }
}

/** All chunks of all sessions by time; a tenth of the recordings is made, others are copies. */
function minuteOfAll(): Chunk[] {
  const made = Array.from({ length: SESSIONS / 10 }, (_, seed) => {
    const recording = new Recording(seed + 1, USUAL_PAGE, 1_700_000_000_000);
    const parts: (readonly object[])[] = [recording.first()];
    for (let at = 0; at < SECONDS; at += CHUNK_SECONDS)
      parts.push(recording.later(at * 1_000, CHUNK_SECONDS));
    return parts.map((events) => compressEvents(Buffer.from(JSON.stringify(events))));
  });
  const chunks: Chunk[] = [];
  for (let session = 0; session < SESSIONS; session++) {
    const beginsMs = (session / SESSIONS) * CHUNK_SECONDS * 1_000;
    for (const [index, data] of (made[session % made.length] ?? []).entries())
      chunks.push({ session, atMs: beginsMs + index * CHUNK_SECONDS * 1_000, data });
  }
  return chunks.sort((a, b) => a.atMs - b.atMs);
}

async function measure(store: ObjectStore, layout: string, chunks: readonly Chunk[]): Promise<void> {
  const keyOf = LAYOUTS[layout];
  if (keyOf === undefined) throw new Error(`unknown layout ${layout}`);
  const prefix = `${store.kind}/${layout.replaceAll(' ', '-')}`;
  const objects = grouped(chunks, (chunk, index) => `${prefix}/${keyOf(chunk, index)}`);
  const cpu = process.cpuUsage();
  const started = performance.now();
  await inParallel([...objects], ([key, parts]) =>
    store.put(key, Buffer.concat(parts), 'application/octet-stream'),
  );
  const writeSeconds = (performance.now() - started) / 1_000;
  const { user, system } = process.cpuUsage(cpu);

  const ranges = await longSession(store, layout, prefix, chunks);
  const readStarted = performance.now();
  await inParallel(ranges, ({ key, start, end }) => store.get(key, { start, end }));
  const readMs = performance.now() - readStarted;

  const bytes = chunks.reduce((sum, { data }) => sum + data.length, 0);
  const hours = (SESSIONS * SECONDS) / 3_600;
  const cells = [
    store.kind,
    layout,
    (objects.size / hours).toFixed(0),
    (bytes / objects.size / 1_000).toFixed(1),
    writeSeconds.toFixed(1),
    ((user + system) / 1e6).toFixed(1),
    ranges.length,
    readMs.toFixed(0),
  ];
  console.log(`| ${cells.join(' | ')} |`);
}

/** Half an hour of one session among others, written as the layout has it; what must be read to play it. */
async function longSession(
  store: ObjectStore,
  layout: string,
  prefix: string,
  chunks: readonly Chunk[],
): Promise<Range[]> {
  // In an object a site, others' chunks of the same flush lie around it: fifty sessions a site.
  const others = layout === 'a site and flush' ? SESSIONS / SITES - 1 : 0;
  const around = Buffer.concat(chunks.slice(-others || chunks.length).map(({ data }) => data));
  const ranges: Range[] = [];
  const puts: { key: string; body: Uint8Array }[] = [];
  for (let index = 0; index < LONG_CHUNKS; index++) {
    const data = chunks[index]?.data ?? new Uint8Array();
    const key = `${prefix}/long-${index}`;
    puts.push({ key, body: Buffer.concat([around, data]) });
    ranges.push({ key, start: around.length, end: around.length + data.length - 1 });
  }
  await inParallel(puts, ({ key, body }) => store.put(key, body, 'application/octet-stream'));
  return ranges;
}

function grouped(
  chunks: readonly Chunk[],
  keyOf: (chunk: Chunk, index: number) => string,
): Map<string, Uint8Array[]> {
  const groups = new Map<string, Uint8Array[]>();
  for (const [index, chunk] of chunks.entries()) {
    const key = keyOf(chunk, index);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [chunk.data]);
    else group.push(chunk.data);
  }
  return groups;
}

async function inParallel<Item>(
  items: readonly Item[],
  act: (item: Item) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const lane = async () => {
    for (let index = next++; index < items.length; index = next++) {
      const item = items[index];
      if (item !== undefined) await act(item);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}
