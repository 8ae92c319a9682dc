/** How long data is kept (contract 13.5 and 13.6). */

import Type from 'typebox';
import { AppError } from '../../errors.js';
import type { Retention, RetentionRun } from '../../privacy/retention.js';
import { policiesOf, sharedPolicies } from '../../privacy/retention-policies.js';
import type { WebsiteService } from '../../websites/website-service.js';
import { userIdOf } from '../caller.js';
import { type AnyRoute, Nothing, route } from '../route.js';
import { answered } from '../store-away.js';

export interface RetentionRoutesOptions {
  readonly retention: Pick<Retention, 'run'>;
  readonly websites: Pick<WebsiteService, 'list'>;
  /** How long a caller waits for a run of another node to end, and for the own, ms. Default 30,000. */
  readonly waitMs?: number;
}

/** Of a run that somebody waits for; what is left is done by the next one. */
const RUN_MS = 20_000;
const WAIT_MS = 30_000;

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

export function retentionRoutes(options: RetentionRoutesOptions): AnyRoute[] {
  const { retention, websites, waitMs = WAIT_MS } = options;
  let running: Promise<RetentionRun> | undefined;
  /** One for all who ask meanwhile: the nightly run of another node, which it waits for, may take half an hour. */
  const run = (): Promise<RetentionRun> => {
    running ??= answered(retention.run(RUN_MS)).finally(() => {
      running = undefined;
    });
    return running;
  };
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
        const done = await within(waitMs, run());
        const message = done.isComplete
          ? 'Data retention cleanup completed successfully'
          : 'Data retention cleanup goes on with the next run';
        return { status: 200, body: { success: true, message, data: runBody(done) } };
      },
    }),
  ];
}

/** @throws AppError `overloaded` when it takes longer; it goes on */
async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = new AppError('overloaded', 'Expired data is being removed just now', {
      retryAfterSeconds: 60,
    });
    timer = setTimeout(() => reject(error), ms);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
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
