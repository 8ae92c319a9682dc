/** Conversions of a site's goals (contract 7.14, metrics.md "Goals, funnels, retention"). */
import { normalisePage } from '../enrich/page.js';
import { type Asked, scopeOf } from '../metrics/asked.js';
import { compareBytes, percent } from '../metrics/figures.js';
import type { GoalMatch } from '../metrics/goal-metrics.js';
import type { MetricsStore } from '../metrics/metrics-store.js';
import type { GoalRecord } from '../storage/metadata/metadata.js';

/** One element a goal, also those without conversions; most conversions first, then by name. */
export async function goalStats(
  store: Pick<MetricsStore, 'goals' | 'totals'>,
  goals: readonly GoalRecord[],
  asked: Asked,
) {
  const scope = scopeOf(asked);
  const [counts, totals] = await Promise.all([
    store.goals(scope, goals.map(goalMatch), asked.signal),
    store.totals(scope, asked.signal),
  ]);
  return goals
    .map((goal, i) => {
      const { count, visitors, properties } = counts[i] ?? { count: 0, visitors: 0, properties: '' };
      const sample = sampleOf(properties);
      return {
        event_type: goal.name,
        count,
        unique_visitors: visitors,
        // Visitors without a page view in the period convert, too, but are not among those it is a share of.
        conversion_rate: Math.min(100, percent(visitors, totals.visitors)),
        goal_id: goal.id,
        type: goal.type,
        identifier: goal.identifier,
        ...(sample === undefined ? {} : { sample_properties: sample }),
      };
    })
    .sort(
      (a, b) =>
        b.count - a.count || compareBytes(a.event_type, b.event_type) || compareBytes(a.goal_id, b.goal_id),
    );
}

/** Which events convert for a goal. */
export function goalMatch({ type, identifier }: Pick<GoalRecord, 'type' | 'identifier'>): GoalMatch {
  if (type !== 'pageview') return { on: 'event', type: identifier };
  if (!identifier.includes('*')) return { on: 'page', how: 'exact', path: normalisePage(identifier) };
  return { on: 'page', how: 'wildcard', path: wildcardPath(identifier) };
}

/** As `normalisePage`, but that a wildcard may stand for the beginning, too, and a slash at the end says something. */
function wildcardPath(identifier: string): string {
  const path = identifier.replace(/^https?:\/\/[^/?#]*/i, '').replace(/[?#].*$/s, '');
  return path.startsWith('/') || path.startsWith('*') ? path : `/${path}`;
}

function sampleOf(properties: string): object | undefined {
  try {
    const value: unknown = JSON.parse(properties === '' ? '{}' : properties);
    const holds = typeof value === 'object' && value !== null && Object.keys(value).length > 0;
    return holds && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
