/** The points of one heatmap request, as rows of `heat_points`. */
import { hash } from 'node:crypto';
import { flagsOf, RowFlag } from '../events/tables.js';
import { type PageRules, pageRules } from '../websites/page-patterns.js';
import { isBotAgent, isSenderLibrary } from './bot.js';
import type { ByteWriter } from './byte-writer.js';
import { type HeatPoint, readPoint } from './heat-point.js';
import { NO_ROWS, type RecordContext, Rejections, type RowsOutcome } from './record-kind.js';
import { Rejection } from './rejection.js';
import type { ReadySite } from './site-table.js';
import { uniqueClock } from './unique-clock.js';

/** Points of a request that are taken. */
export const MAX_POINTS = 5_000;

/** Points of a request that are the same, cell and time. */
interface Cell {
  readonly point: HeatPoint;
  count: number;
}

/**
 * Writes the good points; the bad ones are rejected one by one. Equal points of the request become one row with their number, and the
 * outcome's `received` counts such a row once, so that the books balance by rows.
 */
export function writeHeatPoints(
  entries: readonly unknown[],
  context: RecordContext,
  out: ByteWriter,
): RowsOutcome {
  if (isBotAgent(context.userAgent) && !isSenderLibrary(context.userAgent))
    return allRejected(entries.length);
  const { site, receivedAt, eventAgeMs } = context;
  const shared = { rules: rulesOf(site), receivedAt, eventAgeMs };
  const cells = new Map<string, Cell>();
  const rejections = new Rejections();
  for (const [index, entry] of entries.slice(0, MAX_POINTS).entries()) {
    const point = readPoint(entry, shared);
    if (point instanceof Rejection) rejections.add(index, point.code, point.message);
    else addTo(cells, point);
  }
  for (let index = MAX_POINTS; index < entries.length; index++)
    rejections.add(index, 'batch_too_large', `only ${MAX_POINTS} points a request are taken`);
  const start = out.at;
  const sender = senderTag(context);
  const now = uniqueClock(receivedAt);
  for (const cell of cells.values()) writeCell(out, cell, context, `${sender} ${cell.point.idClock || now}`);
  return {
    ...NO_ROWS,
    rows: out.buffer.subarray(start, out.at),
    rowCount: cells.size,
    received: cells.size + rejections.count,
    rejected: rejections.count,
    errors: rejections.errors,
  };
}

function allRejected(count: number): RowsOutcome {
  if (count === 0) return NO_ROWS;
  const error = { index: 0, code: 'bot_agent', message: 'heatmaps are not made from crawlers' } as const;
  return { ...NO_ROWS, received: count, rejected: count, errors: [error] };
}

function addTo(cells: Map<string, Cell>, point: HeatPoint): void {
  const { type, device, x, y, idClock, page, selector } = point;
  const key = `${type} ${device} ${x} ${y} ${idClock.length} ${idClock} ${page.length} ${page} ${selector}`;
  const cell = cells.get(key);
  if (cell === undefined) cells.set(key, { point, count: 1 });
  else cell.count++;
}

/** Rules are read once for each state of a site; the worker's table of sites forgets them. */
const rules = new WeakMap<ReadySite, PageRules>();

function rulesOf(site: ReadySite): PageRules {
  const known = rules.get(site);
  if (known !== undefined) return known;
  const made = pageRules(site.heatmapInclude, site.heatmapExclude);
  rules.set(site, made);
  return made;
}

/**
 * Tells the senders of equal points apart. Two bytes of a hash are enough for that (of two visitors with the same point in the same second,
 * one pair in 65,536 counts as one), and too little to find an address again by trying them all.
 */
function senderTag({ site, address, userAgent }: RecordContext): string {
  return hash('sha256', `${site.siteId}\0${address}\0${userAgent}`).slice(0, 4);
}

/** Length of the record's header: u32 length and u8 flags. */
const HEADER = 5;
const SITE_OFFSET = 32;

/** Appends a `row` record (events/frame.ts) in the order of HEAT_POINT_COLUMNS. */
function writeCell(out: ByteWriter, { point, count }: Cell, context: RecordContext, idExtra: string): void {
  const record = out.at;
  const row = record + HEADER;
  out.ensure(HEADER + SITE_OFFSET);
  out.buffer[record + 4] = flagsOf('heat_points') | (point.lookup ? RowFlag.lookup : 0);
  out.at = row + 16;
  out.i64(point.timestamp);
  out.i64(context.receivedAt);
  out.bytes(context.site.encodedId);
  out.string(point.page);
  out.string(point.type);
  out.string(point.device);
  out.u16(point.x);
  out.u16(point.y);
  out.string(point.selector);
  out.u32(count);
  out.setU32(record, out.at - record - 4);
  const id = madeId(out, row + SITE_OFFSET, idExtra);
  for (let i = 0; i < 16; i++) out.buffer[row + i] = id.charCodeAt(i);
}

/** Hash of the row from its site on (each text with its length), and of the sender and the client's time. */
function madeId(out: ByteWriter, start: number, extra: string): string {
  const end = out.at;
  out.string(extra);
  const id = hash('sha256', out.buffer.subarray(start, out.at), 'binary');
  out.at = end;
  return id;
}
