/**
 * Lists in pages. The lists of an account are bounded and short, so they are read as a whole and cut here; lists without a bound
 * (replays, quarantine, audit) page in their stores.
 */
import Type from 'typebox';
import { AppError } from '../errors.js';

/** Query parameters; without `limit` the whole list is answered, as the original did. */
export const PAGE_QUERY = {
  limit: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 1000, description: 'Most items of a page; default all' }),
  ),
  cursor: Type.Optional(
    Type.String({ maxLength: 400, description: '`next_cursor` of the page before; empty for the first' }),
  ),
};

/** Beside the list in the answer. */
export const NEXT_CURSOR = {
  next_cursor: Type.Optional(
    Type.Union([Type.String(), Type.Null()], {
      description: 'Of the next page; null on the last, absent without limit',
    }),
  ),
};

export interface PageQuery {
  readonly limit?: number | undefined;
  readonly cursor?: string | undefined;
}

export interface Page<T> {
  readonly items: readonly T[];
  /** To be spread into the answer. */
  readonly next: { readonly next_cursor?: string | null };
}

/**
 * Cuts a page out of a list. The cursor names the last item shown, so what comes in front of it meanwhile moves nothing; when that item
 * has gone, its place counts.
 * @throws AppError `invalid_parameter` when the cursor is none
 */
export function pageOf<T>(
  list: readonly T[],
  { limit, cursor }: PageQuery,
  idOf: (item: T) => string,
): Page<T> {
  const start = cursor === undefined || cursor === '' ? 0 : startAfter(list, cursor, idOf);
  if (limit === undefined) return { items: list.slice(start), next: {} };
  const items = list.slice(start, start + limit);
  const last = items.at(-1);
  const isEnd = last === undefined || start + limit >= list.length;
  return { items, next: { next_cursor: isEnd ? null : encode(idOf(last), start + items.length - 1) } };
}

function startAfter<T>(list: readonly T[], cursor: string, idOf: (item: T) => string): number {
  const [, index, id] = /^(\d{1,9}):(.{1,200})$/s.exec(Buffer.from(cursor, 'base64url').toString()) ?? [];
  if (index === undefined) throw new AppError('invalid_parameter', 'cursor is not one of this list');
  const found = list.findIndex((item) => idOf(item) === id);
  return found === -1 ? Number(index) : found + 1;
}

const encode = (id: string, index: number): string => encodedCursor(`${index}:${id}`);

/** The cursor of a list that pages in its store. @param text in ASCII, by which the store knows where to go on */
export const encodedCursor = (text: string): string => Buffer.from(text).toString('base64url');

/**
 * What `encodedCursor` was given; undefined for the first page.
 * @param form of the text
 * @throws AppError `invalid_parameter` when the cursor is none
 */
export function decodedCursor(cursor: string | undefined, form: RegExp): string | undefined {
  if (cursor === undefined || cursor === '') return undefined;
  const text = Buffer.from(cursor, 'base64url').toString();
  if (!form.test(text)) throw new AppError('invalid_parameter', 'cursor is not one of this list');
  return text;
}
