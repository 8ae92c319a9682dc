import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeMessage, encodeMessage } from '../events/frame.js';
import { decodeRow } from '../events/row-decoder.js';
import { silentTelemetry } from '../telemetry.js';
import { createEnrichPool, type EnrichPool } from './pool.js';
import type { EnrichRequest, EnrichSite } from './protocol.js';

const site: EnrichSite = {
  id: 'a',
  siteId: 'b'.repeat(24),
  host: 'example.com',
  allowedHosts: [],
  isActive: true,
  respectDoNotTrack: false,
  cutAddress: false,
  storeAddress: false,
  heatmapEnabled: true,
  heatmapInclude: null,
  heatmapExclude: null,
  funnelEnabled: true,
};

function request(visitor: string, address: string): EnrichRequest {
  const body = Buffer.from(
    JSON.stringify({ siteId: site.siteId, events: [{ visitor_id: visitor, page: '/ü' }] }),
  );
  return {
    source: 'batch',
    body,
    site,
    address,
    userAgent: '',
    origin: '',
    receivedAt: Date.now(),
    prefetch: false,
    optOut: false,
  };
}

describe('the pool of real threads', () => {
  let pool: EnrichPool;
  beforeAll(async () => {
    pool = await createEnrichPool({
      threads: 2,
      geo: 'bundled',
      production: true,
      telemetry: silentTelemetry(),
    });
  });
  afterAll(() => pool.close());

  it('shares the geo databases and answers many tasks in order', async () => {
    expect(pool.geoEnabled).toBe(true);
    const results = await Promise.all(
      [0, 1, 2].map((task) => pool.enrich([request(`v${task}`, '81.2.69.142'), request('w', '8.8.8.8')])),
    );
    const rows = results.map(({ outcomes, geoFailure }) => {
      expect(geoFailure).toBeNull();
      return outcomes.map((outcome) => {
        if (outcome.outcome !== 'rows') throw new Error(outcome.outcome);
        const frame = {
          siteId: site.siteId,
          source: 'batch',
          received: 1,
          rejected: 0,
          rowCount: 1,
          rows: [outcome.rows],
        } as const;
        const [decoded] = decodeMessage(encodeMessage([frame]));
        const { visitor_id, country_code, page } = decodeRow(decoded?.rows[0]?.bytes ?? new Uint8Array());
        return [visitor_id, country_code, page];
      });
    });
    expect(rows).toEqual(
      ['v0', 'v1', 'v2'].map((visitor) => [
        [visitor, 'GB', '/ü'],
        ['w', 'US', '/ü'],
      ]),
    );
  });

  it('hands the limits to its workers', async () => {
    const limits = { batchEvents: 2, eventAgeMs: 3_600_000 };
    const strict = await createEnrichPool({
      ...{ threads: 1, geo: 'bundled', production: true, telemetry: silentTelemetry() },
      limits,
    });
    const [now, old] = [Date.now(), new Date(Date.now() - 7_200_000).toISOString()];
    const events = [{ visitor_id: 'a', timestamp: old }, { visitor_id: 'b' }, { visitor_id: 'c' }];
    const body = Buffer.from(JSON.stringify({ siteId: site.siteId, events }));
    const { outcomes } = await strict.enrich([{ ...request('v', ''), body, receivedAt: now }]);
    expect(outcomes).toEqual([
      expect.objectContaining({
        ...{ received: 3, rejected: 2, rowCount: 1 },
        errors: [
          { index: 0, code: 'stale', message: 'the event is older than 3600 seconds' },
          { index: 2, code: 'batch_too_large', message: 'only 2 events a batch are taken' },
        ],
      }),
    ]);
    await strict.close();
  });

  it('says overloaded when too many tasks wait', async () => {
    const answers = await Promise.allSettled(
      Array.from({ length: 50 }, () => pool.enrich([request('v', '')])),
    );
    const refused = answers.filter((answer) => answer.status === 'rejected');
    expect(refused.length).toBeGreaterThan(0);
    expect(refused.length).toBeLessThan(50);
    for (const { reason } of refused) expect(reason).toMatchObject({ code: 'overloaded' });
  });
});
