/** An event that an import adds, as far as undoing it needs to know. */
export interface AddedRow {
  /** 32 lower-case hex characters. */
  readonly id: string;
  /** ms since epoch */
  readonly timestamp: number;
  readonly visitorId: string;
  readonly sessionId: string;
}

/** Which events imports have added. Two adapters: ClickHouse and Postgres. @throws StoreUnavailableError from every method */
export interface ImportedRows {
  /** Ids (32 lower-case hex characters) that were noted for a chunk. */
  noted(siteId: string, importId: string, chunk: number): Promise<Set<string>>;
  /** Notes what a chunk is about to add: all or nothing. The same rows again, after an answer that was lost, are a no-op. */
  note(siteId: string, importId: string, chunk: number, rows: readonly AddedRow[]): Promise<void>;
  /**
   * Removes every event that an import has added, and what rollups hold of it. The notes stay: they tell what must not be stored any more.
   * May be begun anew after a crash.
   */
  undo(siteId: string, importId: string): Promise<void>;
  /** Which of these ids (32 lower-case hex characters) were noted for one of the imports. */
  added(siteId: string, importIds: readonly string[], ids: readonly string[]): Promise<Set<string>>;
  /** All imports of which there are notes. */
  imports(): Promise<readonly { readonly siteId: string; readonly importId: string }[]>;
  /** Removes the notes of an import. */
  forget(siteId: string, importId: string): Promise<void>;
  close(): Promise<void>;
}
