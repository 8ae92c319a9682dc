import { randomUUID } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { Flight } from '../../../../metrics/flight.js';
import type { ClickhouseReader } from '../../clickhouse-reader.js';
import type { CopiedRows } from '../clickhouse-conditions.js';
import { batchOf, COPIED, type CopiedSet, type Copies, emptySet, SET_MS } from './copied-set.js';
import { shrunk } from './shrunk-copies.js';
import { hashes, second } from './sql-values.js';
import { type Arrivals, isOpen, type Pairs, type RollupState } from './stretch.js';

/** Where more sessions are concerned, computing anew is quicker. */
const MAX_SESSIONS = 24_000;
const SHRINK_MS = 20 * 60_000;
const UPDATE_MS = 30_000;
/** Of rows that are copied again and again. */
const RECENT_MS = 180_000;
/** Sites that are watched at the same time; about 5 MB each at most. */
const MAX_SETS = 20;
/** Found lists that are shared among the questions of a page. */
const MAX_FOUND = 200;
/** Ends of earlier periods, of a site. */
const MAX_CUTS = 12;
const CUT_MS = 10 * 60_000;

/** Few enough to be listed. */
interface Listed {
  readonly pairs: Pairs;
  /** What lies about the ends of earlier periods. */
  readonly cut: Pairs;
  readonly at: number;
}

/** A copy of everything that has arrived at a site since a settled moment. */
interface RecentCopy {
  readonly id: string;
  readonly startedAt: number;
  /** What is in it, when it is there. */
  readonly pairs: Promise<Pairs>;
}

/** A site's set, who is at work on it, and what it holds because of the ends of earlier periods. */
interface SiteCopies {
  set: CopiedSet;
  turn: Promise<unknown>;
  readonly cuts: LRUCache<string, Pairs>;
}

export interface CopiesOptions {
  /** After this long a set in use begins anew with what is needed then; default 20 minutes. */
  readonly shrinkMs?: number;
}

/**
 * Keeps the rows of all sessions of all visitors of whom something has arrived lately copied side by side: in the rollup they lie
 * scattered, and reading them there costs as much as reading everything. A set only grows: sessions that are in it although nothing
 * has changed about them count the same before and after.
 */
export class ConcernedRows {
  private readonly sets = new LRUCache<string, SiteCopies>({
    max: MAX_SETS,
    ttl: SET_MS,
  });
  /** By site, state of the mutations and settled moment: sets share them. */
  private readonly recent = new LRUCache<string, RecentCopy>({
    max: 2 * MAX_SETS,
    ttl: RECENT_MS / 2,
    ttlAutopurge: true,
  });
  private readonly found = new LRUCache<string, Flight<CopiedRows | undefined>>({ max: MAX_FOUND });

  constructor(
    private readonly reader: ClickhouseReader,
    private readonly options: CopiesOptions = {},
  ) {}

  /** Sessions that are copied now. */
  get size(): number {
    return [...this.sets.values()].reduce(
      (sum, { set }) => sum + set.sessions.size + set.beside.sessions.size,
      0,
    );
  }

  /**
   * @param arrivals what is known to have arrived in the stretch: everything of it is in the answer
   * @returns undefined when too much is concerned
   * @throws what the reader throws, the signal's reason
   */
  async find(
    siteId: string,
    state: RollupState,
    arrivals: Arrivals,
    signal: AbortSignal,
  ): Promise<CopiedRows | undefined> {
    const { stretch, recent, cut, at } = arrivals;
    if (recent === undefined || cut === undefined) return undefined;
    const listed = isOpen(stretch) ? { pairs: [...recent, ...cut], cut: [], at } : { pairs: recent, cut, at };
    const key = JSON.stringify([siteId, stretch, state, arrivals.state, arrivals.at]);
    const known = this.found.get(key);
    if (known) return known.join(signal);
    const flight = new Flight(() =>
      this.inTurn(siteId, isOpen(stretch), state, listed).catch((error: unknown) => {
        this.found.delete(key);
        throw error;
      }),
    );
    this.found.set(key, flight, { ttl: RECENT_MS / 2 });
    return flight.join(signal);
  }

  /**
   * Copies some of the sessions that an earlier period is going to need.
   * @param most sessions whose visitors are looked up
   * @returns whether all of them are there, or cannot be
   * @throws what the reader throws
   */
  async prepare(siteId: string, { history }: RollupState, pairs: Pairs, most: number): Promise<boolean> {
    const key = `${siteId} ${history}`;
    const kept = this.sets.peek(key);
    if (kept === undefined) return true;
    remember(kept, pairs);
    const has = (kind: 'touched' | 'visitors', value: string) =>
      kept.set[kind].has(value) || kept.set.beside[kind].has(value);
    const missing = pairs.filter(
      ([session, visitor]) => !has('touched', session) || !has('visitors', visitor),
    );
    if (missing.length === 0) return true;
    const turn = kept.turn.then(
      () =>
        this.sets.peek(key) === kept &&
        this.copySessions(
          siteId,
          kept.set,
          kept.set.beside,
          missing.slice(0, most),
          AbortSignal.timeout(UPDATE_MS),
        ),
    );
    // After a failure nobody knows what was copied.
    kept.turn = turn.catch(() => this.sets.peek(key) === kept && this.sets.delete(key));
    return !(await turn) || missing.length <= most;
  }

  private inTurn(
    siteId: string,
    isRunning: boolean,
    state: RollupState,
    arrivals: Listed,
  ): Promise<CopiedRows | undefined> {
    const key = `${siteId} ${state.history}`;
    const kept = this.sets.get(key) ?? {
      set: emptySet(state.settled),
      turn: Promise.resolve(),
      cuts: new LRUCache<string, Pairs>({ max: MAX_CUTS, ttl: CUT_MS }),
    };
    this.sets.set(key, kept, { ttl: this.sets.getRemainingTTL(key) || SET_MS });
    const forget = () => this.sets.peek(key) === kept && this.sets.delete(key);
    const turn = kept.turn.then(async () => {
      // It was given up while this waited.
      if (this.sets.peek(key) !== kept) return this.inTurn(siteId, isRunning, state, arrivals);
      // Who leaves does not end it: the next one would have to begin from nothing.
      const signal = AbortSignal.timeout(UPDATE_MS);
      remember(kept, arrivals.cut);
      if (Date.now() - kept.set.madeAt > (this.options.shrinkMs ?? SHRINK_MS)) {
        const cuts = [...kept.cuts.values()].flat();
        kept.set = await shrunk(this.reader, kept.set, arrivals.pairs, cuts, signal);
        this.sets.set(key, kept, { ttl: SET_MS });
      }
      const { set } = kept;
      const wasEmpty = set.sessions.size + set.beside.sessions.size === 0;
      if (
        (await this.update(siteId, set, state, arrivals, signal)) &&
        (await this.copySessions(siteId, set, set.beside, arrivals.cut, signal))
      )
        return isRunning ? rowsOf(set) : { ...rowsOf(set), beside: besideOf(set) };
      forget();
      // What belongs to changes of long ago can go: a new set begins with those of now.
      return wasEmpty ? undefined : this.inTurn(siteId, isRunning, state, arrivals);
    });
    // After a failure nobody knows what was copied.
    kept.turn = turn.catch(forget);
    return turn;
  }

  /** @returns whether everything fits in */
  private async update(
    siteId: string,
    set: CopiedSet,
    state: RollupState,
    arrivals: Listed,
    signal: AbortSignal,
  ): Promise<boolean> {
    const recent = this.recentRows(siteId, set.settled, state, arrivals, signal);
    const [pairs, fits] = await Promise.all([
      recent.pairs,
      this.copySessions(siteId, set, set, arrivals.pairs, signal),
    ]);
    // What has arrived while it was copied is mostly nothing.
    if (!fits || !(await this.copySessions(siteId, set, set, pairs, signal))) return false;
    set.recent = recent.id;
    if (state.settled <= set.settled) return true;
    // What has settled meanwhile becomes a batch, sessions of which are all known by now.
    await this.reader.copy(
      {
        text: `INSERT INTO changed_rows (set_id, batch, until, ${COPIED})
          SELECT {set:String}, {batch:UInt32}, toDateTime({until:UInt32}, 'UTC'), ${COPIED} FROM changed_rows
          WHERE set_id = {recent:String} AND arrived < toDateTime({settled:UInt32}, 'UTC')`,
        params: { ...batchOf(set), recent: set.recent, settled: second(state.settled) },
      },
      signal,
    );
    set.batch++;
    set.settled = state.settled;
    const next = this.recentRows(siteId, set.settled, state, arrivals, signal);
    if (!(await this.copySessions(siteId, set, set, await next.pairs, signal))) return false;
    set.recent = next.id;
    return true;
  }

  /** Everything that has arrived since the settled moment, of whomever; not older than what is known to have arrived. */
  private recentRows(
    siteId: string,
    settled: number,
    state: RollupState,
    arrivals: Listed,
    signal: AbortSignal,
  ): RecentCopy {
    const key = `${siteId} ${state.history} ${settled}`;
    const known = this.recent.get(key);
    if (known !== undefined && known.startedAt >= arrivals.at) return known;
    const id = randomUUID();
    const pairs = this.copyRecent(siteId, id, settled, signal);
    const recent = { id, startedAt: performance.now(), pairs };
    this.recent.set(key, recent);
    pairs.catch(() => this.recent.peek(key) === recent && this.recent.delete(key));
    return recent;
  }

  private async copyRecent(siteId: string, id: string, settled: number, signal: AbortSignal): Promise<Pairs> {
    await this.reader.copy(
      {
        text: `INSERT INTO changed_rows (set_id, batch, until, ${COPIED})
          SELECT {set:String}, 1, toDateTime({until:UInt32}, 'UTC'), ${COPIED} FROM session_slots
          WHERE site_id = {site:String} AND arrived >= toDateTime({settled:UInt32}, 'UTC')`,
        params: { site: siteId, set: id, settled: second(settled), until: second(Date.now() + RECENT_MS) },
      },
      signal,
    );
    const rows = await this.reader.rows(
      {
        text: `SELECT DISTINCT toString(session), toString(visitor) FROM changed_rows
          WHERE site_id = {site:String} AND set_id = {recent:String}`,
        params: { site: siteId, recent: id },
      },
      signal,
    );
    return rows.map(pairOf);
  }

  /**
   * Adds all sessions of all visitors of those sessions.
   * @param into the set itself, or what is beside it: of that what is in the set is left out
   * @returns whether they fit in
   */
  private async copySessions(
    siteId: string,
    set: CopiedSet,
    into: Copies,
    found: Pairs,
    signal: AbortSignal,
  ): Promise<boolean> {
    const unknown = (kind: 'touched' | 'visitors' | 'sessions', values: readonly string[]) => [
      ...new Set(values.filter((value) => !into[kind].has(value) && !set[kind].has(value))),
    ];
    const touched = unknown(
      'touched',
      found.map(([session]) => session),
    );
    const visitors = new Set<string>();
    const ofVisitors: string[] = [];
    // Their sessions may have had further visitors before.
    let next = unknown(
      'visitors',
      found.map(([, visitor]) => visitor),
    );
    for (let asked = touched; asked.length + next.length > 0; asked = []) {
      for (const visitor of next) visitors.add(visitor);
      const { ofSessions, ofThese } = await this.lookUp(siteId, set, asked, next, signal);
      ofVisitors.push(...ofThese);
      next = unknown('visitors', ofSessions).filter((visitor) => !visitors.has(visitor));
    }
    const sessions = unknown('sessions', ofVisitors);
    if (into.sessions.size + sessions.length + touched.length > MAX_SESSIONS) return false;
    if (sessions.length > 0) {
      const { text, params } = hashes(sessions, 'sessions');
      // Of most granules that the index lets through the sessions alone are read.
      await this.reader.copy(
        {
          text: `INSERT INTO changed_rows (set_id, batch, until, ${COPIED})
            SELECT {set:String}, {batch:UInt32}, toDateTime({until:UInt32}, 'UTC'), ${COPIED} FROM session_slots
            PREWHERE session IN (${text})
            WHERE site_id = {site:String} AND arrived < toDateTime({settled:UInt32}, 'UTC')`,
          params: { site: siteId, settled: second(set.settled), ...batchOf(into), ...params },
        },
        signal,
      );
      into.batch++;
    }
    for (const one of touched) into.touched.add(one);
    for (const one of visitors) into.visitors.add(one);
    for (const one of [...sessions, ...touched]) into.sessions.add(one);
    return true;
  }

  /** Visitors of some sessions, and sessions of some visitors, before the settled moment. */
  private async lookUp(
    siteId: string,
    set: CopiedSet,
    sessions: readonly string[],
    visitors: readonly string[],
    signal: AbortSignal,
  ): Promise<{ readonly ofSessions: string[]; readonly ofThese: string[] }> {
    const ofSessions = hashes(sessions, 'sessions');
    const ofVisitors = hashes(visitors, 'visitors');
    const rows =
      "session_slots WHERE site_id = {site:String} AND arrived < toDateTime({settled:UInt32}, 'UTC')";
    // Two selects, because an index finds either of the conditions, but not both joined by OR.
    const rowsFound = await this.reader.rows(
      {
        text: `SELECT DISTINCT 1, toString(visitor) FROM ${rows} AND session IN (${ofSessions.text})
          UNION ALL SELECT DISTINCT 2, toString(session) FROM ${rows} AND visitor IN (${ofVisitors.text})`,
        params: { site: siteId, settled: second(set.settled), ...ofSessions.params, ...ofVisitors.params },
      },
      signal,
    );
    const of = (kind: number) =>
      rowsFound.flatMap(([which, value]) => (which === kind ? [String(value)] : []));
    return { ofSessions: of(1), ofThese: of(2) };
  }
}

/** A set that begins anew begins with it. */
function remember({ cuts }: SiteCopies, pairs: Pairs): void {
  if (pairs.length > 0) cuts.set(`${pairs.length} ${pairs[0]}`, pairs);
}

const rowsOf = ({ id, batch, recent }: CopiedSet): CopiedRows => ({ set: id, batch, recent });

/** A session may have come into the set later. */
const besideOf = ({ sessions, beside }: CopiedSet): NonNullable<CopiedRows['beside']> => ({
  set: beside.id,
  batch: beside.batch,
  less: [...beside.sessions].filter((session) => sessions.has(session)),
});

const pairOf = ([session, visitor]: readonly unknown[]) => [String(session), String(visitor)] as const;
