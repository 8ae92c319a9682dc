/** Automations of a website (contract 10.2 to 10.8, 10.12). */

import Type, { type Static } from 'typebox';
import type { Principal } from '../../auth/principal.js';
import type { Automation, AutomationChange, AutomationStats } from '../../automations/automation.js';
import type { AutomationService } from '../../automations/automation-service.js';
import { warningsOf } from '../../automations/definition.js';
import { tryAutomation } from '../../automations/trial.js';
import type { Site } from '../../websites/site.js';
import { userIdOf } from '../caller.js';
import { type AnyRoute, Nothing, route, siteRoute } from '../route.js';
import {
  AutomationBody,
  CreateBody,
  StatsBody,
  TestAnswer,
  TestBody,
  UpdateBody,
  type Worded,
} from './automation-bodies.js';

export interface AutomationRoutesOptions {
  readonly automations: AutomationService;
  /** Whether the caller may change the site: others do not get to see what webhooks are signed with. */
  readonly mayWrite: (principal: Principal, site: Site) => Promise<boolean>;
}

const BASE = '/api/v1/websites/:website_id/automations';
const tag = 'Automations';
const InSite = Type.Object({ website_id: Type.String({ description: 'UUID or public site id' }) });
const One = Type.Object({ ...InSite.properties, automation_id: Type.String({ description: 'UUID' }) });
const common = {
  tag,
  bucket: 'api',
  cors: 'api',
  query: Nothing,
  siteFrom: { param: 'website_id' },
} as const;
const reading = { ...common, access: { site: 'read' } } as const;
const writing = { ...common, access: { site: 'write' } } as const;

export function automationRoutes({ automations, mayWrite }: AutomationRoutesOptions): AnyRoute[] {
  const shown = (automation: Automation, isOwners = true) => ({
    status: 200,
    body: automationBody(automation, isOwners),
  });
  return [
    siteRoute({
      ...reading,
      method: 'GET',
      path: BASE,
      summary: 'Automations of a website with their figures, newest first',
      params: InSite,
      responses: { 200: Type.Object({ automations: Type.Array(AutomationBody), total: Type.Integer() }) },
      async handle({ site, principal }) {
        const isOwners = await mayWrite(principal, site);
        const list = (await automations.list(site)).map(({ automation, stats }) => ({
          ...automationBody(automation, isOwners),
          stats,
        }));
        return { status: 200, body: { automations: list, total: list.length } };
      },
    }),
    siteRoute({
      ...writing,
      method: 'POST',
      path: BASE,
      summary: 'Create an automation; it is active at once',
      params: InSite,
      body: CreateBody,
      responses: { 201: AutomationBody },
      async handle({ site, principal, body }) {
        const created = await automations.create(site, userIdOf(principal), {
          name: body.name,
          description: body.description ?? '',
          triggerType: body.triggerType,
          triggerConfig: body.triggerConfig ?? {},
          actions: body.actions.map(actionFrom),
          conditions: (body.conditions ?? []).map(conditionFrom),
        });
        return { status: 201, body: automationBody(created, true) };
      },
    }),
    siteRoute({
      ...reading,
      method: 'GET',
      path: `${BASE}/:automation_id`,
      summary: 'One automation with its figures',
      params: One,
      responses: { 200: AutomationBody },
      async handle({ site, principal, params }) {
        const { automation, stats } = await automations.get(site, params.automation_id);
        return {
          status: 200,
          body: { ...automationBody(automation, await mayWrite(principal, site)), stats },
        };
      },
    }),
    siteRoute({
      ...writing,
      method: 'PUT',
      path: `${BASE}/:automation_id`,
      summary: 'Change an automation; what is absent or null stays',
      params: One,
      body: UpdateBody,
      responses: { 200: AutomationBody },
      handle: async ({ site, params, body }) =>
        shown(await automations.update(site, params.automation_id, changeFrom(body))),
    }),
    siteRoute({
      ...writing,
      method: 'DELETE',
      path: `${BASE}/:automation_id`,
      summary: 'Delete an automation with its executions',
      params: One,
      responses: { 204: Type.Undefined() },
      async handle({ site, params }) {
        await automations.delete(site, params.automation_id);
        return { status: 204, body: undefined };
      },
    }),
    siteRoute({
      ...writing,
      method: 'POST',
      path: `${BASE}/:automation_id/toggle`,
      summary: 'Switch an automation on or off',
      params: One,
      responses: { 200: AutomationBody },
      handle: async ({ site, params }) => shown(await automations.toggle(site, params.automation_id)),
    }),
    siteRoute({
      ...writing,
      method: 'POST',
      path: `${BASE}/:automation_id/rotate-secret`,
      summary: 'Sign webhooks of an automation with a new secret from now on',
      params: One,
      responses: { 200: AutomationBody },
      handle: async ({ site, params }) => shown(await automations.rotateSecret(site, params.automation_id)),
    }),
    siteRoute({
      ...reading,
      method: 'GET',
      path: `${BASE}/:automation_id/stats`,
      summary: 'Figures of an automation; zeros before its first execution',
      params: One,
      responses: { 200: StatsBody },
      async handle({ site, params }): Promise<{ status: number; body: AutomationStats }> {
        return { status: 200, body: await automations.stats(site, params.automation_id) };
      },
    }),
    // The dashboard asks at the second address.
    ...['/api/v1/automations/test', '/api/automations/test'].map((path) =>
      route({
        ...{
          tag,
          bucket: 'api',
          cors: 'api',
          access: 'account',
          method: 'POST',
          path,
          params: Nothing,
          query: Nothing,
        },
        summary: 'Would this automation run for these data? Nothing is sent',
        body: TestBody,
        responses: { 200: TestAnswer },
        handle: async ({ body: { automation, testData } }) => ({
          status: 200,
          body: tryAutomation({
            trigger: wordedFrom(automation.trigger),
            conditions: (automation.conditions ?? []).map(wordedFrom),
            actions: (automation.actions ?? []).map(wordedFrom),
            testData: testData ?? {},
          }),
        }),
      }),
    ),
  ];
}

const wordedFrom = (given: Static<typeof Worded>) => ({ type: given.type, config: given.config ?? {} });
const actionFrom = (given: Static<typeof CreateBody>['actions'][number]) => ({
  actionType: given.actionType,
  actionConfig: given.actionConfig ?? {},
});
const conditionFrom = (given: {
  conditionType: string;
  conditionConfig?: Record<string, unknown> | null;
}) => ({
  conditionType: given.conditionType,
  conditionConfig: given.conditionConfig ?? {},
});

function changeFrom(body: Static<typeof UpdateBody>): AutomationChange {
  const { name, description, triggerType, triggerConfig, isActive, actions, conditions } = body;
  return {
    ...(name == null ? {} : { name }),
    ...(description == null ? {} : { description }),
    ...(triggerType == null ? {} : { triggerType }),
    ...(triggerConfig == null ? {} : { triggerConfig }),
    ...(isActive == null ? {} : { isActive }),
    ...(actions == null ? {} : { actions: actions.map(actionFrom) }),
    ...(conditions == null ? {} : { conditions: conditions.map(conditionFrom) }),
  };
}

function automationBody(automation: Automation, isOwners: boolean) {
  const { webhookSecret, actions, conditions, createdAt, updatedAt, ...rest } = automation;
  const automationId = rest.id;
  return {
    ...rest,
    createdAt: createdAt.toISOString(),
    updatedAt: updatedAt.toISOString(),
    actions: actions.map((action) => ({
      ...action,
      automationId,
      createdAt: action.createdAt.toISOString(),
      updatedAt: action.updatedAt.toISOString(),
    })),
    conditions: conditions.map((condition) => ({
      ...condition,
      automationId,
      orderIndex: 0,
      createdAt: condition.createdAt.toISOString(),
    })),
    warnings: warningsOf(automation),
    ...(isOwners ? { webhookSecret } : {}),
  };
}
