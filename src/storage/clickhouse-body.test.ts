import { createServer, type ServerResponse } from 'node:http';
import { PassThrough, Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { AppError } from '../errors.js';
import { openClickhouse } from './clickhouse.js';
import { inTime } from './clickhouse-body.js';
import { BlockInserter } from './events/clickhouse-insert.js';
import { ClickhouseReader } from './events/clickhouse-reader.js';
import { ask } from './events/clickhouse-statements.js';
import { StoreUnavailableError } from './events/event-store.js';

describe('an answer of which the rest does not come', () => {
  const held: ServerResponse[] = [];
  /** Answers the head and a first row, and nothing more. */
  const server = createServer((request, response) => {
    request.resume();
    held.push(response);
    response.writeHead(200, { 'content-type': 'application/x-ndjson' }).write('["a"]\n');
  });
  let clickhouse: ReturnType<typeof openClickhouse>;
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    clickhouse = openClickhouse({ url: `http://127.0.0.1:${address.port}`, requestTimeoutMs: 600_000 });
  });
  afterEach(() => {
    for (const response of held.splice(0)) response.destroy();
  });
  afterAll(async () => {
    await clickhouse.close();
    server.closeAllConnections();
    server.close();
  });

  it('ends with the deadline of its question', async () => {
    const reader = new ClickhouseReader(clickhouse);
    const late = reader.rows({ text: 'SELECT 1', params: {} }, AbortSignal.timeout(100));
    await expect(late).rejects.toMatchObject({ code: 'timeout' });
    await expect(late).rejects.toBeInstanceOf(AppError);
    await expect(ask(clickhouse, 'SELECT 1', {}, { signal: AbortSignal.timeout(100) })).rejects.toThrow(
      'timeout',
    );
  });

  it('ends when whoever asked leaves', async () => {
    const leaving = new AbortController();
    const reader = new ClickhouseReader(clickhouse);
    const left = reader.rows({ text: 'SELECT 1', params: {} }, leaving.signal);
    setTimeout(() => leaving.abort(new Error('gone')), 50);
    await expect(left).rejects.toThrow('gone');
  });

  it('does not keep the writer: its insert has failed by its deadline', async () => {
    const insert = { table: 'events', body: [new Uint8Array(1)], token: 't', deadline: Date.now() + 300 };
    await expect(new BlockInserter(clickhouse).insert(insert)).rejects.toBeInstanceOf(StoreUnavailableError);
  });
});

describe('a body in pieces', () => {
  const never = new AbortController().signal;
  const read = async (stream: Readable, silenceMs: number, readMs: number) => {
    const pieces: string[] = [];
    for await (const piece of inTime<Buffer>(stream, never, silenceMs)) {
      pieces.push(piece.toString());
      await pause(readMs);
    }
    return pieces;
  };

  it('comes as a whole to whoever reads slowly', async () => {
    const pieces = ['a', 'b', 'c'].map((text) => Buffer.from(text));
    expect(await read(Readable.from(pieces, { objectMode: true }), 20, 60)).toEqual(['a', 'b', 'c']);
  });

  it('ends when nothing comes for too long, after pieces that took nearly as long', async () => {
    const stream = new PassThrough();
    stream.write('a');
    setTimeout(() => stream.write('b'), 60);
    const reading = read(stream, 100, 0);
    const begun = performance.now();
    await expect(reading).rejects.toThrow('nothing came for 100 ms');
    expect(performance.now() - begun).toBeGreaterThan(120);
    expect(stream.destroyed).toBe(true);
  });
});
