/** Shapes of the funnel routes (contract section 9). */
import Type from 'typebox';
import { FUNNEL_LIMITS } from '../../funnels/funnel-service.js';
import { BREAKDOWNS, DEFAULT_WINDOW_HOURS, MAX_WINDOW_HOURS } from '../../funnels/parameters.js';
import { MAX_STEPS, MIN_STEPS, STEP_LIMITS } from '../../funnels/steps.js';
import { STEP_ORDERS } from '../../metrics/funnel-metrics.js';
import { ANALYTICS_PARAMETERS } from './analytics.js';

const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const maybe = <T extends Type.TSchema>(schema: T) => Type.Optional(nullable(schema));
const percentage = Type.Number({ description: 'Percent, two decimal places' });
const list = (values: readonly string[]) => values.map((value) => `\`${value}\``).join(', ');

const Step = Type.Object({
  id: Type.String({ format: 'uuid' }),
  funnelId: Type.String({ format: 'uuid' }),
  name: Type.String(),
  order: Type.Integer(),
  stepType: Type.String({ description: '`page_view` or `event`' }),
  pagePath: Type.Optional(Type.String()),
  eventType: Type.Optional(Type.String()),
  matchType: Type.String({ description: '`exact`, `contains`, `starts_with` or `regex`' }),
});

const counts = {
  totalEntries: Type.Integer({ description: 'Visitors who reached the first step' }),
  completions: Type.Integer({ description: 'Visitors who reached the last step' }),
  conversionRate: percentage,
  stepBreakdown: Type.Array(
    Type.Object({
      stepOrder: Type.Integer(),
      stepName: Type.String(),
      count: Type.Integer({ description: 'Visitors who reached the step' }),
      dropoffCount: Type.Integer({ description: 'Of those at the step before, who did not reach this one' }),
      dropoffRate: Type.Number({ description: 'Percent of those at the step before' }),
      conversionRate: Type.Number({ description: 'Percent of those at the first step' }),
      conversionRateFromPrevious: Type.Number({ description: 'Percent of those at the step before' }),
      medianSecondsFromPrevious: nullable(
        Type.Number({ description: 'null: first step, nobody came, or steps in any order' }),
      ),
    }),
  ),
};

export const Stats = Type.Object({
  ...counts,
  tracked: Type.Object(
    {
      starts: Type.Integer(),
      progress: Type.Integer(),
      conversions: Type.Integer(),
      dropoffs: Type.Integer(),
    },
    { description: 'What the trackers reported in the period' },
  ),
  breakdown: Type.Optional(
    Type.Array(Type.Object({ value: Type.String(), code: Type.Optional(Type.String()), ...counts })),
  ),
});

export const Funnel = Type.Object({
  id: Type.String({ format: 'uuid' }),
  websiteId: Type.String({ description: '24 hex characters' }),
  userId: Type.String(),
  name: Type.String(),
  description: Type.String(),
  isActive: Type.Boolean(),
  createdAt: Type.String({ format: 'date-time' }),
  updatedAt: Type.String({ format: 'date-time' }),
  steps: Type.Array(Step),
  stats: Type.Optional(Stats),
});

const StepBody = Type.Object({
  name: Type.String({ minLength: 1, maxLength: STEP_LIMITS.name }),
  order: maybe(Type.Integer({ minimum: 0, maximum: 1_000_000, description: 'Default: place in the list' })),
  stepType: Type.String({ maxLength: 50, description: '`page_view` or `event`' }),
  pagePath: maybe(Type.String({ maxLength: STEP_LIMITS.pagePath, description: 'Of a `page_view`' })),
  eventType: maybe(Type.String({ maxLength: STEP_LIMITS.eventType, description: 'Of an `event`' })),
  matchType: maybe(
    Type.String({ maxLength: 50, description: '`exact` (default), `contains`, `starts_with` or `regex`' }),
  ),
});
const name = Type.String({ minLength: 1, maxLength: FUNNEL_LIMITS.name });
const description = maybe(Type.String({ maxLength: FUNNEL_LIMITS.description }));
const steps = Type.Array(StepBody, { minItems: MIN_STEPS, maxItems: MAX_STEPS });

export const CreateBody = Type.Object({ name, description, steps });
export const UpdateBody = Type.Object({
  name: maybe(name),
  description,
  isActive: maybe(Type.Boolean()),
  steps: maybe(steps),
});

const text = (description: string) => Type.Optional(Type.String({ description }));
export const STATS_QUERY = {
  ...ANALYTICS_PARAMETERS,
  window_hours: text(
    `From the first step to the last, 1 to ${MAX_WINDOW_HOURS}, default ${DEFAULT_WINDOW_HOURS}`,
  ),
  order: text(`${list(STEP_ORDERS)}; default \`ordered\``),
  breakdown: text(`Counts apart by ${list(BREAKDOWNS)} of the session of the first step`),
};
