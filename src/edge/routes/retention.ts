/** How long data is kept (contract 13.5 and 13.6). */

import Type from 'typebox';
import type { Retention, RetentionRun } from '../../privacy/retention.js';
import { policiesOf, sharedPolicies } from '../../privacy/retention-policies.js';
import type { WebsiteService } from '../../websites/website-service.js';
import { userIdOf } from '../caller.js';
import { type AnyRoute, Nothing, route } from '../route.js';
import { answered } from '../store-away.js';

export interface RetentionRoutesOptions {
  readonly retention: Pick<Retention, 'run'>;
  readonly websites: Pick<WebsiteService, 'list'>;
}

/** A caller does not wait longer; what is left is done by the next run. */
const RUN_MS = 20_000;

const Policy = Type.Object({
  data_type: Type.String(),
  retention_period: Type.Integer({ minimum: 0, description: '0: not stored at all' }),
  retention_unit: Type.Union([Type.Literal('days'), Type.Literal('hours'), Type.Literal('unlimited')]),
  auto_delete: Type.Boolean(),
  description: Type.String(),
  website_id: Type.Union([Type.String(), Type.Null()], { description: 'UUID; null: the same for all' }),
  website_name: Type.Union([Type.String(), Type.Null()]),
});
const Policies = Type.Object({ success: Type.Literal(true), data: Type.Array(Policy) });

const CleanedUp = Type.Object({
  success: Type.Literal(true),
  message: Type.String(),
  data: Type.Object({
    started_at: Type.String({ format: 'date-time' }),
    finished_at: Type.String({ format: 'date-time' }),
    websites: Type.Integer({ minimum: 0 }),
    complete: Type.Boolean({
      description: 'false: the time was over first; the rest is done by the next run',
    }),
    deleted: Type.Record(Type.String(), Type.Integer({ minimum: 0 }), {
      description: 'Rows by table; of recordings the objects they lie in',
    }),
  }),
});

const common = { tag: 'privacy', cors: 'api', params: Nothing, query: Nothing } as const;

export function retentionRoutes({ retention, websites }: RetentionRoutesOptions): AnyRoute[] {
  return [
    route({
      ...common,
      method: 'GET',
      path: '/api/v1/privacy/retention-policies',
      summary: "How long what is kept, for each of the account's websites and for all",
      bucket: 'api',
      access: 'account',
      responses: { 200: Policies },
      async handle({ principal }) {
        const sites = await websites.list(userIdOf(principal));
        const data = [
          ...sites.flatMap((site) =>
            policiesOf(site.settings).map((policy) => ({
              ...policy,
              website_id: site.id,
              website_name: site.name,
            })),
          ),
          ...sharedPolicies().map((policy) => ({ ...policy, website_id: null, website_name: null })),
        ];
        return { status: 200, body: { success: true, data } };
      },
    }),
    route({
      ...common,
      method: 'POST',
      path: '/api/v1/privacy/cleanup',
      summary: 'Remove what has expired of all websites now instead of tonight',
      bucket: 'admin',
      access: 'admin',
      responses: { 200: CleanedUp },
      async handle() {
        const run = await answered(retention.run(RUN_MS));
        const message = run.isComplete
          ? 'Data retention cleanup completed successfully'
          : 'Data retention cleanup goes on with the next run';
        return { status: 200, body: { success: true, message, data: runBody(run) } };
      },
    }),
  ];
}

function runBody({ startedAt, finishedAt, sites, deleted, isComplete }: RetentionRun) {
  return {
    started_at: new Date(startedAt).toISOString(),
    finished_at: new Date(finishedAt).toISOString(),
    websites: sites,
    complete: isComplete,
    deleted: Object.fromEntries(deleted),
  };
}
