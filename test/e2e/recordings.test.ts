import { join } from 'node:path';
import Type from 'typebox';
import { afterAll, beforeAll, describe, expect, inject, onTestFailed, test } from 'vitest';
import { createS3Store } from '../../src/storage/objects/s3.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { snapshotEvents, textChange } from '../integration/recordings.js';
import { Api, account, type Site } from '../support/api.js';
import { freshClickhouse, freshName, freshPostgres } from '../support/fresh.js';
import { Guard } from '../support/guard.js';
import { Program } from '../support/program.js';
import { until } from '../support/wait.js';

const Sessions = Type.Object({
  sessions: Type.Array(Type.Object({ session_id: Type.String(), chunk_count: Type.Number() })),
  total: Type.Number(),
});
const Data = Type.Object({
  chunks: Type.Array(Type.Object({ sequence: Type.Number(), data: Type.Array(Type.Unknown()) })),
  missing_chunks: Type.Number(),
});
const SETTINGS = { RECORDINGS_FLUSH_MS: '300' };

describe('recordings in the whole program', () => {
  let guard: Guard;
  beforeAll(async () => {
    guard = await Guard.start();
  });
  afterAll(() => guard.stop());

  /** Sends a chunk as the tracker does. @returns whether it was accepted */
  const send = async (program: Program, site: Site, session: string, sequence: number): Promise<boolean> => {
    const at = 1_700_000_000_000 + sequence * 1_000;
    const text = textChange(at + 2, `${session}-${sequence}`);
    const events = sequence === 0 ? [...snapshotEvents(at, 'x'), text] : [text];
    const body = { website_id: site.siteId, session_id: session, events, sequence, page: '/' };
    try {
      const answer = await fetch(`${program.url}/api/v1/replays/record`, {
        method: 'POST',
        headers: { origin: `https://${site.host}` },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(10_000),
      });
      return (await answer.text()) === '{"status":"success"}';
    } catch {
      return false;
    }
  };
  const counted = async (api: Api, site: Site) => {
    const { sessions } = await api.get(Sessions, `replays/sessions?website_id=${site.id}&limit=100`);
    return sessions.reduce((sum, { chunk_count }) => sum + chunk_count, 0);
  };

  test('P1 P3: kill -9 at any moment: each accepted chunk is there, once, also those sent again', async () => {
    const env = { ...SETTINGS, EVENT_STORE: 'postgres' };
    const program = await Program.start(guard, { dataDir: join(guard.directory, 'embedded'), env });
    onTestFailed(() => program.showLog());
    const api = await Api.register(() => program.url);
    const site = await api.createSite('shop.example');
    const accepted = new Set<string>();
    for (let round = 0; round < 2; round++) {
      const sending = Array.from({ length: 4 }, async (_, lane) => {
        for (let i = 0; i < 12; i++) {
          const sequence = round * 12 + i;
          const isAccepted = await send(program, site, `session-${lane}`, sequence);
          if (isAccepted) accepted.add(`session-${lane}-${sequence}`);
        }
      });
      await until(() => accepted.size > round * 48 + 12, { what: 'some chunks to be accepted', everyMs: 5 });
      await program.kill9();
      await Promise.all(sending);
      await program.restart();
      // The tracker repeats what it has heard nothing of, and a beacon what was heard of.
      for (let lane = 0; lane < 4; lane++)
        for (let i = 0; i < 12; i++)
          if (await send(program, site, `session-${lane}`, round * 12 + i))
            accepted.add(`session-${lane}-${round * 12 + i}`);
    }
    expect(accepted.size).toBe(96);
    await until(async () => (await counted(api, site)) >= 96, { what: 'all chunks to be listed' });
    for (let lane = 0; lane < 4; lane++) {
      const { chunks, missing_chunks } = await api.get(
        Data,
        `replays/data/session-${lane}?website_id=${site.id}`,
      );
      expect(missing_chunks).toBe(0);
      expect(chunks.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 24 }, (_, i) => i));
    }
    await program.stop();
  }, 120_000);

  test('P9: on servers they travel through a stream of their own, and deleting the website leaves no object', async () => {
    const { nats, redis, s3 } = inject('servers');
    const [postgres, clickhouse] = await Promise.all([freshPostgres(), freshClickhouse()]);
    const bucket = freshName('recordings').replaceAll('_', '-');
    const env = {
      ...SETTINGS,
      DATABASE_URL: postgres.url,
      REDIS_URL: `${redis}/8`,
      NATS_URL: nats,
      NATS_STREAM: freshName('REC'),
      NATS_SUBJECT_EVENTS: freshName('rec'),
      CLICKHOUSE_URL: clickhouse.url,
      CLICKHOUSE_DB: clickhouse.database,
      PARTITIONS: '4',
      S3_ENDPOINT: s3.endpoint,
      S3_BUCKET_REPLAYS: bucket,
      AWS_ACCESS_KEY_ID: s3.accessKeyId,
      AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
    };
    const program = await Program.start(guard, { dataDir: join(guard.directory, 'servers'), env });
    onTestFailed(() => program.showLog());
    const api = await Api.register(() => program.url);
    const sites = await Promise.all(['a.example', 'b.example'].map((host) => api.createSite(host)));
    for (const site of sites)
      for (let sequence = 0; sequence < 3; sequence++)
        expect(await send(program, site, 'visit', sequence)).toBe(true);
    for (const site of sites)
      await until(async () => (await counted(api, site)) === 3, { what: 'the chunks to be listed' });

    const objects = await createS3Store({ ...s3, region: 'us-east-1', bucket }, silentTelemetry());
    const keysOf = async (site: Site) => {
      const keys: string[] = [];
      for await (const key of objects.list(`replays/${site.siteId}/`)) keys.push(key);
      return keys;
    };
    const [gone, kept] = sites;
    if (gone === undefined || kept === undefined) throw new Error('no sites');
    expect((await keysOf(gone)).length).toBeGreaterThan(0);
    expect(
      (
        await fetch(`${program.url}/api/v1/user/websites/${gone.id}`, {
          method: 'DELETE',
          headers: { authorization: `Bearer ${await tokenOf(program)}` },
        })
      ).status,
    ).toBe(200);
    await until(async () => (await keysOf(gone)).length === 0, { what: 'the objects to be gone' });
    expect((await keysOf(kept)).length).toBeGreaterThan(0);
    expect(await counted(api, kept)).toBe(3);
    await program.stop();
    await objects.close();
    await Promise.all([postgres.drop(), clickhouse.drop()]);
  }, 120_000);
});

async function tokenOf(program: Program): Promise<string> {
  const answer = await fetch(`${program.url}/api/v1/user/auth/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email: account.email, password: account.password }),
  });
  const { data } = JSON.parse(await answer.text());
  return String(data.tokens.access_token);
}
