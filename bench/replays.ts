/**
 * What recording costs: a thousand sessions at once for a minute against the program with everything embedded. Prints CPU seconds a
 * recorded hour (process tree; the generator is this process, which does not count), stored bytes, compression, objects written, and how
 * soon a long recording begins to play.
 */
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Type from 'typebox';
import { Value } from 'typebox/value';
import { Api, account, type Site } from '../test/support/api.js';
import { Guard } from '../test/support/guard.js';
import { Program } from '../test/support/program.js';
import { until } from '../test/support/wait.js';
import { treeUsage } from './support/cpu.js';
import { Recording, USUAL_PAGE, uploadOf } from './support/recording.js';

export interface ReplaysBenchOptions {
  readonly sessions: number;
  /** How long each session is recorded. */
  readonly seconds: number;
}

const SITES = 20;
/** The tracker sends every ten seconds. */
const CHUNK_SECONDS = 10;
const LONG_MINUTES = 30;
const READS = 7;
const AGENT_TEXT =
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36';

interface Tally {
  uploads: number;
  rawBytes: number;
  refused: number;
  readonly answerMs: number[];
}

/** Records, prints a table, ends. */
export async function runReplaysBench({ sessions, seconds }: ReplaysBenchOptions): Promise<void> {
  const guard = await Guard.start();
  try {
    const program = await Program.start(guard, {
      dataDir: join(guard.directory, 'data'),
      env: { TRUSTED_PROXIES: 'loopback' },
    });
    const api = await Api.register(() => program.url);
    const sites: Site[] = [];
    for (let i = 0; i < SITES; i++) sites.push(await api.createSite(`shop${i}.example`));
    const sender = new Sender(program.url);

    const idle = await idleCpu(program.pid);
    const before = await treeUsage({ program: program.pid });
    const started = performance.now();
    const tally = await record(sender, sites, sessions, seconds);
    await stored(api, sites, tally.uploads);
    const took = (performance.now() - started) / 1_000;
    const after = await treeUsage({ program: program.pid });
    const metrics = await readMetrics(program.url);

    const hours = (sessions * seconds) / 3_600;
    const cpu = after.seconds - before.seconds;
    const line = (what: string, value: string) => console.log(`| ${what} | ${value} |`);
    line('measure', 'figure');
    line('---', '---');
    line('sessions at once, seconds each', `${sessions}, ${seconds}`);
    line('uploads, MB of them, refused', `${tally.uploads}, ${mb(tally.rawBytes)}, ${tally.refused}`);
    line('answer p50, p99 ms', `${quantile(tally.answerMs, 0.5)}, ${quantile(tally.answerMs, 0.99)}`);
    line('CPU s a recorded hour', (cpu / hours).toFixed(2));
    line('of which the idle program', ((idle * took) / hours).toFixed(2));
    line('CPU ms an uploaded MB', ((cpu * 1_000) / (tally.rawBytes / 1e6)).toFixed(1));
    line('stored MB a recorded hour', mb(metrics.bytes / hours));
    line('compression ratio', (tally.rawBytes / metrics.bytes).toFixed(1));
    line('PUTs a recorded hour', (metrics.objects / hours).toFixed(1));
    line('resident MB of the process tree', mb(after.residentBytes));
    const { first, whole, bytes } = await readLong(sender, api, program.url, sites[0]);
    line(`first byte of a ${LONG_MINUTES}-minute replay, ms`, `${first}`);
    line(`all ${mb(bytes)} MB of it, ms`, `${whole}`);
    await program.stop();
  } finally {
    await guard.stop();
  }
}

const mb = (bytes: number) => (bytes / 1e6).toFixed(1);

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
}

/** CPU seconds a second that the program uses with nothing to do. */
async function idleCpu(pid: number): Promise<number> {
  await sleep(3_000);
  const before = await treeUsage({ program: pid });
  await sleep(5_000);
  return ((await treeUsage({ program: pid })).seconds - before.seconds) / 5;
}

/** Sessions begin evenly over the first ten seconds, and each sends as the tracker does. */
async function record(
  sender: Sender,
  sites: readonly Site[],
  sessions: number,
  seconds: number,
): Promise<Tally> {
  const tally: Tally = { uploads: 0, rawBytes: 0, refused: 0, answerMs: [] };
  let at = 0;
  const progress = setInterval(
    () => process.stderr.write(`\r${++at} s, ${tally.uploads} uploads, ${tally.refused} refused  `),
    1_000,
  );
  const visit = async (index: number) => {
    await sleep((index / sessions) * CHUNK_SECONDS * 1_000);
    const startMs = Date.now();
    const recording = new Recording(index + 1, USUAL_PAGE, startMs);
    const site = sites[index % sites.length];
    if (site === undefined) throw new Error('no sites');
    const session = `${startMs.toString(36)}-${index}`;
    await send(sender, tally, site, uploadOf(site.siteId, session, 0, recording.first()));
    for (let chunk = 1; chunk <= seconds / CHUNK_SECONDS; chunk++) {
      const fromMs = (chunk - 1) * CHUNK_SECONDS * 1_000;
      await sleep(Math.max(0, startMs + fromMs + CHUNK_SECONDS * 1_000 - Date.now()));
      const body = uploadOf(site.siteId, session, chunk, recording.later(fromMs, CHUNK_SECONDS));
      await send(sender, tally, site, body);
    }
  };
  await Promise.all(Array.from({ length: sessions }, (_, index) => visit(index)));
  clearInterval(progress);
  process.stderr.write('\n');
  return tally;
}

async function send(sender: Sender, tally: Tally, site: Site, body: string): Promise<void> {
  const started = performance.now();
  const status = await sender.upload(site, body);
  tally.answerMs.push(performance.now() - started);
  if (status === 200) {
    tally.uploads++;
    tally.rawBytes += Buffer.byteLength(body);
  } else tally.refused++;
}

/** Uploads over connections that are kept. */
class Sender {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 128 });
  constructor(private readonly url: string) {}

  upload(site: Site, body: string): Promise<number> {
    return new Promise((resolve, reject) => {
      const outgoing = request(
        `${this.url}/api/v1/replays/record`,
        {
          method: 'POST',
          agent: this.#agent,
          headers: {
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(body),
            origin: `https://${site.host}`,
            'user-agent': AGENT_TEXT,
            'x-forwarded-for': `81.2.69.${1 + Math.floor(Math.random() * 250)}`,
          },
        },
        (answer) => {
          answer.resume().on('end', () => resolve(answer.statusCode ?? 0));
        },
      );
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  }
}

const Sessions = Type.Object({
  sessions: Type.Array(Type.Object({ session_id: Type.String(), chunk_count: Type.Integer() })),
  next_cursor: Type.Union([Type.String(), Type.Null()]),
});

/** Chunks that the lists of all sites show. */
async function listedChunks(api: Api, sites: readonly Site[]): Promise<number> {
  let chunks = 0;
  for (const site of sites) {
    let cursor: string | null = '';
    while (cursor !== null) {
      const page: Type.Static<typeof Sessions> = await api.get(
        Sessions,
        `replays/sessions?website_id=${site.id}&limit=100${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`,
      );
      for (const { chunk_count: count } of page.sessions) chunks += count;
      cursor = page.next_cursor;
    }
  }
  return chunks;
}

const stored = (api: Api, sites: readonly Site[], uploads: number) =>
  until(async () => (await listedChunks(api, sites)) >= uploads, {
    what: `${uploads} chunks to be listed`,
    timeoutMs: 60_000,
    everyMs: 2_000,
  });

async function readMetrics(url: string): Promise<{ objects: number; bytes: number }> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const value = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? Number.NaN);
  return {
    objects: value('seentics_recording_objects_total'),
    bytes: value('seentics_recording_object_bytes_total'),
  };
}

const Login = Type.Object({
  data: Type.Object({ tokens: Type.Object({ access_token: Type.String() }) }),
});

/** Records half an hour at once, then reads it several times; medians. */
async function readLong(sender: Sender, api: Api, url: string, site: Site | undefined) {
  if (site === undefined) throw new Error('no sites');
  const startMs = Date.now() - LONG_MINUTES * 60_000;
  const recording = new Recording(4_711, USUAL_PAGE, startMs);
  const session = 'half-an-hour';
  const chunks = (LONG_MINUTES * 60) / CHUNK_SECONDS;
  const before = await listedChunks(api, [site]);
  await sender.upload(site, uploadOf(site.siteId, session, 0, recording.first()));
  for (let chunk = 1; chunk <= chunks; chunk++) {
    const events = recording.later((chunk - 1) * CHUNK_SECONDS * 1_000, CHUNK_SECONDS);
    await sender.upload(site, uploadOf(site.siteId, session, chunk, events));
  }
  await stored(api, [site], before + chunks + 1);
  const { email, password } = account;
  const login: unknown = await (
    await fetch(`${url}/api/v1/user/auth/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ email, password }),
    })
  ).json();
  if (!Value.Check(Login, login)) throw new Error('cannot sign in');
  const headers = { authorization: `Bearer ${login.data.tokens.access_token}` };
  const firsts: number[] = [];
  const wholes: number[] = [];
  let bytes = 0;
  for (let i = 0; i < READS; i++) {
    const started = performance.now();
    const answer = await fetch(`${url}/api/v1/replays/data/${session}?website_id=${site.id}`, { headers });
    if (!answer.ok || answer.body === null) throw new Error(`cannot read the replay: ${answer.status}`);
    bytes = 0;
    for await (const part of answer.body) {
      if (bytes === 0) firsts.push(performance.now() - started);
      bytes += part.length;
    }
    wholes.push(performance.now() - started);
  }
  return { first: quantile(firsts, 0.5), whole: quantile(wholes, 0.5), bytes };
}
