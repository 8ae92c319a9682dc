/**
 * Many questions about a few sessions in one pass. Of such a query the server's work on its text costs more than its rows, so a page's
 * questions, at all moments that they are asked of, are one, and what periods have in common is written once
 * (docs/decisions/0011-one-pass.md).
 *
 * Every session yields cells: part, label, visitors and counts. Cells of the same part and label have distinct visitors and sums in
 * common, which is all that an answer is made of.
 */
import type { Filter, SessionAttribute } from '../../../metrics/filters.js';
import { SLOT_MS } from '../../../metrics/metrics-store.js';
import { cellsOf } from './clickhouse-changed-cells.js';
import {
  type AskedPart,
  asks,
  asksEvents,
  type Levels,
  numbersOf,
  SUMS,
} from './clickhouse-changed-parts.js';
import {
  BoundValues,
  isPageFilter,
  isSessionFilter,
  ofSessions,
  pageCondition,
  type SomeSessions,
  type Sql,
  sessionCondition,
  tableOf,
} from './clickhouse-conditions.js';
import { OF_FEW_ROWS, PACKED } from './clickhouse-rows.js';

/** Sessions, as they were at some moments, that filters are asked of. */
export interface ChangedRows {
  readonly siteId: string;
  readonly sessions: SomeSessions;
  /** Rows that had arrived before (ms since epoch, quarters of an hour); undefined: all. */
  readonly moments: readonly (number | undefined)[];
  readonly filters: readonly Filter[];
}

/** After everything that has arrived. */
const NOW_SECONDS = 4_294_967_295;

/** index of what was asked (from 0), label, for each of the moments distinct visitors and sums; what is the same at all of them is absent */
export function changesSql(
  { siteId, sessions, moments, filters }: ChangedRows,
  asked: readonly AskedPart[],
): Sql {
  const values = new BoundValues({ site: siteId });
  const periods = [...new Map(asked.map(({ period }) => [JSON.stringify(period), period])).values()];
  const periodOf = new Map(periods.map((period, i) => [JSON.stringify(period), i + 1]));
  const numbered = asked.map(({ period, part }, number) => ({
    number,
    part,
    from: values.bind('Int64', period.from),
    // From 1, as ClickHouse counts.
    period: periodOf.get(JSON.stringify(period)) ?? 0,
  }));
  const before = values.bind(
    'Array(UInt32)',
    moments.map((at) => (at === undefined ? NOW_SECONDS : Math.floor(at / 1000))),
  );
  const froms = values.bind(
    'Array(Int64)',
    periods.map(({ from }) => from),
  );
  const ends = values.bind(
    'Array(Array(Int64))',
    moments.map((_, i) => periods.map((period) => period.ends[i] ?? period.from)),
  );
  const levels = { values, filters, froms, ends, numbered };
  const most = Math.max(...asked.map(({ part }) => SUMS[part.on]));
  const counts = moments.map((_, i) => {
    const sums = Array.from({ length: most }, (_, k) => `sumIf(cell.4[${k + 1}], moment = ${i + 1})`);
    return `[${[`toInt64(uniqExactArrayIf(cell.3, moment = ${i + 1}))`, ...sums].join(', ')}] AS counts${i}`;
  });
  const differs = moments.slice(1).map((_, i) => `counts0 != counts${i + 1}`);
  const text = `SELECT cell.1 AS part, cell.2 AS label, ${counts.join(', ')}
    FROM (
      SELECT moment, arrayConcat(${cellsOf(levels).join(', ')}) AS cells
      FROM (
        SELECT *, ${factsOf(levels).join(', ')}
        FROM (
          SELECT session, moment, ${sumsOf(levels).join(', ')}
          FROM (
            SELECT session, visitor, moment, ${rowColumns(levels).join(', ')}
            FROM ${tableOf(sessions)} ARRAY JOIN ${before} AS before, arrayEnumerate(${before}) AS moment
            WHERE site_id = {site:String} AND ${ofSessions(values, sessions)} AND arrived < toDateTime(before, 'UTC')
          ) GROUP BY session, moment
        )
      )
    ) ARRAY JOIN cells AS cell GROUP BY part, label HAVING ${differs.join(' OR ')} ${'set' in sessions ? OF_FEW_ROWS : ''}`;
  return { text, params: values.params };
}

function attributesOf({ filters, numbered }: Levels): ReadonlySet<SessionAttribute> {
  const filtered = filters
    .filter(isSessionFilter)
    .flatMap(({ any }) => any.map(({ attribute }) => attribute));
  const listed = numbered.flatMap(({ part }): readonly SessionAttribute[] => {
    if (part.on === 'breakdown') return [part.attribute];
    return part.on === 'places' ? [part.attribute, 'country_code'] : [];
  });
  return new Set([...filtered, ...listed]);
}

const millis = (at: string): string => `toUnixTimestamp64Milli(${at})`;

/** Of a row. `seen`: its page views in each of the periods that the page filters let through. */
function rowColumns(levels: Levels): string[] {
  const { values, filters, froms, ends } = levels;
  const pages = filters.filter(isPageFilter);
  const packed = new Set([...attributesOf(levels)].map((name) => PACKED[name][0]));
  const matches = (page: string) => pageCondition(values, pages, page);
  const until = `${millis('t')} < end`;
  const [all, some] =
    pages.length === 0
      ? ['toInt64(page_views)', `toInt64(arrayCount(t -> ${until}, view_ts))`]
      : ['matching', `toInt64(arrayCount((t, p) -> ${until} AND ${matches('p')}, view_ts, view_page))`];
  return [
    'toInt64(toUnixTimestamp(slot)) * 1000 AS slot_ms',
    `${millis('first_ts')} AS first_ms, ${millis('last_ts')} AS last_ms, ${millis('last_view')} AS view_ms`,
    'last_exit, page_views, customs, view_ts, view_page',
    'reverse(reinterpretAsFixedString(toUInt64(first_ms))) AS first_key',
    ...(pages.length === 0 ? [] : [`toInt64(arrayCount(p -> ${matches('p')}, view_page)) AS matching`]),
    `arrayMap((begin, end) -> if(slot_ms >= begin AND slot_ms < end, if(slot_ms + ${SLOT_MS} <= end, ${all}, ${some}), 0),
      ${froms}, ${ends}[moment]) AS seen`,
    ...(packed.has('source') ? ['source'] : []),
    ...(asksEvents(levels) ? ['custom_ts, custom_type'] : []),
    ...(packed.has('place') ? ["splitByChar('\\0', place) AS place_texts"] : []),
    ...(packed.has('agent') ? ["splitByChar('\\0', agent) AS agent_texts"] : []),
  ];
}

/** Of a session. */
function sumsOf(levels: Levels): string[] {
  const attributes = [...attributesOf(levels)];
  return [
    'min(first_ms) AS start, max(last_ms) AS last, toInt64(sum(page_views)) AS pv, sum(customs) AS cu',
    'max(view_ms) AS lv, max(last_exit) AS le, groupArrayIf((slot_ms, [visitor], seen), page_views > 0) AS slots',
    ...(levels.filters.some(isPageFilter) ? ['sum(matching) AS all_matching'] : []),
    ...attributes.flatMap((name) => {
      const [column, index] = PACKED[name];
      const value = `${column}_texts[${index}]`;
      // As `attributeOfSession`: the first that is known, of several at the same instant the smallest.
      return column === 'source'
        ? []
        : [`substring(minIf(concat(first_key, ${value}), ${value} != ''), 9) AS ${name}`];
    }),
    ...(attributes.some((name) => PACKED[name][0] === 'source')
      ? ["splitByChar('\\0', substring(min(source), 9)) AS source_texts"]
      : []),
    ...(asks(levels, 'pages')
      ? [
          `arraySort(groupArrayArray(arrayMap((t, page) -> (${millis('t')}, page, visitor), view_ts, view_page))) AS views`,
        ]
      : []),
    ...(asksEvents(levels)
      ? [
          `groupArrayArray(arrayMap((t, type) -> (${millis('t')}, [visitor], ${numbersOf('toInt64(1)')}, type), custom_ts, custom_type)) AS events`,
        ]
      : []),
    ...levels.numbered.flatMap(({ number, part, from }) =>
      part.on === 'returning' ? [`groupArrayIf(visitor, first_ms < ${from}) AS earlier${number}`] : [],
    ),
  ];
}

/**
 * Of a session, for each of the periods: whether it started in it, what was seen in it (instant, visitor, page views), and with that
 * `counted`: all visitors, and page views, 1 when it started, bounced, its duration, all its page views.
 */
function factsOf(levels: Levels): string[] {
  const { values, filters, froms, ends } = levels;
  const conditions = filters.filter(isSessionFilter).map((filter) => sessionCondition(values, filter));
  if (filters.some(isPageFilter)) conditions.push('all_matching > 0');
  const lets = conditions.join(' AND ');
  const ofSource = [...attributesOf(levels)].flatMap((name) =>
    PACKED[name][0] === 'source' ? [`source_texts[${PACKED[name][1]}] AS ${name}`] : [],
  );
  const filtered = lets === '' ? '' : 'lets AND ';
  const ofSession = numbersOf(
    'arraySum(arrayMap(s -> s.3[k], look))',
    'here',
    'here * bounced',
    'here * least(1800000, greatest(last, exit_ms) - start)',
    'here * pv',
  );
  return [
    ...ofSource,
    ...(lets === '' ? [] : [`${lets} AS lets`]),
    'pv = 1 AND cu = 0 AS bounced',
    `if(pv > 0 AND intDiv(le, 2048) >= lv, lv + toInt64(le % 2048) * 1000, 0) AS exit_ms`,
    `arrayMap((begin, end) -> toInt64(${filtered}start >= begin AND start < end), ${froms}, ${ends}[moment]) AS started`,
    `arrayMap((_, k) -> arrayFilter(s -> ${filtered}s.3[k] > 0, slots), ${froms}, arrayEnumerate(${froms})) AS looks`,
    `arrayMap((here, look, k) -> (arrayFlatten(look.2), ${ofSession}), started, looks, arrayEnumerate(looks)) AS counted`,
    ...(asks(levels, 'timeline')
      ? [
          `arrayMap((here, look, k) -> arrayConcat(arrayMap(s -> (s.1, s.2, ${numbersOf('s.3[k]')}), look),
            if(here = 1, [(start, emptyArrayUInt64(), ${numbersOf('toInt64(0)', '1', 'bounced')})], [])),
            started, looks, arrayEnumerate(looks)) AS marks`,
        ]
      : []),
    ...(asksEvents(levels)
      ? [
          `arrayMap((begin, end) -> arrayFilter(e -> ${filtered}e.1 >= begin AND e.1 < end, events), ${froms}, ${ends}[moment]) AS happened`,
        ]
      : []),
  ];
}
