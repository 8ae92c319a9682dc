import { randomBytes } from 'node:crypto';
import { networkOf } from '../audit/network.js';
import type { Attempts } from '../auth/attempts.js';
import { checkPassword } from '../auth/credentials.js';
import type { CrowdAttempts } from '../auth/crowd-attempts.js';
import type { Passwords } from '../auth/passwords.js';
import { AppError } from '../errors.js';
import type { Client } from '../net/client.js';
import type { ShareRecord, ShareStore } from '../storage/metadata/shares.js';
import type { Site, SiteDirectory } from '../websites/site.js';
import type { ShareAccess } from './share-access.js';
import type { ShareDirectory } from './share-directory.js';

export interface ShareServiceOptions {
  readonly shares: ShareStore;
  readonly links: ShareDirectory;
  readonly sites: Pick<SiteDirectory, 'resolve'>;
  readonly passwords: Pick<Passwords, 'hash' | 'verify'>;
  readonly access: ShareAccess;
  /** Of one visitor at one link. */
  readonly attempts: Attempts;
  /** Of all visitors at one link. */
  readonly attemptsInAll: CrowdAttempts;
  /** Told when a site gets a link that it did not have. */
  readonly onShared: (site: ShareableSite) => void;
}

export type ShareableSite = Pick<Site, 'id' | 'siteId' | 'ownerId' | 'name'>;

export interface SharingChange {
  readonly enabled: boolean;
  /** undefined: unchanged, null: none. */
  readonly password?: string | null | undefined;
  /** A new link; the old one is dead. */
  readonly rotate?: boolean | undefined;
}

/** A public dashboard that may be shown. */
export interface OpenShare {
  readonly site: Site;
  readonly isProtected: boolean;
}

/** Public dashboards: the switch of each site, and who may look. */
export interface ShareService {
  /** Null: not shared. */
  get(site: Pick<Site, 'id'>): Promise<ShareRecord | null>;
  /**
   * Switching off forgets link and password; switching on again makes a new link.
   * @throws AppError `invalid_parameter`, `website_not_found`, `overloaded`
   */
  change(site: ShareableSite, change: SharingChange): Promise<ShareRecord | null>;
  /**
   * @param token from `unlock`; '' none
   * @throws AppError `not_found` (the same for whatever reason there is nothing to see), `password_required`
   */
  open(publicId: string, token: string): Promise<OpenShare>;
  /**
   * @param visitor who tries, for counting attempts
   * @throws AppError `not_found`, `invalid_credentials`, `rate_limited`, `overloaded`
   */
  unlock(publicId: string, password: string, visitor: Client): Promise<{ token: string; expiresAt: Date }>;
}

/** 192 random bits. */
const PUBLIC_ID_BYTES = 24;

export function createShareService(options: ShareServiceOptions): ShareService {
  const { shares, links, sites, passwords, access, attempts, attemptsInAll } = options;

  const find = async (publicId: string): Promise<{ share: ShareRecord; site: Site }> => {
    const share = await links.find(publicId);
    const site = share === null ? null : await sites.resolve(share.websiteId);
    if (share === null || site === null || !site.isActive) throw nothingThere();
    return { share, site };
  };

  const passwordHashOf = async (password: string | null | undefined) => {
    if (typeof password !== 'string') return password;
    checkPassword(password);
    return passwords.hash(password);
  };

  return {
    get: ({ id }) => shares.ofSite(id),

    async change(site, { enabled, password, rotate = false }) {
      if (!enabled) {
        const publicId = await shares.remove(site.id);
        if (publicId !== null) await links.changed(publicId);
        return null;
      }
      const saved = await shares.save(site.id, {
        freshPublicId: randomBytes(PUBLIC_ID_BYTES).toString('base64url'),
        rotate,
        passwordHash: await passwordHashOf(password),
      });
      if (saved === null) throw new AppError('website_not_found', 'Website not found');
      const { share, previousPublicId } = saved;
      if (previousPublicId !== null) await links.changed(previousPublicId);
      if (previousPublicId !== share.publicId) options.onShared(site);
      return share;
    },

    async open(publicId, token) {
      const { share, site } = await find(publicId);
      const isProtected = share.passwordHash !== null;
      if (isProtected && !access.admits(share, token)) {
        throw new AppError('password_required', 'This dashboard is protected by a password');
      }
      return { site, isProtected };
    },

    async unlock(publicId, password, visitor) {
      const { share } = await find(publicId);
      if (share.passwordHash !== null) {
        const link = `public dashboard\n${share.publicId}`;
        const subject = `${link}\n${visitor.group}`;
        const network = networkOf(visitor.address);
        await attempts.count(subject);
        await attemptsInAll.check(link, network);
        if (!(await passwords.verify(share.passwordHash, password))) {
          await attemptsInAll.failed(link, network);
          throw new AppError('invalid_credentials', 'The password is wrong');
        }
        await Promise.all([attempts.clear(subject), attemptsInAll.succeeded(link, network)]);
      }
      return access.issue(share);
    },
  };
}

const nothingThere = () => new AppError('not_found', 'There is no such public dashboard');
