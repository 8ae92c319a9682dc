/**
 * Many questions about a few sessions in one pass. Of such a query the server's work on the text costs more than its rows, so a page's
 * questions, at all moments that they are asked of, are one (docs/decisions/0011-one-pass.md).
 *
 * Every session yields cells: part, label, visitors and counts. What the same part and label have in common are distinct visitors and
 * sums, which is all that an answer is made of.
 */
import type { SessionAttribute } from '../../../metrics/filters.js';
import type { Scope } from '../../../metrics/metrics-store.js';
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
import { PACKED, SLOT_MS, seconds } from './clickhouse-rows.js';

/** A question, as the functions of clickhouse-queries.ts and its neighbours ask it of whole periods. */
export type ChangedPart =
  | { readonly on: 'totals' | 'returning' | 'pages' | 'event types' | 'event days' }
  | { readonly on: 'timeline' | 'event timeline'; readonly starts: readonly number[] }
  | { readonly on: 'breakdown' | 'places'; readonly attribute: SessionAttribute; readonly missing: string };

/** Questions about one scope. */
export interface ChangedScope {
  readonly scope: Omit<Scope, 'to'>;
  /** Where the period ends, at each of the moments; ms since epoch. */
  readonly ends: readonly number[];
  readonly parts: readonly ChangedPart[];
}

/** After everything that has arrived. */
const NOW_SECONDS = 4_294_967_295;

/**
 * moment (from 1), part (from 0, counted through all scopes), label, distinct visitors, sums
 * @param moments rows that had arrived before (ms since epoch, quarters of an hour); undefined: all
 */
export function changesSql(
  siteId: string,
  sessions: SomeSessions,
  moments: readonly (number | undefined)[],
  scopes: readonly ChangedScope[],
): Sql {
  const values = new BoundValues({ site: siteId });
  const before = values.bind(
    'Array(UInt32)',
    moments.map((at) => (at === undefined ? NOW_SECONDS : Math.floor(at / 1000))),
  );
  const needs = needsOf(scopes);
  let first = 0;
  const parts = scopes.map((one, i) => {
    const columns = new ScopeColumns(values, one, i, first);
    first += one.parts.length;
    return columns;
  });
  const list = (items: readonly (readonly string[])[]) =>
    items
      .flat()
      .map((item) => `, ${item}`)
      .join('');
  const text = `SELECT moment, cell.1 AS part, cell.2 AS label, uniqExactArray(cell.3), sumForEach(cell.4)
    FROM (
      SELECT moment, arrayConcat(${parts.flatMap((part) => part.cells()).join(', ')}) AS cells
      FROM (
        SELECT *, pv = 1 AND cu = 0 AS bounced, if(pv > 0 AND intDiv(le, 2048) >= lv, lv + toInt64(le % 2048) * 1000, 0) AS exit,
          least(1800000, greatest(last, exit) - start) AS duration, if(exit > lv, exit, last) AS last_until
          ${list([needs.fromSource, ...parts.map((part) => part.facts())])}
        FROM (
          SELECT session, moment, min(first_ms) AS start, max(last_ms) AS last, sum(page_views) AS pv, sum(customs) AS cu,
            max(view_ms) AS lv, max(last_exit) AS le ${list([needs.ofSession, ...parts.map((part) => part.sums())])}
          FROM (
            SELECT session, visitor, moment, toInt64(toUnixTimestamp(slot)) * 1000 AS slot_ms, toUnixTimestamp64Milli(first_ts) AS first_ms,
              toUnixTimestamp64Milli(last_ts) AS last_ms, toUnixTimestamp64Milli(last_view) AS view_ms, last_exit, page_views, customs
              ${list([needs.ofRow, ...parts.map((part) => part.ofRow())])}
            FROM ${tableOf(sessions)} ARRAY JOIN ${before} AS before, arrayEnumerate(${before}) AS moment
            WHERE site_id = {site:String} AND ${ofSessions(values, sessions)} AND arrived < toDateTime(before, 'UTC')
          ) GROUP BY session, moment
        )
      )
    ) ARRAY JOIN cells AS cell GROUP BY moment, part, label`;
  return { text, params: values.params };
}

/** Columns that are there for all scopes. */
function needsOf(scopes: readonly ChangedScope[]) {
  const attributes = new Set(
    scopes.flatMap(({ scope, parts }) => [
      ...scope.filters.filter(isSessionFilter).flatMap(({ any }) => any.map(({ attribute }) => attribute)),
      ...parts.flatMap((part) => {
        if (part.on === 'breakdown') return [part.attribute];
        return part.on === 'places' ? [part.attribute, 'country_code' as const] : [];
      }),
    ]),
  );
  const asked = new Set(scopes.flatMap(({ parts }) => parts.map(({ on }) => on)));
  const packed = new Set([...attributes].map((name) => PACKED[name][0]));
  const hasEvents = asked.has('event types') || asked.has('event days') || asked.has('event timeline');
  const ofRow = (['place', 'agent'] as const).flatMap((column) =>
    packed.has(column) ? [`splitByChar('\\0', ${column}) AS ${column}_texts`] : [],
  );
  const ofSession: string[] = [];
  const fromSource: string[] = [];
  for (const name of attributes) {
    const [column, index] = PACKED[name];
    const value = `${column}_texts[${index}]`;
    // As `attributeOfSession`: the first that is known, of several at the same instant the smallest.
    if (column === 'source') fromSource.push(`${value} AS ${name}`);
    else ofSession.push(`minIf((first_ms, ${value}), ${value} != '').2 AS ${name}`);
  }
  if (packed.has('source')) ofSession.push("splitByChar('\\0', substring(min(source), 9)) AS source_texts");
  const listOf = (times: string, texts: string) =>
    `arrayMap((t, text) -> (toUnixTimestamp64Milli(t), text, visitor), ${times}, ${texts})`;
  if (asked.has('pages'))
    ofSession.push(`arraySort(groupArrayArray(${listOf('view_ts', 'view_page')})) AS views`);
  if (hasEvents) ofSession.push(`groupArrayArray(${listOf('custom_ts', 'custom_type')}) AS events`);
  const raw = [
    ...(packed.has('source') ? ['source'] : []),
    ...(asked.has('pages') ? ['view_ts', 'view_page'] : []),
    ...(hasEvents ? ['custom_ts', 'custom_type'] : []),
  ];
  return { ofRow: [...raw, ...ofRow], ofSession, fromSource };
}

/** What one scope adds to each of the levels of the query. */
class ScopeColumns {
  private readonly from: string;
  private readonly to: string;
  private readonly isOnSlots: boolean;

  constructor(
    private readonly values: BoundValues,
    private readonly asked: ChangedScope,
    private readonly index: number,
    private readonly firstPart: number,
  ) {
    this.from = values.bind('Int64', asked.scope.from);
    this.to = `${values.bind('Array(Int64)', asked.ends)}[moment]`;
    this.isOnSlots = asked.ends.every((end) => end % SLOT_MS === 0);
  }

  /** `v`: page views of a row in the period that the page filters let through; `m`: at any time. */
  ofRow(): string[] {
    const pages = this.asked.scope.filters.filter(isPageFilter);
    const matches = (page: string) => pageCondition(this.values, pages, page);
    const until = `toUnixTimestamp64Milli(t) < ${this.to}`;
    const isWhole = this.isOnSlots ? '1' : `slot_ms + ${SLOT_MS} <= ${this.to}`;
    const all =
      pages.length > 0 ? `toUInt64(arrayCount(p -> ${matches('p')}, view_page))` : 'toUInt64(page_views)';
    const some =
      pages.length > 0
        ? `arrayCount((t, p) -> ${until} AND ${matches('p')}, view_ts, view_page)`
        : `arrayCount(t -> ${until}, view_ts)`;
    const views = this.isOnSlots ? all : `if(${isWhole}, ${all}, toUInt64(${some}))`;
    return [
      `if(slot_ms >= ${this.from} AND slot_ms < ${this.to}, ${views}, 0) AS ${this.name('v')}`,
      ...(pages.length > 0 ? [`${all} AS ${this.name('m')}`] : []),
    ];
  }

  sums(): string[] {
    const v = this.name('v');
    return [
      `groupArrayIf((slot_ms, visitor, ${v}), ${v} > 0) AS ${this.name('seen')}`,
      ...(this.asked.scope.filters.some(isPageFilter)
        ? [`sum(${this.name('m')}) AS ${this.name('matching')}`]
        : []),
      ...(this.asked.parts.some(({ on }) => on === 'returning')
        ? [`groupArrayIf(visitor, first_ms < ${this.from}) AS ${this.name('earlier')}`]
        : []),
    ];
  }

  facts(): string[] {
    const { filters } = this.asked.scope;
    const conditions = filters.filter(isSessionFilter).map((filter) => sessionCondition(this.values, filter));
    if (filters.some(isPageFilter)) conditions.push(`${this.name('matching')} > 0`);
    const [seen, started] = [this.name('seen'), this.name('started')];
    return [
      `${conditions.length === 0 ? '1' : conditions.join(' AND ')} AS ${this.name('lets')}`,
      `start >= ${this.from} AND start < ${this.to} AS ${started}`,
      `${this.name('lets')} AND (${started} OR notEmpty(${seen})) AS ${this.name('counts')}`,
    ];
  }

  /** Arrays of cells. */
  cells(): string[] {
    const [counts, lets, seen] = [this.name('counts'), this.name('lets'), this.name('seen')];
    const numbered = this.asked.parts.map((part, i) => [part, this.firstPart + i] as const);
    const simple = numbered.flatMap(([part, number]) => {
      const label = this.labelOf(part);
      return label === undefined ? [] : [[`toUInt16(${number})`, label] as const];
    });
    const ofSimple =
      simple.length === 0
        ? []
        : [
            `if(${counts}, arrayMap((part, label) -> (part, label, ${seen}.2, ${this.sessionCounts()}),
              [${simple.map(([number]) => number).join(', ')}], [${simple.map(([, label]) => label).join(', ')}]), [])`,
          ];
    const others = numbered.flatMap(([part, number]) => {
      const tag = `toUInt16(${number})`;
      switch (part.on) {
        case 'timeline':
          return this.timeline(tag, part.starts).map((cells) => `if(${counts}, ${cells}, [])`);
        case 'pages':
          return [`if(${counts}, ${this.pages(tag)}, [])`];
        case 'returning':
          return [this.returning(tag)];
        case 'event types':
          return [
            `if(${lets}, ${this.events((event) => `(${tag}, ${event}.2, [${event}.3], [toInt64(1)])`)}, [])`,
          ];
        case 'event days': {
          const day = (event: string) => `concat(toString(intDiv(${event}.1, 86400000)), '\\0', ${event}.2)`;
          return [
            `if(${lets}, ${this.events((event) => `(${tag}, ${day(event)}, ${NOBODY}, [toInt64(1)])`)}, [])`,
          ];
        }
        case 'event timeline': {
          const bucket = this.bucketOf(part.starts);
          return [
            `if(${lets}, ${this.events((event) => `(${tag}, ${bucket(`${event}.1`)}, ${NOBODY}, [toInt64(1)])`)}, [])`,
          ];
        }
        default:
          return [];
      }
    });
    return [...ofSimple, ...others];
  }

  /** Of parts whose every session has one label. */
  private labelOf(part: ChangedPart): string | undefined {
    if (part.on === 'totals') return "''";
    if (part.on !== 'breakdown' && part.on !== 'places') return undefined;
    const label = `if(${part.attribute} = '', ${this.values.bind('String', part.missing)}, ${part.attribute})`;
    return part.on === 'breakdown'
      ? label
      : `concat(${label}, '\\0', if(${part.attribute} = '', '', country_code))`;
  }

  private sessionCounts(): string {
    const started = this.name('started');
    const items = [
      `arraySum(${this.name('seen')}.3)`,
      started,
      `${started} AND bounced`,
      `${started} * duration`,
      `${started} * pv`,
    ];
    return `[${items.map((item) => `toInt64(${item})`).join(', ')}]`;
  }

  private timeline(tag: string, starts: readonly number[]): string[] {
    const bucket = this.bucketOf(starts);
    return [
      `arrayMap(c -> (${tag}, ${bucket('c.1')}, [c.2], [toInt64(c.3), 0, 0]), ${this.name('seen')})`,
      `if(${this.name('started')}, [(${tag}, ${bucket('start')}, ${NOBODY}, [toInt64(0), 1, bounced])], [])`,
    ];
  }

  private pages(tag: string): string {
    const started = this.name('started');
    const inside = `view.1 >= ${this.from} AND view.1 < ${this.to}`;
    const known = '(i < length(views) OR until > view.1)';
    const counts = [
      inside,
      `nth = 1 AND ${started}`,
      `nth = 1 AND ${started} AND bounced`,
      `i = 1 AND ${started}`,
      `i = length(views) AND ${started}`,
      `i = 1 AND ${started} AND bounced`,
      `if(${inside} AND ${known}, least(1800000, until - view.1), 0)`,
      `${inside} AND ${known}`,
    ];
    const cells = `arrayMap((view, i, nth, until) -> (${tag}, view.2, if(${inside}, [view.3], []), [${counts.map((count) => `toInt64(${count})`).join(', ')}]),
      views, arrayEnumerate(views), arrayEnumerateUniq(views.2), arrayPopFront(arrayPushBack(views.1, last_until)))`;
    const filters = this.asked.scope.filters.filter(isPageFilter);
    return filters.length === 0
      ? cells
      : `arrayFilter(c -> ${pageCondition(this.values, filters, 'c.2')}, ${cells})`;
  }

  /** Visitors of the period, those who came before it, and either: what the first two have in common follows. */
  private returning(tag: string): string {
    const seen = `if(${this.name('lets')}, ${this.name('seen')}.2, [])`;
    const earlier = this.name('earlier');
    return `[(${tag}, 'seen', ${seen}, [toInt64(0)]), (${tag}, 'earlier', ${earlier}, [toInt64(0)]),
      (${tag}, 'either', arrayConcat(${seen}, ${earlier}), [toInt64(0)])]`;
  }

  private events(cellOf: (event: string) => string): string {
    return `arrayMap(e -> ${cellOf('e')}, arrayFilter(e -> e.1 >= ${this.from} AND e.1 < ${this.to}, events))`;
  }

  private bucketOf(starts: readonly number[]): (ms: string) => string {
    const bounds = this.values.bind('Array(Int64)', seconds(starts));
    return (ms) => `toString(roundDown(intDiv(${ms}, 1000), ${bounds}))`;
  }

  private name(column: string): string {
    return `${column}${this.index}`;
  }
}

const NOBODY = 'emptyArrayUInt64()';
