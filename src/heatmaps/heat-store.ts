/**
 * What heatmaps are read from: counted points of an event store. Two adapters (ClickHouse, Postgres) with equal answers. No method counts
 * points that were received before their page was deleted, also when they come out of the stream only afterwards.
 */
import type { HeatDevice, HeatType } from '../events/heat.js';

/** Instants in ms since epoch, both inclusive. */
export interface HeatRange {
  readonly from: number;
  readonly to: number;
}

/** One map: a page of a site, a type of points, a device (undefined: all), a range of time. */
export interface HeatScope extends HeatRange {
  readonly siteId: string;
  /** Normalised path. */
  readonly page: string;
  readonly type: HeatType;
  readonly device: HeatDevice | undefined;
}

export interface HeatCell {
  /** Thousandths of width and height. */
  readonly x: number;
  readonly y: number;
  readonly count: number;
  /** Of the cell's selectors the last one by its bytes (nearly always there is just one); '' when there is none. */
  readonly selector: string;
  /** Time of the latest point, ms since epoch. */
  readonly lastSeen: number;
}

export interface HeatPageRow {
  readonly page: string;
  readonly views: number;
  readonly clicks: number;
  /** Page loads that reported their scrolling: points of band 0. */
  readonly loads: number;
  /** Points of the bands 50, 100, … 1000 together. */
  readonly bands: number;
}

export interface HeatPages {
  readonly rows: readonly HeatPageRow[];
  /** Pages on all lists together. */
  readonly total: number;
}

export interface HeatElement {
  readonly selector: string;
  readonly count: number;
}

export type HeatTotals = Readonly<Record<HeatType, number>>;

export interface HeatStore {
  /** Highest first, then from top to bottom and from left to right. */
  cells(scope: HeatScope, limit: number, signal: AbortSignal): Promise<HeatCell[]>;
  /** Pages with points of any type in the range: most clicks first, then most views, then by the page's bytes. */
  pages(
    siteId: string,
    range: HeatRange,
    limit: number,
    offset: number,
    signal: AbortSignal,
  ): Promise<HeatPages>;
  /** Selectors other than '', most points first, then by their bytes. */
  topElements(scope: HeatScope, limit: number, signal: AbortSignal): Promise<HeatElement[]>;
  /** Points of each type on all pages of a site. */
  typeTotals(siteId: string, range: HeatRange, signal: AbortSignal): Promise<HeatTotals>;
  /** Pages that have points, by their bytes; the first `limit` of them. */
  trackedPages(siteId: string, limit: number, signal: AbortSignal): Promise<string[]>;
  /**
   * Removes all points of these pages received until `at` (ms since epoch) for good, and those that are still on their way with them:
   * they are hidden from the moment the call returns and removed by a later `sweep`.
   */
  deletePages(siteId: string, pages: readonly string[], at: number): Promise<void>;
  /** Removes points of deleted pages that came out of the stream after the deletion. @returns pages on which there were some */
  sweep(): Promise<number>;
  close(): Promise<void>;
}

/** How long after its deletion points of a page may still come out of a stream or a spool; longer than any point may be old. */
export const DELETION_MEMORY_DAYS = 40;
