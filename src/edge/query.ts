/** Query strings and path parameters, before validation. */
import { AppError } from '../errors.js';

/** Most pairs of a query string that are looked at; the rest is ignored. */
const MAX_PAIRS = 200;

/**
 * Name and value pairs as the URL standard reads them (broken escapes stay as they are); of a repeated name the first counts. The object
 * has no prototype, so no name means anything.
 */
export function parseQuery(query: string | undefined): Readonly<Record<string, string>> {
  const values: Record<string, string> = Object.create(null);
  if (query === undefined || query === '') return values;
  let pairs = 0;
  for (const [name, value] of new URLSearchParams(query)) {
    if (++pairs > MAX_PAIRS) break;
    values[name] ??= value;
  }
  return values;
}

/** Names of a pattern's `:parameters`, in order. */
export function paramNames(pattern: string): string[] {
  return pattern
    .split('/')
    .filter((segment) => segment.startsWith(':'))
    .map((segment) => segment.slice(1));
}

/** @throws AppError `invalid_parameter` for broken percent encoding */
export function decodeParams(
  names: readonly string[],
  encoded: readonly string[],
): Readonly<Record<string, string>> {
  const values: Record<string, string> = Object.create(null);
  names.forEach((name, index) => {
    values[name] = decode(name, encoded[index] ?? '');
  });
  return values;
}

function decode(name: string, text: string): string {
  try {
    return text.includes('%') ? decodeURIComponent(text) : text;
  } catch {
    throw new AppError('invalid_parameter', `Path parameter ${name} is not valid percent encoding`, {
      details: [{ path: name, problem: 'is not valid percent encoding' }],
    });
  }
}
