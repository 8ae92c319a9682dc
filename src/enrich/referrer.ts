/** Where a visit came from, by `document.referrer` (metrics.md "Attributes"). */
import { hostAllowed } from '../websites/site.js';
import { foldReferrerHost } from './referrer-hosts.js';
import { cut, TEXT_LIMITS } from './text.js';
import { normaliseHost, splitUrl, type UrlParts } from './url.js';

export interface Referrer {
  /** URL without fragment and user info; '' when direct or the site's own. */
  readonly url: string;
  /** Folded host; '' = Direct. */
  readonly host: string;
}

export const DIRECT: Referrer = { url: '', host: '' };

/** A bare host that somebody typed into the field: has a dot, no spaces. */
const BARE_HOST = /^[^\s/?#]+\.[^\s/?#.]{2,}(?::\d+)?$/;

/**
 * @param text `document.referrer`, or a bare host
 * @param site its own hosts are no referrers
 * @param pageHost host of the page itself, '' unknown
 */
export function parseReferrer(
  text: string,
  site: { readonly host: string; readonly allowedHosts: readonly string[] },
  pageHost: string,
): Referrer {
  const trimmed = cut(text.trim(), TEXT_LIMITS.url);
  if (trimmed === '') return DIRECT;
  const url = splitUrl(trimmed);
  const host = url.scheme === '' ? bareHost(url.path) : url.host;
  if (host === '' || host === pageHost || hostAllowed(site, host, true)) return DIRECT;
  return {
    url: url.scheme === '' ? trimmed : withoutExtras(url),
    host: cut(foldReferrerHost(host), TEXT_LIMITS.label),
  };
}

function bareHost(text: string): string {
  const slash = text.indexOf('/');
  const authority = slash === -1 ? text : text.slice(0, slash);
  return BARE_HOST.test(authority) ? normaliseHost(authority) : '';
}

function withoutExtras(url: UrlParts): string {
  return `${url.scheme}://${url.authority}${url.path}${url.query}`;
}
