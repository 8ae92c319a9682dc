import { PostgresReader, type PostgresReaderOptions } from '../postgres-reader.js';
import { type SessionFactsStore, sessionFactsOf } from './session-facts-row.js';

const DAY_MS = 86_400_000;
const CONNECTIONS = 4;
const TIMEOUT_MS = 10_000;

/** What automations ask about a session, from Postgres: the same answers as ClickHouse. */
export function createPostgresSessionFacts(options: PostgresReaderOptions): SessionFactsStore {
  const reader = new PostgresReader('session_facts', {
    ...options,
    maxConnections: Math.min(CONNECTIONS, options.maxConnections),
    minConnections: 0,
    maxExecutionMs: TIMEOUT_MS,
  });
  return {
    async sessionFacts(siteId, visitorId, sessionId, at) {
      const signal = AbortSignal.timeout(TIMEOUT_MS);
      const values = [siteId, visitorId, sessionId];
      const [session] = await reader.rows({ text: SESSION, values: [...values, at - DAY_MS, at] }, signal);
      const facts = sessionFactsOf(session);
      const earlier = { text: EARLIER, values: [...values, facts.startedAt ?? at] };
      const isNewVisitor = (await reader.rows(earlier, signal)).length === 0;
      return { ...facts.session, isNewVisitor };
    },
    close: () => reader.close(),
  };
}

const first = (column: string, only = 'true') =>
  `COALESCE((array_agg(${column} ORDER BY "timestamp", event_id) FILTER (WHERE ${only}))[1], '')`;

const SESSION = `SELECT count(*)::float8, (count(*) FILTER (WHERE kind = 1))::float8,
    COALESCE((extract(epoch FROM min("timestamp")) * 1000)::float8, 0),
    ${first('channel', 'kind = 1')}, ${first('referrer_host', 'kind = 1')}, ${first('utm_source', 'kind = 1')},
    ${first('device')}, ${first('country_code')}, ${first('browser')}, ${first('os')}
  FROM events
  WHERE site_id = $1 AND visitor_id = $2 AND session_id = $3
    AND "timestamp" BETWEEN to_timestamp($4::float8 / 1000) AND to_timestamp($5::float8 / 1000)`;

const EARLIER = `SELECT 1 FROM events
  WHERE site_id = $1 AND visitor_id = $2 AND session_id <> $3 AND "timestamp" < to_timestamp($4::float8 / 1000) LIMIT 1`;
