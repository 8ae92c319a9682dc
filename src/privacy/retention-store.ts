/** From when on a site's data is kept. */
export interface Expiry {
  /** Public site id. */
  readonly siteId: string;
  /** What happened before it is removed: ms since epoch, start of a UTC day. */
  readonly before: number;
}

/**
 * What is removed by age from the event store. Books stay: they are counts. Recordings are removed with their objects, elsewhere. Two
 * adapters: ClickHouse and Postgres.
 */
export interface RetentionStore {
  /**
   * Removes what has expired of these sites, 500 at most.
   * @param deadline ms since epoch: what is not done by then is left for the next run
   * @throws StoreUnavailableError the store does not answer; what was removed stays removed
   */
  deleteExpired(expiries: readonly Expiry[], deadline: number): Promise<Removed>;
  close(): Promise<void>;
}

export interface Removed {
  /** Rows by table; a table in which nothing had expired may be missing. */
  readonly rows: ReadonlyMap<string, number>;
  /** Nothing expired is left. */
  readonly isComplete: boolean;
}

/** Tables with visitors' data in both stores, and the column by which their rows expire. */
export const EXPIRING = {
  events: 'timestamp',
  bot_events: 'timestamp',
  heat_points: 'timestamp',
  funnel_events: 'timestamp',
  quarantine: 'quarantined_at',
} as const;
