import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rename, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { checkKey } from './key.js';
import type { ObjectStore } from './objects.js';

const TEMPORARY = '.tmp';

/** Objects as files of a folder. A put is written aside, fsynced and renamed, so that a reader never sees half an object. */
export function createFolderStore(folder: string): ObjectStore {
  const pathOf = (key: string) => join(folder, checkKey(key));
  return {
    kind: 'folder',
    async put(key, body) {
      const path = pathOf(key);
      const temporary = join(folder, TEMPORARY, randomBytes(12).toString('hex'));
      await mkdir(dirname(temporary), { recursive: true });
      await mkdir(dirname(path), { recursive: true });
      const file = await open(temporary, 'wx', 0o600);
      try {
        await file.writeFile(body);
        await file.datasync();
      } finally {
        await file.close();
      }
      await rename(temporary, path);
    },
    async get(key, range) {
      const file = await open(pathOf(key), 'r').catch(ignoreMissing);
      if (file === null) return null;
      try {
        return range === undefined ? await file.readFile() : await readRange(file, range.start, range.end);
      } finally {
        await file.close();
      }
    },
    async delete(keys) {
      for (const key of keys) {
        const path = pathOf(key);
        await rm(path, { force: true });
        await removeEmptyFolders(folder, dirname(path));
      }
    },
    list: (prefix) => walk(folder, '', prefix),
    async ping() {
      await mkdir(folder, { recursive: true, mode: 0o700 });
    },
    async close() {},
  };
}

async function readRange(file: FileHandle, start: number, end: number): Promise<Uint8Array> {
  const { size } = await file.stat();
  const length = Math.max(0, Math.min(end + 1, size) - start);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, start);
  return buffer.subarray(0, bytesRead);
}

async function* walk(folder: string, under: string, prefix: string): AsyncIterable<string> {
  const entries = await readdir(join(folder, under), { withFileTypes: true }).catch(ignoreMissing);
  const sorted = (entries ?? []).map((entry) => ({
    entry,
    key: under + entry.name + (entry.isDirectory() ? '/' : ''),
  }));
  sorted.sort((a, b) => (a.key < b.key ? -1 : 1));
  for (const { entry, key } of sorted) {
    if (entry.name === TEMPORARY || !(key.startsWith(prefix) || prefix.startsWith(key))) continue;
    if (entry.isDirectory()) yield* walk(folder, key, prefix);
    else if (key.startsWith(prefix)) yield key;
  }
}

async function removeEmptyFolders(root: string, folder: string): Promise<void> {
  for (let at = folder; at !== root && at.startsWith(root); at = dirname(at)) {
    // Fails, as it should, while anything is left in it.
    const removed = await rmdir(at).then(
      () => true,
      () => false,
    );
    if (!removed) return;
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT') return null;
  throw error;
}
