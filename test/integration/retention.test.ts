/** What is removed by age: from every table, from objects and from figures, of the whole program on both event stores. */
import { createHash } from 'node:crypto';
import Type from 'typebox';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFailed } from 'vitest';
import type { Site } from '../support/api.js';
import { account } from '../support/api.js';
import { until } from '../support/wait.js';
import { type PrivacyProgram, parse, startPrivacyProgram } from './privacy-program.js';

const DAY = 86_400_000;
const NOW = Date.now();
const TODAY = Math.floor(NOW / DAY) * DAY;
/** Days that the one site keeps; the other has the default of a year. */
const KEPT = 2;
const OLD = TODAY - KEPT * DAY - 1_000;
/** The first second that is kept. */
const EDGE = TODAY - KEPT * DAY;

const CleanedUp = Type.Object({
  success: Type.Literal(true),
  data: Type.Object({
    complete: Type.Boolean(),
    websites: Type.Number(),
    deleted: Type.Record(Type.String(), Type.Number()),
  }),
});
const Policies = Type.Object({
  success: Type.Literal(true),
  data: Type.Array(
    Type.Object({
      data_type: Type.String(),
      retention_period: Type.Number(),
      retention_unit: Type.String(),
      auto_delete: Type.Boolean(),
      website_id: Type.Union([Type.String(), Type.Null()]),
    }),
  ),
});
const Replays = Type.Object({ sessions: Type.Array(Type.Object({ session_id: Type.String() })) });

describe.each(['clickhouse', 'postgres'] as const)('data that has expired on %s', (kind) => {
  let node: PrivacyProgram;
  let brief: Site;
  let lasting: Site;

  beforeAll(async () => {
    node = await startPrivacyProgram(kind);
    brief = await node.site({ dataRetentionDays: KEPT });
    lasting = await node.site();
    for (const site of [brief, lasting]) await fill(site);
  });
  beforeEach(() => onTestFailed(() => node.program.showLog()));
  afterAll(() => node?.stop());

  const iso = (ms: number) => new Date(ms).toISOString();
  const BOT = 'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)';

  /** Of each kind of data something that has expired after two days, and something from the first second that has not. */
  async function fill(site: Site): Promise<void> {
    const times = [OLD, EDGE, NOW];
    const events = times.map((ms) => ({ visitor_id: `v${ms}`, page: '/', timestamp: iso(ms) }));
    await node.send('analytics/batch', { siteId: site.siteId, events });
    const bots = events.map((event) => ({ ...event, visitor_id: 'bot' }));
    await node.send('analytics/batch', { siteId: site.siteId, events: bots }, { 'user-agent': BOT });
    const points = times.map((ms) => ({ type: 'click', x: 1, y: 1, url: '/', timestamp: ms / 1000 }));
    await node.send('heatmaps/record', { website_id: site.siteId, points });
    const funnel = times.map((ms) => ({
      ...{ funnel_id: 'f', visitor_id: `v${ms}`, session_id: 's', event_type: 'start', timestamp: iso(ms) },
    }));
    await node.send('funnels/batch', { website_id: site.siteId, events: funnel });
    for (const session of ['old', 'new']) await record(site, session);
    // Six of the batches, three points, three of funnels, two recordings.
    await node.booked(site, 14);
    await age(site);
    await note(site);
    await refuse(site);
    await finish(site);
    await execute(site);
  }

  async function record(site: Site, session: string): Promise<void> {
    const body = {
      ...{ website_id: site.siteId, session_id: session, sequence: 0, page: '/' },
      events: [
        { type: 4, timestamp: NOW, data: { href: 'https://shop.example/', width: 9, height: 9 } },
        { type: 3, timestamp: NOW + 10, data: { source: 2, type: 2, id: 1, x: 1, y: 1 } },
      ],
    };
    expect((await node.send('replays/record', body)).body).toEqual({ status: 'success' });
    // Each into an object of its own.
    const count = session === 'old' ? 1 : 2;
    await until(async () => (await keysOf(site)).length === count || undefined, { what: 'the object' });
  }

  /** Keys of the site's recordings in the index. */
  const keysOf = async (site: Site): Promise<string[]> => {
    const found = await node.rows(
      `SELECT DISTINCT session_id, object_key FROM replay_chunks WHERE site_id = '${site.siteId}' ORDER BY session_id DESC`,
    );
    return found.map(({ object_key }) => String(object_key));
  };

  /** Makes the first of the recordings as old as the old events. */
  async function age(site: Site): Promise<void> {
    const [oldest = ''] = await keysOf(site);
    const of = `WHERE site_id = '${site.siteId}' AND object_key = '${oldest}'`;
    if (kind === 'postgres') await node.execute(`UPDATE replay_objects SET written_at = '${iso(OLD)}' ${of}`);
    else
      await node.execute(
        `ALTER TABLE replay_objects UPDATE written_at = fromUnixTimestamp64Milli(${OLD}, 'UTC') ${of}`,
      );
  }

  /** As if an import had added the events. */
  async function note(site: Site): Promise<void> {
    const of =
      kind === 'postgres'
        ? `'${site.id}', 1, event_id, visitor_id`
        : `'${site.id}', 1, event_id, toStartOfFifteenMinutes(timestamp), cityHash64(session_id), cityHash64(visitor_id)`;
    await node.sql.query(
      "INSERT INTO imports (id, website_id, site_id, format, file_name, state, bytes) VALUES ($1, $1, $2, 'csv', '', 'done', 1)",
      [site.id, site.siteId],
    );
    await node.execute(
      `INSERT INTO import_rows SELECT site_id, ${of} FROM events WHERE site_id = '${site.siteId}'`,
    );
  }

  /** Puts an old and a new row into the quarantine. */
  async function refuse(site: Site): Promise<void> {
    for (const ms of [OLD, NOW]) {
      const id = createHash('md5').update(`${site.siteId} ${ms}`).digest('hex');
      const at = kind === 'postgres' ? `'${iso(ms)}'` : `fromUnixTimestamp64Milli(${ms}, 'UTC')`;
      await node.execute(
        `INSERT INTO quarantine (id, site_id, source, row_table, quarantined_at, reason, bytes)
         VALUES ('${id}', '${site.siteId}', 'batch', 'events', ${at}, 'test', 'bytes')`,
      );
    }
  }

  /** As if the sessions were those of finished days. */
  async function finish(site: Site): Promise<void> {
    if (kind === 'postgres') return;
    for (const ms of [OLD, EDGE])
      await node.execute(
        `INSERT INTO finished_sessions (site_id, version, start) VALUES ('${site.siteId}', 1, fromUnixTimestamp64Milli(${ms}, 'UTC'))`,
      );
  }

  async function execute(site: Site): Promise<void> {
    const { rows } = await node.sql.query(
      `INSERT INTO automations (website_id, user_id, name, trigger_type) VALUES ($1, 'u', 'A', 'page_view') RETURNING id`,
      [site.siteId],
    );
    for (const ms of [OLD, EDGE]) {
      await node.sql.query(
        `INSERT INTO automation_claims (automation_id, scope, subject, website_id, visitor_id, claimed_at, window_ms, expires_at)
         VALUES ($1, 'visitor', $3, $2, $3, $4, 0, now() + interval '1 year')`,
        [rows[0].id, site.siteId, `v${ms}`, new Date(ms)],
      );
      await node.sql.query(
        `INSERT INTO automation_executions (automation_id, website_id, visitor_id, status, executed_at) VALUES ($1, $2, 'v', 'success', $3)`,
        [rows[0].id, site.siteId, new Date(ms)],
      );
    }
  }

  const ROWS = ['events', 'bot_events', 'heat_points', 'funnel_events', 'import_rows', 'quarantine'];
  const TABLES = [...ROWS, 'replay_chunks'];
  const ROLLUPS = kind === 'clickhouse' ? ['session_slots', 'finished_sessions'] : [];
  const counts = async (site: Site) => {
    const found: Record<string, number> = {};
    for (const table of [...TABLES, 'replay_objects', ...ROLLUPS]) {
      const [row] = await node.rows(`SELECT count(*) AS n FROM ${table} WHERE site_id = '${site.siteId}'`);
      found[table] = Number(row?.n);
    }
    const { rows } = await node.sql.query(
      `SELECT (SELECT count(*) FROM automation_executions WHERE website_id = $1)::int AS executions,
              (SELECT count(*) FROM automation_claims WHERE website_id = $1)::int AS claims`,
      [site.siteId],
    );
    return { ...found, ...rows[0] };
  };
  const before = {
    ...{
      events: 3,
      bot_events: 3,
      heat_points: 3,
      funnel_events: 3,
      quarantine: 2,
      executions: 2,
      claims: 2,
    },
    ...{ replay_chunks: 2, replay_objects: 2, import_rows: 3 },
    ...(kind === 'clickhouse' ? { session_slots: 3, finished_sessions: 2 } : {}),
  };
  const after = {
    ...{
      events: 2,
      bot_events: 2,
      heat_points: 2,
      funnel_events: 2,
      quarantine: 1,
      executions: 1,
      claims: 1,
    },
    ...{ replay_chunks: 1, replay_objects: 1, import_rows: 2 },
    ...(kind === 'clickhouse' ? { session_slots: 2, finished_sessions: 1 } : {}),
  };

  it('is removed from every table, of the site that wants it and no other, and never comes back', async () => {
    expect(await counts(brief)).toEqual(before);
    expect(await counts(lasting)).toEqual(before);
    const { received, stored, duplicate, bot, rejected } = await node.api.books(brief);
    const views = async (site: Site) => (await node.api.dashboard(site)).page_views;
    expect([await views(brief), await views(lasting)]).toEqual([3, 3]);
    const { status, body } = await node.call('POST', 'privacy/cleanup');
    expect(status).toBe(200);
    const { deleted, ...run } = parse(CleanedUp, body).data;
    expect(run).toMatchObject({ complete: true, websites: 2 });
    expect(deleted).toEqual({
      ...{ events: 1, bot_events: 1, heat_points: 1, funnel_events: 1, quarantine: 1 },
      ...{ recordings: 1, automation_executions: 1, import_rows: 1 },
      ...(kind === 'clickhouse' ? { session_slots: 1, finished_sessions: 1 } : {}),
    });
    expect(await counts(brief)).toEqual(after);
    expect(await counts(lasting)).toEqual(before);
    // Answers from before are kept for five seconds at most.
    await until(async () => (await views(brief)) === 2 || undefined, { what: 'the old day to leave' });
    expect(await views(lasting)).toBe(3);
    expect(await node.api.books(brief)).toMatchObject({ received, stored, duplicate, bot, rejected });
    const { body: listed } = await node.call('GET', `replays/sessions?website_id=${brief.id}`);
    expect(parse(Replays, listed).sessions.map(({ session_id }) => session_id)).toEqual(['new']);
    const { rows } = await node.sql.query('SELECT past_success FROM automations WHERE website_id = $1', [
      brief.siteId,
    ]);
    expect(Number(rows[0].past_success)).toBe(1);
    const again = await node.call('POST', 'privacy/cleanup');
    expect(parse(CleanedUp, again.body).data.deleted).toEqual({});
    const metrics = await (await fetch(`${node.program.url}/metrics`)).text();
    expect(metrics).toContain('seentics_retention_runs_total{outcome="complete"} 2');
    expect(metrics).toContain('seentics_retention_removed_total{what="events"} 1');
  });

  it('lies in no table that retention does not know', async () => {
    const known = [...TABLES, ...ROLLUPS, 'replay_objects'];
    // Counts, and notes of what was deleted, which hold no visitor.
    known.push('ingest_books', 'replay_deletions', 'heat_deletions', 'changed_rows', 'finished_days');
    const tables = await node.rows(
      kind === 'postgres'
        ? `SELECT c.relname AS name FROM pg_class c WHERE c.relkind = 'r' AND obj_description(c.oid) LIKE 'event store%'`
        : `SELECT DISTINCT table AS name FROM system.columns WHERE database = currentDatabase() AND name = 'site_id'
           AND table NOT IN (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'MaterializedView')`,
    );
    expect(tables.map(({ name }) => String(name)).filter((name) => !known.includes(name))).toEqual([]);
  });

  it('is removed by the admin of the instance alone, and every account is told what is kept', async () => {
    const stranger = { name: 'Stranger', email: 'stranger@shop.example', password: account.password };
    await node.call('POST', 'user/auth/register', stranger, '');
    const token = await node.signIn(stranger.email, stranger.password);
    expect((await node.call('POST', 'privacy/cleanup', undefined, token)).status).toBe(403);
    expect((await node.call('POST', 'privacy/cleanup', undefined, 'nobody')).status).toBe(401);
    const policies = async (of?: string) =>
      parse(Policies, (await node.call('GET', 'privacy/retention-policies', undefined, of)).body).data;
    const own = await policies();
    const days = (site: Site) =>
      own.find((policy) => policy.website_id === site.id && policy.data_type === 'Analytics Events');
    expect(days(brief)).toMatchObject({ retention_period: KEPT, retention_unit: 'days', auto_delete: true });
    expect(days(lasting)).toMatchObject({ retention_period: 365 });
    const keys = own.find(({ data_type }) => data_type === 'Visitor Keys');
    expect(keys).toMatchObject({ retention_period: 48, retention_unit: 'hours', website_id: null });
    expect((await policies(token)).filter(({ website_id }) => website_id !== null)).toEqual([]);
  });
});
