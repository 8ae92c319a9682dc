/** One request through enrichment, and what became of it, for tests. */

import { ByteWriter } from '../../src/enrich/byte-writer.js';
import { RequestEnricher } from '../../src/enrich/enrich-request.js';
import { loadGeoImage } from '../../src/enrich/geo-database.js';
import type { EnrichOutcome, EnrichRequest } from '../../src/enrich/protocol.js';
import { encodeSite, SiteTable } from '../../src/enrich/site-table.js';
import { decodeMessage, encodeMessage } from '../../src/events/frame.js';
import { decodeRow, type EventRow } from '../../src/events/row-decoder.js';
import { silentTelemetry } from '../../src/telemetry.js';

export const NOW = Date.UTC(2025, 10, 23, 12);
export const SITE = {
  id: 'a9b8c7d6-1111-4000-8000-000000000000',
  siteId: '0123456789abcdef01234567',
  host: 'example.com',
  allowedHosts: ['shop.example'],
  isActive: true,
  respectDoNotTrack: false,
  cutAddress: false,
  storeAddress: false,
  heatmapEnabled: true,
  heatmapInclude: null,
  heatmapExclude: null,
  funnelEnabled: true,
};
export const CHROME =
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36';

/** With the bundled geo databases. */
export const enricher = new RequestEnricher({
  geo: await loadGeoImage('bundled', silentTelemetry().log),
  production: true,
});

export const ready = (changes: object = {}) => new SiteTable(1).get(encodeSite({ ...SITE, ...changes }));

type Rows = Extract<EnrichOutcome, { outcome: 'rows' }> & {
  decoded: { row: EventRow; flags: number }[];
};

export function send(
  source: EnrichRequest['source'],
  body: unknown,
  changes: Partial<EnrichRequest> = {},
  site = ready(),
): EnrichOutcome {
  const bytes =
    body instanceof Uint8Array ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  const request: EnrichRequest = {
    source,
    body: bytes,
    site,
    address: '81.2.69.142',
    userAgent: CHROME,
    origin: 'https://www.example.com',
    receivedAt: NOW,
    prefetch: false,
    optOut: false,
    ...changes,
  };
  return enricher.enrich(request, site, new ByteWriter(64));
}

export function rowsOf(outcome: EnrichOutcome): Rows {
  if (outcome.outcome !== 'rows') throw new Error(`no rows: ${JSON.stringify(outcome)}`);
  const { received, rejected, rowCount, rows } = outcome;
  const message = encodeMessage([
    { siteId: SITE.siteId, source: 'batch', received, rejected, rowCount, rows: [rows] },
  ]);
  const [frame] = decodeMessage(message);
  const decoded = (frame?.rows ?? []).map(({ bytes, flags }) => ({ row: decodeRow(bytes), flags }));
  return { ...outcome, decoded };
}

export function one(
  event: object,
  changes: Partial<EnrichRequest> = {},
): { row: EventRow; flags: number; eventId: string } {
  const rows = rowsOf(send('event', { website_id: SITE.siteId, visitor_id: 'v', ...event }, changes));
  const [first] = rows.decoded;
  if (first === undefined) throw new Error(JSON.stringify(rows.errors));
  return { ...first, eventId: rows.eventId };
}

export const batch = (events: unknown[], more: object = {}) => ({
  siteId: SITE.siteId,
  domain: 'www.example.com',
  events,
  ...more,
});

export const PAGEVIEW = {
  event_type: 'pageview',
  event_name: 'page_view',
  page_view_id: '11112222-3333-4444-8555-666677778888',
  page_url: 'https://www.example.com/Pricing/?utm_source=News&gclid=Cj0#top',
  page: '/Pricing/',
  page_title: 'Prices – all of them',
  referrer: 'https://www.google.com/',
  screen_width: 1920,
  screen_height: 1080,
  viewport_width: 1200,
  viewport_height: 900,
  user_agent: CHROME,
  language: 'de-de',
  visitor_id: '3f2b8c1e-4d5a-4b6c-8d7e-9f0a1b2c3d4e',
  session_id: '7c1d2e3f-4a5b-4c6d-8e7f-0a1b2c3d4e5f',
  timestamp: '2025-11-23T11:59:58.123Z',
};
