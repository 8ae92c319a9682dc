import { isDeepStrictEqual } from 'node:util';
import { LRUCache } from 'lru-cache';
import { Flight } from '../../../../metrics/flight.js';
import type { ClickhouseReader } from '../../clickhouse-reader.js';
import type { Sql } from '../clickhouse-rows.js';

export interface Answered {
  readonly rows: unknown[][];
  /** By performance.now(): what is read from then on has at least as much in it. */
  readonly at: number;
}

/** An answer that only those questions see yet which would have to ask themselves. */
export interface Renewed {
  readonly answered: Answered;
  /** From now on it serves for as long as if it had been asked for by a question. */
  publish(): void;
  /** Nobody is given it any more who does not have it. */
  drop(): void;
}

export interface FreshOptions {
  /** How long an answer serves, counted from when it was asked for, ms. */
  readonly freshMs: number;
  /** Milliseconds by which answers get old; for tests. */
  readonly clock: (() => number) | undefined;
}

const MAX_ANSWERS = 1_000;
/** Answers that are made anew before they are old, and how long the last one of each is remembered. */
const MAX_RENEWED = 100;
const RENEWED_MS = 30_000;

/** Answers of the server that serve for a short while. Equal questions of the same moment are one. */
export class FreshAnswers {
  private readonly answers: LRUCache<string, Flight<Answered>>;
  private readonly renewed: LRUCache<string, Answered>;
  /** Under way, or not published yet. */
  private readonly renewing = new Map<
    string,
    { readonly flight: Flight<Answered>; readonly start: number }
  >();
  private readonly now: () => number;

  constructor(
    private readonly reader: Pick<ClickhouseReader, 'rows'>,
    { freshMs, clock }: FreshOptions,
  ) {
    this.now = clock ?? (() => performance.now());
    // A list of pairs has up to a megabyte: none stays for longer than it serves.
    const aging = clock ? { perf: { now: clock }, ttlResolution: 0 } : { ttlAutopurge: true };
    this.answers = new LRUCache({ max: MAX_ANSWERS, ttl: freshMs, ...aging });
    this.renewed = new LRUCache({ max: MAX_RENEWED, ttl: RENEWED_MS, ...aging });
  }

  /** @throws what the reader throws, the signal's reason */
  ask(sql: Sql, signal: AbortSignal): Promise<Answered> {
    const key = JSON.stringify(sql);
    const known = this.answers.get(key);
    // What all have left is being ended.
    if (known && !known.signal.aborted) return known.join(signal);
    const renewing = this.renewing.get(key);
    if (renewing && !renewing.flight.signal.aborted && this.now() - renewing.start < this.answers.ttl)
      return renewing.flight.join(signal);
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

  /**
   * Asks although there may be an answer that still serves. Where nothing is new since the last time it is the same object, so that what
   * was made of it goes on being good.
   * @throws what the reader throws, the signal's reason
   */
  async renew(sql: Sql, signal: AbortSignal): Promise<Renewed> {
    const key = JSON.stringify(sql);
    const start = this.now();
    const flight: Flight<Answered> = new Flight(async (own) => {
      const rows = await this.reader.rows(sql, own);
      const last = this.renewed.get(key);
      const answered = last && isDeepStrictEqual(last.rows, rows) ? last : { rows, at: performance.now() };
      this.renewed.set(key, answered);
      return answered;
    });
    const renewing = { flight, start };
    this.renewing.set(key, renewing);
    const drop = () => {
      if (this.renewing.get(key) === renewing) this.renewing.delete(key);
    };
    const publish = () => {
      const left = this.answers.getRemainingTTL(key);
      // A question may have asked meanwhile.
      if (this.now() - start < this.answers.ttl - left) this.answers.set(key, flight, { start });
    };
    try {
      return { answered: await flight.join(signal), publish, drop };
    } catch (error) {
      drop();
      throw error;
    }
  }
}
