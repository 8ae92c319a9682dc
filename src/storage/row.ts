import type { Row } from './postgres.js';

/**
 * Readers of database rows: each takes one column and proves its type, so that a schema that drifted fails loudly at the column
 * instead of somewhere behind a cast.
 */
export function text(row: Row, column: string): string {
  const value = row[column];
  if (typeof value === 'string') return value;
  throw unexpected(column, value, 'text');
}

export function textOrNull(row: Row, column: string): string | null {
  return row[column] === null ? null : text(row, column);
}

export function texts(row: Row, column: string): string[] {
  const value = row[column];
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
  throw unexpected(column, value, 'list of texts');
}

export function textsOrNull(row: Row, column: string): string[] | null {
  return row[column] === null ? null : texts(row, column);
}

export function bool(row: Row, column: string): boolean {
  const value = row[column];
  if (typeof value === 'boolean') return value;
  throw unexpected(column, value, 'boolean');
}

export function number(row: Row, column: string): number {
  const value = row[column];
  if (typeof value === 'number') return value;
  throw unexpected(column, value, 'number');
}

export function numberOrNull(row: Row, column: string): number | null {
  return row[column] === null ? null : number(row, column);
}

export function date(row: Row, column: string): Date {
  const value = row[column];
  if (value instanceof Date) return value;
  throw unexpected(column, value, 'timestamp');
}

export function dateOrNull(row: Row, column: string): Date | null {
  return row[column] === null ? null : date(row, column);
}

/** A jsonb object; anything else (null, arrays, scalars) counts as empty. */
export function jsonObject(row: Row, column: string): Readonly<Record<string, unknown>> {
  const value = row[column];
  return isRecord(value) ? value : {};
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function unexpected(column: string, value: unknown, wanted: string): Error {
  return new TypeError(`column ${column}: expected ${wanted}, got ${value === null ? 'null' : typeof value}`);
}
