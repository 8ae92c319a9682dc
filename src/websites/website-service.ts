import { randomBytes, randomUUID } from 'node:crypto';
import { AppError } from '../errors.js';
import type { WebsitePatch, WebsiteRecord, WebsiteStore } from '../storage/metadata/metadata.js';
import type { Logger } from '../telemetry.js';
import { normalizeHost } from './host.js';
import { checkedOrigins, DEFAULT_SETTINGS, MANAGED_SETTINGS, type WebsiteSettings } from './settings.js';
import type { SiteIds, SiteNotices } from './site-notices.js';
import { type Website, websiteFrom } from './website.js';

export interface WebsiteServiceOptions {
  readonly websites: WebsiteStore;
  readonly notices: SiteNotices;
  readonly log: Logger;
  /**
   * Removes a deleted site's data from every other store. Until it has resolved once, the site stays on the list that
   * `resumePurges` works off.
   */
  readonly onDeleted: (siteId: string) => Promise<void>;
  /** Websites that an account may have of its own. Default 1,000. */
  readonly maxOfAccount?: number;
}

type Change<T> = { readonly [Key in keyof T]?: T[Key] | null | undefined };

/** Absent or null: unchanged. */
export type WebsiteChange = Change<Omit<WebsitePatch, 'settings'>> & {
  readonly settings?: Change<WebsiteSettings> | null | undefined;
};

export interface WebsiteService {
  /** @throws AppError `invalid_parameter`, `limit_reached` */
  create(ownerId: string, website: { name: string; url: string }): Promise<Website>;
  /** Own sites and those shared with the account, newest first. */
  list(userId: string): Promise<Website[]>;
  /** @throws AppError `website_not_found` */
  get(id: string): Promise<Website>;
  /**
   * @param mayManage whether the caller may change `MANAGED_SETTINGS`; asked when the change names one of them
   * @throws AppError `website_not_found`, `invalid_parameter`, `forbidden`
   */
  update(site: SiteIds, change: WebsiteChange, mayManage: () => Promise<boolean>): Promise<Website>;
  /** Removes the site at once and its data as far as the other stores can be reached now. @throws AppError `website_not_found` */
  delete(site: SiteIds): Promise<void>;
  /** Tries again to purge deleted sites whose data is not proven gone; how many are left. */
  resumePurges(): Promise<number>;
  /** The same for some of them, public ids. */
  purge(siteIds: readonly string[]): Promise<number>;
}

const PURGES_A_ROUND = 1_000;

export function createWebsiteService(options: WebsiteServiceOptions): WebsiteService {
  const { websites, notices, log, onDeleted, maxOfAccount = 1_000 } = options;

  const purge = async (siteId: string): Promise<boolean> => {
    try {
      await onDeleted(siteId);
      await websites.markPurged(siteId);
      return true;
    } catch (error) {
      log.error(
        { siteId, err: error },
        'the data of a deleted site could not be purged; it will be tried again',
      );
      return false;
    }
  };

  const purgeAll = async (siteIds: readonly string[]): Promise<number> => {
    let left = 0;
    for (const siteId of siteIds) if (!(await purge(siteId))) left++;
    return left;
  };

  const stored = async (id: string): Promise<Website> =>
    websiteFrom(found((await websites.findMany([id]))[0]));

  return {
    async create(ownerId, { name, url }) {
      const website = {
        id: randomUUID(),
        siteId: randomBytes(12).toString('hex'),
        userId: ownerId,
        name: checkedName(name),
        url: checkedHost(url),
        trackingId: `ST-${randomBytes(8).toString('hex')}`,
      };
      const record = await websites.create(website, maxOfAccount);
      if (record === null)
        throw new AppError('limit_reached', `An account can have at most ${maxOfAccount} websites`);
      // Somebody may have asked for the id in the moment of its birth.
      await notices.changed(record);
      return websiteFrom(record);
    },

    async list(userId) {
      return (await websites.listFor(userId)).map(websiteFrom);
    },

    get: stored,

    async update(site, change, mayManage) {
      const isFree = !managedIn(change) || (await mayManage());
      const allowed = isFree ? change : withoutManaged(change, await stored(site.id));
      const record = await websites.update(site.id, patchFrom(allowed));
      await notices.changed(site);
      return websiteFrom(found(record));
    },

    async delete(site) {
      const deleted = await websites.delete(site.id);
      await notices.changed(site);
      if (!deleted) throw notFound();
      log.info({ siteId: site.siteId }, 'website deleted');
      await purge(site.siteId);
    },

    resumePurges: async () => purgeAll(await websites.pendingPurges(PURGES_A_ROUND)),
    purge: purgeAll,
  };
}

const managedIn = ({ settings }: WebsiteChange): boolean =>
  MANAGED_SETTINGS.some((name) => (settings?.[name] ?? null) !== null);

/**
 * The dashboard sends all settings along. Those that stay are not written again: the owner may be changing them at this moment.
 * @throws AppError `forbidden` when one of `MANAGED_SETTINGS` would change
 */
function withoutManaged(change: WebsiteChange, { settings: stored }: Website): WebsiteChange {
  const changed = MANAGED_SETTINGS.filter(
    (name) => (change.settings?.[name] ?? stored[name]) !== stored[name],
  );
  if (changed.length > 0) {
    throw new AppError('forbidden', `Only who may manage the website may change ${changed.join(', ')}`);
  }
  const unchanged = {
    dataRetentionDays: null,
    useIpAnonymization: null,
    ipHandling: null,
    allowRawDataExport: null,
  };
  return { ...change, settings: { ...change.settings, ...unchanged } };
}

function patchFrom(change: WebsiteChange): WebsitePatch {
  const { name, url, settings } = change;
  return {
    name: typeof name === 'string' ? checkedName(name) : null,
    url: typeof url === 'string' ? checkedHost(url) : null,
    isActive: change.isActive ?? null,
    automationEnabled: change.automationEnabled ?? null,
    funnelEnabled: change.funnelEnabled ?? null,
    heatmapEnabled: change.heatmapEnabled ?? null,
    heatmapIncludePatterns: change.heatmapIncludePatterns ?? null,
    heatmapExcludePatterns: change.heatmapExcludePatterns ?? null,
    replayEnabled: change.replayEnabled ?? null,
    replaySamplingRate: change.replaySamplingRate ?? null,
    replayIncludePatterns: change.replayIncludePatterns ?? null,
    replayExcludePatterns: change.replayExcludePatterns ?? null,
    settings: settings ? settingsPatch(settings) : null,
  };
}

function settingsPatch(change: Change<WebsiteSettings>): Record<string, unknown> {
  const { allowedOrigins } = change;
  // Known names only: what else a caller sends is not kept.
  const given = Object.keys(DEFAULT_SETTINGS)
    .filter(isSetting)
    .filter((name) => (change[name] ?? null) !== null);
  return {
    ...Object.fromEntries(given.map((name) => [name, change[name]])),
    ...(allowedOrigins ? { allowedOrigins: checkedOrigins(allowedOrigins) } : {}),
  };
}

const isSetting = (name: string): name is keyof WebsiteSettings => Object.hasOwn(DEFAULT_SETTINGS, name);

function checkedName(name: string): string {
  const trimmed = name.trim();
  if (trimmed === '') throw new AppError('invalid_parameter', 'name must not be empty');
  return trimmed;
}

function checkedHost(url: string): string {
  const host = normalizeHost(url);
  if (host === null) throw new AppError('invalid_parameter', 'url must be a host name or an http(s) address');
  return host;
}

function found(record: WebsiteRecord | null | undefined): WebsiteRecord {
  if (!record) throw notFound();
  return record;
}

const notFound = () => new AppError('website_not_found', 'Website not found');
