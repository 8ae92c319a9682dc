import type { Source } from '../../events/frame.js';

/** A row as an observer sees it: bytes of its table (events/row-decoder.ts), a view that is good until `observe` resolves. */
export interface ObservedRow {
  readonly siteId: string;
  readonly table: 'events' | 'funnel_events';
  readonly source: Source;
  readonly bytes: Uint8Array;
}

/** Sees new events before they are stored. */
export interface RowObserver {
  /** Asked for every frame: must be quick and not throw. */
  wants(siteId: string): boolean;
  /**
   * Sees a block's new events and funnel events of the wanted sites, in the order of arrival save that those whose ids were looked up in
   * the store come last; neither bots nor recognised copies. The block is stored once it resolves and is shown again when it rejects, so whatever it does must be idempotent by event id: events also come again after a crash
   * or a change of owner. It must settle by itself within seconds, since nothing is stored meanwhile.
   */
  observe(rows: readonly ObservedRow[]): Promise<void>;
}
