/** What trackers ask and report about automations (contract 10.9 to 10.11). */
import Type from 'typebox';
import type { ExecutionReport, Reports } from '../../automations/reports.js';
import type { SiteAutomationsCache } from '../../automations/site-automations.js';
import { withoutNulEscapes } from '../../enrich/text.js';
import { hostOf } from '../../enrich/url.js';
import { AppError } from '../../errors.js';
import { hostAllowed, type Site, type SiteDirectory } from '../../websites/site.js';
import { ErrorBody } from '../error-table.js';
import { parseJson } from '../json.js';
import { type AnyRoute, Nothing, type RequestInfo, rawRoute, route, TextBody } from '../route.js';
import { BatchReplies } from './ingest-shared.js';

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
const Refused = Type.Object({
  status: Type.Literal('rejected', { description: 'The same reports will never be taken' }),
  accepted: Type.Literal(0),
  ...{ rejected: Type.Integer(), errors: Type.Array(Type.Unknown()) },
  ...{ error: Type.String(), message: Type.String(), code: Type.String() },
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
    rawRoute({
      ...common,
      method: 'POST',
      path: '/api/v1/workflows/execution/batch',
      summary: 'Report that the tracker has run automations',
      params: Nothing,
      body: Many,
      bodyLimit: bodyLimitBytes,
      headers: [],
      responses: { 200: Type.Union([Taken, Refused]), 429: ErrorBody, 503: ErrorBody },
      async handle({ bytes, request }) {
        try {
          const { siteId, given } = readBatch(bytes);
          const accepted = await report(siteId, request, given);
          return { status: 200, body: { status: 'success', count: given.length, accepted } };
        } catch (error) {
          const refused = replies.refuse(error);
          if (refused === undefined) throw error;
          return refused;
        }
      },
      refuse: (error) => replies.refuse(error),
    }),
  ];
}

/** The tracker repeats on any other status than 200, for ever, what will never be taken. */
const replies = new BatchReplies('accepted');

/**
 * A batch of which each entry stands for itself: what is no report starts nothing, and NULs, which nothing can store, are replaced.
 * @throws AppError `invalid_json`, `invalid_request`
 */
function readBatch(bytes: Uint8Array): { siteId: string; given: readonly ExecutionReport[] } {
  const text = withoutNulEscapes(new TextDecoder().decode(bytes));
  const body = parseJson(Buffer.from(text));
  if (!isRecord(body) || typeof body.website_id !== 'string' || !Array.isArray(body.executions))
    throw new AppError('invalid_request', 'Missing required fields: website_id and executions');
  const entries: readonly unknown[] = body.executions;
  return { siteId: body.website_id, given: entries.map((entry) => (isRecord(entry) ? entry : {})) };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
