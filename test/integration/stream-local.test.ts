import { once } from 'node:events';
import { existsSync } from 'node:fs';
import {
  cp,
  mkdtemp,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lockDirectory } from '../../src/storage/stream/local/directory-lock.js';
import { type Disk, realDisk } from '../../src/storage/stream/local/disk.js';
import { type LocalLogOptions, openLocalLog } from '../../src/storage/stream/local-log.js';
import { StreamUnavailableError } from '../../src/storage/stream/stream.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { seededRandom } from '../support/random.js';
import { pause, until } from '../support/wait.js';
import { startStreamChild } from './stream-child.js';
import { Recorder, streamContract } from './stream-contract.js';
import { fragileDisk } from './stream-fragile-disk.js';

streamContract(
  'local log',
  async () => {
    const directory = await mkdtemp(join(tmpdir(), 'seentics-log-'));
    const fragile = fragileDisk();
    return {
      open: ({ partitions, limitBytes = 1e9 }) =>
        openLocalLog({ directory, partitions, limitBytes, disk: fragile.disk, telemetry: silentTelemetry() }),
      async breakDown() {
        fragile.fail = true;
      },
      async repair() {
        fragile.fail = false;
      },
      dispose: () => rm(directory, { recursive: true }),
    };
  },
  false,
);

describe('local log', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'seentics-log-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  const openLog = (options: Partial<LocalLogOptions> = {}) =>
    openLocalLog({ directory, partitions: 2, limitBytes: 1e9, telemetry: silentTelemetry(), ...options });
  const segmentFiles = async () => (await readdir(directory)).filter((name) => name.endsWith('.seg')).sort();
  const drain = async (count: number, options: Partial<LocalLogOptions> = {}) => {
    const log = await openLog(options);
    const recorder = new Recorder();
    await log.consume(recorder);
    await until(() => recorder.received.length >= count, { what: `${count} messages`, everyMs: 5 });
    await pause(50);
    await log.close();
    return recorder.texts();
  };
  const fill = async (texts: readonly string[], options: Partial<LocalLogOptions> = {}) => {
    const log = await openLog(options);
    for (const text of texts) await log.append(0, Buffer.from(text));
    await log.close();
  };

  it('P9: a drain waits for nothing that is appended while it begins', async () => {
    let isSlow = false;
    let begun = () => {};
    let end = () => {};
    const closing = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const held = new Promise<void>((resolve) => {
      end = resolve;
    });
    const slow = {
      ...realDisk,
      close: async (fd: number) => {
        if (isSlow) {
          isSlow = false;
          begun();
          await held;
        }
        await realDisk.close(fd);
      },
    };
    const log = await openLog({ disk: slow });
    await log.consume(new Recorder());
    await log.append(0, Buffer.from('before'));
    isSlow = true;
    const drained = log.drain(AbortSignal.timeout(2_000));
    await closing;
    await log.append(0, Buffer.from('meanwhile'));
    end();
    await drained;
    await log.close();
  });

  it('cuts off a torn tail and keeps all before it', async () => {
    await fill(['one', 'two', 'three']);
    const [name = ''] = await segmentFiles();
    await truncate(join(directory, name), 24 + 3 + 24 + 3 + 24 + 2);
    expect(await drain(2)).toEqual(['one', 'two']);
  });

  it('appends again after a torn tail that leaves nothing', async () => {
    await fill(['one']);
    const [name = ''] = await segmentFiles();
    await truncate(join(directory, name), 24 + 1);
    await fill(['two']);
    expect(await drain(1)).toEqual(['two']);
  });

  it('skips damage in the middle, at any byte, and keeps what stands around it', async () => {
    const random = seededRandom(7);
    for (let round = 0; round < 40; round++) {
      await fill(['one', 'two', 'three']);
      const [name = ''] = await segmentFiles();
      const file = await open(join(directory, name), 'r+');
      // Somewhere in the second record, magic and lengths included.
      await file.write(Buffer.from([Math.floor(random() * 256)]), 0, 1, 27 + Math.floor(random() * 27));
      await file.close();
      const texts = await drain(2);
      expect(texts[0]).toBe('one');
      expect(texts[texts.length - 1]).toBe('three');
      await Promise.all((await segmentFiles()).map((left) => rm(join(directory, left))));
    }
  });

  it('skips a record that is damaged after it was indexed, and goes on', async () => {
    const log = await openLog({ memoryBytes: 0 });
    for (const text of ['one', 'two', 'three']) await log.append(0, Buffer.from(text));
    const [name = ''] = await segmentFiles();
    const file = await open(join(directory, name), 'r+');
    await file.write(Buffer.from('X'), 0, 1, 27 + 24);
    await file.close();
    const recorder = new Recorder();
    await log.consume(recorder);
    await until(() => recorder.texts().includes('three'), { what: 'the last message' });
    expect(recorder.texts()).toEqual(['one', 'three']);
    expect((await log.status()).lagMessages).toBe(0);
    await log.close();
  });

  it('reads back from disk when the consumer lags more than the memory allows, over many segments', async () => {
    const log = await openLog({ memoryBytes: 10_000, segmentBytes: 50_000 });
    const recorder = new Recorder();
    let release = () => {};
    recorder.gate = new Promise((resolve) => {
      release = resolve;
    });
    await log.consume(recorder);
    const texts = Array.from({ length: 400 }, (_, i) => `${i} ${'x'.repeat(1000)}`);
    await Promise.all(texts.map((text, i) => log.append(i % 2, Buffer.from(text))));
    expect((await segmentFiles()).length).toBeGreaterThan(5);
    release();
    await until(() => recorder.received.length === 400, { what: 'all messages' });
    for (const partition of [0, 1])
      expect(recorder.texts(partition)).toEqual(texts.filter((_, i) => i % 2 === partition));
    await until(async () => (await segmentFiles()).length <= 1, { what: 'finished segments to be deleted' });
    await log.close();
  });

  it('goes on in a file made ahead, also after a crash at any moment, and numbers no record twice', async () => {
    const living = join(directory, 'living');
    const texts: string[] = [];
    const options = { directory: living, segmentBytes: 1_000 };
    const log = await openLog(options);
    for (let i = 0; i < 24; i++) {
      const text = `${i} ${'x'.repeat(100)}`;
      texts.push(text);
      await log.append(0, Buffer.from(text));
      // What a crash leaves at this moment, the lock of the living owner apart.
      const left = join(directory, `crashed ${i}`);
      await cp(living, left, { recursive: true, filter: (path) => !path.endsWith('lock') });
      await fill(['after the crash'], { ...options, directory: left });
      expect(await drain(i + 2, { ...options, directory: left })).toEqual([...texts, 'after the crash']);
    }
    await log.close();
    expect(await drain(texts.length, options)).toEqual(texts);
    await until(async () => (await readdir(living)).every((name) => !name.includes('.seg')), {
      what: 'finished segments to be deleted',
    });
  });

  it('removes large files in steps, and does not deliver again what a crash left of one', async () => {
    const big = 'x'.repeat(3 << 20);
    await fill([big, big, big, big, 'last']);
    const [name = ''] = await segmentFiles();
    const sizes = new Set<number>();
    const watched = {
      ...realDisk,
      truncate: async (fd: number, size: number) => {
        sizes.add(size);
        await realDisk.truncate(fd, size);
      },
    };
    await cp(join(directory, name), join(directory, 'copy'));
    expect((await drain(5, { disk: watched })).at(-1)).toBe('last');
    expect(sizes.size).toBe(1);
    expect(await segmentFiles()).toEqual([]);
    await rename(join(directory, 'copy'), join(directory, `${name}.removed`));
    await fill(['new']);
    expect(await drain(1)).toEqual(['new']);
    expect((await readdir(directory)).filter((left) => left.includes('.seg'))).toEqual([]);
  });

  it('goes on when the file made ahead cannot be made, and leaves nothing of it behind', async () => {
    let made = 0;
    const disk = {
      ...realDisk,
      createLog: async (path: string) => {
        made++;
        if (made === 2) throw new Error('EMFILE: too many open files');
        return realDisk.createLog(path);
      },
    };
    const texts = Array.from({ length: 10 }, (_, i) => `${i} ${'x'.repeat(200)}`);
    await fill(texts, { disk, segmentBytes: 1_000 });
    expect(made).toBeGreaterThan(2);
    for (const name of await segmentFiles())
      expect((await stat(join(directory, name))).size).toBeGreaterThan(0);
    expect(await drain(texts.length)).toEqual(texts);
  });

  it('goes on under another name when a new file can neither be made durable nor removed', async () => {
    let isBroken = false;
    const broken = () => Promise.reject(new Error('EIO: i/o error'));
    const disk: Disk = {
      ...realDisk,
      syncDirectory: (path) => (isBroken ? broken() : realDisk.syncDirectory(path)),
      unlink: (path) => (isBroken ? broken() : realDisk.unlink(path)),
    };
    const log = await openLog({ disk });
    isBroken = true;
    await expect(log.append(0, Buffer.from('lost'))).rejects.toThrow(StreamUnavailableError);
    isBroken = false;
    const append = () =>
      log.append(0, Buffer.from('kept')).then(
        () => true,
        () => false,
      );
    await until(append, { what: 'the log to take messages again', everyMs: 20 });
    await log.close();
    expect(await drain(1)).toEqual(['kept']);
  });

  it('opens although what is left of a finished file cannot be deleted', async () => {
    await fill(['one']);
    await cp(join(directory, (await segmentFiles())[0] ?? ''), join(directory, '00000000000009.seg.removed'));
    const disk: Disk = {
      ...realDisk,
      unlink: (path) =>
        path.endsWith('.removed') ? Promise.reject(new Error('EPERM: not permitted')) : realDisk.unlink(path),
    };
    expect(await drain(1, { disk })).toEqual(['one']);
  });

  it('loses to a sector that cannot be read what lies in it and nothing else, and keeps the file', async () => {
    // Ten records of a bit more than 1 kB: the sector from 4,096 on takes numbers 3 to 7.
    const texts = Array.from({ length: 10 }, (_, i) => `${i} ${'x'.repeat(1022)}`);
    const around = texts.filter((_, i) => i < 3 || i > 7);
    const damaged = async () => (await readdir(directory)).filter((name) => name.endsWith('.seg.damaged'));
    const worn = fragileDisk();
    await fill(texts);
    worn.badSector = 4096;
    expect(await drain(around.length, { disk: worn.disk })).toEqual(around);
    expect(await damaged()).toHaveLength(1);
    expect(await segmentFiles()).toEqual([]);
    worn.badSector = undefined;
    // It comes while the log is open, before the consumer does.
    const log = await openLog({ disk: worn.disk, memoryBytes: 0, readRetryMs: 1 });
    for (const text of texts) await log.append(0, Buffer.from(text));
    worn.badSector = 4096;
    const recorder = new Recorder();
    await log.consume(recorder);
    await until(async () => (await log.status()).lagMessages === 0, { what: 'all that can be read' });
    expect(recorder.texts()).toEqual(around);
    await log.close();
    expect(await damaged()).toHaveLength(2);
    expect(await segmentFiles()).toEqual([]);
  });

  it('cuts nothing off a file whose end cannot be read, and numbers no record twice', async () => {
    const worn = fragileDisk();
    await fill(['one', 'x'.repeat(10_000), 'three']);
    await rm(join(directory, 'state'));
    worn.badSector = 8192;
    const log = await openLog({ disk: worn.disk });
    await log.append(0, Buffer.from('four'));
    await log.close();
    worn.badSector = undefined;
    const received = await drain(4);
    expect([...received].map((text) => text.slice(0, 5))).toEqual(['one', 'xxxxx', 'three', 'four']);
  });

  it('opens on a full disk by the room that it has kept, so that it can be drained, and keeps some again', async () => {
    const reserve = join(directory, 'reserve');
    const fragile = fragileDisk();
    const disk: Disk = {
      ...fragile.disk,
      unlink: async (path) => {
        await realDisk.unlink(path);
        if (path === reserve) fragile.fail = false;
      },
    };
    await fill(['one'], { disk });
    expect((await stat(reserve)).size).toBeGreaterThan(500_000);
    fragile.fail = true;
    const log = await openLog({ disk });
    expect(existsSync(reserve)).toBe(false);
    await log.consume(new Recorder());
    await until(() => existsSync(reserve), { what: 'room to be kept again' });
    expect((await log.status()).lagMessages).toBe(0);
    await log.close();
    // Without it nothing can be done, but nothing is left behind either.
    await rm(reserve);
    fragile.fail = true;
    await expect(openLog({ disk })).rejects.toThrow(/ENOSPC/);
    expect((await readdir(directory)).filter((name) => name.startsWith('lock'))).toEqual([]);
  });

  it('removes what crashes have left of attempts to claim the folder', async () => {
    const left = join(directory, 'lock.0aa8e5b0-8d7c-4a83-bb51-2c1f7e0f7a11');
    await writeFile(left, '');
    await utimes(left, new Date(0), new Date(0));
    await fill(['one']);
    expect((await readdir(directory)).filter((name) => name.startsWith('lock'))).toEqual([]);
  });

  it('changes nothing more in a folder that was taken over while it stood still', async () => {
    const lost: Error[] = [];
    const log = await openLog({ onLost: (error) => lost.push(error), stateIntervalMs: 5 });
    await log.append(0, Buffer.from('before'));
    const lock = JSON.parse(await readFile(join(directory, 'lock'), 'utf8'));
    await writeFile(join(directory, 'lock'), JSON.stringify({ ...lock, token: 'another' }));
    // As after six seconds without a processor.
    const now = Date.now;
    Date.now = () => now() + 6_000;
    try {
      const before = await readdir(directory);
      await expect(log.append(0, Buffer.from('after'))).rejects.toThrow(StreamUnavailableError);
      expect(lost).toHaveLength(1);
      const recorder = new Recorder();
      await log.consume(recorder);
      await until(() => recorder.received.length > 0, { what: 'delivery', everyMs: 5 });
      const state = await readFile(join(directory, 'state'));
      await log.close();
      expect(await readdir(directory)).toEqual(before);
      expect(await readFile(join(directory, 'state'))).toEqual(state);
    } finally {
      Date.now = now;
    }
    expect(JSON.parse(await readFile(join(directory, 'lock'), 'utf8')).token).toBe('another');
  });

  it('a claim that was taken over, and given up again, is noticed by its heartbeat', async () => {
    const lost: Error[] = [];
    const lock = await lockDirectory(directory, { heartbeatMs: 5, onLost: (error) => lost.push(error) });
    await lock.check();
    await rm(join(directory, 'lock'));
    await until(() => lost.length === 1, { what: 'the loss to be noticed', everyMs: 5 });
    await expect(lock.check()).rejects.toThrow(/taken over/);
    await lock.release();
  });

  it('delivers everything again when its state is lost or damaged, and never reuses an epoch', async () => {
    await fill(['one', 'two']);
    const file = await open(join(directory, 'state'), 'r+');
    await file.write('zz', 0);
    await file.close();
    const log = await openLog();
    expect(log.epoch).toBeGreaterThan(2);
    await log.close();
    expect(await drain(2)).toEqual(['one', 'two']);
  });

  it('a new record is never taken for acknowledged after all segments were deleted', async () => {
    for (let round = 0; round < 5; round++) {
      await fill([`${round} a`, `${round} b`]);
      expect(await drain(2)).toEqual([`${round} a`, `${round} b`]);
      expect(await segmentFiles()).toEqual([]);
    }
  });

  it('keeps what was durable when the disk fails, and nothing is lost around the failure', async () => {
    const fragile = fragileDisk();
    const log = await openLog({ disk: fragile.disk });
    await log.append(0, Buffer.from('before'));
    fragile.fail = true;
    await expect(log.append(0, Buffer.from('failed'))).rejects.toThrow(StreamUnavailableError);
    fragile.fail = false;
    await until(() => log.append(0, Buffer.from('after')).then(() => true), { what: 'recovery' });
    await log.close();
    expect(await drain(2)).toEqual(['before', 'after']);
  });

  it('is used by one process at a time; a claim of a dead one is taken over at once', async () => {
    const log = await openLog();
    await expect(openLog()).rejects.toThrow(/only one process/);
    await log.close();
    const child = startStreamChild({ kind: 'local', directory, round: 0 });
    await once(child.process.stdout, 'data');
    await expect(openLog()).rejects.toThrow(/only one process/);
    child.process.kill('SIGKILL');
    await child.ended;
    const start = performance.now();
    // Many at once: exactly one may win.
    const claims = await Promise.allSettled(Array.from({ length: 8 }, () => lockDirectory(directory)));
    const won = claims.filter((claim) => claim.status === 'fulfilled');
    expect(won).toHaveLength(1);
    await won[0]?.value.release();
    await (await openLog()).close();
    expect(performance.now() - start).toBeLessThan(2_000);
  });

  it('waits after a crash only when something was being sent to a store that lives on, or nobody can tell', async () => {
    const lived = join(directory, 'lived');
    const log = await openLog({ directory: lived, takeoverMs: 60_000 });
    await log.append(0, Buffer.from('one'));
    let crashes = 0;
    /** Whether who comes after a crash of this moment consumes at once, or not yet. */
    const waits = async () => {
      const left = join(directory, `crashed ${crashes++}`);
      await cp(lived, left, { recursive: true, filter: (path) => !path.endsWith('lock') });
      const next = await openLog({ directory: left, takeoverMs: 60_000 });
      const recorder = new Recorder();
      const consumed = until(() => recorder.received.length > 0, {
        ...{ what: 'delivery', everyMs: 5, timeoutMs: 300 },
      });
      await next.consume(recorder);
      const isWaiting = await consumed.then(
        () => false,
        () => true,
      );
      await next.close();
      return isWaiting;
    };
    expect(await waits()).toBe(true);
    await log.sending(async () => {});
    expect(await waits()).toBe(false);
    const ends: (() => void)[] = [];
    const sends = [0, 1].map(() => log.sending(() => new Promise<void>((resolve) => ends.push(resolve))));
    await until(() => ends.length === 2, { what: 'both to be sent', everyMs: 5 });
    expect(await waits()).toBe(true);
    ends[0]?.();
    await sends[0];
    expect(await waits()).toBe(true);
    ends[1]?.();
    await sends[1];
    expect(await waits()).toBe(false);
    await expect(log.sending(() => Promise.reject(new Error('refused')))).rejects.toThrow('refused');
    expect(await waits()).toBe(false);
    // Closed before the store has answered.
    const late = log.sending(() => new Promise<void>((resolve) => ends.push(resolve)));
    await until(() => ends.length === 3, { what: 'it to be sent', everyMs: 5 });
    await log.close();
    ends[2]?.();
    await late;
    expect(await waits()).toBe(true);
  });

  it('sends nothing of which the disk can neither take a note nor lose the one that is there', async () => {
    const fragile = fragileDisk();
    let isStuck = false;
    const disk: Disk = {
      ...fragile.disk,
      unlink: (path) => (isStuck ? Promise.reject(new Error('EIO')) : realDisk.unlink(path)),
    };
    const log = await openLog({ takeoverMs: 60_000, disk });
    let sent = 0;
    const send = () => log.sending(async () => sent++);
    await send();
    const noted = async () => (await readdir(directory)).includes('sending');
    expect(await noted()).toBe(true);
    fragile.fail = true;
    isStuck = true;
    await expect(send()).rejects.toThrow(StreamUnavailableError);
    expect(sent).toBe(1);
    isStuck = false;
    await send();
    expect([sent, await noted()]).toEqual([2, false]);
    fragile.fail = false;
    await send();
    expect([sent, await noted()]).toEqual([3, true]);
    await log.close();
  });

  it('waits after a kill before it consumes, when another store may still hold writes of the dead owner', async () => {
    const child = startStreamChild({ kind: 'local', directory, round: 0 });
    await once(child.process.stdout, 'data');
    child.process.kill('SIGKILL');
    await child.ended;
    // One that comes and goes meanwhile shortens nothing.
    await (await openLog({ takeoverMs: 60_000 })).close();
    const opened = Date.now();
    const log = await openLog({ takeoverMs: 400 });
    const recorder = new Recorder();
    await log.consume(recorder);
    await until(() => recorder.received.length > 0, { what: 'delivery', everyMs: 5 });
    expect(Date.now() - opened).toBeGreaterThanOrEqual(395);
    expect(recorder.owned.get(0)?.validUntil()).toBeLessThanOrEqual(Date.now() + 400);
    await log.close();
  });

  it('P1: kill -9 at random moments, 10 rounds: every acknowledged append is there', async () => {
    const random = seededRandom(42);
    const acknowledged = new Set<string>();
    for (let round = 0; round < 10; round++) {
      const child = startStreamChild({ kind: 'local', directory, round });
      await once(child.process.stdout, 'data');
      await pause(random() * 150);
      child.process.kill('SIGKILL');
      for (const id of await child.ended) acknowledged.add(id);
      const half = await openLog({ segmentBytes: 20_000 });
      const recorder = new Recorder(false);
      await half.consume(recorder);
      const { lagMessages } = await half.status();
      await until(() => recorder.received.length >= lagMessages, { what: 'the backlog', everyMs: 5 });
      for (const { text, message } of recorder.received) {
        if (random() < 0.5) continue;
        await message.ack();
        acknowledged.delete(text.split(' ')[0] ?? '');
      }
      await half.close();
    }
    const left = new Set((await drain(acknowledged.size)).map((text) => text.split(' ')[0]));
    for (const id of acknowledged) expect(left).toContain(id);
  }, 120_000);
});
