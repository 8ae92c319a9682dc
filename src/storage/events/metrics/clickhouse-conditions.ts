/** Parts of ClickHouse SQL that figures of every kind are made with: bound values, what filters mean, where changed sessions lie. */
import type { Filter, PageFilter, SessionFilter } from '../../../metrics/filters.js';

/** SQL with its bound parameters. */
export interface Sql {
  readonly text: string;
  readonly params: Readonly<Record<string, unknown>>;
}

/** Values bound to the parameters of one query. */
export class BoundValues {
  private readonly values: Record<string, unknown>;
  private names = 0;

  /** @param first parameters by names of their own (not `p` and a number) */
  constructor(first: Sql['params']) {
    this.values = { ...first };
  }

  get params(): Sql['params'] {
    return this.values;
  }

  /** Binds a value. @returns its placeholder */
  bind(type: string, value: unknown): string {
    const name = `p${this.names++}`;
    this.values[name] = value;
    return `{${name}:${type}}`;
  }
}

/** Batches of a set up to one of them, and another set beside it: rows of `changed_rows`. */
export interface CopiedRows {
  readonly set: string;
  readonly batch: number;
  readonly recent: string;
  /** A third one, less the sessions of it that are in the first, too. */
  readonly beside?: { readonly set: string; readonly batch: number; readonly less: readonly string[] };
}

/** Sessions: their hashes in arrays as ClickHouse writes them, or copies of their rows. */
export type SomeSessions = { readonly list: readonly string[] } | CopiedRows;

/** Where rows of the rollup are read. @param sessions undefined: all */
export const tableOf = (sessions: SomeSessions | undefined): string =>
  sessions !== undefined && 'set' in sessions ? 'changed_rows' : 'session_slots';

/** Condition on rows of `tableOf`. */
export function ofSessions(values: BoundValues, sessions: SomeSessions): string {
  if ('set' in sessions) {
    const { beside } = sessions;
    const upTo = ({ set, batch }: Pick<CopiedRows, 'set' | 'batch'>) =>
      `set_id = ${values.bind('String', set)} AND batch <= ${values.bind('UInt32', batch)}`;
    const others = beside
      ? ` OR ${upTo(beside)}${beside.less.length > 0 ? ` AND session NOT IN (${values.bind('Array(UInt64)', `[${beside.less.join(',')}]`)})` : ''}`
      : '';
    return `(${upTo(sessions)} OR set_id = ${values.bind('String', sessions.recent)}${others})`;
  }
  const bound = sessions.list.map((chunk) => values.bind('Array(UInt64)', chunk));
  return `session IN (arrayConcat(${['[toUInt64(0)]', ...bound].join(', ')}))`;
}

/** What the page filters let through. @param page expression of a stored page */
export function pageCondition(values: BoundValues, filters: readonly PageFilter[], page: string): string {
  const conditions = filters.map(({ negate, how, values: texts }) => {
    const condition = textCondition(values, `lowerUTF8(${page})`, how, texts);
    return negate ? `NOT (${condition})` : condition;
  });
  return conditions.length === 0 ? '1' : conditions.map((condition) => `(${condition})`).join(' AND ');
}

/** What a filter asks of a session, whose attributes are columns by their names. */
export function sessionCondition(values: BoundValues, { negate, any }: SessionFilter): string {
  const matches = any.map(({ attribute, how, values: texts }) =>
    textCondition(values, `lowerUTF8(${attribute})`, how, texts),
  );
  return `${negate ? 'NOT ' : ''}(${matches.join(' OR ')})`;
}

function textCondition(
  values: BoundValues,
  text: string,
  how: 'equals' | 'contains' | 'brand',
  texts: readonly string[],
): string {
  const bound = values.bind('Array(String)', texts);
  switch (how) {
    case 'equals':
      return `has(${bound}, ${text})`;
    case 'contains':
      return `arrayExists(needle -> position(${text}, needle) > 0, ${bound})`;
    case 'brand':
      return `hasAny(arrayPopBack(splitByChar('.', ${text})), ${bound})`;
  }
}

export const isPageFilter = (filter: Filter): filter is PageFilter => filter.on === 'page';
export const isSessionFilter = (filter: Filter): filter is SessionFilter => filter.on === 'session';
