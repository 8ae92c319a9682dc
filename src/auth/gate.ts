import { createLookup } from '../storage/cache/lookup.js';
import type { WebsiteStore } from '../storage/metadata/metadata.js';
import type { Telemetry } from '../telemetry.js';
import type { Site } from '../websites/site.js';
import type { SiteNotices } from '../websites/site-notices.js';
import type { KeyGrant, Principal, SiteAction, SiteRole } from './principal.js';

/** The one place that says who may do what with a site (P6). */
export interface Gate {
  /**
   * The owner and the instance admin may everything, members what their role allows, all others nothing. An API key may what its account
   * may, as far as its scopes and websites go.
   */
  authorize(principal: Principal, site: Pick<Site, 'id' | 'ownerId'>, action: SiteAction): Promise<boolean>;
}

export interface GateOptions {
  readonly websites: Pick<WebsiteStore, 'members'>;
  /** A change of a site's team is told as a change of the site. */
  readonly notices: Pick<SiteNotices, 'onChange'>;
  readonly telemetry: Telemetry;
  /** Default 30,000. */
  readonly ttlMs?: number;
}

const ALLOWED: Readonly<Record<SiteRole, readonly SiteAction[]>> = {
  owner: ['read', 'write', 'manage'],
  admin: ['read', 'write'],
  viewer: ['read'],
};

export function createGate(options: GateOptions): Gate {
  const teams = createLookup({
    name: 'members',
    maxEntries: 20_000,
    ttlMs: options.ttlMs ?? 30_000,
    telemetry: options.telemetry,
    load: async (websiteId): Promise<ReadonlyMap<string, SiteRole>> => {
      const members = await options.websites.members(websiteId);
      return new Map(
        members.flatMap(({ userId, role }) => (isSiteRole(role) ? [[userId, role] as const] : [])),
      );
    },
  });
  options.notices.onChange(({ id }) => teams.drop(id));
  return {
    async authorize(principal, site, action) {
      if (principal.kind === 'anonymous') return false;
      if (principal.key !== undefined && !grants(principal.key, site.id, action)) return false;
      if (principal.role === 'admin' || principal.userId === site.ownerId) return true;
      const role = (await teams.get(site.id)).get(principal.userId);
      return role !== undefined && ALLOWED[role].includes(action);
    },
  };
}

const grants = ({ scopes, websiteIds }: KeyGrant, siteId: string, action: SiteAction): boolean =>
  scopes.includes(action) && (websiteIds === null || websiteIds.includes(siteId));

// Own keys only: a role named `constructor` in the table is no role.
const isSiteRole = (role: string): role is SiteRole => Object.hasOwn(ALLOWED, role);
