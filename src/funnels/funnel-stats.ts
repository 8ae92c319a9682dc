/** Statistics of funnels in the contract's shape (9.1), with the additions of docs/metrics-notes.md "Funnels". */
import { AppError } from '../errors.js';
import { DIRECT } from '../metrics/analytics.js';
import { scopeOf } from '../metrics/asked.js';
import { countryName, UNKNOWN } from '../metrics/countries.js';
import { compareBytes, percent, round2 } from '../metrics/figures.js';
import type { FunnelMetrics, FunnelQuestion, StepCounts, TrackedCounts } from '../metrics/funnel-metrics.js';
import type { FunnelRecord } from '../storage/metadata/metadata.js';
import type { Breakdown, FunnelAsked } from './parameters.js';
import { MAX_STEPS, matchOf } from './steps.js';

/** Funnels of a list that are counted at the same time. */
const CONCURRENCY = 4;

const ATTRIBUTES = {
  source: { attribute: 'channel', missing: DIRECT },
  device: { attribute: 'device', missing: UNKNOWN },
  country: { attribute: 'country_code', missing: '' },
} as const satisfies Record<Breakdown, FunnelQuestion['breakdown']>;

const NOTHING_TRACKED = { starts: 0, progress: 0, conversions: 0, dropoffs: 0 };

export type FunnelStats = Awaited<ReturnType<typeof funnelStats>>;

/** What visitors did of a funnel in the period, and what trackers reported of it. */
export async function funnelStats(store: FunnelMetrics, funnel: FunnelRecord, asked: FunnelAsked) {
  const { breakdown } = asked;
  const [tracked, whole, rows] = await Promise.all([
    trackedOf(store, [funnel], asked),
    counted(store, funnel, asked),
    breakdown === null ? undefined : brokenDown(store, funnel, asked, breakdown),
  ]);
  return { ...whole, tracked: tracked(funnel), ...(rows === undefined ? {} : { breakdown: rows }) };
}

/**
 * Statistics of many funnels, by their ids. A funnel that costs too much has none, so that the others can still be seen (and it be
 * changed).
 */
export async function allFunnelStats(
  store: FunnelMetrics,
  funnels: readonly FunnelRecord[],
  asked: FunnelAsked,
): Promise<ReadonlyMap<string, FunnelStats>> {
  const stats = new Map<string, FunnelStats>();
  if (funnels.length === 0) return stats;
  const tracked = await trackedOf(store, funnels, asked);
  const waiting = funnels.values();
  const work = async () => {
    for (const funnel of waiting) {
      const whole = await counted(store, funnel, asked).catch(unlessTooExpensive);
      if (whole) stats.set(funnel.id, { ...whole, tracked: tracked(funnel) });
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, work));
  return stats;
}

function unlessTooExpensive(error: unknown): null {
  if (error instanceof AppError && /^(query_too_expensive|timeout)$/.test(error.code)) return null;
  throw error;
}

async function trackedOf(store: FunnelMetrics, funnels: readonly FunnelRecord[], asked: FunnelAsked) {
  const { siteId, period, signal } = asked;
  const ids = funnels.map(({ id }) => id);
  const rows = await store.trackedFunnels(siteId, ids, period.from, period.to, signal);
  const byId = new Map(rows.map((row): [string, TrackedCounts] => [row.funnelId, row]));
  return ({ id }: FunnelRecord) => {
    const { starts, progress, conversions, dropoffs } = byId.get(id) ?? NOTHING_TRACKED;
    return { starts, progress, conversions, dropoffs };
  };
}

async function counted(store: FunnelMetrics, funnel: FunnelRecord, asked: FunnelAsked) {
  const steps = countedSteps(funnel);
  if (steps.length === 0) return shape(steps, []);
  const [row] = await store.funnel(scopeOf(asked), questionOf(steps, asked), asked.signal);
  return shape(steps, row?.steps ?? []);
}

async function brokenDown(store: FunnelMetrics, funnel: FunnelRecord, asked: FunnelAsked, by: Breakdown) {
  const steps = countedSteps(funnel);
  if (steps.length === 0) return [];
  const question = { ...questionOf(steps, asked), breakdown: ATTRIBUTES[by] };
  const rows = await store.funnel(scopeOf(asked), question, asked.signal);
  return rows
    .map((row) => ({
      value: by === 'country' ? countryName(row.label) : row.label,
      ...(by === 'country' && row.label !== '' ? { code: row.label } : {}),
      ...shape(steps, row.steps),
    }))
    .sort(
      (a, b) =>
        b.totalEntries - a.totalEntries || b.completions - a.completions || compareBytes(a.value, b.value),
    )
    .slice(0, asked.limit);
}

/** Steps beyond the limit (of the original's funnels) are not counted. */
const countedSteps = (funnel: FunnelRecord) => funnel.steps.slice(0, MAX_STEPS);

function questionOf(steps: FunnelRecord['steps'], { order, windowMs }: FunnelAsked): FunnelQuestion {
  return { steps: steps.map(matchOf), order, windowMs };
}

function shape(steps: FunnelRecord['steps'], counts: readonly StepCounts[]) {
  const visitors = (i: number) => counts[i]?.visitors ?? 0;
  const entries = visitors(0);
  const completions = visitors(steps.length - 1);
  return {
    totalEntries: entries,
    completions,
    conversionRate: percent(completions, entries),
    stepBreakdown: steps.map((step, i) => {
      const count = visitors(i);
      const before = i === 0 ? entries : visitors(i - 1);
      const medianMs = counts[i]?.medianMs ?? null;
      return {
        stepOrder: step.order,
        stepName: step.name,
        count,
        dropoffCount: before - count,
        dropoffRate: percent(before - count, before),
        conversionRate: percent(count, entries),
        conversionRateFromPrevious: percent(count, before),
        medianSecondsFromPrevious: medianMs === null ? null : round2(medianMs / 1000),
      };
    }),
  };
}
