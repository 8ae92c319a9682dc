/** A backend without the program: uploads are sanitised by the program's own function as they come in. */
import { createServer } from 'node:http';
import { CHUNK_LIMITS, type SanitisedChunk } from '../../../src/replays/chunk.js';
import { sanitiseChunk } from '../../../src/replays/sanitise/sanitise.js';
import type { Backend } from './stage.js';

export async function collector(): Promise<Backend> {
  const uploads: string[] = [];
  const chunks: SanitisedChunk[] = [];
  const take = (body: string): number => {
    if (uploads.includes(body)) return 200;
    uploads.push(body);
    const chunk = sanitiseChunk(Buffer.from(body), CHUNK_LIMITS);
    if (chunk.kind === 'chunk') chunks.push(chunk);
    return chunk.kind === 'chunk' ? 200 : 400;
  };
  const server = createServer((incoming, answer) => {
    answer.setHeader('access-control-allow-origin', incoming.headers.origin ?? '*');
    answer.setHeader('access-control-allow-headers', 'content-type');
    answer.setHeader('access-control-allow-credentials', 'true');
    const parts: Buffer[] = [];
    incoming.on('data', (part: Buffer) => parts.push(part));
    incoming.on('end', () => {
      const status = incoming.method === 'POST' ? take(Buffer.concat(parts).toString()) : 204;
      answer.writeHead(status).end();
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no TCP address');
  return {
    site: '65f1a2b3c4d5e6f700000001',
    port: address.port,
    uploads: () => uploads,
    post: async (body) => take(body),
    eventsOf: async (session) =>
      chunks
        .filter(({ sessionId }) => sessionId === session)
        .toSorted((a, b) => a.firstMs - b.firstMs)
        .flatMap((chunk) => eventsIn(chunk)),
    isIncomplete: async () => undefined,
    close: async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

/** The events of a chunk, parsed. */
export function eventsIn(chunk: SanitisedChunk): unknown[] {
  const events: unknown = JSON.parse(Buffer.from(chunk.events).toString());
  if (!Array.isArray(events)) throw new Error('a chunk holds no list');
  return events;
}
