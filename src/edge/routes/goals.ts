/** Goals of a site (contract 4.7 to 4.9) and their conversions (7.14). */

import Type, { type Static } from 'typebox';
import { AppError } from '../../errors.js';
import { GOAL_TEXT_LIMIT, GOAL_TYPES, type GoalService } from '../../goals/goal-service.js';
import { goalStats } from '../../goals/goal-stats.js';
import { ask } from '../../metrics/asked.js';
import type { MetricsStore } from '../../metrics/metrics-store.js';
import type { GoalRecord } from '../../storage/metadata/metadata.js';
import { isUuid } from '../../uuid.js';
import { NEXT_CURSOR, PAGE_QUERY, pageOf } from '../paging.js';
import { type AnyRoute, Nothing, siteRoute } from '../route.js';
import { ANALYTICS_PARAMETERS } from './analytics.js';

export interface GoalRoutesOptions {
  readonly goals: GoalService;
  readonly metrics: Pick<MetricsStore, 'goals' | 'totals'>;
  /** ms since epoch; default the system clock. */
  readonly clock?: () => number;
}

const Goal = Type.Object({
  id: Type.String({ format: 'uuid' }),
  websiteId: Type.String({ format: 'uuid' }),
  name: Type.String(),
  type: Type.String({ description: '`event` or `pageview`' }),
  identifier: Type.String({ description: 'Event type, or path; `*` is any text in a path' }),
  selector: Type.Optional(Type.String({ description: 'CSS selector whose clicks send the event' })),
  createdAt: Type.String({ format: 'date-time' }),
  updatedAt: Type.String({ format: 'date-time' }),
});

const text = Type.String({ minLength: 1, maxLength: GOAL_TEXT_LIMIT });
const CreateBody = Type.Object({
  name: text,
  type: Type.Union(GOAL_TYPES.map((type) => Type.Literal(type))),
  identifier: text,
  selector: Type.Optional(Type.Union([Type.String({ maxLength: GOAL_TEXT_LIMIT }), Type.Null()])),
});

const GoalsStats = Type.Object({
  website_id: Type.String(),
  goals: Type.Array(
    Type.Object({
      event_type: Type.String({ description: "The goal's name" }),
      count: Type.Integer({ description: 'Conversions' }),
      unique_visitors: Type.Integer({ description: 'Visitors who converted' }),
      conversion_rate: Type.Number({ description: 'Percent of the visitors of the period' }),
      goal_id: Type.String({ format: 'uuid' }),
      type: Type.String(),
      identifier: Type.String(),
      sample_properties: Type.Optional(
        Type.Record(Type.String(), Type.Unknown(), { description: 'Of the latest conversion' }),
      ),
    }),
  ),
});

const BASE = '/api/v1/user/websites/:id/goals';
const ById = Type.Object({ id: Type.String({ description: 'UUID or public site id' }) });
const common = { tag: 'Goals', bucket: 'api', cors: 'api' } as const;

export function goalRoutes({ goals, metrics, clock = Date.now }: GoalRoutesOptions): AnyRoute[] {
  return [
    siteRoute({
      ...common,
      method: 'GET',
      path: BASE,
      summary: 'Goals of a website, newest first',
      access: { site: 'read' },
      siteFrom: { param: 'id' },
      params: ById,
      query: Type.Object(PAGE_QUERY),
      responses: { 200: Type.Object({ data: Type.Array(Goal), ...NEXT_CURSOR }) },
      async handle({ site, query }) {
        const { items, next } = pageOf(await goals.list(site), query, ({ id }) => id);
        return { status: 200, body: { data: items.map(goalBody), ...next } };
      },
    }),
    siteRoute({
      ...common,
      method: 'POST',
      path: BASE,
      summary: 'Create a goal',
      access: { site: 'write' },
      siteFrom: { param: 'id' },
      params: ById,
      query: Nothing,
      body: CreateBody,
      responses: { 201: Type.Object({ message: Type.String(), data: Goal }) },
      handle: async ({ site, body }) => ({
        status: 201,
        body: { message: 'Goal created successfully', data: goalBody(await goals.create(site, body)) },
      }),
    }),
    siteRoute({
      ...common,
      method: 'DELETE',
      path: `${BASE}/:goal_id`,
      summary: 'Delete a goal',
      access: { site: 'write' },
      siteFrom: { param: 'id' },
      params: Type.Object({ ...ById.properties, goal_id: Type.String({ description: 'UUID' }) }),
      query: Nothing,
      responses: { 200: Type.Object({ message: Type.String() }) },
      async handle({ site, params }) {
        if (!isUuid(params.goal_id)) throw new AppError('invalid_parameter', 'Invalid goal ID');
        await goals.delete(site, params.goal_id);
        return { status: 200, body: { message: 'Goal deleted successfully' } };
      },
    }),
    siteRoute({
      ...common,
      tag: 'Analytics',
      method: 'GET',
      path: '/api/v1/analytics/goals-stats/:website_id',
      summary: 'Conversions of every goal, also of those without any',
      access: { site: 'read' },
      siteFrom: { param: 'website_id' },
      params: Type.Object({ website_id: Type.String({ description: 'UUID or public site id' }) }),
      query: Type.Object(ANALYTICS_PARAMETERS),
      responses: { 200: GoalsStats },
      async handle({ site, params, query, request }) {
        const asked = ask(site.siteId, query, 7, clock(), request.signal);
        const list = await goalStats(metrics, await goals.list(site), asked);
        return {
          status: 200,
          body: { website_id: params.website_id, goals: list },
          headers: { 'Cache-Control': 'private, no-cache' },
        };
      },
    }),
  ];
}

function goalBody(goal: GoalRecord): Static<typeof Goal> {
  return {
    id: goal.id,
    websiteId: goal.websiteId,
    name: goal.name,
    type: goal.type,
    identifier: goal.identifier,
    ...(goal.selector === null ? {} : { selector: goal.selector }),
    createdAt: goal.createdAt.toISOString(),
    updatedAt: goal.updatedAt.toISOString(),
  };
}
