import { type ClickhouseOptions, openClickhouse } from '../../clickhouse.js';
import { ClickhouseReader } from '../clickhouse-reader.js';
import type { Sql } from '../metrics/clickhouse-rows.js';
import { type SessionFactsStore, sessionFactsOf } from './session-facts-row.js';

const DAY_MS = 86_400_000;
const CONNECTIONS = 4;
const TIMEOUT_MS = 10_000;

/** What automations ask about a session, from ClickHouse: its events of a day, and the rollup for whether the visitor came before. */
export function createClickhouseSessionFacts(options: ClickhouseOptions): SessionFactsStore {
  const clickhouse = openClickhouse({
    requestTimeoutMs: TIMEOUT_MS * 2,
    maxConnections: CONNECTIONS,
    ...options,
  });
  const reader = new ClickhouseReader(clickhouse, { maxExecutionMs: TIMEOUT_MS });
  return {
    async sessionFacts(siteId, visitorId, sessionId, at) {
      const params = { site: siteId, visitor: visitorId, session: sessionId, at, since: at - DAY_MS };
      const signal = AbortSignal.timeout(TIMEOUT_MS);
      const [session] = await reader.rows({ text: SESSION, params }, signal);
      const facts = sessionFactsOf(session);
      const earlier: Sql = { text: EARLIER, params: { ...params, at: facts.startedAt ?? at } };
      const isNewVisitor = (await reader.rows(earlier, signal)).length === 0;
      return { ...facts.session, isNewVisitor };
    },
    close: () => reader.close(),
  };
}

const SESSION = `SELECT toFloat64(count()), toFloat64(countIf(kind = 1)), toFloat64(toUnixTimestamp64Milli(min(timestamp))),
    argMinIf(toString(channel), timestamp, kind = 1), argMinIf(toString(referrer_host), timestamp, kind = 1),
    argMinIf(toString(utm_source), timestamp, kind = 1), argMin(toString(device), timestamp),
    argMin(toString(country_code), timestamp), argMin(toString(browser), timestamp), argMin(toString(os), timestamp)
  FROM events
  WHERE site_id = {site:String} AND visitor_id = {visitor:String} AND session_id = {session:String}
    AND timestamp BETWEEN fromUnixTimestamp64Milli({since:Int64}, 'UTC') AND fromUnixTimestamp64Milli({at:Int64}, 'UTC')`;

const EARLIER = `SELECT 1 FROM session_slots
  WHERE site_id = {site:String} AND slot <= fromUnixTimestamp64Milli({at:Int64}, 'UTC')
    AND visitor = cityHash64({visitor:String}) AND session <> cityHash64({session:String})
    AND first_ts < fromUnixTimestamp64Milli({at:Int64}, 'UTC')
  LIMIT 1`;
