/** The reports of the heatmap endpoints in the contract's shapes (section 11), made from counts of a HeatStore. */
import { Histogram } from 'prom-client';
import { normalisePage } from '../enrich/page.js';
import { percent, round2 } from '../metrics/figures.js';
import type { Telemetry } from '../telemetry.js';
import { pageRules } from '../websites/page-patterns.js';
import type { Site } from '../websites/site.js';
import type { SiteIds } from '../websites/site-notices.js';
import type { HeatPageRow, HeatRange, HeatScope, HeatStore } from './heat-store.js';

/** Cells of one map, as the original. */
export const MAX_CELLS = 5_000;
const TOP_ELEMENTS = 20;
/** Bands of a scroll map below its top: one every 50 thousandths of the page. */
const BANDS = 20;

export interface HeatmapsOptions {
  readonly store: HeatStore;
  readonly telemetry: Telemetry;
  /** Tells all nodes that what they keep about the site has changed. */
  readonly changed: (site: SiteIds) => Promise<void>;
  /** ms since epoch; default the system clock. */
  readonly clock?: () => number;
}

/** A map as it is asked for. */
export interface MapAsked extends HeatRange {
  readonly page: string;
  /** Undefined: something that no point has; its map is empty. */
  readonly type: HeatScope['type'] | undefined;
  /** `all`: all together; undefined as with the type. */
  readonly device: HeatScope['device'] | 'all';
  /** Height of the page in pixels: y is then told in pixels of it, but for scroll maps. */
  readonly height: number | undefined;
}

export class Heatmaps {
  private readonly seconds: Histogram<'question'>;

  constructor(private readonly options: HeatmapsOptions) {
    this.seconds = new Histogram({
      name: 'seentics_heatmap_seconds',
      help: 'Time of what the event store is asked and told about heatmaps',
      labelNames: ['question'],
      buckets: [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60],
      registers: [options.telemetry.registry],
    });
  }

  /** Cells of a map, highest first. */
  async data(site: Site, websiteId: string, asked: MapAsked, signal: AbortSignal) {
    const { type, device, height } = asked;
    const scope = scopeOf(site, asked);
    if (scope === undefined || type === undefined) return [];
    const cells = await this.timed('data', () => this.options.store.cells(scope, MAX_CELLS, signal));
    const scale = height === undefined || type === 'scroll' ? 1 : height / 1000;
    return cells.map((cell) => ({
      website_id: websiteId,
      url: asked.page,
      type,
      device_type: device,
      x_percent: cell.x,
      y_percent: round2(cell.y * scale),
      selector: cell.selector,
      x: 0,
      y: 0,
      intensity: cell.count,
      last_seen: new Date(cell.lastSeen).toISOString(),
    }));
  }

  /** Pages that have points, most clicks first. */
  async pages(site: Site, range: HeatRange, limit: number, offset: number, signal: AbortSignal) {
    const { store } = this.options;
    const ask = (most: number, from: number) => store.pages(site.siteId, range, most, from, signal);
    const { rows, total } = await this.timed('pages', async () => {
      const found = await ask(limit, offset);
      // Past the end no row is left to tell the number.
      return found.rows.length > 0 || offset === 0 ? found : { rows: [], total: (await ask(1, 0)).total };
    });
    const rules = pageRules(site.heatmapIncludePatterns, site.heatmapExcludePatterns);
    const recording = site.isActive && site.heatmapEnabled;
    return {
      pages: rows.map((row) => ({
        url: row.page,
        views: row.views,
        clicks: row.clicks,
        avg_scroll: averageScroll(row),
        active: recording && rules.allows(row.page),
      })),
      total,
    };
  }

  /** The elements with the most points of a type on a page. */
  async topElements(site: Site, asked: MapAsked, signal: AbortSignal) {
    const scope = scopeOf(site, asked);
    if (scope === undefined) return [];
    const elements = await this.timed('top_elements', () =>
      this.options.store.topElements(scope, TOP_ELEMENTS, signal),
    );
    return elements.map(({ selector, count }) => ({ selector, clicks: count }));
  }

  /**
   * Removes all points of these pages that were received until now, also those that are still on their way to the store.
   * @param urls paths or whole URLs
   */
  async deletePages(site: SiteIds, urls: readonly string[]): Promise<void> {
    const pages = [...new Set(urls.map(pageOf).filter((page) => page !== ''))];
    if (pages.length === 0) return;
    const { store, changed, clock = Date.now } = this.options;
    await this.timed('delete', () => store.deletePages(site.siteId, pages, clock()));
    await changed(site);
  }

  /** Removes what came out of the stream after its page was deleted. @returns pages on which there was some */
  sweep(): Promise<number> {
    return this.timed('sweep', () => this.options.store.sweep());
  }

  private async timed<T>(question: string, work: () => Promise<T>): Promise<T> {
    const stop = this.seconds.startTimer({ question });
    try {
      return await work();
    } finally {
      stop();
    }
  }
}

/** The path under which a page's points are stored; '' when the text names none. */
export const pageOf = (url: string): string => normalisePage(url.trim());

function scopeOf(site: Site, { page, type, device, from, to }: MapAsked): HeatScope | undefined {
  if (type === undefined || device === undefined) return undefined;
  return { siteId: site.siteId, page, type, device: device === 'all' ? undefined : device, from, to };
}

/**
 * Percent of the page that was seen on average. A page load sends a point for each band down to the deepest one it reached, so the bands
 * together are the reached bands of all loads (contract 11.7).
 */
function averageScroll({ bands, loads }: HeatPageRow): number {
  return Math.min(100, percent(bands, BANDS * loads));
}
