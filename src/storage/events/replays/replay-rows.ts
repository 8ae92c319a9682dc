/** Readers of the result rows of both adapters, which name their columns in the same order. */
import type { HeldPart, NotedObject, SessionSummary, StoredPart } from '../../../replays/replay-store.js';

/**
 * @param row session key, session id, start and end (ms), chunks, browser, device, os, country code, entry page, pages, clicks, rage clicks,
 * errors, has a full snapshot, is incomplete
 */
export function summaryOf(row: readonly unknown[]): SessionSummary {
  const at = cells(row, 16);
  return {
    sessionKey: at.text(0),
    sessionId: at.text(1),
    startMs: at.number(2),
    endMs: at.number(3),
    chunkCount: at.number(4),
    browser: at.text(5),
    device: at.text(6),
    os: at.text(7),
    countryCode: at.text(8),
    entryPage: at.text(9),
    pages: at.texts(10),
    clicks: at.number(11),
    rageClicks: at.number(12),
    errors: at.number(13),
    hasFullSnapshot: at.flag(14),
    isIncomplete: at.flag(15),
  };
}

/**
 * @param row chunk id, session id, sequence, part, parts, first and last event (ms), received (ms), raw bytes, object key,
 * offset, length
 */
export function storedPartOf(row: readonly unknown[]): StoredPart {
  const at = cells(row, 12);
  return {
    chunkId: at.text(0),
    sessionId: at.text(1),
    sequence: at.number(2),
    part: at.number(3),
    parts: at.number(4),
    firstMs: at.number(5),
    lastMs: at.number(6),
    receivedAt: at.number(7),
    rawBytes: at.number(8),
    objectKey: at.text(9),
    offset: at.number(10),
    length: at.number(11),
  };
}

/** @param row event id, session key, object key, offset, length, received (ms) */
export function heldPartOf(row: readonly unknown[]): HeldPart {
  const at = cells(row, 6);
  return {
    eventId: at.text(0),
    sessionKey: at.text(1),
    objectKey: at.text(2),
    offset: at.number(3),
    length: at.number(4),
    receivedAt: at.number(5),
  };
}

/** @param row site id, object key, written (ms) */
export function notedObjectOf(row: readonly unknown[]): NotedObject {
  const at = cells(row, 3);
  return { siteId: at.text(0), objectKey: at.text(1), writtenAt: at.number(2) };
}

/** @param row site id, session key */
export function sessionOf(row: readonly unknown[]): { siteId: string; sessionKey: string } {
  const at = cells(row, 2);
  return { siteId: at.text(0), sessionKey: at.text(1) };
}

export function firstText(row: readonly unknown[]): string {
  return cells(row, 1).text(0);
}

export function firstNumber(row: readonly unknown[]): number {
  return cells(row, 1).number(0);
}

/** Proves each value that is taken out. @throws TypeError */
function cells(row: readonly unknown[], count: number) {
  if (row.length !== count) throw new TypeError(`expected ${count} columns, got ${row.length}`);
  const wrong = (index: number, wanted: string) =>
    new TypeError(`column ${index}: expected ${wanted}, got ${JSON.stringify(row[index])}`);
  return {
    text(index: number): string {
      const value = row[index];
      if (typeof value === 'string') return value;
      throw wrong(index, 'text');
    },
    /** Large integers of Postgres come as texts. */
    number(index: number): number {
      const value = row[index];
      const number = typeof value === 'string' && value !== '' ? Number(value) : value;
      if (typeof number === 'number' && Number.isFinite(number)) return number;
      throw wrong(index, 'number');
    },
    flag(index: number): boolean {
      const value = row[index];
      if (typeof value === 'boolean') return value;
      if (value === 0 || value === 1) return value === 1;
      throw wrong(index, 'true or false');
    },
    texts(index: number): string[] {
      const value: unknown = row[index];
      if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
      throw wrong(index, 'texts');
    },
  };
}
