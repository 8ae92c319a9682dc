/** The page of an event: its path, normalised (metrics.md "Attributes"). */
import { cut, TEXT_LIMITS } from './text.js';
import { splitUrl } from './url.js';

const SLASH = 47;

/**
 * Path of `page`, a path or a whole URL: query and fragment cut, trailing slashes cut except of `/`, case kept, at most 2,048
 * characters. '' stays ''.
 */
export function normalisePage(page: string): string {
  if (page === '') return '';
  const path = page.charCodeAt(0) === SLASH ? pathOnly(page) : pathOfOther(page);
  return cut(withoutTrailingSlashes(path), TEXT_LIMITS.url);
}

function pathOnly(page: string): string {
  const end = page.search(/[?#]/);
  return end === -1 ? page : page.slice(0, end);
}

function pathOfOther(page: string): string {
  const { scheme, path } = splitUrl(page);
  if (scheme !== '') return path === '' ? '/' : path;
  return path.charCodeAt(0) === SLASH ? path : `/${path}`;
}

function withoutTrailingSlashes(path: string): string {
  let end = path.length;
  while (end > 1 && path.charCodeAt(end - 1) === SLASH) end--;
  return end === path.length ? path : path.slice(0, end);
}
