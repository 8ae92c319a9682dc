import { LRUCache } from 'lru-cache';
import { Flight } from '../../../../metrics/flight.js';
import { type Scope, SLOT_MS } from '../../../../metrics/metrics-store.js';
import type { ClickhouseReader } from '../../clickhouse-reader.js';
import type { SomeSessions } from '../clickhouse-conditions.js';
import type { Sql } from '../clickhouse-rows.js';
import { ConcernedRows } from './concerned-rows.js';
import { second, slots } from './sql-values.js';
import type { Arrivals, Pairs, RollupState, Stretch } from './stretch.js';

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

interface Answered {
  readonly rows: unknown[][];
  readonly at: number;
}

/** About some rows of the rollup: the same text as long as they are the same. */
interface Facts extends Pick<Arrivals, 'state' | 'latest'> {
  readonly pairs: Pairs | undefined;
}

export interface ArrivalsOptions {
  /** When what the server's clock says is settled; for tests. */
  readonly settled?: (serverMs: number) => number;
  /** Default 2,800 ms. */
  readonly freshMs?: number;
  /** Milliseconds by which answers get old; for tests. */
  readonly clock?: () => number;
}

/** Asks what has arrived in the rollup since a moment; answers serve for a short while. */
export class RollupArrivals {
  private readonly answers: LRUCache<string, Flight<Answered>>;
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
  readonly copies: ConcernedRows;

  constructor(
    private readonly reader: ClickhouseReader,
    private readonly options: ArrivalsOptions = {},
  ) {
    this.answers = new LRUCache({
      max: 1_000,
      ttl: options.freshMs ?? FRESH_MS,
      // A list of pairs has up to a megabyte: none stays for longer than it serves.
      ...(options.clock ? { perf: { now: options.clock } } : { ttlAutopurge: true }),
    });
    this.copies = new ConcernedRows(reader);
  }

  async state(signal: AbortSignal): Promise<RollupState> {
    const { rows } = await this.fresh({ text: stateSql(this.reader.cluster), params: {} }, signal);
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
    const { rows } = await this.fresh(
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

  async since(siteId: string, stretch: Stretch, signal: AbortSignal): Promise<Arrivals> {
    const asked = this.arrived(siteId, stretch, signal);
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
    const params = { site: siteId, since: second(stretch.arrivedSince) };
    const [answered, cut] = await Promise.all([
      this.fresh({ text: factsSql(RECENT), params }, signal),
      this.cut({ ...params, ...slots(stretch.slotFrom, stretch.slotTo) }, signal),
    ]);
    const recent = this.read(answered);
    const latest = Math.max(recent.latest, cut.latest);
    const both = { state: `${recent.state} ${cut.state}`, latest, at: answered.at };
    return { ...both, recent: recent.pairs, cut: cut.pairs };
  }

  /** Of rows that had arrived before, in slots that the stretch has gained or lost. */
  private async cut(params: Sql['params'], signal: AbortSignal): Promise<Facts> {
    const key = JSON.stringify(params);
    const known = this.cuts.get(key);
    if (known) return known;
    const facts = this.read(await this.fresh({ text: factsSql(CUT), params }, signal));
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

  /**
   * @param arrivals what is known to have arrived in the stretch
   * @returns undefined when too much is concerned
   */
  async concerned(
    siteId: string,
    stretch: Stretch,
    state: RollupState,
    arrivals: Arrivals,
    signal: AbortSignal,
  ): Promise<SomeSessions | undefined> {
    // What becomes known of other stretches meanwhile goes into the same copies.
    await Promise.allSettled(this.asking.get(siteId) ?? []);
    return this.reader.cluster === undefined
      ? this.copies.find(siteId, stretch, state, arrivals, signal)
      : this.listed(parameters(siteId, stretch), signal);
  }

  /** For clusters, where a replica may not have a copy yet. */
  private async listed(params: Sql['params'], signal: AbortSignal): Promise<SomeSessions | undefined> {
    const text = `SELECT toString(groupArray(session)), toUInt32(count()) FROM (${CONCERNED})
        GROUP BY intDiv(rowNumberInAllBlocks(), ${CHUNK})`;
    const { rows } = await this.fresh({ text, params: { ...params, limit: MAX_SESSIONS + 1 } }, signal);
    const count = rows.reduce((sum, [, length]) => sum + Number(length), 0);
    return count > MAX_SESSIONS ? undefined : { list: rows.map(([chunk]) => String(chunk)) };
  }

  /** Equal questions of the same moment are one. */
  private fresh(sql: Sql, signal: AbortSignal): Promise<Answered> {
    const key = JSON.stringify(sql);
    const known = this.answers.get(key);
    // What all have left is being ended.
    if (known && !known.signal.aborted) return known.join(signal);
    const flight: Flight<Answered> = new Flight((own) =>
      this.reader.rows(sql, own).then(
        (rows) => ({ rows, at: performance.now() }),
        (error: unknown) => {
          if (this.answers.peek(key) === flight) this.answers.delete(key);
          throw error;
        },
      ),
    );
    this.answers.set(key, flight);
    return flight.join(signal);
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
