/** A site's events one by one, as a file. */
import Type from 'typebox';
import { parsePlace, parseRange } from '../../transfer/export-range.js';
import type { RawEventStore } from '../../transfer/raw-event.js';
import { exportFile } from '../../transfer/raw-export.js';
import type { TransferMetrics } from '../../transfer/transfer-metrics.js';
import { type AnyRoute, siteRoute } from '../route.js';
import { StreamBody } from '../stream-body.js';

export interface RawExportRoutesOptions {
  readonly store: RawEventStore;
  readonly metrics: TransferMetrics;
  /** ms since epoch; default the system clock. */
  readonly clock?: () => number;
}

const CONTENT_TYPES = { csv: 'text/csv; charset=utf-8', ndjson: 'application/x-ndjson' } as const;

const text = (description: string) => Type.Optional(Type.String({ maxLength: 100, description }));

export function rawExportRoutes({ store, metrics, clock = Date.now }: RawExportRoutesOptions): AnyRoute[] {
  return [
    siteRoute({
      method: 'GET',
      path: '/api/v1/websites/:website_id/events/export',
      summary: 'All events of a website as a file, oldest first',
      tag: 'transfer',
      bucket: 'api',
      cors: 'api',
      access: { site: 'manage', unless: (site) => (site.allowRawDataExport ? 'read' : undefined) },
      siteFrom: { param: 'website_id' },
      params: Type.Object({ website_id: Type.String({ description: 'UUID or public site id' }) }),
      query: Type.Object({
        format: Type.Union([Type.Literal('csv'), Type.Literal('ndjson')], {
          default: 'ndjson',
          description: 'csv has a header and defused formulas; ndjson has an object a line',
        }),
        from: text('First day of UTC, or moment (RFC 3339); default the first event'),
        to: text('Last day of UTC, or the moment before which to end; default now'),
        bots: Type.Union([Type.Literal('exclude'), Type.Literal('include'), Type.Literal('only')], {
          default: 'exclude',
          description: 'Events of bots, which are kept apart',
        }),
        after: text(
          'timestamp,event_id of the last whole line of a file that broke off: goes on behind it, without header',
        ),
      }),
      isNoted: true,
      responses: {
        200: Type.String({
          contentMediaType: 'application/x-ndjson',
          description:
            'The file: every column of an event, and bot. Whoever may read the website may have it when allowRawDataExport is set',
        }),
      },
      async handle({ params, query, site, request }) {
        const range = parseRange(query.from ?? '', query.to ?? '', clock());
        const { format, bots } = query;
        const asked = { siteId: site.siteId, ...range, bots, after: parsePlace(query.after ?? '') };
        const pieces = exportFile(store, asked, format, metrics, request.signal);
        return {
          status: 200,
          body: new StreamBody(pieces, CONTENT_TYPES[format]),
          headers: {
            'Cache-Control': 'private, no-store',
            // The id names a site that was found, so it has nothing in it that would end the header.
            'Content-Disposition': `attachment; filename="events-${params.website_id}.${format}"`,
          },
        };
      },
    }),
  ];
}
