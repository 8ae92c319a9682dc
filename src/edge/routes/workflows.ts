/** What trackers ask and report about automations (contract 10.9 to 10.11). */
import Type from 'typebox';
import type { ExecutionReport, Reports } from '../../automations/reports.js';
import type { SiteAutomationsCache } from '../../automations/site-automations.js';
import { hostOf } from '../../enrich/url.js';
import { AppError } from '../../errors.js';
import { hostAllowed, type Site, type SiteDirectory } from '../../websites/site.js';
import { type AnyRoute, Nothing, type RequestInfo, route, TextBody } from '../route.js';

export interface WorkflowRoutesOptions {
  readonly directory: SiteDirectory;
  readonly automations: SiteAutomationsCache;
  readonly reports: Reports;
  /** In production pages on localhost are foreign, too. */
  readonly production: boolean;
  /** Largest body of reports, bytes. */
  readonly bodyLimitBytes: number;
}

const config = Type.Record(Type.String(), Type.Unknown());
const text = (description: string) => Type.Optional(Type.Unknown({ description }));

const Workflows = Type.Object({
  workflows: Type.Array(
    Type.Object({
      ...{ id: Type.String(), websiteId: Type.String(), name: Type.String(), triggerType: Type.String() },
      ...{ triggerConfig: config, isActive: Type.Boolean() },
      actions: Type.Array(
        Type.Object({ actionType: Type.String(), actionConfig: config, orderIndex: Type.Integer() }),
      ),
      conditions: Type.Array(Type.Object({ conditionType: Type.String(), conditionConfig: config })),
    }),
  ),
  total: Type.Integer(),
});

const Report = Type.Object({
  automationId: text('UUID'),
  visitorId: text('Text'),
  sessionId: text('Text'),
  status: text('`success` or `failed`'),
  errorMessage: text('Text'),
  executionData: text('Object of at most 8 KiB; larger ones are left out'),
  executedAt: text('RFC 3339'),
});
const One = Type.Object({ ...Report.properties, websiteId: Type.Optional(Type.String()) });
const Many = Type.Object({
  website_id: Type.String({ description: 'UUID or public site id' }),
  executions: Type.Array(Report, { description: 'The first 200 are looked at' }),
});
const Taken = Type.Object({
  status: Type.Literal('success'),
  count: Type.Integer({ description: 'Reports that came' }),
  accepted: Type.Integer({ description: 'Those that began an execution' }),
});

const common = {
  tag: 'Tracker',
  bucket: 'ingest',
  cors: 'tracker',
  access: 'public',
  query: Nothing,
} as const;

export function workflowRoutes(options: WorkflowRoutesOptions): AnyRoute[] {
  const { directory, automations, reports, production, bodyLimitBytes } = options;
  /** The site, when the page that asks belongs to it. */
  const siteFor = async (id: string, request: RequestInfo): Promise<Site> => {
    const site = id === '' ? null : await directory.resolve(id);
    if (site === null) throw new AppError('website_not_found', 'website not found');
    if (!hostAllowed(site, hostOf(request.origin) || hostOf(request.referer), production))
      throw new AppError('origin_not_allowed', 'domain mismatch');
    return site;
  };
  const report = async (id: string, request: RequestInfo, given: readonly ExecutionReport[]) => {
    const site = await siteFor(id, request);
    if (!site.isActive) throw new AppError('website_inactive', 'website is inactive');
    if (!site.automationEnabled)
      throw new AppError('feature_disabled', 'automation is disabled for this website');
    return reports.take(site, given, request.userAgent);
  };

  return [
    route({
      ...common,
      method: 'GET',
      path: '/api/v1/workflows/site/:website_id/active',
      summary: "Active automations of a site in the tracker's words, without anything secret",
      params: Type.Object({ website_id: Type.String() }),
      responses: { 200: Workflows },
      async handle({ params, request }) {
        const site = await siteFor(params.website_id, request);
        const { payload } = await automations.get(site.siteId);
        return {
          status: 200,
          body: new TextBody(payload, 'application/json; charset=utf-8'),
          headers: { 'Cache-Control': 'public, max-age=60' },
        };
      },
    }),
    route({
      ...common,
      method: 'POST',
      path: '/api/v1/workflows/execution/action',
      summary: 'Report that the tracker has run an automation',
      params: Nothing,
      body: One,
      bodyLimit: bodyLimitBytes,
      responses: { 200: Taken },
      async handle({ body, request }) {
        const accepted = await report(body.websiteId ?? '', request, [body]);
        return { status: 200, body: { status: 'success', count: 1, accepted } };
      },
    }),
    route({
      ...common,
      method: 'POST',
      path: '/api/v1/workflows/execution/batch',
      summary: 'Report that the tracker has run automations',
      params: Nothing,
      body: Many,
      bodyLimit: bodyLimitBytes,
      responses: { 200: Taken },
      async handle({ body, request }) {
        const accepted = await report(body.website_id, request, body.executions).catch((error: unknown) => {
          // The tracker repeats on any other status, for ever, what will never be taken.
          if (error instanceof AppError && PERMANENT.has(error.code)) return 0;
          throw error;
        });
        return { status: 200, body: { status: 'success', count: body.executions.length, accepted } };
      },
    }),
  ];
}

const PERMANENT = new Set([
  'website_not_found',
  'origin_not_allowed',
  'website_inactive',
  'feature_disabled',
]);
