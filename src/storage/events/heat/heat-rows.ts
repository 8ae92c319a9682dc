/** Readers of the rows that both stores answer for heatmaps. */
import { HEAT_TYPES } from '../../../events/heat.js';
import type {
  HeatCell,
  HeatElement,
  HeatPageRow,
  HeatPages,
  HeatTotals,
} from '../../../heatmaps/heat-store.js';
import { numbers, textAndNumbers } from '../metrics/result-rows.js';

/** @param row x, y, count, selector, last seen */
export function heatCell(row: readonly unknown[]): HeatCell {
  const [x, y, count] = numbers(row.slice(0, 3), 3);
  const { text, counts } = textAndNumbers(row.slice(3), 1);
  return { x, y, count, selector: text, lastSeen: counts[0] };
}

/** @param row selector, count */
export function heatElement(row: readonly unknown[]): HeatElement {
  const { text, counts } = textAndNumbers(row, 1);
  return { selector: text, count: counts[0] };
}

/** @param rows page, views, clicks, loads, bands, number of pages */
export function heatPages(rows: readonly (readonly unknown[])[]): HeatPages {
  let total = 0;
  const pages = rows.map((row): HeatPageRow => {
    const { text, counts } = textAndNumbers(row, 5);
    const [views, clicks, loads, bands, all] = counts;
    total = all;
    return { page: text, views, clicks, loads, bands };
  });
  return { rows: pages, total };
}

/** @param rows type, count */
export function heatTotals(rows: readonly (readonly unknown[])[]): HeatTotals {
  const found = new Map(
    rows.map((row) => textAndNumbers(row, 1)).map(({ text, counts }) => [text, counts[0]]),
  );
  const [pageview, click, move, scroll, rage_click, dead_click] = HEAT_TYPES;
  const of = (type: string) => found.get(type) ?? 0;
  return {
    pageview: of(pageview),
    click: of(click),
    move: of(move),
    scroll: of(scroll),
    rage_click: of(rage_click),
    dead_click: of(dead_click),
  };
}

/** @param row a text @throws TypeError when it is something else */
export function oneText([value]: readonly unknown[]): string {
  if (typeof value !== 'string') throw new TypeError(`expected a text, got ${JSON.stringify(value)}`);
  return value;
}
