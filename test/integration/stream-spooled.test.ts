import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { decodeMessage, encodeMessage } from '../../src/events/frame.js';
import { partitionOf } from '../../src/events/partition.js';
import { openJetStream } from '../../src/storage/stream/jetstream.js';
import { withLeftSpools } from '../../src/storage/stream/left-spools.js';
import { openLocalLog } from '../../src/storage/stream/local-log.js';
import { spooled } from '../../src/storage/stream/spooled.js';
import { StreamFullError } from '../../src/storage/stream/stream.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { rawFrame, siteOf } from '../actors/rows.js';
import { type NatsServer, startNats } from '../support/engines/nats.js';
import { freshName } from '../support/fresh.js';
import { Guard } from '../support/guard.js';
import { pause, until } from '../support/wait.js';
import { Recorder, streamContract } from './stream-contract.js';
import { fragileDisk } from './stream-fragile-disk.js';

const temporary = () => mkdtemp(join(tmpdir(), 'seentics-spool-'));

streamContract(
  'spooled',
  async () => {
    const [first, second] = await Promise.all([temporary(), temporary()]);
    const fragile = fragileDisk();
    const telemetry = silentTelemetry();
    const { disk } = fragile;
    return {
      async open({ partitions, limitBytes = 1e9 }) {
        const half = { partitions, limitBytes: limitBytes / 2, telemetry, disk };
        const primary = await openLocalLog({ ...half, directory: first });
        const spool = await openLocalLog({ ...half, directory: second, name: 'spool' });
        return spooled({ primary, spool, probeMs: 100, telemetry });
      },
      async breakDown() {
        fragile.fail = true;
      },
      async repair() {
        fragile.fail = false;
      },
      async dispose() {
        await Promise.all([first, second].map((directory) => rm(directory, { recursive: true })));
      },
    };
  },
  false,
);

describe('spooled JetStream', () => {
  let guard: Guard;
  let nats: NatsServer;

  beforeAll(async () => {
    guard = await Guard.start();
    nats = await startNats(guard, inject('servers').programs.nats);
  });
  afterAll(() => guard.stop());

  const open = async (
    streamName: string,
    directory: string,
    options: { spoolBytes?: number; limitBytes?: number; url?: string } = {},
  ) => {
    const { spoolBytes = 1e9, limitBytes = 1e9, url = nats.url } = options;
    const telemetry = silentTelemetry();
    const primary = await openJetStream({
      ...{ streamName, subject: streamName, url, partitions: 4, limitBytes, telemetry },
      ...{ leaseTtlMs: 2_000, nodeId: 'node', appendTimeoutMs: 500, waitForServer: false },
    });
    const spool = await openLocalLog({
      ...{ directory, partitions: 4, limitBytes: spoolBytes, name: 'spool', telemetry },
    });
    return { stream: await spooled({ primary, spool, probeMs: 200, telemetry }), spool, primary };
  };
  /** Message number i holds one row of so many bytes, marked with it, for each of three sites. */
  const siteMessage = (i: number, rowBytes = 10) =>
    encodeMessage(
      [0, 1, 3].map((partition) =>
        rawFrame(siteOf(partition), [{ flags: 0, bytes: Buffer.alloc(rowBytes, i) }], 'event', 1),
      ),
    );
  /** What came of such messages, as `site mark`; each row has to come in its site's partition. */
  const marksOf = (recorder: Recorder) =>
    recorder.received.flatMap(({ partition, message }) =>
      decodeMessage(message.data).flatMap(({ siteId, rows, received, rejected }) => {
        expect(partitionOf(siteId, 4)).toBe(partition);
        expect(received).toBe(rows.length + rejected);
        return rows.map(({ bytes }) => `${partition} ${bytes[0]}`);
      }),
    );

  it('P1, P2: NATS away under load costs nothing but delay; everything comes, in order within the break', async () => {
    const directory = await temporary();
    const { stream, spool } = await open(freshName('frames'), directory);
    const recorder = new Recorder();
    await stream.consume(recorder);
    await stream.append(0, Buffer.from('before'));
    await nats.process.end('SIGKILL');
    const sent = Array.from({ length: 500 }, (_, i) => `m${i}`);
    let slowest = 0;
    for (const [i, text] of sent.entries()) {
      const start = performance.now();
      await stream.append(i % 4, Buffer.from(text));
      slowest = Math.max(slowest, performance.now() - start);
    }
    expect(slowest).toBeLessThan(1_500);
    const { lagMessages } = await spool.status();
    expect(lagMessages).toBeGreaterThan(490);
    expect((await stream.status()).reachable).toBe(true);
    await nats.restart();
    await until(() => new Set(recorder.texts()).size === 501, { what: 'all messages' });
    for (let partition = 0; partition < 4; partition++) {
      const numbers = [...new Set(recorder.texts(partition))].filter((text) => text !== 'before');
      expect(numbers).toEqual(sent.filter((_, i) => i % 4 === partition));
    }
    await until(async () => (await stream.status()).lagMessages === 0, { what: 'an empty spool' });
    await stream.close();
    await rm(directory, { recursive: true });
  });

  it('a NATS that hangs: appends go to the spool after the time-out, then at once; all comes when it goes on', async () => {
    const directory = await temporary();
    const { stream, spool } = await open(freshName('frames'), directory);
    const recorder = new Recorder();
    await stream.consume(recorder);
    await until(async () => recorder.owned.size === 4, { what: 'all partitions' });
    nats.process.child.kill('SIGSTOP');
    let count = 0;
    const appendNext = () => stream.append(count % 4, Buffer.from(`m${count++}`));
    const inSpool = async () => (await spool.status()).lagMessages;
    await until(() => appendNext().then(async () => (await inSpool()) > 0), {
      what: 'the first one in the spool',
      everyMs: 1,
    });
    const before = await inSpool();
    // Did each wait for the time-out of 2 s, the test's own limit would end it.
    for (let i = 0; i < 50; i++) await appendNext();
    expect((await inSpool()) - before).toBe(50);
    nats.process.child.kill('SIGCONT');
    await until(() => new Set(recorder.texts()).size === count, { what: 'all messages' });
    await until(async () => (await inSpool()) === 0, { what: 'an empty spool' });
    await stream.close();
    await rm(directory, { recursive: true });
  });

  it('starts while NATS is away, keeps what comes, and moves it in a later run', async () => {
    const directory = await temporary();
    const name = freshName('frames');
    await nats.process.end('SIGKILL');
    const first = await open(name, directory);
    for (let i = 0; i < 20; i++) await first.stream.append(i % 4, Buffer.from(`m${i}`));
    // What counts for the watermarks is the room in the spool.
    const { fill } = await first.spool.status();
    expect(fill).toBeGreaterThan(0);
    expect((await first.stream.status()).fill).toBe(fill);
    await first.stream.close();
    await nats.restart();
    const { stream } = await open(name, directory);
    const recorder = new Recorder();
    await stream.consume(recorder);
    await until(() => recorder.received.length === 20, { what: 'all messages' });
    await pause(100);
    expect(recorder.received).toHaveLength(20);
    await stream.close();
    await rm(directory, { recursive: true });
  });

  it('P5: a full stream flows over into the spool, a full spool is StreamFullError; drained, all is there once', async () => {
    const directory = await temporary();
    const limits = { limitBytes: 50_000, spoolBytes: 50_000 };
    const { stream, spool } = await open(freshName('frames'), directory, limits);
    let count = 0;
    const fill = async () => {
      for (; count < 500; count++)
        await stream.append(count % 4, Buffer.from(`${count} ${'x'.repeat(1000)}`));
    };
    await expect(fill()).rejects.toThrow(StreamFullError);
    expect(count).toBeGreaterThan(80);
    expect((await spool.status()).lagMessages).toBeGreaterThan(35);
    await until(async () => (await stream.status()).fill > 0.9, { what: 'a status that says full' });
    const recorder = new Recorder();
    await stream.consume(recorder);
    await until(() => recorder.received.length >= count, { what: 'all messages' });
    expect(new Set(recorder.texts()).size).toBe(count);
    await until(() => stream.append(0, Buffer.from('again')).then(() => true), { what: 'room again' });
    await stream.close();
    await rm(directory, { recursive: true });
  });

  it('P1: takes over what waits in a local log from before there was NATS, each site in its partition', async () => {
    const [directory, former] = await Promise.all([temporary(), temporary()]);
    const log = await openLocalLog({
      ...{ directory: former, partitions: 1, limitBytes: 1e9, telemetry: silentTelemetry() },
    });
    for (let i = 0; i < 10; i++) await log.append(0, siteMessage(i));
    await log.close();
    const { stream: spooling, primary } = await open(freshName('frames'), directory);
    const stream = await withLeftSpools({
      ...{ stream: spooling, target: primary, directories: [], formerStreams: [former] },
      ...{ limitBytes: 1e9, signal: AbortSignal.timeout(60_000), telemetry: silentTelemetry() },
    });
    expect((await stream.status()).lagMessages).toBeGreaterThan(0);
    const recorder = new Recorder();
    await stream.consume(recorder);
    await until(() => recorder.received.length >= 30, { what: 'all messages' });
    const expected = [0, 1, 3].flatMap((partition) =>
      Array.from({ length: 10 }, (_, i) => `${partition} ${i}`),
    );
    expect(marksOf(recorder).sort()).toEqual(expected.sort());
    await until(() => !existsSync(former), { what: 'the folder to be removed' });
    await until(async () => (await stream.status()).lagMessages === 0, { what: 'nothing to wait' });
    await stream.close();
    await rm(directory, { recursive: true });
  });

  it('P1: divides what a NATS with a small max_payload would not take, spooled before or sent now', async () => {
    const directory = await temporary();
    const small = await startNats(guard, inject('servers').programs.nats, ['max_payload: 262144']);
    await small.process.end('SIGKILL');
    const { stream, spool } = await open(freshName('frames'), directory, { url: small.url });
    await stream.append(0, siteMessage(1, 200_000));
    expect((await spool.status()).lagMessages).toBe(1);
    await small.restart();
    const recorder = new Recorder();
    await stream.consume(recorder);
    await until(() => recorder.received.length >= 3, { what: 'the parts' });
    expect(stream.maxMessageBytes).toBe(262_144);
    // One event that no message has room for waits by itself.
    const frameOf = (partition: number, bytes: Buffer) => rawFrame(siteOf(partition), [{ flags: 0, bytes }]);
    const large = frameOf(3, Buffer.alloc(300_000));
    await stream.append(3, encodeMessage([large, frameOf(0, Buffer.alloc(20, 9))]));
    await stream.append(3, siteMessage(2, 200_000));
    await until(() => recorder.received.length >= 7, { what: 'the parts' });
    const expected = [1, 2].flatMap((i) => [0, 1, 3].map((partition) => `${partition} ${i}`));
    expect(marksOf(recorder).sort()).toEqual([...expected, '0 9'].sort());
    await until(async () => (await spool.status()).lagMessages === 1, { what: 'the one in the spool' });
    await stream.close();
    await rm(directory, { recursive: true });
    await small.process.end('SIGKILL');
  });
});
