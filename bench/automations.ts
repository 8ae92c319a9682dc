/** What automations cost an event on its way to the store: a site without any, and one with twenty that the server decides. */
import { randomUUID } from 'node:crypto';
import type { Automation } from '../src/automations/automation.js';
import { createEvaluator, type SeenRow } from '../src/automations/evaluator.js';
import { createSiteAutomations } from '../src/automations/site-automations.js';
import { silentTelemetry } from '../src/telemetry.js';
import { encodeRow, makeRow } from '../test/integration/event-rows.js';

const EVENTS = 10_000;
const ROUNDS = 20;
const SITE = '65f1a2b3c4d5e6f708192a3b';
const BUSY = '65f1a2b3c4d5e6f708192a3c';

const BUTTON = { element_tag: 'button', element_id: 'buy', element_class: 'big', element_text: 'Buy now' };

/** As a tracker sends them: every second event a page view, every fifth a click, a few with a name of their own. */
function rows(siteId: string): SeenRow[] {
  return Array.from({ length: EVENTS }, (_, i) => {
    const eventType =
      i % 2 === 0 ? 'pageview' : i % 5 === 0 ? 'click' : i % 50 === 1 ? `step_${i % 3}` : 'scroll_depth';
    const row = makeRow({
      event_id: randomUUID().replaceAll('-', ''),
      site_id: siteId,
      timestamp: Date.now(),
      kind: eventType === 'pageview' ? 1 : 2,
      event_type: eventType,
      properties: eventType === 'click' ? JSON.stringify(BUTTON) : '{}',
    });
    return { siteId, table: 'events', source: 'batch', bytes: encodeRow(row) };
  });
}

function automation(n: number): Automation {
  const time = new Date();
  const isClick = n % 2 === 0;
  return {
    ...{
      id: randomUUID(),
      websiteId: BUSY,
      userId: '',
      name: `Automation ${n}`,
      description: '',
      isActive: true,
    },
    ...{ createdAt: time, updatedAt: time, webhookSecret: '' },
    triggerType: isClick ? 'click' : 'customEvent',
    triggerConfig: isClick
      ? { selector: `button#never-${n}.big`, url_pattern: '/p*' }
      : { event_name: `step_${n}`, event_key: 'x' },
    conditions: [
      { id: '', conditionType: 'device', conditionConfig: { device_type: 'desktop' }, createdAt: time },
    ],
    actions: [
      {
        id: '',
        actionType: 'webhook',
        actionConfig: { url: 'https://x.example' },
        orderIndex: 0,
        createdAt: time,
        updatedAt: time,
      },
    ],
  };
}

/** Takes about three seconds. */
export async function runAutomationsBench(
  print: (line: string) => void = console.log,
): Promise<{ usPerEvent: number }> {
  const telemetry = silentTelemetry();
  const automations = Array.from({ length: 20 }, (_, n) => automation(n));
  const evaluator = createEvaluator({
    sites: createSiteAutomations({
      automations: { active: async (ids) => (ids.includes(BUSY) ? automations : []), goals: async () => [] },
      notices: { onChange: () => {} },
      telemetry,
      ttlMs: 3_600_000,
    }),
    executions: { begin: async () => new Set() },
    allowance: { take: async (_id, wanted) => wanted },
    onBegun: () => {},
    telemetry,
  });
  const measure = async (siteId: string): Promise<number> => {
    const seen = rows(siteId);
    await evaluator.observe(seen);
    const start = process.cpuUsage();
    for (let round = 0; round < ROUNDS; round++) {
      const wanted = seen.filter((row) => evaluator.wants(row.siteId));
      if (wanted.length > 0) await evaluator.observe(wanted);
    }
    const { user, system } = process.cpuUsage(start);
    return (user + system) / (EVENTS * ROUNDS);
  };
  const without = await measure(SITE);
  await measure(BUSY);
  const usPerEvent = await measure(BUSY);
  print(`site without automations   ${without.toFixed(3)} CPU µs an event`);
  print(`site with 20 automations   ${usPerEvent.toFixed(3)} CPU µs an event`);
  return { usPerEvent };
}
