import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { AppError } from '../../errors.js';
import type { FunnelRecord } from '../../storage/metadata/metadata.js';
import { silentTelemetry } from '../../telemetry.js';
import type { SiteIds } from '../../websites/site-notices.js';
import { createTrackerConfigs } from '../../websites/tracker-config.js';
import { SITE, startApp, type TestApp } from '../testing.js';
import { trackerRoutes } from './tracker-config.js';

const goal = { id: 'goal', identifier: 'signup', selector: '#join' };
/** Of the test's clock; what may not serve on is gone so soon by the real one. */
const TTL_MS = 1;
let app: TestApp;
let now = 0;
let queries = 0;
let active: FunnelRecord[] = [];
let store: () => Promise<void>;
let change = (_site: SiteIds): void => {};

beforeAll(async () => {
  const asked = async () => {
    queries++;
    await store();
  };
  const configs = createTrackerConfigs({
    goals: { withSelector: () => asked().then(() => [goal]) },
    funnels: { active: () => asked().then(() => active) },
    trackedPages: async () => [],
    notices: {
      onChange(listener) {
        change = listener;
      },
    },
    telemetry: silentTelemetry(),
    ...{ ttlMs: TTL_MS, now: () => now },
  });
  const directory = { peek: () => SITE, resolve: async () => SITE };
  app = await startApp({ routes: trackerRoutes({ directory, configs, production: true }) });
});
afterAll(() => app.app.close());
beforeEach(async () => {
  store = async () => {};
  change(SITE);
  queries = 0;
});

const ask = async (path: string): Promise<[number, unknown]> => {
  const answer = await fetch(`${app.url}/api/v1/${path}`, { headers: { origin: 'https://shop.example' } });
  return [answer.status, await answer.json()];
};
const config = () => ask(`tracker/config/${SITE.siteId}`);
const funnels = () => ask(`funnels/active?website_id=${SITE.siteId}`);
const away = () => Promise.reject(new AppError('storage_unavailable', 'away'));

describe('what a tracker asks for at a page load', () => {
  it('is answered as before while the database is away, and not once it is known to be another', async () => {
    expect(await config()).toMatchObject([200, { goals: [{ name: 'signup' }] }]);
    expect(await funnels()).toMatchObject([200, { total: 0 }]);
    store = away;
    for (let outage = 0; outage < 3; outage++) {
      now += 2 * TTL_MS;
      expect(await config()).toMatchObject([200, { goals: [{ name: 'signup' }] }]);
      expect(await funnels()).toMatchObject([200, { total: 0 }]);
    }
    // Not asked again for every page load meanwhile.
    const before = queries;
    await config();
    expect(queries).toBe(before);
    change(SITE);
    expect((await config())[0]).toBe(503);
    expect((await funnels())[0]).toBe(503);
  });

  it('is written once for all page loads until the funnels change', async () => {
    let written = 0;
    const funnel = (name: string): FunnelRecord => ({
      ...{ id: 'f', siteId: SITE.siteId, userId: 'u', description: '', isActive: true, steps: [] },
      ...{ createdAt: new Date(), updatedAt: new Date() },
      get name() {
        written++;
        return name;
      },
    });
    active = [funnel('Old')];
    for (let load = 0; load < 3; load++) expect(await funnels()).toMatchObject([200, { total: 1 }]);
    expect(written).toBe(1);
    active = [funnel('New')];
    change(SITE);
    for (let load = 0; load < 3; load++)
      expect(await funnels()).toMatchObject([200, { funnels: [{ name: 'New' }] }]);
    expect(written).toBe(2);
    active = [];
  });

  it('does not wait for a database that is slow', async () => {
    await config();
    let answered = () => {};
    store = () =>
      new Promise((resolve) => {
        answered = resolve;
      });
    now += 0.6 * TTL_MS;
    expect((await config())[0]).toBe(200);
    expect((await config())[0]).toBe(200);
    expect(queries).toBe(2);
    answered();
  });
});
