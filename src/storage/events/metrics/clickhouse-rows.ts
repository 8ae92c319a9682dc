/**
 * Where the ClickHouse figures come from. Rows of `session_slots` (a session's quarter of an hour) or, when the asked instants fall
 * inside quarters, raw events in the same shape: an event is a row of its own. Above them both, one row a session.
 */
import type { PageFilter, SessionAttribute, SessionFilter } from '../../../metrics/filters.js';
import { MAX_SAMPLE_BYTES, type Scope, SLOT_MS } from '../../../metrics/metrics-store.js';
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

export type { CopiedRows, Sql } from './clickhouse-conditions.js';

export type RowSource = 'rollup' | 'raw';

/**
 * A part of the rollup: its rows as they were at an earlier moment, or those of some sessions only. Questions answer it without order
 * and limit, and rows that count nothing may be among the answer.
 */
export interface Cut {
  /** Rows that had arrived before; ms since epoch, a quarter of an hour. */
  readonly arrivedBefore?: number;
  /** Sessions that began on finished days are read from there, in questions that look at sessions one by one. */
  readonly finished?: FinishedRows;
  /** Rows of some sessions only. */
  readonly sessions?: SomeSessions;
}

/** Sessions as they were at a settled moment, a row each (`finished_sessions`). */
export interface FinishedRows {
  /** The days that are there, each in one version; all sessions that began before `liveFrom` are among them. */
  readonly versions: readonly number[];
  /** Start of a UTC day, ms since epoch. */
  readonly liveFrom: number;
}

/** A column of `perSession`: what makes it from rows of a session's slots, and from a row of a finished session. */
export interface SessionColumn {
  readonly slots: string;
  readonly finished: string;
}

/** Whether all these instants are borders of quarters of an hour. */
export const onSlots = (instants: readonly number[]): boolean => instants.every((at) => at % SLOT_MS === 0);

/** Bounds of buckets for `roundDown`: the last element is the end of the last one. */
export const seconds = (starts: readonly number[]): number[] =>
  starts.slice(0, -1).map((at) => Math.floor(at / 1000));

/** Columns of a row that cost something to read; the others are always there. */
export type RowColumn = 'place' | 'agent' | 'source' | 'views' | 'events';

/** Where an attribute lies: the column, and its place among the texts in it. */
export const PACKED: Readonly<Record<SessionAttribute, readonly ['place' | 'agent' | 'source', number]>> = {
  country_code: ['place', 1],
  region: ['place', 2],
  city: ['place', 3],
  continent: ['place', 4],
  browser: ['agent', 1],
  os: ['agent', 2],
  device: ['agent', 3],
  resolution: ['agent', 4],
  referrer_host: ['source', 1],
  channel: ['source', 2],
  utm_source: ['source', 3],
  utm_medium: ['source', 4],
  utm_campaign: ['source', 5],
  utm_term: ['source', 6],
  utm_content: ['source', 7],
};

const FACTS = [
  'session',
  'visitor',
  'slot',
  'first_ts',
  'last_ts',
  'page_views',
  'customs',
  'last_view',
  'last_exit',
];

/** The select of the materialised view (migrations/clickhouse/0002), an event a row, its slot being its own timestamp. */
const RAW: Readonly<Record<string, string>> = {
  session: 'cityHash64(session_id)',
  visitor: 'cityHash64(visitor_id)',
  slot: 'timestamp',
  first_ts: 'timestamp',
  last_ts: 'timestamp',
  page_views: 'toUInt32(kind = 1)',
  customs: 'toUInt32(kind = 2)',
  last_view: "if(kind = 1, timestamp, toDateTime64(0, 3, 'UTC'))",
  last_exit:
    "if(event_type = 'page_exit', toUInt64(toUnixTimestamp64Milli(timestamp)) * 2048 + least(time_on_page, 1800), 0)",
  place: "concat(country_code, '\\0', region, '\\0', city, '\\0', continent)",
  agent:
    "concat(browser, '\\0', os, '\\0', device, '\\0', if(screen_width > 0 AND screen_height > 0, concat(toString(screen_width), 'x', toString(screen_height)), ''))",
  source:
    "if(kind = 1, concat(reverse(reinterpretAsFixedString(toUInt64(toUnixTimestamp64Milli(timestamp)))), referrer_host, '\\0', channel, '\\0', utm_source, '\\0', utm_medium, '\\0', utm_campaign, '\\0', utm_term, '\\0', utm_content), '\\xFF')",
  view_ts: 'if(kind = 1, [timestamp], [])',
  view_page: 'if(kind = 1, [page], [])',
  custom_ts: 'if(kind = 2, [timestamp], [])',
  custom_type: 'if(kind = 2, [toString(event_type)], [])',
};

/** Arrays that are read together. */
const ARRAYS: Readonly<Partial<Record<RowColumn, readonly string[]>>> = {
  views: ['view_ts', 'view_page'],
  events: ['custom_ts', 'custom_type'],
};

/** Builds the parts of one query over one scope. */
export class ScopedRows {
  private readonly bound: BoundValues;
  private readonly pages: readonly PageFilter[];
  private readonly sessions: readonly SessionFilter[];

  constructor(
    private readonly scope: Scope,
    private readonly source: RowSource,
    private readonly cut?: Cut,
  ) {
    this.pages = scope.filters.filter(isPageFilter);
    this.sessions = scope.filters.filter(isSessionFilter);
    this.bound = new BoundValues({ site: scope.siteId, from: scope.from, to: scope.to });
  }

  get params(): Sql['params'] {
    return this.bound.params;
  }

  get filtered(): boolean {
    return this.scope.filters.length > 0;
  }

  /** Binds a value. @returns its placeholder */
  /** What is shown of an event's properties: those of moderate length. */
  sample(properties: string): string {
    return `if(length(${properties} AS sample) > ${this.bind('UInt32', MAX_SAMPLE_BYTES)}, '{}', sample)`;
  }

  bind(type: string, value: unknown): string {
    return this.bound.bind(type, value);
  }

  /** Order and limit of an answer, which a cut has none of. */
  tail(clauses: string): string {
    return this.cut === undefined ? clauses : '';
  }

  /** Condition that leaves what the cut does. */
  get inCut(): string {
    const { arrivedBefore, sessions } = this.cut ?? {};
    const conditions = [
      ...(arrivedBefore === undefined ? [] : [`arrived < ${this.second(arrivedBefore)}`]),
      ...(sessions === undefined ? [] : [ofSessions(this.bound, sessions)]),
    ];
    return conditions.map((condition) => ` AND ${condition}`).join('');
  }

  /** Rows of the period; `v` counts a row's page views in the period that the page filter lets through. */
  rowsInPeriod(columns: readonly RowColumn[], condition = ''): string {
    const { from, to } = this.scope;
    if (this.source === 'raw' || to % SLOT_MS === 0)
      return this.select(columns, this.matching('all'), this.between(from, to) + condition);
    const border = to - (to % SLOT_MS);
    return `${this.select(columns, this.matching('all'), this.between(from, Math.max(from, border)) + condition)}
      UNION ALL ${this.select(columns, this.matching('until'), `slot = ${this.second(border)}${condition}`)}`;
  }

  /** Rows of all sessions that have a row in the period, also those before and after it. */
  rowsOfSessions(columns: readonly RowColumn[]): string {
    const { from, to } = this.scope;
    const inside = this.between(from, this.source === 'raw' ? to : Math.ceil(to / SLOT_MS) * SLOT_MS);
    const session = this.source === 'rollup' ? 'session' : String(RAW.session);
    const { finished } = this.cut ?? {};
    const live = finished === undefined ? '' : this.live(finished);
    // Sessions without a row in the period count nothing: where few are read anyway, they need not be told apart.
    const ofPeriod =
      this.cut?.sessions === undefined
        ? ` AND session IN (SELECT ${session} FROM ${this.table} WHERE site_id = {site:String} AND ${inside}${this.inCut}${live})`
        : '';
    return `${this.rowsInPeriod(columns, live)}
      UNION ALL ${this.select(columns, '0', `NOT (${inside})${ofPeriod}${live}`)}`;
  }

  /** Leaves out rows of finished sessions. */
  private live(finished: FinishedRows): string {
    return ` AND slot >= ${this.second(finished.liveFrom)} AND session NOT IN (
      SELECT session FROM finished_sessions WHERE ${this.inVersions(finished)} AND last >= ${this.instant(finished.liveFrom)})`;
  }

  private inVersions({ versions }: FinishedRows): string {
    return `site_id = {site:String} AND version IN (${this.bind('Array(UInt64)', versions)})`;
  }

  /**
   * One row a session that the filters let through: session, start, last, pv, cu, lv, le, the attributes by their names, and `extra`.
   */
  perSession(
    attributes: readonly SessionAttribute[],
    columns: readonly RowColumn[] = [],
    extra: readonly SessionColumn[] = [],
  ): string {
    const filtered = this.sessions.flatMap(({ any }) => any.map(({ attribute }) => attribute));
    const wanted = [...new Set([...attributes, ...filtered])];
    const { finished } = this.cut ?? {};
    if (finished === undefined) return this.fromSlots(wanted, columns, extra);
    const parts = [this.fromFinished(finished, wanted, extra)];
    if (this.scope.to > finished.liveFrom) parts.push(this.fromSlots(wanted, columns, extra));
    return parts.join(' UNION ALL ');
  }

  private fromSlots(
    wanted: readonly SessionAttribute[],
    columns: readonly RowColumn[],
    extra: readonly SessionColumn[],
  ): string {
    const needed = new Set<RowColumn>([...columns, ...wanted.map((name) => PACKED[name][0])]);
    const having = this.having();
    const items = [...wanted.map(attributeOfSession), ...extra.map(({ slots }) => slots)];
    return `SELECT session, min(first_ts) AS start, max(last_ts) AS last,
        sum(page_views) AS pv, sum(customs) AS cu, max(last_view) AS lv, max(last_exit) AS le
        ${items.map((item) => `, ${item}`).join('')}
        ${this.pages.length > 0 ? ', sum(matching) AS all_matching' : ''}
      FROM (${this.rowsOfSessions([...needed])}) GROUP BY session
      ${having.length > 0 ? `HAVING ${having.join(' AND ')}` : ''}`;
  }

  /** Most sessions lie in the period as a whole and have one visitor: of these no list needs to be read. */
  private fromFinished(
    finished: FinishedRows,
    wanted: readonly SessionAttribute[],
    extra: readonly SessionColumn[],
  ): string {
    const [from, to] = [this.instant(this.scope.from), this.instant(this.scope.to)];
    const matches = this.pages.length > 0 ? this.pageCondition('p') : '1';
    const inside = `t >= ${from} AND t < ${to} AND ${matches}`;
    const isWhole = `(start >= ${from} AND last < ${to} AND is_plain)`;
    const views =
      this.pages.length > 0 ? `arrayCount((t, p) -> ${inside}, view_ts, view_page)` : 'toUInt64(pv)';
    const rows = (v: string, seen: string, whole: string) => `SELECT *, ${v} AS v, ${seen} AS seen
      FROM finished_sessions WHERE ${this.inVersions(finished)} AND start < ${to} AND last >= ${from} AND ${whole}`;
    const ofWhole = rows(views, 'if(v > 0, [visitor], emptyArrayUInt64())', isWhole);
    const ofOthers = rows(
      `arrayCount((t, p) -> ${inside}, view_ts, view_page)`,
      `arrayFilter((w, t, p) -> ${inside}, view_visitor, view_ts, view_page)`,
      `NOT ${isWhole}`,
    );
    const having = this.having();
    const items = [...wanted, ...extra.map((column) => column.finished)];
    return `SELECT session, start, last, toUInt64(pv) AS pv, toUInt64(cu) AS cu, lv, le
        ${items.map((item) => `, ${item}`).join('')}
        ${this.pages.length > 0 ? `, toUInt64(arrayCount(p -> ${matches}, view_page)) AS all_matching` : ''}
      FROM (${ofWhole} UNION ALL ${ofOthers})
      ${having.length > 0 ? `WHERE ${having.join(' AND ')}` : ''}`;
  }

  /** Sessions that the filters let through. @param from FROM and WHERE of rows of the rollup: all of those sessions */
  letThrough(from: string): string {
    const names = new Set(this.sessions.flatMap(({ any }) => any.map(({ attribute }) => attribute)));
    const columns = [...names].map(attributeOfSession);
    if (this.pages.length > 0)
      columns.push(`sum(arrayCount(p -> ${this.pageCondition('p')}, view_page)) AS all_matching`);
    return `SELECT session FROM (SELECT session${columns.map((column) => `, ${column}`).join('')} ${from} GROUP BY session)
      WHERE ${['1', ...this.having()].join(' AND ')}`;
  }

  /** Condition on `page`: what the page filters let through. */
  pageCondition(page: string): string {
    return pageCondition(this.bound, this.pages, page);
  }

  /** Where rows come from. */
  get table(): string {
    if (this.source === 'raw') return 'events';
    return tableOf(this.cut?.sessions);
  }

  private select(columns: readonly RowColumn[], views: string, where: string): string {
    const optional = columns.flatMap((column) => ARRAYS[column] ?? [column]);
    const items = [...FACTS, ...optional].map((name) =>
      this.source === 'rollup' ? name : `${RAW[name]} AS ${name}`,
    );
    const matching = this.pages.length > 0 ? `, ${this.matching('any time')} AS matching` : '';
    return `SELECT ${items.join(', ')}, ${views} AS v${matching} FROM ${this.table}
      WHERE site_id = {site:String} AND ${where}${this.inCut}`;
  }

  private between(from: number, to: number): string {
    return this.source === 'rollup'
      ? `slot >= ${this.second(from)} AND slot < ${this.second(to)}`
      : `timestamp >= ${this.instant(from)} AND timestamp < ${this.instant(to)}`;
  }

  /** @param at ms since epoch; what DateTime cannot hold becomes its first or last value */
  private second(at: number): string {
    const seconds = Math.min(Math.max(0, Math.floor(at / 1000)), 4_294_967_295);
    return `toDateTime(${this.bind('UInt32', seconds)}, 'UTC')`;
  }

  private instant(at: number): string {
    return `fromUnixTimestamp64Milli(${this.bind('Int64', Math.trunc(at))}, 'UTC')`;
  }

  /** How many page views of a row the page filter lets through; `until`: those before the end of the period only. */
  private matching(which: 'all' | 'until' | 'any time'): string {
    const until = which === 'until' ? "t < fromUnixTimestamp64Milli({to:Int64}, 'UTC')" : '1';
    const [times, pages] = this.source === 'rollup' ? ['view_ts', 'view_page'] : [RAW.view_ts, RAW.view_page];
    if (this.pages.length > 0)
      return `toUInt64(arrayCount((t, p) -> ${until} AND ${this.pageCondition('p')}, ${times}, ${pages}))`;
    if (which === 'until') return `toUInt64(arrayCount(t -> ${until}, ${times}))`;
    return `toUInt64(${this.source === 'rollup' ? 'page_views' : RAW.page_views})`;
  }

  private having(): string[] {
    const conditions = this.sessions.map((filter) => sessionCondition(this.bound, filter));
    return this.pages.length > 0 ? [...conditions, 'all_matching > 0'] : conditions;
  }
}

/** Compiling costs more than so few rows; further threads have nothing to do. */
export const OF_FEW_ROWS =
  'SETTINGS compile_expressions = 0, compile_aggregate_expressions = 0, max_threads = 1';

/** For `perSession`: views in the period that the page filter lets through, and their visitors, with repetitions. */
export const VIEWS_AND_VISITORS: readonly SessionColumn[] = [
  { slots: 'sum(v) AS views', finished: 'toUInt64(v) AS views' },
  { slots: 'groupArrayIf(visitor, v > 0) AS visitors', finished: 'seen AS visitors' },
];

/** Instants of a session, as ms since epoch, for conditions above `perSession`. */
export const STARTED =
  '(toUnixTimestamp64Milli(start) >= {from:Int64} AND toUnixTimestamp64Milli(start) < {to:Int64})';
export const BOUNCED = '(pv = 1 AND cu = 0)';
/** End of the last page view as its page_exit tells, 0 when there is none at or after it. */
export const EXIT_MS =
  'if(pv > 0 AND intDiv(le, 2048) >= toUnixTimestamp64Milli(lv), toUnixTimestamp64Milli(lv) + toInt64(le % 2048) * 1000, 0)';
export const DURATION_MS = `least(1800000, greatest(toUnixTimestamp64Milli(last), ${EXIT_MS}) - toUnixTimestamp64Milli(start))`;

/** The first value that is known, of several at the same instant the smallest (docs/metrics-notes.md). */
export function attributeOfSession(name: SessionAttribute): string {
  const [column, index] = PACKED[name];
  if (column === 'source') return `splitByChar('\\0', substring(min(source), 9))[${index}] AS ${name}`;
  const value = `splitByChar('\\0', ${column})[${index}]`;
  const instant = 'reverse(reinterpretAsFixedString(toUInt64(toUnixTimestamp64Milli(first_ts))))';
  return `substring(minIf(concat(${instant}, ${value}), ${value} != ''), 9) AS ${name}`;
}
