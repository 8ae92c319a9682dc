import { LRUCache } from 'lru-cache';
import { type Scope, SLOT_MS } from '../../../../metrics/metrics-store.js';
import type { ClickhouseReader } from '../../clickhouse-reader.js';
import type { SomeSessions } from '../clickhouse-conditions.js';
import type { Sql } from '../clickhouse-rows.js';
import { ConcernedRows, type CopiesOptions } from './concerned-rows.js';
import { type Answered, FreshAnswers, type Renewed } from './fresh-answers.js';
import { second, slots } from './sql-values.js';
import {
  type Arrivals,
  type Base,
  isOpen,
  type Pairs,
  type RollupState,
  type Stretch,
  slotAfter,
  stretchOf,
} from './stretch.js';

/** Rows that began to arrive before this time are all there: longer than an insert may take, and than a replica may lag behind. */
const SETTLED_MS = 10 * 60_000;
/** How long the server's word about arrivals counts. With the time that an answer is shared it stays below five seconds. */
const FRESH_MS = 2_800;
/** Sizes are for choosing the quicker way only. */
const SIZE_TTL_MS = 600_000;
const SIZE_STEP_MS = 6 * 3_600_000;
/** Numbers of 20 digits in one parameter, whose commas may be encoded: the server takes 128 KiB. */
const CHUNK = 5_000;
/** Where more are concerned, computing anew is quicker. */
const MAX_SESSIONS = 48_000;
const MAX_PAIRS = 24_000;

/** Pairs in kept answers about what lies about the ends of periods. */
const MAX_CUT_PAIRS = 100_000;

/** About some rows of the rollup: the same text as long as they are the same. */
interface Facts extends Pick<Arrivals, 'state' | 'latest'> {
  readonly pairs: Pairs | undefined;
}

export interface ArrivalsOptions extends CopiesOptions {
  /** When what the server's clock says is settled; for tests. */
  readonly settled?: (serverMs: number) => number;
  /** Default 2,800 ms. */
  readonly freshMs?: number;
  /** Milliseconds by which answers get old; for tests. */
  readonly clock?: () => number;
}

/** A settled moment is held back for so long after it was last looked ahead for. */
const HELD_MS = 60_000;
const MAX_HELD = 1_000;

/** Questions about a site, as whoever looks ahead for them needs to know. */
export interface Watching {
  /** @param to end of the asked period, ms since epoch */
  asked(siteId: string, base: Base, to: number): void;
  /** Its answers are carried on. */
  carried(siteId: string): void;
}

/** What a question that is expected asks for. */
export interface Expected {
  readonly base: Base;
  /** End of its period, ms since epoch. */
  readonly to: number;
}

/** Asks what has arrived in the rollup since a moment; answers serve for a short while. */
export class RollupArrivals {
  private readonly answers: FreshAnswers;
  private readonly sizes = new LRUCache<string, number>({ max: 10_000, ttl: SIZE_TTL_MS });
  /** A page asks twenty times for the same. */
  private readonly facts = new WeakMap<Answered, Facts>();
  /** What had arrived before a settled moment stays as it is; where rows are removed, the history tells. */
  private readonly cuts = new LRUCache<string, Facts>({
    maxSize: MAX_CUT_PAIRS,
    sizeCalculation: ({ pairs }) => 20 + (pairs?.length ?? 0),
  });
  /** By site. */
  private readonly asking = new Map<string, Set<Promise<unknown>>>();
  /** By site, the settled moment that everything was looked ahead for: questions go on to it, and no further. */
  private readonly held = new LRUCache<string, number>({ max: MAX_HELD, ttl: HELD_MS });
  readonly copies: ConcernedRows;

  constructor(
    private readonly reader: ClickhouseReader,
    private readonly options: ArrivalsOptions = {},
    private readonly watching?: Watching,
  ) {
    const { freshMs = FRESH_MS, clock } = options;
    this.answers = new FreshAnswers(reader, { freshMs, clock });
    this.copies = new ConcernedRows(reader, options);
  }

  async state(siteId: string, signal: AbortSignal): Promise<RollupState> {
    const state = this.stateOf(await this.answers.ask(this.stateSql, signal));
    return { ...state, settled: Math.min(state.settled, this.held.get(siteId) ?? state.settled) };
  }

  private get stateSql(): Sql {
    return { text: stateSql(this.reader.cluster), params: {} };
  }

  private stateOf({ rows }: Answered): RollupState {
    const [serverMs, history, changing] = rows[0] ?? [];
    if (typeof serverMs !== 'number' || typeof history !== 'string')
      throw new TypeError('no state of the rollup');
    const settled = (this.options.settled ?? settledAt)(serverMs);
    return { settled, history, isChanging: changing !== 0 };
  }

  /** Rows of the rollup in a stretch of slots, about; ms since epoch. */
  async size({ siteId, from, to }: Scope, signal: AbortSignal): Promise<number> {
    const key = `${siteId} ${from} ${Math.round((to - from) / SIZE_STEP_MS)}`;
    const known = this.sizes.get(key);
    if (known !== undefined) return known;
    const { rows } = await this.answers.ask(
      {
        text: `SELECT count() FROM session_slots WHERE site_id = {site:String} AND ${SLOTS}`,
        params: { site: siteId, ...slots(from, to) },
      },
      signal,
    );
    const size = Number(rows[0]?.[0] ?? 0);
    this.sizes.set(key, size);
    return size;
  }

  /** @param to end of the asked period, ms since epoch */
  async since(siteId: string, base: Base, to: number, signal: AbortSignal): Promise<Arrivals> {
    this.watching?.asked(siteId, base, to);
    const asked = this.arrived(siteId, stretchOf(base, to), signal);
    const asking = this.asking.get(siteId) ?? new Set();
    this.asking.set(siteId, asking.add(asked));
    try {
      return await asked;
    } finally {
      asking.delete(asked);
      if (asking.size === 0) this.asking.delete(siteId);
    }
  }

  private async arrived(siteId: string, stretch: Stretch, signal: AbortSignal): Promise<Arrivals> {
    const [answered, cut] = await Promise.all([
      this.answers.ask(recentSql(siteId, stretch), signal),
      this.cut(siteId, stretch, signal),
    ]);
    return this.arrivals(stretch, answered, cut);
  }

  private arrivals(stretch: Stretch, answered: Answered, cut: Facts): Arrivals {
    const recent = this.read(answered);
    const latest = Math.max(recent.latest, cut.latest);
    const both = { state: `${recent.state} ${cut.state}`, latest, at: answered.at };
    return { stretch, ...both, recent: recent.pairs, cut: cut.pairs };
  }

  /** Of rows that had arrived before, in slots that the stretch has gained or lost. */
  private async cut(siteId: string, stretch: Stretch, signal: AbortSignal): Promise<Facts> {
    const params = parameters(siteId, stretch);
    const key = JSON.stringify(params);
    const known = this.cuts.get(key);
    if (known) return known;
    const facts = this.read(await this.answers.ask({ text: factsSql(CUT), params }, signal));
    this.cuts.set(key, facts);
    return facts;
  }

  private read(answered: Answered): Facts {
    const known = this.facts.get(answered);
    if (known) return known;
    const [sum, count, latest, pairs] = answered.rows[0] ?? [];
    if (typeof latest !== 'number' || typeof pairs !== 'string') throw new TypeError('no arrivals');
    const facts = { state: `${String(sum)} ${String(count)}`, latest, pairs: pairsOf(pairs) };
    this.facts.set(answered, facts);
    return facts;
  }

  /** @returns undefined when too much is concerned */
  async concerned(
    siteId: string,
    state: RollupState,
    arrivals: Arrivals,
    signal: AbortSignal,
  ): Promise<SomeSessions | undefined> {
    this.watching?.carried(siteId);
    // What becomes known of other stretches meanwhile goes into the same copies.
    await Promise.allSettled(this.asking.get(siteId) ?? []);
    return this.reader.cluster === undefined
      ? this.copies.find(siteId, state, arrivals, signal)
      : this.listed(parameters(siteId, arrivals.stretch), signal);
  }

  /**
   * Asks and copies what questions are going to need; they see it when all of it is there, and as old as it is.
   * @throws what the reader throws, the signal's reason
   */
  async lookAhead(siteId: string, expected: readonly Expected[], signal: AbortSignal): Promise<void> {
    const renewed: Renewed[] = [];
    const renew = async (sql: Sql) => {
      const answer = await this.answers.renew(sql, signal);
      renewed.push(answer);
      return answer.answered;
    };
    try {
      const state = this.stateOf(await renew(this.stateSql));
      await this.copyAhead(siteId, state, expected, renew, signal);
      for (const { publish } of renewed) publish();
      this.held.set(siteId, state.settled);
    } finally {
      for (const { drop } of renewed) drop();
    }
  }

  private async copyAhead(
    siteId: string,
    state: RollupState,
    expected: readonly Expected[],
    renew: (sql: Sql) => Promise<Answered>,
    signal: AbortSignal,
  ): Promise<void> {
    const stretches = new Map(
      expected
        .flatMap(({ base, to }) => [
          stretchOf(base, to),
          // Counts that are kept move on to it with their next answer.
          ...(state.settled > base.arrivedBefore
            ? [stretchOf({ arrivedBefore: state.settled, to: slotAfter(to) }, to)]
            : []),
        ])
        .map((stretch) => [JSON.stringify(stretch), stretch] as const),
    );
    const recent = new Map<number, Answered>();
    for (const stretch of stretches.values())
      if (!recent.has(stretch.arrivedSince))
        recent.set(stretch.arrivedSince, await renew(recentSql(siteId, stretch)));
    for (const stretch of stretches.values()) {
      const answered = recent.get(stretch.arrivedSince);
      const cut = await this.cut(siteId, stretch, signal);
      if (answered === undefined || this.reader.cluster !== undefined) continue;
      const arrivals = this.arrivals(stretch, answered, cut);
      if (arrivals.latest > 0) await this.copies.find(siteId, state, arrivals, signal);
    }
  }

  /**
   * Copies a part of what an earlier period is going to need when its end has come to another slot.
   * @param most sessions that are looked up
   * @returns whether nothing more is to be done
   * @throws what the reader throws, the signal's reason
   */
  async prepareSlot(
    siteId: string,
    { base, to }: Expected,
    most: number,
    signal: AbortSignal,
  ): Promise<boolean> {
    const stretch = stretchOf(base, to);
    if (isOpen(stretch) || this.reader.cluster !== undefined) return true;
    const { pairs } = await this.cut(siteId, stretch, signal);
    const state = await this.state(siteId, signal);
    return pairs === undefined || this.copies.prepare(siteId, state, pairs, most);
  }

  /** For clusters, where a replica may not have a copy yet. */
  private async listed(params: Sql['params'], signal: AbortSignal): Promise<SomeSessions | undefined> {
    const text = `SELECT toString(groupArray(session)), toUInt32(count()) FROM (${CONCERNED})
        GROUP BY intDiv(rowNumberInAllBlocks(), ${CHUNK})`;
    const { rows } = await this.answers.ask({ text, params: { ...params, limit: MAX_SESSIONS + 1 } }, signal);
    const count = rows.reduce((sum, [, length]) => sum + Number(length), 0);
    return count > MAX_SESSIONS ? undefined : { list: rows.map(([chunk]) => String(chunk)) };
  }
}

const settledAt = (serverMs: number): number => Math.floor((serverMs - SETTLED_MS) / SLOT_MS) * SLOT_MS;

/** @param text as ClickHouse writes an array of pairs of numbers @returns undefined when they are too many */
function pairsOf(text: string): Pairs | undefined {
  const pairs = Array.from(
    text.matchAll(/\((\d+),(\d+)\)/g),
    ([, session = '', visitor = '']) => [copyOf(session), copyOf(visitor)] as const,
  );
  return pairs.length > MAX_PAIRS ? undefined : pairs;
}

/** A part of a text keeps all of it in memory: what stays for long must be its own. */
const copyOf = (digits: string): string => Buffer.from(digits, 'latin1').toString('latin1');

const SLOTS = "slot >= toDateTime({slotFrom:UInt32}, 'UTC') AND slot < toDateTime({slotTo:UInt32}, 'UTC')";
const RECENT = "arrived >= toDateTime({since:UInt32}, 'UTC')";
const CUT = `NOT (${RECENT}) AND ${SLOTS}`;

const factsSql = (rows: string): string =>
  `SELECT toString(sum(cityHash64(session, slot, visitor, place, agent, page_views, customs, first_ts, last_ts, last_exit))), toString(count()),
      toUnixTimestamp64Milli(max(last_ts)), toString(groupUniqArray(${MAX_PAIRS + 1})((session, visitor)))
    FROM session_slots WHERE site_id = {site:String} AND ${rows}`;

/** Two selects, because an index finds either of the conditions, but not both joined by OR. */
const TOUCHED = `SELECT session FROM session_slots WHERE site_id = {site:String} AND ${RECENT}
    UNION ALL SELECT session FROM session_slots WHERE site_id = {site:String} AND ${CUT}`;

const CONCERNED = `SELECT DISTINCT session FROM session_slots WHERE site_id = {site:String} AND visitor IN (
    SELECT visitor FROM session_slots WHERE site_id = {site:String} AND session IN (${TOUCHED}))
  LIMIT {limit:UInt32}`;

function recentSql(siteId: string, { arrivedSince }: Stretch): Sql {
  return { text: factsSql(RECENT), params: { site: siteId, since: second(arrivedSince) } };
}

function parameters(siteId: string, { arrivedSince, slotFrom, slotTo }: Stretch): Sql['params'] {
  return { site: siteId, since: second(arrivedSince), ...slots(slotFrom, slotTo) };
}

/** Removing rows is a mutation in ClickHouse, and the server lists these. */
function stateSql(cluster: string | undefined): string {
  const [mutations, table] =
    cluster === undefined
      ? ['system.mutations', 'session_slots']
      : [`clusterAllReplicas('${cluster}', system.mutations)`, 'session_slots_local'];
  return `SELECT toUnixTimestamp(now()) * 1000, toString(sum(cityHash64(hostName(), mutation_id, is_done))), toUInt32(countIf(NOT is_done))
    FROM ${mutations} WHERE database = currentDatabase() AND table = '${table}'`;
}
