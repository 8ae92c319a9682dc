/** A tracked website as the hot paths see it: immutable, cached, small. */
export interface Site {
  /** Internal UUID. */
  readonly id: string;
  /** Canonical public id, 24 lower-case hex characters. Everything in the event store is keyed by it. */
  readonly siteId: string;
  readonly ownerId: string;
  readonly name: string;
  /** Registered host, lower case, no leading `www.`, no port. */
  readonly host: string;
  readonly isActive: boolean;
  /** What comes with `DNT: 1` or `Sec-GPC: 1` is not stored. */
  readonly respectDoNotTrack: boolean;
  /** Of visitors' addresses only the network is looked up (and stored): /24, /48. */
  readonly cutAddress: boolean;
  /** Visitors' addresses are stored with their events; else they are dropped after the look-up of the place. */
  readonly storeAddress: boolean;
  /** Whoever may read the site may have its events one by one. */
  readonly allowRawDataExport: boolean;
  /** Further hosts that may send (settings.allowedOrigins), normalised as `host`. */
  readonly allowedHosts: readonly string[];
  readonly automationEnabled: boolean;
  readonly funnelEnabled: boolean;
  readonly heatmapEnabled: boolean;
  readonly replayEnabled: boolean;
  readonly replaySamplingRate: number;
  readonly heatmapIncludePatterns: string | null;
  readonly heatmapExcludePatterns: string | null;
  readonly replayIncludePatterns: string | null;
  readonly replayExcludePatterns: string | null;
}

/** Cached look-up of sites by either id form; unknown ids are cached too, so they cost no query each (bounded, short-lived). */
export interface SiteDirectory {
  /** The site if the cache knows it (null: known not to exist), undefined when only `resolve` can tell. */
  peek(idOrSiteId: string): Site | null | undefined;
  resolve(idOrSiteId: string): Promise<Site | null>;
}

/**
 * Whether a page on `originHost` may send for the site: its own host, a subdomain of it, an allowed host, or (outside production) a
 * loopback name. An absent origin (servers, old browsers) is allowed.
 * @param originHost lower-case hostname without port, or '' when the request names none
 */
export function hostAllowed(
  site: Pick<Site, 'host' | 'allowedHosts'>,
  originHost: string,
  production: boolean,
): boolean {
  if (originHost === '') return true;
  const host = originHost.startsWith('www.') ? originHost.slice(4) : originHost;
  if (!production && (host === 'localhost' || host === '127.0.0.1' || host === '[::1]')) return true;
  return belongs(host, site.host) || site.allowedHosts.some((allowed) => belongs(host, allowed));
}

function belongs(host: string, registered: string): boolean {
  return host === registered || host.endsWith(`.${registered}`);
}
