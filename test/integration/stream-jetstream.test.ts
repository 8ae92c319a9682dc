import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { type JetStreamOptions, openJetStream } from '../../src/storage/stream/jetstream.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { type NatsServer, startNats } from '../support/engines/nats.js';
import { freshName } from '../support/fresh.js';
import { Guard } from '../support/guard.js';
import { seededRandom } from '../support/random.js';
import { pause, until } from '../support/wait.js';
import { startStreamChild } from './stream-child.js';
import { Recorder, streamContract } from './stream-contract.js';

let guard: Guard;
let nats: NatsServer;

beforeAll(async () => {
  guard = await Guard.start();
  nats = await startNats(guard, inject('servers').programs.nats);
});
afterAll(() => guard.stop());

const settings = (streamName: string, options: Partial<JetStreamOptions> = {}): JetStreamOptions => ({
  ...{ streamName, subject: streamName, url: nats.url, partitions: 4, limitBytes: 1e9 },
  ...{ leaseTtlMs: 1_500, nodeId: 'node', appendTimeoutMs: 1_000, telemetry: silentTelemetry() },
  ...options,
});

streamContract(
  'JetStream',
  async () => {
    const name = freshName('frames');
    return {
      open: ({ partitions, limitBytes = 1e9 }) => openJetStream(settings(name, { partitions, limitBytes })),
      breakDown: () => nats.process.end('SIGKILL'),
      repair: () => nats.restart(),
      dispose: () => Promise.resolve(),
    };
  },
  true,
);

describe('JetStream', () => {
  const sumOwned = (recorders: readonly Recorder[]) =>
    recorders.map((recorder) => recorder.owned.size).join();

  it('shares the partitions fairly among nodes that come and go, never two owners at once', async () => {
    const name = freshName('frames');
    const partitions = 8;
    const options = (nodeId: string) => settings(name, { nodeId, partitions });
    const streams = await Promise.all(['a', 'b', 'c'].map((nodeId) => openJetStream(options(nodeId))));
    const recorders = streams.map(() => new Recorder());
    const subscriptions = [];
    const owners = new Map<number, number>();
    let overlaps = 0;
    for (const [i, stream] of streams.entries()) {
      const recorder = recorders[i] ?? new Recorder();
      subscriptions.push(
        await stream.consume({
          acquired: (ownership) => {
            if (owners.has(ownership.partition)) overlaps++;
            owners.set(ownership.partition, i);
            return recorder.acquired(ownership);
          },
          message: (partition, message) => recorder.message(partition, message),
          lost: (partition) => {
            owners.delete(partition);
            return recorder.lost(partition);
          },
        }),
      );
      const expected = [
        ['8', '0', '0'],
        ['4', '4', '0'],
        ['3', '3', '2'],
      ][i]
        ?.sort()
        .join();
      await until(
        () =>
          recorders
            .map((r) => `${r.owned.size}`)
            .sort()
            .join() === expected,
        {
          what: `fair shares for ${i + 1} nodes, now ${sumOwned(recorders)}`,
        },
      );
    }
    const texts = Array.from({ length: 80 }, (_, i) => `m${i}`);
    await Promise.all(texts.map((text, i) => streams[0]?.append(i % partitions, Buffer.from(text))));
    const all = () => recorders.flatMap((recorder) => recorder.texts());
    await until(() => all().length >= 80, { what: 'all messages' });
    expect(all().sort()).toEqual(texts.sort());
    const stopped = performance.now();
    await subscriptions[1]?.stop();
    await until(() => owners.size === 8, { what: 'the others to take over' });
    expect(performance.now() - stopped).toBeLessThan(1_000);
    expect(overlaps).toBe(0);
    await Promise.all(streams.map((stream) => stream.close()));
  });

  it('begins an ownership only after the one before has ended, although its lease was lost while it began', async () => {
    const stream = await openJetStream(settings(freshName('frames'), { partitions: 1 }));
    const recorder = new Recorder();
    let open = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const subscription = await stream.consume({
      acquired: async (ownership) => {
        if (recorder.calls.length === 0) {
          recorder.calls.push('slow');
          await gate;
        }
        await recorder.acquired(ownership);
      },
      message: (partition, message) => recorder.message(partition, message),
      lost: (partition) => recorder.lost(partition),
    });
    await until(() => recorder.calls.length === 1, { what: 'the first lease' });
    await nats.process.end('SIGKILL');
    await until(() => subscription.owned().length === 0, { what: 'the end of the lease' });
    await nats.restart();
    await until(() => subscription.owned().length === 1, { what: 'the second lease' });
    open();
    await until(() => recorder.calls.length === 4, { what: 'both ownerships' });
    await stream.append(0, Buffer.from('after'));
    await until(() => recorder.texts().includes('after'), { what: 'delivery' });
    expect(recorder.calls).toEqual(['slow', 'acquired 0', 'lost 0', 'acquired 0']);
    await stream.close();
  });

  it('takes over from a dead node with its unacknowledged messages, at a higher epoch, after its lease', async () => {
    const name = freshName('frames');
    const child = startStreamChild({ kind: 'jetstream', url: nats.url, name });
    let output = '';
    child.process.stdout.on('data', (text: string) => {
      output += text;
    });
    await until(() => output.match(/received/g)?.length === 8, { what: 'delivery to the child' });
    const epoch = Number(/epoch 0 (\d+)/.exec(output)?.[1]);
    child.process.kill('SIGKILL');
    const killed = performance.now();
    await child.ended;
    const heir = await openJetStream(settings(name));
    const recorder = new Recorder();
    await heir.consume(recorder);
    await until(() => recorder.received.length >= 8, { what: 'redelivery' });
    expect(recorder.texts().sort()).toEqual(Array.from({ length: 8 }, (_, i) => `m${i}`));
    expect(performance.now() - killed).toBeLessThan(4_000);
    expect(recorder.owned.get(0)?.epoch).toBeGreaterThan(epoch);
    await heir.close();
  });

  it('loses its partitions when NATS is away for longer than the lease, and takes them again', async () => {
    const stream = await openJetStream(settings(freshName('frames')));
    const recorder = new Recorder(false);
    await stream.consume(recorder);
    await until(() => recorder.owned.size === 4, { what: 'all partitions' });
    await stream.append(0, Buffer.from('kept'));
    await until(() => recorder.received.length === 1, { what: 'delivery' });
    const ownership = recorder.owned.get(0);
    await nats.process.end('SIGKILL');
    await until(() => recorder.owned.size === 0, { what: 'lost' });
    expect(ownership?.validUntil()).toBe(0);
    await nats.restart();
    await until(() => recorder.owned.size === 4 && recorder.received.length === 2, { what: 'all again' });
    expect(recorder.owned.get(0)?.epoch).toBeGreaterThan(ownership?.epoch ?? 0);
    await stream.close();
  });

  it('a short break: the lease holds, what is in hand is not given twice, acks of the time count', async () => {
    const stream = await openJetStream(settings(freshName('frames'), { leaseTtlMs: 20_000 }));
    const recorder = new Recorder(false);
    await stream.consume(recorder);
    await until(() => recorder.owned.size === 4, { what: 'all partitions' });
    for (let i = 0; i < 10; i++) await stream.append(0, Buffer.from(`m${i}`));
    await until(() => recorder.received.length === 10, { what: 'delivery' });
    await nats.process.end('SIGKILL');
    await until(async () => !(await stream.status()).reachable, { what: 'unreachable' });
    for (const { message } of recorder.received.slice(0, 5)) await message.ack();
    await nats.restart();
    await until(async () => (await stream.status()).lagMessages === 5, { what: 'acks of the time' });
    await until(() => stream.append(0, Buffer.from('after')).then(() => true), { what: 'appending' });
    await until(() => recorder.texts().includes('after'), { what: 'delivery again' });
    for (const { message } of recorder.received) await message.ack();
    await until(async () => (await stream.status()).lagMessages === 0, { what: 'all acknowledged' });
    expect(recorder.texts()).toEqual([...Array.from({ length: 10 }, (_, i) => `m${i}`), 'after']);
    expect(recorder.calls.filter((call) => call.startsWith('lost'))).toEqual([]);
    await stream.close();
  });

  it('waits for a server that is not there at the start', async () => {
    await nats.process.end('SIGKILL');
    const lines: string[] = [];
    const log = pino({ level: 'warn' }, { write: (line: string) => lines.push(line) });
    const telemetry = { ...silentTelemetry(), log };
    const opening = openJetStream(settings(freshName('frames'), { telemetry }));
    await until(() => lines.some((line) => line.includes('waiting for NATS at 127.0.0.1:')), {
      what: 'a line',
    });
    await nats.restart();
    const stream = await opening;
    await stream.append(0, Buffer.from('first'));
    await stream.close();
    const stopping = new AbortController();
    await nats.process.end('SIGKILL');
    const waiting = openJetStream(settings(freshName('frames'), { signal: stopping.signal }));
    stopping.abort();
    await expect(waiting).rejects.toThrow(/stopped while waiting/);
    await nats.restart();
  });

  it('P1: kill -9 of NATS at random moments, 5 rounds: every acknowledged append is delivered', async () => {
    const random = seededRandom(9);
    const stream = await openJetStream(settings(freshName('frames')));
    const recorder = new Recorder();
    await stream.consume(recorder);
    const acknowledged: string[] = [];
    let isOver = false;
    const appendForEver = async (lane: number) => {
      for (let i = 0; !isOver; i++) {
        const text = `${lane}-${i}`;
        await stream.append(lane % 4, Buffer.from(text)).then(
          () => acknowledged.push(text),
          () => pause(20),
        );
      }
    };
    const load = Promise.all(Array.from({ length: 8 }, (_, lane) => appendForEver(lane)));
    for (let round = 0; round < 5; round++) {
      const before = acknowledged.length;
      await until(() => acknowledged.length > before + 50, { what: 'appends' });
      await pause(random() * 300);
      await nats.process.end('SIGKILL');
      await nats.restart();
    }
    isOver = true;
    await load;
    await until(
      () => {
        const seen = new Set(recorder.texts());
        return acknowledged.every((text) => seen.has(text));
      },
      { what: 'all acknowledged messages', everyMs: 200 },
    );
    await until(async () => (await stream.status()).lagMessages === 0, { what: 'no lag' });
    await stream.close();
  }, 60_000);
});
