import { AppError } from '../errors.js';
import { normalizeHost } from './host.js';

/**
 * What becomes of visitors' addresses after the look-up of the place: nothing is stored, their network (/24, /48; then the place is looked
 * up by that, too), or the whole.
 */
const IP_HANDLING = ['drop', 'truncate', 'keep'] as const;
export type IpHandling = (typeof IP_HANDLING)[number];

/** What the owner of a site decides about its tracking; the dashboard's names. */
export interface WebsiteSettings {
  /** Further addresses whose pages may send, as typed. */
  readonly allowedOrigins: readonly string[];
  /** false: the site takes no events, as if it were inactive. */
  readonly trackingEnabled: boolean;
  readonly dataRetentionDays: number;
  /** Visitors' addresses are cut to their network before they are looked up, and stored so at most, whatever `ipHandling` says. */
  readonly useIpAnonymization: boolean;
  readonly ipHandling: IpHandling;
  readonly respectDoNotTrack: boolean;
  readonly allowRawDataExport: boolean;
}

export const DEFAULT_SETTINGS: WebsiteSettings = {
  allowedOrigins: [],
  trackingEnabled: true,
  dataRetentionDays: 365,
  useIpAnonymization: false,
  ipHandling: 'drop',
  respectDoNotTrack: false,
  allowRawDataExport: false,
};

/**
 * Decide over data of visitors: how long it is there, how much of their addresses, who may take it away. Only who may manage the site
 * changes these.
 */
export const MANAGED_SETTINGS = [
  'dataRetentionDays',
  'useIpAnonymization',
  'ipHandling',
  'allowRawDataExport',
] as const satisfies readonly (keyof WebsiteSettings)[];

export const MAX_ALLOWED_ORIGINS = 100;

/** The settings that a stored object means; what is missing or not as it should be counts as its default. */
export function settingsFrom(stored: Readonly<Record<string, unknown>>): WebsiteSettings {
  const flag = (
    name: 'trackingEnabled' | 'useIpAnonymization' | 'respectDoNotTrack' | 'allowRawDataExport',
  ) => {
    const value = stored[name];
    return typeof value === 'boolean' ? value : DEFAULT_SETTINGS[name];
  };
  const origins = Array.isArray(stored.allowedOrigins) ? stored.allowedOrigins : [];
  const days = stored.dataRetentionDays;
  return {
    allowedOrigins: origins.filter((origin) => typeof origin === 'string').slice(0, MAX_ALLOWED_ORIGINS),
    trackingEnabled: flag('trackingEnabled'),
    dataRetentionDays:
      typeof days === 'number' && Number.isInteger(days) && days > 0
        ? days
        : DEFAULT_SETTINGS.dataRetentionDays,
    useIpAnonymization: flag('useIpAnonymization'),
    ipHandling: IP_HANDLING.find((known) => known === stored.ipHandling) ?? DEFAULT_SETTINGS.ipHandling,
    respectDoNotTrack: flag('respectDoNotTrack'),
    allowRawDataExport: flag('allowRawDataExport'),
  };
}

/**
 * Origins as they are stored: trimmed, without repetition.
 * @throws AppError `invalid_parameter` when one names no host; `*` is refused, since it would switch the check off
 */
export function checkedOrigins(origins: readonly string[]): string[] {
  const trimmed = origins.map((origin) => origin.trim()).filter((origin) => origin !== '');
  for (const origin of trimmed) {
    if (allowedHost(origin) === null) {
      throw new AppError(
        'invalid_parameter',
        `allowedOrigins: ${JSON.stringify(origin)} is not a host or an address`,
      );
    }
  }
  return [...new Set(trimmed)];
}

/** The host that an allowed origin stands for; a leading `*.` is understood, since subdomains are always included. */
export function allowedHost(origin: string): string | null {
  return normalizeHost(origin.replace(/^(https?:\/\/)?\*\./i, '$1'));
}
