/** What the dashboard asks about plans (contract 18.4). Nothing is sold here: everything is unlimited. */

import Type from 'typebox';
import { startOfMonth, type UsageService } from '../../billing/usage.js';
import { AppError } from '../../errors.js';
import { userIdOf } from '../caller.js';
import { type AnyRoute, Nothing, route } from '../route.js';

export interface BillingRoutesOptions {
  readonly usage: UsageService;
  /** ms since epoch; default the system clock. */
  readonly clock?: () => number;
}

/** Not `starter`, for which the dashboard shows invented heatmaps. */
const PLAN = 'self-hosted';
const FEATURES = ['analytics', 'funnels', 'automations', 'heatmaps', 'replays', 'sharing', 'export'] as const;

const Resource = Type.Object({
  current: Type.Integer(),
  limit: Type.Integer({ description: '-1: none' }),
  canCreate: Type.Boolean(),
});
const plan = Type.String({ description: `Always ${PLAN}` });
const BillingUsage = Type.Object({
  id: Type.String({ format: 'uuid', description: 'Of the account' }),
  plan,
  status: Type.String({ description: 'Always active' }),
  usage: Type.Object({
    websites: Resource,
    workflows: Resource,
    funnels: Resource,
    heatmaps: Resource,
    replays: Resource,
    monthlyEvents: Resource,
  }),
  features: Type.Array(Type.String()),
  isActive: Type.Boolean(),
  isCustomPlan: Type.Boolean(),
  priceMonthly: Type.Number(),
  currentPeriodEnd: Type.String({ format: 'date-time', description: 'End of the UTC month that is counted' }),
});
const Refused = Type.Object({ error: Type.String(), message: Type.String(), code: Type.String() });

const BASE = '/api/v1/user/billing';
const common = {
  tag: 'Billing',
  bucket: 'api',
  cors: 'api',
  access: 'account',
  params: Nothing,
  query: Nothing,
} as const;

export function billingRoutes({ usage, clock = Date.now }: BillingRoutesOptions): AnyRoute[] {
  return [
    route({
      ...common,
      method: 'GET',
      path: `${BASE}/usage`,
      summary: 'What the account has; nothing of it is limited',
      responses: { 200: Type.Object({ data: BillingUsage }) },
      async handle({ principal }) {
        const id = userIdOf(principal);
        const used = await usage.of(id);
        const data = {
          ...{ id, plan: PLAN, status: 'active' },
          usage: {
            websites: unlimited(used.websites),
            workflows: unlimited(used.automations),
            funnels: unlimited(used.funnels),
            heatmaps: unlimited(used.heatmaps),
            replays: unlimited(used.replays),
            monthlyEvents: unlimited(used.monthlyEvents),
          },
          features: FEATURES,
          ...{ isActive: true, isCustomPlan: true, priceMonthly: 0 },
          currentPeriodEnd: new Date(endOfMonth(clock())).toISOString(),
        };
        return { status: 200, body: { data } };
      },
    }),
    route({
      ...common,
      method: 'POST',
      path: `${BASE}/select-free`,
      summary: 'Choose the plan that costs nothing, which is the only one',
      responses: { 200: Type.Object({ success: Type.Boolean(), data: Type.Object({ plan }) }) },
      handle: async () => ({ status: 200, body: { success: true, data: { plan: PLAN } } }),
    }),
    ...['checkout', 'portal', 'cancel'].map((name) =>
      route({
        ...common,
        method: 'POST',
        path: `${BASE}/${name}`,
        summary: `Refused: nothing is sold here (${name})`,
        responses: { 409: Refused },
        handle: () =>
          Promise.reject(
            new AppError('conflict', 'This instance is self-hosted: there is nothing to pay or to cancel'),
          ),
      }),
    ),
  ];
}

const unlimited = (current: number) => ({ current, limit: -1, canCreate: true });

function endOfMonth(now: number): number {
  const date = new Date(startOfMonth(now));
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1);
}
