import { LRUCache } from 'lru-cache';
import type { Scope } from '../../../../metrics/metrics-store.js';
import type { ClickhouseReader } from '../../clickhouse-reader.js';
import { changedPropertiesSql } from '../clickhouse-custom-events.js';
import type { RollupArrivals } from './arrivals.js';
import { answerKey, type Base, type RollupState, slotAfter } from './stretch.js';

/** The latest custom event of a type, of the sessions that the filters let through. */
export interface LatestEvent {
  /** ms since epoch. */
  readonly at: number;
  readonly properties: string;
  /** Hash. */
  readonly session: string;
}

/** By type. */
export type LatestEvents = ReadonlyMap<string, LatestEvent>;

interface Kept {
  readonly events: LatestEvents;
  readonly to: number;
  readonly history: string;
  /** What had arrived when they were asked for, and since when. */
  readonly arrivals: string;
  readonly base: Base;
}

/** Characters of all that is kept; a number counts as eight. */
const MAX_CHARACTERS = 4_000_000;
/** Where the latest event of some type is older, all of them are asked for anew: raw events are read from then on. */
const MAX_AGE_MS = 2 * 86_400_000;
const PART = 'latest events';

/**
 * Keeps the latest custom event of each type. Since then it can have become another one only by sessions of which something has arrived:
 * their latest events are asked for, and the later of the two is the latest. Where the kept one is of such a session, and these have no
 * later one, the filters may no longer let it through, and nothing is known of the others.
 */
export class LatestCustomEvents {
  private readonly kept = new LRUCache<string, Kept>({
    maxSize: MAX_CHARACTERS,
    sizeCalculation: ({ events }, key) =>
      [...events].reduce(
        (sum, [type, { properties }]) => sum + type.length + properties.length + 40,
        key.length,
      ),
  });

  constructor(
    private readonly reader: ClickhouseReader,
    private readonly arrivals: RollupArrivals,
  ) {}

  /**
   * @returns the latest events of the types that are kept, as they are now; undefined when all have to be asked for
   * @throws what the reader throws, the signal's reason
   */
  async now(scope: Scope, signal: AbortSignal): Promise<LatestEvents | undefined> {
    const key = answerKey(scope, PART);
    const known = this.kept.get(key);
    if (known === undefined || known.events.size === 0 || this.reader.cluster !== undefined) return undefined;
    const [state, arrivals] = await Promise.all([
      this.arrivals.state(scope.siteId, signal),
      this.arrivals.since(scope.siteId, known.base, scope.to, signal),
    ]);
    const { history } = state;
    if (known.history !== history) return undefined;
    if (
      arrivals.state === known.arrivals &&
      (known.to === scope.to || arrivals.latest < Math.min(known.to, scope.to))
    )
      return known.events;
    const since = Math.min(...[...known.events.values()].map(({ at }) => at));
    if (since < scope.to - MAX_AGE_MS) return undefined;
    const sessions = await this.arrivals.concerned(scope.siteId, state, arrivals, signal);
    if (sessions === undefined || !('set' in sessions)) return undefined;
    const mine = [...known.events.values()].map(({ session }) => session);
    const found = await this.reader.rows(changedPropertiesSql(scope, sessions, since, mine), signal);
    const concerned = new Set(found.flatMap((row) => (isEvent(row) ? [] : [String(row[3])])));
    const events = later(known.events, latestOf(found.filter(isEvent)), concerned, scope.to);
    if (events === undefined) return undefined;
    // What has arrived is told by a moment: that of another one tells nothing about this one.
    const isSame = state.settled === known.base.arrivedBefore;
    const next = { ...known, events, to: scope.to };
    this.kept.set(
      key,
      isSame ? { ...next, arrivals: arrivals.state } : { ...next, arrivals: '', base: baseOf(scope, state) },
    );
    return events;
  }

  /**
   * Asks for all of them, and keeps them.
   * @param ask rows of type, properties, instant, session
   */
  async anew(
    scope: Scope,
    signal: AbortSignal,
    ask: () => Promise<readonly (readonly unknown[])[]>,
  ): Promise<LatestEvents> {
    const state = await this.arrivals.state(scope.siteId, signal);
    const base = baseOf(scope, state);
    // Before the answer: what comes in between makes it count as changed.
    const arrivals = await this.arrivals.since(scope.siteId, base, scope.to, signal);
    const events = latestOf(await ask());
    this.kept.set(answerKey(scope, PART), {
      events,
      to: scope.to,
      history: state.history,
      arrivals: arrivals.state,
      base,
    });
    return events;
  }
}

const baseOf = ({ to }: Scope, { settled }: RollupState) => ({ arrivedBefore: settled, to: slotAfter(to) });

/** Of rows of `changedPropertiesSql`: an event, and not a session that is concerned. */
const isEvent = (row: readonly unknown[]): boolean => row[4] === 0;

/** @returns undefined when nobody knows what the latest of some type is */
function later(
  kept: LatestEvents,
  changed: LatestEvents,
  concerned: ReadonlySet<string>,
  to: number,
): LatestEvents | undefined {
  const events = new Map<string, LatestEvent>();
  for (const [type, old] of kept) {
    const now = changed.get(type);
    const isLater =
      now !== undefined && (now.at > old.at || (now.at === old.at && now.properties === old.properties));
    // Of several at the same instant only the store knows the order.
    if (!isLater && (concerned.has(old.session) || old.at >= to || now?.at === old.at)) return undefined;
    events.set(type, isLater ? now : old);
  }
  return events;
}

/** @param rows type, properties, instant, session */
export function latestOf(rows: readonly (readonly unknown[])[]): LatestEvents {
  return new Map(
    rows.map(([type, properties, at, session]) => [
      String(type),
      { at: Number(at), properties: String(properties), session: String(session) },
    ]),
  );
}
