import { describe, expect, it } from 'vitest';
import { silentTelemetry } from '../telemetry.js';
import type { Site } from '../websites/site.js';
import { createRecorder } from './recorder.js';
import type { RecordingOutcome } from './recording-protocol.js';

const SITE: Site = {
  ...{ id: 'abcdefab-1111-4111-8111-111111111111', siteId: 'aaaaaaaaaaaaaaaaaaaaaaaa', ownerId: 'owner' },
  ...{ name: 'Shop', host: 'shop.example', allowedHosts: [], isActive: true, respectDoNotTrack: false },
  ...{ cutAddress: false, storeAddress: false, allowRawDataExport: false, automationEnabled: true },
  ...{ funnelEnabled: true, heatmapEnabled: true, replayEnabled: true, replaySamplingRate: 1 },
  ...{ heatmapIncludePatterns: null, heatmapExcludePatterns: null },
  ...{ replayIncludePatterns: null, replayExcludePatterns: null },
};

/** A pool that answers nobody before it is let. */
function setUp() {
  const letGo: (() => void)[] = [];
  const recorder = createRecorder({
    pool: {
      run: () =>
        new Promise<RecordingOutcome>((resolve) => {
          letGo.push(() => resolve({ kind: 'ignored', reason: 'page_excluded' }));
        }),
      async close() {},
    },
    sites: {
      peek: () => undefined,
      resolve: async (id) => ([SITE.id, SITE.siteId].includes(id.toLowerCase()) ? SITE : null),
    },
    quota: { isUsedUp: async () => false, async add() {} },
    ...{ async publish() {}, mustYield: async () => false, production: true, sampling: 'server' },
    ...{ telemetry: silentTelemetry(), maxOfSite: 3 },
  });
  const submit = (id: string) =>
    recorder.submit({
      bytes: Buffer.from(JSON.stringify({ website_id: id, session_id: 's', events: [] })),
      ...{ address: '192.0.2.1', userAgent: '', origin: '', receivedAt: Date.now(), optOut: false },
    });
  return { submit, letGo };
}

describe('the recorder', () => {
  it('lets one site have its share of the pool, however its id is written', async () => {
    const { submit, letGo } = setUp();
    const spellings = [SITE.siteId, SITE.id, SITE.siteId.toUpperCase(), SITE.id.toUpperCase()];
    const answers = Promise.allSettled(spellings.map(submit));
    await expect.poll(() => letGo.length, { interval: 1 }).toBeGreaterThanOrEqual(3);
    for (const go of letGo) go();
    const refused = (await answers).filter(({ status }) => status === 'rejected');
    expect(letGo).toHaveLength(3);
    expect(refused).toMatchObject([{ reason: { code: 'overloaded' } }]);
    // Room again.
    const later = submit(SITE.siteId);
    await expect.poll(() => letGo.length, { interval: 1 }).toBe(4);
    letGo.at(-1)?.();
    expect(await later).toMatchObject({ kind: 'ignored' });
  });
});
