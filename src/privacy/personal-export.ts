/** Everything that is kept of an account's websites or of one visitor, as JSON that is made while it is sent. */
import { AppError } from '../errors.js';
import type { MetricsStore } from '../metrics/metrics-store.js';
import type { Playback } from '../replays/playback.js';
import { sessionKeyOf } from '../replays/recording-row.js';
import type { ReplayStore, SessionQuery, SessionSummary } from '../replays/replay-store.js';
import { StoreUnavailableError } from '../storage/events/event-store.js';
import type { MetadataStore, User, WebsiteRecord } from '../storage/metadata/metadata.js';
import { JsonStream, jsonBytes, jsonList, jsonListOf, jsonObjectOf } from './json-pieces.js';
import type { PersonalStore } from './personal-store.js';

export interface PersonalExportOptions {
  readonly metadata: Pick<
    MetadataStore,
    | 'users'
    | 'websites'
    | 'goals'
    | 'funnels'
    | 'automations'
    | 'executions'
    | 'apiKeys'
    | 'notifications'
    | 'privacyRequests'
    | 'secondFactors'
    | 'audit'
  >;
  readonly personal: PersonalStore;
  readonly metrics: MetricsStore;
  readonly replays: Pick<ReplayStore, 'partsOf' | 'sessions'>;
  readonly playback: Playback;
}

export interface PersonalExport {
  /** An account, and all of its own websites (contract 13.1). @throws AppError `not_found` */
  account(userId: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  /** Everything about a visitor of a site. */
  visitor(siteId: string, visitorId: string, signal: AbortSignal): AsyncIterable<Uint8Array>;
}

const DAY_MS = 86_400_000;
const FIGURE_DAYS = 3_650;
const SESSIONS_A_PAGE = 200;
/** More than are kept. */
const NOTIFICATIONS = 1_000;
const ENTRIES_A_PAGE = 1_000;

export function createPersonalExport(options: PersonalExportOptions): PersonalExport {
  return {
    async account(userId, signal) {
      const user = await options.metadata.users.findById(userId);
      if (user === null) throw new AppError('not_found', 'Account not found');
      const all = await options.metadata.websites.listFor(userId);
      const sites = all.filter((site) => site.userId === userId);
      const teams = all.filter((site) => site.userId !== userId);
      const about = { user_id: userId, exported_at: new Date().toISOString() };
      return jsonBytes(
        jsonObjectOf({
          success: true,
          message: 'Analytics data exported successfully',
          data: jsonObjectOf({
            ...about,
            account: accountOf(options.metadata, user, teams),
            data: sites.length === 0 ? nothingOf(about) : dataOf(options, about, sites, signal),
          }),
        }),
      );
    },

    visitor(siteId, visitorId, signal) {
      const { personal, metadata } = options;
      const rows = (table: 'events' | 'bot_events' | 'funnel_events') =>
        jsonList(reachable(personal.rows(table, siteId, visitorId, signal)));
      return jsonBytes(
        jsonObjectOf({
          website_id: siteId,
          visitor_id: visitorId,
          exported_at: new Date().toISOString(),
          events: rows('events'),
          bot_events: rows('bot_events'),
          funnel_events: rows('funnel_events'),
          automation_executions: jsonList(once(() => metadata.executions.ofVisitor(siteId, visitorId))),
          recordings: jsonListOf(recordingsOf(options, siteId, visitorId)),
        }),
      );
    },
  };
}

/** What is kept of the account itself. Of secrets it says that they are there. */
function accountOf(
  metadata: PersonalExportOptions['metadata'],
  { id, name, email, role, avatar, createdAt }: User,
  teams: readonly WebsiteRecord[],
): JsonStream {
  const { apiKeys, notifications, privacyRequests, secondFactors, audit } = metadata;
  const listed = (load: () => Promise<readonly unknown[]>) => jsonList(once(load));
  return jsonObjectOf({
    ...{ id, name, email, role, avatar, created_at: createdAt },
    member_of: teams.map((site) => ({ website_id: site.id, name: site.name, url: site.url })),
    api_keys: listed(() => apiKeys.list(id)),
    second_factor: later(() => secondFactors.find(id)),
    notifications: listed(() => notifications.list(id, NOTIFICATIONS)),
    privacy_settings: later(() => privacyRequests.settings(id)),
    privacy_requests: listed(async () =>
      (await privacyRequests.list(id)).map(({ salt: _, ...request }) => request),
    ),
    activity: jsonList(activityOf(audit, id)),
  });
}

/** Entries of the audit log about what the account did, newest first. */
async function* activityOf(
  audit: Pick<MetadataStore['audit'], 'list'>,
  userId: string,
): AsyncIterable<readonly unknown[]> {
  let before: string | undefined;
  for (;;) {
    const page = await audit.list({ userId, before, limit: ENTRIES_A_PAGE });
    yield page;
    const last = page.at(-1);
    if (last === undefined || page.length < ENTRIES_A_PAGE) return;
    before = last.id;
  }
}

type About = { readonly user_id: string; readonly exported_at: string };

function nothingOf(about: About): unknown {
  const message = 'No websites found for user';
  return {
    events: [{ ...about, data: [], message }],
    analytics: [{ ...about, data: {}, message }],
    funnels: [{ ...about, data: [], message }],
  };
}

/** One element a website in every list. */
function dataOf(
  options: PersonalExportOptions,
  about: About,
  sites: readonly WebsiteRecord[],
  signal: AbortSignal,
): JsonStream {
  const { personal, metadata } = options;
  const each = (fields: (site: WebsiteRecord) => Readonly<Record<string, unknown>>) =>
    jsonListOf(
      (async function* () {
        for (const site of sites) {
          signal.throwIfAborted();
          yield jsonObjectOf({ ...about, website_ids: [site.siteId], ...fields(site) });
        }
      })(),
    );
  const rows = (table: 'events' | 'bot_events' | 'funnel_events', site: WebsiteRecord) =>
    jsonList(reachable(personal.rows(table, site.siteId, null, signal)));
  const listed = (load: () => Promise<readonly unknown[]>) => jsonList(once(load));
  return jsonObjectOf({
    events: each((site) => ({ data: rows('events', site), bot_events: rows('bot_events', site) })),
    analytics: each((site) => ({ data: later(() => figuresOf(options.metrics, site.siteId, signal)) })),
    funnels: each((site) => ({
      data: listed(() => metadata.funnels.list(site.siteId)),
      events: rows('funnel_events', site),
    })),
    websites: each(({ userId: _, ...site }) => ({
      data: site,
      goals: listed(() => metadata.goals.list(site.id)),
    })),
    automations: each((site) => ({
      data: listed(async () =>
        (await metadata.automations.list(site.siteId)).map(
          ({ webhookSecret: _, ...automation }) => automation,
        ),
      ),
    })),
    recordings: each((site) => ({ data: jsonList(sessionsOf(options.replays, site.siteId)) })),
  });
}

/** The figures of all time that is kept. */
async function figuresOf(store: MetricsStore, siteId: string, signal: AbortSignal) {
  const to = Date.now();
  const scope = { siteId, from: to - FIGURE_DAYS * DAY_MS, to, filters: [] };
  const totals = await store.totals(scope, signal);
  const top = async (attribute: 'referrer_host' | 'country_code' | 'browser' | 'device', limit: number) =>
    (
      await store.breakdown(
        scope,
        attribute,
        attribute === 'referrer_host' ? 'Direct' : 'Unknown',
        limit,
        signal,
      )
    ).map(({ value, visitors, views }) => ({ value, visitors, page_views: views }));
  const pages = await store.pages(scope, 'visitors', 50, signal);
  const custom = await store.eventTypes(scope, 100, signal);
  return {
    page_views: totals.views,
    unique_visitors: totals.visitors,
    sessions: totals.sessions,
    top_pages: pages.map(({ page, views, visitors }) => ({ page, views, unique_visitors: visitors })),
    top_referrers: await top('referrer_host', 20),
    countries: await top('country_code', 20),
    browsers: await top('browser', 15),
    devices: await top('device', 10),
    custom_events: custom,
  };
}

async function* recordingsOf(
  { personal, replays, playback }: PersonalExportOptions,
  siteId: string,
  visitorId: string,
): AsyncIterable<unknown> {
  for (const session of await personal.sessionsOf(siteId, visitorId)) {
    const parts = await replays.partsOf(siteId, sessionKeyOf(siteId, session), 1);
    if (parts.length > 0) yield new JsonStream(playback.session(siteId, session));
  }
}

/** What the list of recordings tells of each, a page at a time. By the last one of a page: recordings come and go meanwhile. */
export async function* sessionsOf(
  replays: Pick<ReplayStore, 'sessions'>,
  siteId: string,
): AsyncIterable<Omit<SessionSummary, 'sessionKey'>[]> {
  let query: SessionQuery = { siteId, limit: SESSIONS_A_PAGE, offset: 0 };
  for (;;) {
    const page = await replays.sessions(query);
    yield page.map(({ sessionKey: _, ...session }) => session);
    const last = page.at(-1);
    if (last === undefined || page.length < SESSIONS_A_PAGE) return;
    query = { ...query, after: { startMs: last.startMs, sessionKey: last.sessionKey } };
  }
}

async function* once(load: () => Promise<readonly unknown[]>): AsyncIterable<readonly unknown[]> {
  yield await load();
}

/** A value that is asked for when its turn has come. */
function later(load: () => Promise<unknown>): JsonStream {
  return new JsonStream(
    (async function* () {
      yield JSON.stringify(await load());
    })(),
  );
}

async function* reachable<T>(rows: AsyncIterable<T>): AsyncIterable<T> {
  try {
    yield* rows;
  } catch (error) {
    if (!(error instanceof StoreUnavailableError)) throw error;
    throw new AppError('storage_unavailable', 'the event store does not answer', {
      cause: error,
      retryAfterSeconds: 5,
    });
  }
}
