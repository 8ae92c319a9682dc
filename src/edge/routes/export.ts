/** A site's figures as a file (contract 14.1). */
import Type from 'typebox';
import type { Analytics } from '../../metrics/analytics.js';
import { ask } from '../../metrics/asked.js';
import { report, reportTable } from '../../metrics/report.js';
import { type AnyRoute, siteRoute, TextBody } from '../route.js';
import { ANALYTICS_PARAMETERS } from './analytics.js';
import { Dashboard } from './analytics-bodies.js';

export interface ExportRoutesOptions {
  readonly analytics: Analytics;
  /** ms since epoch; default the system clock. */
  readonly clock?: () => number;
}

const DEFAULT_DAYS = 7;

const { metrics, top_pages, top_sources } = Dashboard.properties;
const Report = Type.Object(
  {
    website_id: Type.String({ description: 'Public site id' }),
    period_days: Type.Integer(),
    metrics,
    top_pages,
    top_sources,
    exported_at: Type.String({ format: 'date-time' }),
  },
  { description: 'With format=csv instead text/csv: Metric,Value and five rows' },
);

/** The file of figures, for whoever may read the site. */
export function exportRoutes({ analytics, clock = Date.now }: ExportRoutesOptions): AnyRoute[] {
  return [
    siteRoute({
      method: 'GET',
      path: '/api/v1/analytics/export/:website_id',
      summary: 'The figures of a period as a file',
      tag: 'Analytics',
      bucket: 'api',
      cors: 'api',
      access: { site: 'read' },
      siteFrom: { param: 'website_id' },
      params: Type.Object({ website_id: Type.String({ description: 'UUID or public site id' }) }),
      query: Type.Object({
        ...ANALYTICS_PARAMETERS,
        format: Type.Optional(Type.String({ description: 'csv; anything else is json' })),
      }),
      responses: { 200: Report },
      async handle({ params, query, site, request }) {
        const asked = ask(site.siteId, query, DEFAULT_DAYS, clock(), request.signal);
        const isTable = query.format?.trim().toLowerCase() === 'csv';
        const body = isTable
          ? new TextBody(await reportTable(analytics, asked), 'text/csv; charset=utf-8')
          : new TextBody(JSON.stringify(await report(analytics, asked), null, 2), 'application/json');
        const name = `analytics-${params.website_id}-${asked.period.days}-days.${isTable ? 'csv' : 'json'}`;
        return {
          status: 200,
          body,
          headers: {
            'Cache-Control': 'private, no-store',
            // The id names a site that was found, so it has nothing in it that would end the header.
            'Content-Disposition': `attachment; filename="${name}"`,
          },
        };
      },
    }),
  ];
}
