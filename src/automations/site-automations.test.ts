import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { silentTelemetry } from '../telemetry.js';
import type { Automation } from './automation.js';
import { createSiteAutomations } from './site-automations.js';

const at = new Date();

/** Runs a script of so many characters in the browser. */
const scripted = (websiteId: string, characters: number): Automation => ({
  ...{
    id: randomUUID(),
    websiteId,
    userId: 'u',
    name: 'n',
    description: '',
    webhookSecret: 's',
    isActive: true,
  },
  ...{ triggerType: 'pageView', triggerConfig: {}, conditions: [], createdAt: at, updatedAt: at },
  actions: [
    {
      ...{ id: randomUUID(), actionType: 'script', actionConfig: { code: 'x'.repeat(characters) } },
      ...{ orderIndex: 0, createdAt: at, updatedAt: at },
    },
  ],
});

it('keeps no more of what trackers are told than there is room for, however many sites it is', async () => {
  const asked: string[] = [];
  const sites = createSiteAutomations({
    automations: {
      async active(siteIds) {
        asked.push(...siteIds);
        return siteIds.map((siteId) => scripted(siteId, 1_000));
      },
      goals: async () => [],
    },
    notices: { onChange: () => () => {} },
    telemetry: silentTelemetry(),
    maxCharacters: 5_000,
  });
  for (const siteId of ['a', 'b', 'c']) expect((await sites.get(siteId)).payload).toContain('xxx');
  expect(['a', 'b', 'c'].map((siteId) => sites.peek(siteId) !== undefined)).toEqual([true, true, true]);
  for (const siteId of ['d', 'e', 'f']) await sites.get(siteId);
  expect(sites.peek('a')).toBeUndefined();
  expect(sites.peek('f')).toBeDefined();
  expect(asked).toHaveLength(6);
});

it('finds the goal of a trigger however its id is written', async () => {
  const goalId = randomUUID();
  const asked: string[] = [];
  const sites = createSiteAutomations({
    automations: {
      active: async () => [
        {
          ...scripted('a', 1),
          ...{ triggerType: 'goalCompleted', triggerConfig: { goal_id: ` ${goalId.toUpperCase()} ` } },
          actions: [
            {
              ...{ id: randomUUID(), actionType: 'webhook', actionConfig: { url: 'https://hook.example' } },
              ...{ orderIndex: 0, createdAt: at, updatedAt: at },
            },
          ],
        },
      ],
      async goals(ids) {
        asked.push(...ids);
        return [{ id: goalId, siteId: 'a', type: 'event', identifier: 'signup' }];
      },
    },
    notices: { onChange: () => () => {} },
    telemetry: silentTelemetry(),
  });
  expect((await sites.get('a')).rules).toBeDefined();
  expect(asked.map((id) => id.toLowerCase())).toEqual([goalId]);
});
