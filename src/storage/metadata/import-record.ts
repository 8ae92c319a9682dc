import type { Row } from '../postgres.js';
import { date, dateOrNull, isRecord, number, text, textOrNull } from '../row.js';

export type ImportFormat = 'csv' | 'ndjson' | 'report';
export type ImportState = 'queued' | 'running' | 'done' | 'failed' | 'undoing' | 'undone';

/** How far an import has come. */
export interface ImportProgress {
  /** Bytes of the file's text that are done: its next row begins there. */
  readonly doneBytes: number;
  /** Number of the chunk that is next. */
  readonly chunk: number;
  readonly rowsRead: number;
  readonly rowsAdded: number;
  readonly rowsDuplicate: number;
  readonly rowsRejected: number;
  /** The first of the rejected rows. */
  readonly errors: readonly RowError[];
}

export interface RowError {
  /** Number of the row, from 1, the header not counted. */
  readonly row: number;
  readonly error: string;
}

export interface ImportRecord extends ImportProgress {
  /** UUID. */
  readonly id: string;
  readonly websiteId: string;
  readonly siteId: string;
  readonly userId: string | null;
  readonly format: ImportFormat;
  readonly fileName: string;
  readonly state: ImportState;
  /** Bytes of the file's text. */
  readonly bytes: number;
  readonly error: string | null;
  readonly report: Readonly<Record<string, unknown>> | null;
  readonly createdAt: Date;
  readonly finishedAt: Date | null;
}

export function readImport(row: Row): ImportRecord {
  const format = text(row, 'format');
  const report = row.report;
  return {
    id: text(row, 'id'),
    websiteId: text(row, 'website_id'),
    siteId: text(row, 'site_id'),
    userId: textOrNull(row, 'user_id'),
    format: format === 'csv' || format === 'report' ? format : 'ndjson',
    fileName: text(row, 'file_name'),
    state: stateOf(row),
    bytes: number(row, 'bytes'),
    doneBytes: number(row, 'done_bytes'),
    chunk: number(row, 'chunk'),
    rowsRead: number(row, 'rows_read'),
    rowsAdded: number(row, 'rows_added'),
    rowsDuplicate: number(row, 'rows_duplicate'),
    rowsRejected: number(row, 'rows_rejected'),
    errors: errorsOf(row),
    error: textOrNull(row, 'error'),
    report: isRecord(report) ? report : null,
    createdAt: date(row, 'created_at'),
    finishedAt: dateOrNull(row, 'finished_at'),
  };
}

const STATES: readonly ImportState[] = ['queued', 'running', 'done', 'failed', 'undoing', 'undone'];

export function stateOf(row: Row): ImportState {
  const state = text(row, 'state');
  const known = STATES.find((it) => it === state);
  if (known === undefined) throw new TypeError(`column state: ${state}`);
  return known;
}

function errorsOf(row: Row): RowError[] {
  const list: readonly unknown[] = Array.isArray(row.errors) ? row.errors : [];
  return list.filter(isRecord).map((item) => ({ row: number(item, 'row'), error: text(item, 'error') }));
}
