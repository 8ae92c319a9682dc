/** Bodies of the automation routes (contract 10.1, 10.12). */
import Type from 'typebox';
import { AUTOMATION_LIMITS } from '../../automations/automation.js';

const config = Type.Record(Type.String(), Type.Unknown());
const givenConfig = Type.Optional(Type.Union([config, Type.Null()]));
const time = Type.String({ format: 'date-time' });
const type = Type.String({ minLength: 1, maxLength: 100 });

export const StatsBody = Type.Object({
  totalExecutions: Type.Integer(),
  successCount: Type.Integer(),
  failureCount: Type.Integer(),
  successRate: Type.Number({ description: 'Percent of those that ended' }),
  last30Days: Type.Integer(),
});

export const AutomationBody = Type.Object({
  id: Type.String({ format: 'uuid' }),
  websiteId: Type.String({ description: '24 hex characters' }),
  userId: Type.String(),
  name: Type.String(),
  description: Type.String(),
  triggerType: Type.String(),
  triggerConfig: config,
  isActive: Type.Boolean(),
  createdAt: time,
  updatedAt: time,
  actions: Type.Array(
    Type.Object({
      ...{ id: Type.String(), automationId: Type.String(), actionType: Type.String(), actionConfig: config },
      ...{ orderIndex: Type.Integer(), createdAt: time, updatedAt: time },
    }),
  ),
  conditions: Type.Array(
    Type.Object({
      ...{
        id: Type.String(),
        automationId: Type.String(),
        conditionType: Type.String(),
        conditionConfig: config,
      },
      ...{ orderIndex: Type.Integer(), createdAt: time },
    }),
  ),
  warnings: Type.Array(Type.String(), { description: 'What will not happen although it was saved' }),
  webhookSecret: Type.Optional(
    Type.String({ description: 'Signs webhooks; only for those who may change the site' }),
  ),
  stats: Type.Optional(StatsBody),
});

const actions = (minItems: number) =>
  Type.Array(Type.Object({ actionType: type, actionConfig: givenConfig }), {
    minItems,
    maxItems: AUTOMATION_LIMITS.actions,
  });
const conditions = Type.Union([
  Type.Array(Type.Object({ conditionType: type, conditionConfig: givenConfig }), {
    maxItems: AUTOMATION_LIMITS.conditions,
  }),
  Type.Null(),
]);
const name = Type.String({ minLength: 1, maxLength: 255 });
const description = Type.Union([Type.String({ maxLength: 10_000 }), Type.Null()]);

export const CreateBody = Type.Object({
  name,
  description: Type.Optional(description),
  triggerType: type,
  triggerConfig: givenConfig,
  actions: actions(1),
  conditions: Type.Optional(conditions),
});

/** Absent or null: unchanged. */
export const UpdateBody = Type.Object({
  name: Type.Optional(Type.Union([name, Type.Null()])),
  description: Type.Optional(description),
  triggerType: Type.Optional(Type.Union([type, Type.Null()])),
  triggerConfig: givenConfig,
  isActive: Type.Optional(Type.Union([Type.Boolean(), Type.Null()])),
  actions: Type.Optional(Type.Union([actions(0), Type.Null()])),
  conditions: Type.Optional(conditions),
});

export const Worded = Type.Object({ type, config: givenConfig });
export const TestBody = Type.Object({
  automation: Type.Object({
    id: Type.Optional(Type.String()),
    name: Type.Optional(Type.String()),
    trigger: Worded,
    conditions: Type.Optional(
      Type.Union([Type.Array(Worded, { maxItems: AUTOMATION_LIMITS.conditions }), Type.Null()]),
    ),
    actions: Type.Optional(
      Type.Union([Type.Array(Worded, { maxItems: AUTOMATION_LIMITS.actions }), Type.Null()]),
    ),
  }),
  testData: Type.Optional(Type.Union([config, Type.Null()])),
});
const details = (verdict: Record<string, Type.TSchema>) =>
  Type.Array(Type.Object({ index: Type.Integer(), type: Type.String(), ...verdict, message: Type.String() }));
export const TestAnswer = Type.Object({
  success: Type.Boolean(),
  message: Type.String(),
  trigger: Type.Object({ matched: Type.Boolean(), message: Type.String() }),
  conditions: Type.Object({
    ...{ total: Type.Integer(), passed: Type.Integer(), failed: Type.Integer() },
    details: details({ passed: Type.Boolean() }),
  }),
  actions: Type.Object({
    ...{ total: Type.Integer(), executed: Type.Integer() },
    details: details({ wouldRun: Type.Boolean() }),
  }),
});
