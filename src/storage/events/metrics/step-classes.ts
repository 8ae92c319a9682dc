import type { StepMatch } from '../../../metrics/funnel-metrics.js';

/** Equal steps of an unordered funnel: as many events serve them as there are steps. */
export interface StepClass {
  readonly match: StepMatch;
  readonly steps: number;
}

/**
 * The steps of an unordered funnel, the most specific first: an event serves the first class that it matches. Exact pages and event
 * types, then beginnings and parts of pages, longer ones first, then patterns; else in the order of the funnel.
 */
export function stepClasses(steps: readonly StepMatch[]): StepClass[] {
  const classes = new Map<string, { match: StepMatch; steps: number }>();
  for (const match of steps) {
    const key = JSON.stringify(match);
    const known = classes.get(key);
    if (known) known.steps++;
    else classes.set(key, { match, steps: 1 });
  }
  return [...classes.values()].sort((a, b) => {
    const [rankA, lengthA] = specificity(a.match);
    const [rankB, lengthB] = specificity(b.match);
    return rankA - rankB || lengthB - lengthA;
  });
}

/** Rank, smaller is more specific, and length among those of one rank. */
function specificity(match: StepMatch): [rank: number, length: number] {
  if (match.on !== 'page' || match.how === 'exact') return [0, 0];
  return match.how === 'regex' ? [2, 0] : [1, match.text.length];
}
