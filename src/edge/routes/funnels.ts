/** Funnels of a site and their statistics (contract 9.2 to 9.7). */
import Type, { type Static } from 'typebox';
import type { FunnelService } from '../../funnels/funnel-service.js';
import { allFunnelStats, type FunnelStats, funnelStats } from '../../funnels/funnel-stats.js';
import { DEFAULT_DAYS, type FunnelAsked, type FunnelQuery, funnelAsked } from '../../funnels/parameters.js';
import { ask } from '../../metrics/asked.js';
import type { FunnelMetrics } from '../../metrics/funnel-metrics.js';
import type { AnalyticsQuery } from '../../metrics/parameters.js';
import type { FunnelRecord } from '../../storage/metadata/metadata.js';
import type { Site } from '../../websites/site.js';
import { NEXT_CURSOR, PAGE_QUERY, pageOf } from '../paging.js';
import { type AnyRoute, Nothing, type RequestInfo, siteRoute } from '../route.js';
import { CreateBody, Funnel, STATS_QUERY, Stats, UpdateBody } from './funnel-bodies.js';

export interface FunnelRoutesOptions {
  readonly funnels: FunnelService;
  readonly metrics: FunnelMetrics;
  /** ms since epoch; default the system clock. */
  readonly clock?: () => number;
}

const BASE = '/api/v1/websites/:website_id/funnels';
const OfSite = Type.Object({ website_id: Type.String({ description: 'UUID or public site id' }) });
const OfFunnel = Type.Object({ ...OfSite.properties, funnel_id: Type.String() });
const FRESH = { 'Cache-Control': 'private, no-cache' };

export function funnelRoutes({ funnels, metrics, clock = Date.now }: FunnelRoutesOptions): AnyRoute[] {
  const common = { tag: 'Funnels', bucket: 'api', cors: 'api', siteFrom: { param: 'website_id' } } as const;
  const read = { ...common, method: 'GET', access: { site: 'read' } } as const;
  const asked = (site: Site, query: AnalyticsQuery & FunnelQuery, { signal }: RequestInfo): FunnelAsked =>
    funnelAsked(ask(site.siteId, query, DEFAULT_DAYS, clock(), signal), query);
  return [
    siteRoute({
      ...read,
      path: BASE,
      summary: 'Funnels of a website with their statistics, newest first',
      params: OfSite,
      query: Type.Object({ ...STATS_QUERY, ...PAGE_QUERY }),
      responses: {
        200: Type.Object({ funnels: Type.Array(Funnel), total: Type.Integer(), ...NEXT_CURSOR }),
      },
      async handle({ site, query, request }) {
        const question = asked(site, { ...query, limit: undefined }, request);
        const all = await funnels.list(site);
        const { items, next } = pageOf(all, query, ({ id }) => id);
        const stats = await allFunnelStats(metrics, items, question);
        const list = items.map((funnel) => funnelBody(funnel, stats.get(funnel.id)));
        return { status: 200, body: { funnels: list, total: all.length, ...next }, headers: FRESH };
      },
    }),
    siteRoute({
      ...common,
      method: 'POST',
      path: BASE,
      summary: 'Create a funnel',
      access: { site: 'write' },
      params: OfSite,
      query: Nothing,
      body: CreateBody,
      responses: { 201: Funnel },
      async handle({ site, body, principal }) {
        const userId = principal.kind === 'account' ? principal.userId : site.ownerId;
        return { status: 201, body: funnelBody(await funnels.create(site, userId, body)) };
      },
    }),
    siteRoute({
      ...read,
      path: `${BASE}/:funnel_id`,
      summary: 'One funnel with its statistics',
      params: OfFunnel,
      query: Type.Object(STATS_QUERY),
      responses: { 200: Funnel },
      async handle({ site, params, query, request }) {
        const funnel = await funnels.get(site, params.funnel_id);
        const stats = await funnelStats(metrics, funnel, asked(site, query, request));
        return { status: 200, body: funnelBody(funnel, stats), headers: FRESH };
      },
    }),
    siteRoute({
      ...read,
      path: `${BASE}/:funnel_id/stats`,
      summary: 'Statistics of a funnel',
      params: OfFunnel,
      query: Type.Object(STATS_QUERY),
      responses: { 200: Stats },
      async handle({ site, params, query, request }) {
        const funnel = await funnels.get(site, params.funnel_id);
        return {
          status: 200,
          body: await funnelStats(metrics, funnel, asked(site, query, request)),
          headers: FRESH,
        };
      },
    }),
    siteRoute({
      ...common,
      method: 'PUT',
      path: `${BASE}/:funnel_id`,
      summary: 'Change a funnel; what is absent or null stays, steps are replaced as a whole',
      access: { site: 'write' },
      params: OfFunnel,
      query: Nothing,
      body: UpdateBody,
      responses: { 200: Funnel },
      handle: async ({ site, params, body }) => ({
        status: 200,
        body: funnelBody(await funnels.update(site, params.funnel_id, body)),
      }),
    }),
    siteRoute({
      ...common,
      method: 'DELETE',
      path: `${BASE}/:funnel_id`,
      summary: 'Delete a funnel',
      access: { site: 'write' },
      params: OfFunnel,
      query: Nothing,
      responses: { 204: Type.Null() },
      async handle({ site, params }) {
        await funnels.delete(site, params.funnel_id);
        return { status: 204, body: undefined };
      },
    }),
  ];
}

function funnelBody(funnel: FunnelRecord, stats?: FunnelStats): Static<typeof Funnel> {
  return {
    id: funnel.id,
    websiteId: funnel.siteId,
    userId: funnel.userId,
    name: funnel.name,
    description: funnel.description,
    isActive: funnel.isActive,
    createdAt: funnel.createdAt.toISOString(),
    updatedAt: funnel.updatedAt.toISOString(),
    steps: funnel.steps.map(({ pagePath, eventType, ...step }) => ({
      id: step.id,
      funnelId: funnel.id,
      name: step.name,
      order: step.order,
      stepType: step.stepType,
      ...(pagePath ? { pagePath } : {}),
      ...(eventType ? { eventType } : {}),
      matchType: step.matchType,
    })),
    ...(stats ? { stats } : {}),
  };
}
