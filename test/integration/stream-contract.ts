import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type FrameStream,
  type PartitionConsumer,
  type PartitionOwnership,
  StreamFullError,
  type StreamMessage,
  StreamUnavailableError,
} from '../../src/storage/stream/stream.js';
import { pause, until } from '../support/wait.js';

export interface OpenOptions {
  readonly partitions: number;
  readonly limitBytes?: number;
}

/** The storage of one test, which streams are opened on one after the other or at the same time. */
export interface StreamHarness {
  open(options: OpenOptions): Promise<FrameStream>;
  /** Lets the storage fail for all streams opened on it, until `repair`. */
  breakDown(): Promise<void>;
  repair(): Promise<void>;
  dispose(): Promise<void>;
}

interface Received {
  readonly text: string;
  readonly partition: number;
  readonly message: StreamMessage;
}

/** A consumer that writes down all it sees. */
export class Recorder implements PartitionConsumer {
  readonly received: Received[] = [];
  readonly calls: string[] = [];
  readonly owned = new Map<number, PartitionOwnership>();
  /** Awaited before a message is taken. */
  gate: Promise<void> = Promise.resolve();

  constructor(private readonly autoAck = true) {}

  acquired(ownership: PartitionOwnership): Promise<void> {
    this.calls.push(`acquired ${ownership.partition}`);
    this.owned.set(ownership.partition, ownership);
    return Promise.resolve();
  }

  async message(partition: number, message: StreamMessage): Promise<void> {
    if (!this.owned.has(partition)) this.calls.push(`message without ownership ${partition}`);
    this.received.push({ text: Buffer.from(message.data).toString(), partition, message });
    await this.gate;
    if (this.autoAck) await message.ack();
  }

  lost(partition: number): Promise<void> {
    this.calls.push(`lost ${partition}`);
    this.owned.delete(partition);
    return Promise.resolve();
  }

  texts(partition?: number): string[] {
    return this.received
      .filter((r) => partition === undefined || r.partition === partition)
      .map((r) => r.text);
  }
}

const bytes = (text: string) => Buffer.from(text);
const numbered = (count: number, prefix = 'm') => Array.from({ length: count }, (_, i) => `${prefix}${i}`);

/** What every FrameStream must do. */
export function streamContract(
  name: string,
  createHarness: () => Promise<StreamHarness>,
  canShare: boolean,
): void {
  describe(`${name}: stream contract`, () => {
    let harness: StreamHarness;
    let opened: FrameStream[];

    const open = async (options: Partial<OpenOptions> = {}) => {
      const stream = await harness.open({ partitions: 4, ...options });
      opened.push(stream);
      return stream;
    };
    const received = (recorder: Recorder, count: number) =>
      until(() => recorder.received.length >= count, { what: `${count} messages`, everyMs: 5 });

    beforeEach(async () => {
      harness = await createHarness();
      opened = [];
    });
    afterEach(async () => {
      await Promise.all(opened.map((stream) => stream.close()));
      await harness.dispose();
    });

    it('delivers an appended message once and forgets it when it is acknowledged', async () => {
      const stream = await open();
      const recorder = new Recorder();
      await stream.consume(recorder);
      await stream.append(2, bytes('hello'));
      await received(recorder, 1);
      expect(recorder.received[0]).toMatchObject({ text: 'hello', partition: 2 });
      await until(async () => (await stream.status()).lagMessages === 0, { what: 'no lag' });
      await stream.close();
      const again = await open();
      const second = new Recorder();
      await again.consume(second);
      await again.append(2, bytes('next'));
      await received(second, 1);
      expect(second.texts()).toEqual(['next']);
    });

    it('P9: is drained when everything appended before is acknowledged, and not earlier', async () => {
      const stream = await open();
      const recorder = new Recorder(false);
      await stream.consume(recorder);
      await stream.append(1, bytes('first'));
      await received(recorder, 1);
      let isDrained = false;
      const drained = stream.drain(AbortSignal.timeout(20_000)).then(() => {
        isDrained = true;
      });
      await expect(stream.drain(AbortSignal.timeout(200))).rejects.toThrow();
      expect(isDrained).toBe(false);
      await recorder.received.find(({ text }) => text === 'first')?.message.ack();
      await drained;
      expect((await stream.status()).bytes).toBe(0);
      await stream.append(2, bytes('later'));
      await received(recorder, 2);
      await expect(stream.drain(AbortSignal.timeout(200))).rejects.toThrow();
      await recorder.received.find(({ text }) => text === 'later')?.message.ack();
      await stream.drain(AbortSignal.timeout(20_000));
    });

    it('P1: keeps what was appended before anybody consumed, over reopening', async () => {
      const stream = await open();
      await Promise.all(numbered(100).map((text, i) => stream.append(i % 4, bytes(text))));
      expect((await stream.status()).lagMessages).toBe(100);
      await stream.close();
      const again = await open();
      const recorder = new Recorder();
      await again.consume(recorder);
      await received(recorder, 100);
      expect(recorder.texts().sort()).toEqual(numbered(100).sort());
    });

    it('P2: delivers what was not acknowledged again after reopening, and only that', async () => {
      const stream = await open();
      const recorder = new Recorder(false);
      await stream.consume(recorder);
      for (const text of numbered(20)) await stream.append(1, bytes(text));
      await received(recorder, 20);
      for (const { message, text } of recorder.received)
        if (Number(text.slice(1)) % 2 === 0) await message.ack();
      await until(async () => (await stream.status()).lagMessages === 10, { what: 'half acknowledged' });
      await stream.close();
      const again = await open();
      const second = new Recorder();
      await again.consume(second);
      await received(second, 10);
      await pause(100);
      expect(second.texts()).toEqual(numbered(20).filter((_, i) => i % 2 === 1));
    });

    it('keeps the order within each partition', async () => {
      const stream = await open();
      const recorder = new Recorder();
      const texts = numbered(400);
      const appended = [];
      for (const [i, text] of texts.entries()) appended.push(stream.append(i % 4, bytes(text)));
      await stream.consume(recorder);
      for (const [i, text] of numbered(400, 'n').entries()) appended.push(stream.append(i % 4, bytes(text)));
      await Promise.all(appended);
      await received(recorder, 800);
      for (let partition = 0; partition < 4; partition++) {
        const expected = [...texts, ...numbered(400, 'n')].filter((_, i) => i % 4 === partition);
        expect(recorder.texts(partition)).toEqual(expected);
      }
    });

    it('waits with the next message of a partition until the consumer took the last, others go on', async () => {
      const stream = await open();
      const recorder = new Recorder();
      let openGate = () => {};
      recorder.gate = new Promise((resolve) => {
        openGate = resolve;
      });
      await stream.consume(recorder);
      for (const text of numbered(5)) await stream.append(0, bytes(text));
      await stream.append(3, bytes('other'));
      await received(recorder, 2);
      await pause(100);
      expect(recorder.texts(0)).toEqual(['m0']);
      expect(recorder.texts(3)).toEqual(['other']);
      openGate();
      await received(recorder, 6);
      expect(recorder.texts(0)).toEqual(numbered(5));
    });

    it('P5: refuses with StreamFullError at its byte limit, and takes messages again once it is drained', async () => {
      const stream = await open({ limitBytes: 200_000 });
      const fill = async () => {
        for (let i = 0; i < 300; i++) await stream.append(i % 4, Buffer.alloc(2_000, 'x'));
      };
      await expect(fill()).rejects.toThrow(StreamFullError);
      // JetStream's status may be a second old.
      await until(async () => (await stream.status()).fill > 0.9, { what: 'a status that says full' });
      const { lagMessages, limitBytes, bytes: used } = await stream.status();
      expect(lagMessages).toBeGreaterThan(60);
      expect(used).toBeLessThanOrEqual(limitBytes);
      const recorder = new Recorder();
      await stream.consume(recorder);
      await until(() => stream.append(0, Buffer.alloc(2_000, 'y')).then(() => true), { what: 'room again' });
      await received(recorder, lagMessages + 1);
      await until(async () => (await stream.status()).fill < 0.8, {
        what: 'a status that says there is room',
      });
    });

    it('says StreamUnavailableError while the storage is away and goes on when it is back', async () => {
      const stream = await open();
      const recorder = new Recorder();
      await stream.consume(recorder);
      await stream.append(0, bytes('before'));
      await received(recorder, 1);
      await harness.breakDown();
      await until(() => stream.append(0, bytes('meanwhile')).then(() => false, isUnavailable), {
        what: 'a refusal',
      });
      await until(async () => !(await stream.status()).reachable, { what: 'unreachable in the status' });
      const start = performance.now();
      await expect(stream.append(0, bytes('meanwhile'))).rejects.toThrow(StreamUnavailableError);
      expect(performance.now() - start).toBeLessThan(3_000);
      await harness.repair();
      await until(() => stream.append(0, bytes('after')).then(() => true), { what: 'appending again' });
      await until(() => recorder.texts().includes('after'), { what: 'consuming again' });
      expect((await stream.status()).reachable).toBe(true);
    });

    it('stop: calls lost for each partition once, after which nothing is delivered; a later consumer goes on', async () => {
      const stream = await open();
      const recorder = new Recorder(false);
      const subscription = await stream.consume(recorder);
      await until(() => subscription.owned().length === 4, { what: 'all partitions' });
      await stream.append(1, bytes('one'));
      await received(recorder, 1);
      const epoch = recorder.owned.get(1)?.epoch ?? 0;
      expect(recorder.owned.get(1)?.validUntil()).toBeGreaterThan(Date.now());
      await subscription.stop();
      await subscription.stop();
      expect(subscription.owned()).toEqual([]);
      expect(recorder.calls.filter((call) => call.startsWith('lost')).sort()).toEqual(
        numbered(4, 'lost ').sort(),
      );
      await stream.append(1, bytes('two'));
      await pause(100);
      expect(recorder.texts()).toEqual(['one']);
      expect(recorder.calls.filter((call) => call.startsWith('message'))).toEqual([]);
      const second = new Recorder();
      await stream.consume(second);
      await received(second, 2);
      expect(second.texts()).toEqual(['one', 'two']);
      expect(second.owned.get(1)?.epoch).toBeGreaterThanOrEqual(epoch);
    });

    it('gives a message again when the consumer failed on it', async () => {
      const stream = await open();
      const recorder = new Recorder();
      let failures = 2;
      const flaky: PartitionConsumer = {
        acquired: (ownership) => recorder.acquired(ownership),
        lost: (partition) => recorder.lost(partition),
        message: (partition, message) =>
          failures-- > 0 ? Promise.reject(new Error('made to fail')) : recorder.message(partition, message),
      };
      await stream.consume(flaky);
      await stream.append(0, bytes('first'));
      await stream.append(0, bytes('second'));
      await received(recorder, 2);
      expect(recorder.texts()).toEqual(['first', 'second']);
    });

    it('grows the epoch with each opening', async () => {
      let last = -1;
      for (let round = 0; round < 3; round++) {
        const stream = await open();
        const recorder = new Recorder();
        await stream.consume(recorder);
        const ownership = await until(() => recorder.owned.get(0), { what: 'ownership' });
        expect(ownership.epoch).toBeGreaterThan(last);
        last = ownership.epoch;
        await stream.close();
      }
    });

    it('two consumers: the second one gets everything when the first stops', async () => {
      const stream = await open();
      const first = new Recorder(false);
      const subscription = await stream.consume(first);
      await until(() => subscription.owned().length === 4, { what: 'all partitions' });
      await Promise.all(numbered(8).map((text, i) => stream.append(i % 4, bytes(text))));
      await received(first, 8);
      const other = canShare ? await open() : stream;
      const second = new Recorder();
      await other.consume(second);
      await subscription.stop();
      await until(() => second.owned.size === 4, { what: 'the second to own all' });
      await received(second, 8);
      expect([...new Set(second.texts())].sort()).toEqual(numbered(8));
    });
  });
}

function isUnavailable(error: unknown): boolean {
  return error instanceof StreamUnavailableError;
}
