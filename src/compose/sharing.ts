import { createAttempts } from '../auth/attempts.js';
import { createCrowdAttempts } from '../auth/crowd-attempts.js';
import type { Passwords } from '../auth/passwords.js';
import type { Config } from '../config.js';
import type { AnyRoute } from '../edge/route.js';
import { sharingRoutes } from '../edge/routes/sharing.js';
import type { Analytics } from '../metrics/analytics.js';
import type { Notifier } from '../notifications/notification-service.js';
import { createPublicReports } from '../sharing/public-reports.js';
import { createShareAccess } from '../sharing/share-access.js';
import { createShareDirectory } from '../sharing/share-directory.js';
import { createShareService } from '../sharing/share-service.js';
import type { Cache } from '../storage/cache/cache.js';
import type { MetadataStore } from '../storage/metadata/metadata.js';
import type { Telemetry } from '../telemetry.js';
import type { SiteDirectory } from '../websites/site.js';
import { signingSecret } from './secret.js';

export interface SharingDeps {
  readonly config: Pick<Config, 'JWT_SECRET' | 'DATA_DIR'>;
  readonly metadata: Pick<MetadataStore, 'shares'>;
  readonly cache: Cache;
  readonly accounts: { readonly sites: SiteDirectory; readonly passwords: Passwords };
  readonly analytics: Analytics;
  readonly notifier: Notifier;
  readonly telemetry: Telemetry;
  /** Wrong passwords at one link in 5 minutes; default 200. */
  readonly maxAttemptsInAll?: number;
  /** ms since epoch; default the system clock. */
  readonly clock?: () => number;
}

const ATTEMPTS_AT_A_LINK = 200;

/** Public dashboards. */
export async function composeSharing(deps: SharingDeps): Promise<readonly AnyRoute[]> {
  const { config, cache, telemetry, notifier, analytics } = deps;
  const { shares } = deps.metadata;
  const { sites, passwords } = deps.accounts;
  const clock = deps.clock === undefined ? {} : { clock: deps.clock };
  const attempts = { cache, log: telemetry.log };
  const sharing = createShareService({
    shares,
    links: await createShareDirectory({ shares, cache, telemetry }),
    sites,
    passwords,
    access: createShareAccess({ secret: await signingSecret(config.JWT_SECRET, config.DATA_DIR) }),
    attempts: createAttempts(attempts),
    attemptsInAll: createCrowdAttempts({ ...attempts, max: deps.maxAttemptsInAll ?? ATTEMPTS_AT_A_LINK }),
    onShared({ id, siteId, ownerId, name }) {
      void notifier.notify(ownerId, {
        type: 'site_shared',
        siteId,
        title: `${name} is shared`,
        message: 'Whoever has the link can see the figures of this website.',
        link: `/websites/${id}`,
      });
    },
  });
  return sharingRoutes({ sharing, reports: createPublicReports({ analytics, telemetry, ...clock }) });
}
