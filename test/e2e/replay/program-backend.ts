/** The real program as backend: browsers reach it through a gate that notes what passes. */
import { join } from 'node:path';
import Type from 'typebox';
import { CHUNK_LIMITS } from '../../../src/replays/chunk.js';
import { sanitiseChunk } from '../../../src/replays/sanitise/sanitise.js';
import { Api } from '../../support/api.js';
import type { Guard } from '../../support/guard.js';
import { Program } from '../../support/program.js';
import { until } from '../../support/wait.js';
import { openGate } from '../tracker-page.js';
import type { Backend } from './stage.js';

const SessionData = Type.Object({ chunks: Type.Array(Type.Object({ data: Type.Array(Type.Unknown()) })) });
const Sessions = Type.Object({
  sessions: Type.Array(Type.Object({ session_id: Type.String(), incomplete: Type.Boolean() })),
});

export async function programBackend(guard: Guard): Promise<Backend> {
  const program = await Program.start(guard, {
    dataDir: join(guard.directory, 'data'),
    env: { RECORDINGS_FLUSH_MS: '200' },
  });
  const api = await Api.register(() => program.url);
  const site = await api.createSite('shop.example');
  const gate = await openGate(program.url);
  const uploads = () =>
    gate.passed
      .filter(({ method, path }) => method === 'POST' && path === '/api/v1/replays/record')
      .map(({ body }) => body);

  /** Events that the uploads of a session hold; an upload that came twice counts once. */
  const sentOf = (session: string): number => {
    const chunks = [...new Set(uploads())].map((body) => sanitiseChunk(Buffer.from(body), CHUNK_LIMITS));
    return chunks.reduce(
      (sum, chunk) => sum + (chunk.kind === 'chunk' && chunk.sessionId === session ? chunk.count : 0),
      0,
    );
  };
  return {
    site: site.siteId,
    port: gate.port,
    uploads,
    async post(body) {
      const answer = await fetch(`http://127.0.0.1:${gate.port}/api/v1/replays/record`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', origin: 'http://shop.example' },
        body,
      });
      return answer.status;
    },
    eventsOf: (session) =>
      until(
        async () => {
          const { chunks } = await api.get(SessionData, `replays/data/${session}?website_id=${site.id}`);
          // As the dashboard reads it.
          const events = chunks.flatMap((chunk) => chunk.data);
          return events.length >= sentOf(session) ? events : undefined;
        },
        { what: 'everything sent to be played' },
      ),
    async isIncomplete(session) {
      const { sessions } = await api.get(Sessions, `replays/sessions?website_id=${site.id}`);
      return sessions.find(({ session_id: id }) => id === session)?.incomplete;
    },
    async close() {
      await gate.close();
      await program.stop();
    },
  };
}
