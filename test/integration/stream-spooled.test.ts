import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { openJetStream } from '../../src/storage/stream/jetstream.js';
import { openLocalLog } from '../../src/storage/stream/local-log.js';
import { spooled } from '../../src/storage/stream/spooled.js';
import { StreamFullError } from '../../src/storage/stream/stream.js';
import { silentTelemetry } from '../../src/telemetry.js';
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
    options: { spoolBytes?: number; limitBytes?: number } = {},
  ) => {
    const { spoolBytes = 1e9, limitBytes = 1e9 } = options;
    const telemetry = silentTelemetry();
    const primary = await openJetStream({
      ...{ streamName, subject: streamName, url: nats.url, partitions: 4, limitBytes, telemetry },
      ...{ leaseTtlMs: 2_000, nodeId: 'node', appendTimeoutMs: 500, waitForServer: false },
    });
    const spool = await openLocalLog({
      ...{ directory, partitions: 4, limitBytes: spoolBytes, name: 'spool', telemetry },
    });
    return { stream: await spooled({ primary, spool, probeMs: 200, telemetry }), spool };
  };

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
});
