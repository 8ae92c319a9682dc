import { randomUUID } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { Flight } from '../../../../metrics/flight.js';
import type { ClickhouseReader } from '../../clickhouse-reader.js';
import type { SomeSessions, Sql } from '../clickhouse-conditions.js';
import { hashes, second, slots } from './sql-values.js';
import type { Arrivals, RollupState, Stretch } from './stretch.js';

/** Where more sessions are concerned, computing anew is quicker. */
const MAX_SESSIONS = 24_000;
/** A set is used for this long, and its rows stay so much longer that no query misses them. */
const SET_MS = 50 * 60_000;
const SPARE_MS = 10 * 60_000;
const UPDATE_MS = 30_000;
/** Of rows that are copied again and again. */
const RECENT_MS = 180_000;
/** Sites that are watched at the same time; about 5 MB each at most. */
const MAX_SETS = 20;
/** Found lists that are shared among the questions of a page. */
const MAX_FOUND = 200;

/** What one site's set of copies holds. */
interface CopiedSet {
  readonly id: string;
  readonly madeAt: number;
  /** Quarter of an hour, ms: batches hold rows that arrived before, the recent copy all that came later. */
  settled: number;
  /** Last batch that is there. */
  batch: number;
  /** Sessions whose visitors are looked up; visitors whose sessions are; sessions whose rows are copied. */
  readonly touched: Set<string>;
  readonly visitors: Set<string>;
  readonly sessions: Set<string>;
  recent: { readonly id: string; readonly startedAt: number } | undefined;
}

/**
 * Keeps the rows of all sessions of all visitors of whom something has arrived lately copied side by side: in the rollup they lie
 * scattered, and reading them there costs as much as reading everything. A set only grows: sessions that are in it although nothing
 * has changed about them count the same before and after.
 */
export class ConcernedRows {
  private readonly sets = new LRUCache<string, { readonly set: CopiedSet; turn: Promise<unknown> }>({
    max: MAX_SETS,
    ttl: SET_MS,
  });
  private readonly found = new LRUCache<string, Flight<SomeSessions | undefined>>({ max: MAX_FOUND });

  constructor(private readonly reader: ClickhouseReader) {}

  /** Sessions that are copied now. */
  get size(): number {
    return [...this.sets.values()].reduce((sum, { set }) => sum + set.sessions.size, 0);
  }

  /**
   * @param arrivals what is known to have arrived in the stretch: everything of it is in the answer
   * @returns undefined when too much is concerned
   */
  find(
    siteId: string,
    stretch: Stretch,
    state: RollupState,
    arrivals: Arrivals,
    signal: AbortSignal,
  ): Promise<SomeSessions | undefined> {
    const key = JSON.stringify([siteId, stretch, state, arrivals]);
    const known = this.found.get(key);
    if (known) return known.join(signal);
    const flight = new Flight(() =>
      this.inTurn(siteId, stretch, state, arrivals).catch((error: unknown) => {
        this.found.delete(key);
        throw error;
      }),
    );
    this.found.set(key, flight, { ttl: RECENT_MS / 2 });
    return flight.join(signal);
  }

  private inTurn(
    siteId: string,
    stretch: Stretch,
    state: RollupState,
    arrivals: Arrivals,
  ): Promise<SomeSessions | undefined> {
    const key = `${siteId} ${state.history}`;
    const kept = this.sets.get(key) ?? { set: emptySet(state.settled), turn: Promise.resolve() };
    this.sets.set(key, kept, { ttl: this.sets.getRemainingTTL(key) || SET_MS });
    const { set } = kept;
    const wasEmpty = set.batch === 0;
    const forget = () => this.sets.peek(key) === kept && this.sets.delete(key);
    // Who leaves does not end it: the next one would have to begin from nothing.
    const signal = AbortSignal.timeout(UPDATE_MS);
    const turn = kept.turn.then(async () => {
      if (await this.update(siteId, set, stretch, state, arrivals, signal))
        return { set: set.id, batch: set.batch, recent: set.recent?.id ?? '' };
      forget();
      // What belongs to changes of long ago can go: a new set begins with those of now.
      return wasEmpty ? undefined : this.inTurn(siteId, stretch, state, arrivals);
    });
    // After a failure nobody knows what was copied.
    kept.turn = turn.catch(forget);
    return turn;
  }

  /** @returns whether everything fits in */
  private async update(
    siteId: string,
    set: CopiedSet,
    stretch: Stretch,
    state: RollupState,
    arrivals: Arrivals,
    signal: AbortSignal,
  ): Promise<boolean> {
    if (set.recent === undefined || set.recent.startedAt < arrivals.at)
      set.recent = await this.copyRecent(siteId, set, signal);
    const fits = await this.copySessions(
      siteId,
      set,
      await this.touched(siteId, set, stretch, signal),
      signal,
    );
    if (!fits || state.settled <= set.settled) return fits;
    // What has settled meanwhile becomes a batch, sessions of which are all known by now.
    await this.reader.copy(
      {
        text: `INSERT INTO changed_rows (set_id, batch, until, ${COPIED})
          SELECT {set:String}, {batch:UInt32}, toDateTime({until:UInt32}, 'UTC'), ${COPIED} FROM changed_rows
          WHERE set_id = {recent:String} AND arrived < toDateTime({settled:UInt32}, 'UTC')`,
        params: { ...batchOf(set), recent: set.recent.id, settled: second(state.settled) },
      },
      signal,
    );
    set.batch++;
    set.settled = state.settled;
    set.recent = await this.copyRecent(siteId, set, signal);
    return this.copySessions(siteId, set, await this.touched(siteId, set, stretch, signal), signal);
  }

  /** Everything that has arrived since the settled moment, of whomever. */
  private async copyRecent(siteId: string, set: CopiedSet, signal: AbortSignal) {
    const recent = { id: randomUUID(), startedAt: performance.now() };
    await this.reader.copy(
      {
        text: `INSERT INTO changed_rows (set_id, batch, until, ${COPIED})
          SELECT {set:String}, 1, toDateTime({until:UInt32}, 'UTC'), ${COPIED} FROM session_slots
          WHERE site_id = {site:String} AND arrived >= toDateTime({settled:UInt32}, 'UTC')`,
        params: {
          site: siteId,
          set: recent.id,
          settled: second(set.settled),
          until: second(Date.now() + RECENT_MS),
        },
      },
      signal,
    );
    return recent;
  }

  /** Sessions and visitors of all rows that are new to the asked stretch or lately arrived. */
  private touched(
    siteId: string,
    set: CopiedSet,
    stretch: Stretch,
    signal: AbortSignal,
  ): Promise<unknown[][]> {
    const before = "arrived < toDateTime({settled:UInt32}, 'UTC')";
    const since = "arrived >= toDateTime({since:UInt32}, 'UTC')";
    const inSlots =
      "slot >= toDateTime({slotFrom:UInt32}, 'UTC') AND slot < toDateTime({slotTo:UInt32}, 'UTC')";
    const pair = 'SELECT session, visitor FROM';
    const rollup = `${pair} session_slots WHERE site_id = {site:String} AND ${before}`;
    return this.reader.rows(
      {
        text: `SELECT DISTINCT toString(session), toString(visitor) FROM (${pair} changed_rows WHERE set_id = {recent:String}
          UNION ALL ${rollup} AND ${inSlots} UNION ALL ${rollup} AND ${since})`,
        params: {
          site: siteId,
          recent: set.recent?.id ?? '',
          settled: second(set.settled),
          since: second(stretch.arrivedSince),
          ...slots(stretch.slotFrom, stretch.slotTo),
        },
      },
      signal,
    );
  }

  /** Adds all sessions of all visitors of those sessions. @returns whether they fit in */
  private async copySessions(
    siteId: string,
    set: CopiedSet,
    found: readonly (readonly unknown[])[],
    signal: AbortSignal,
  ): Promise<boolean> {
    const lookUp = async (
      wanted: 'session' | 'visitor',
      of: 'session' | 'visitor',
      values: readonly string[],
    ) => (values.length === 0 ? [] : this.lookUp(siteId, set, wanted, of, values, signal));
    const touched = unknownOf(
      set.touched,
      found.map(([session]) => session),
    );
    const visitors = unknownOf(set.visitors, [
      ...found.map(([, visitor]) => visitor),
      ...(await lookUp('visitor', 'session', touched)),
    ]);
    const sessions = unknownOf(set.sessions, await lookUp('session', 'visitor', visitors));
    if (set.sessions.size + sessions.length + touched.length > MAX_SESSIONS) return false;
    if (sessions.length > 0) {
      const { text, params } = hashes(sessions);
      await this.reader.copy(
        {
          text: `INSERT INTO changed_rows (set_id, batch, until, ${COPIED})
            SELECT {set:String}, {batch:UInt32}, toDateTime({until:UInt32}, 'UTC'), ${COPIED} FROM session_slots
            WHERE site_id = {site:String} AND arrived < toDateTime({settled:UInt32}, 'UTC') AND session IN (${text})`,
          params: { site: siteId, settled: second(set.settled), ...batchOf(set), ...params },
        },
        signal,
      );
      set.batch++;
    }
    for (const [known, more] of [
      [set.touched, touched],
      [set.visitors, visitors],
      [set.sessions, [...sessions, ...touched]],
    ] as const)
      for (const one of more) known.add(one);
    return true;
  }

  private async lookUp(
    siteId: string,
    set: CopiedSet,
    wanted: 'session' | 'visitor',
    of: 'session' | 'visitor',
    values: readonly string[],
    signal: AbortSignal,
  ): Promise<unknown[]> {
    const { text, params } = hashes(values);
    const sql: Sql = {
      text: `SELECT DISTINCT toString(${wanted}) FROM session_slots WHERE site_id = {site:String}
        AND arrived < toDateTime({settled:UInt32}, 'UTC') AND ${of} IN (${text})`,
      params: { site: siteId, settled: second(set.settled), ...params },
    };
    return (await this.reader.rows(sql, signal)).map(([value]) => value);
  }
}

const COPIED =
  'site_id, slot, session, visitor, place, agent, first_ts, last_ts, page_views, customs, last_view, last_exit, source, view_ts, view_page, custom_ts, custom_type, arrived';

const emptySet = (settled: number): CopiedSet => ({
  id: randomUUID(),
  madeAt: Date.now(),
  settled,
  batch: 0,
  touched: new Set(),
  visitors: new Set(),
  sessions: new Set(),
  recent: undefined,
});

const batchOf = ({ id, batch, madeAt }: CopiedSet): Sql['params'] => ({
  set: id,
  batch: batch + 1,
  until: second(madeAt + SET_MS + SPARE_MS),
});

const unknownOf = (known: ReadonlySet<string>, values: readonly unknown[]): string[] => [
  ...new Set(values.flatMap((value) => (typeof value === 'string' && !known.has(value) ? [value] : []))),
];
