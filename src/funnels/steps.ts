/** Steps of a funnel: what may be stored, and which events serve what was stored. */
import { normalisePage } from '../enrich/page.js';
import { AppError } from '../errors.js';
import type { StepMatch } from '../metrics/funnel-metrics.js';
import type { FunnelStepRecord, NewFunnelStep } from '../storage/metadata/metadata.js';
import { patternProblem } from './pattern.js';

export const MIN_STEPS = 2;
export const MAX_STEPS = 20;
export const STEP_LIMITS = { name: 255, pagePath: 500, eventType: 255 } as const;

/** A step as a client sends it. */
export interface StepInput {
  readonly name: string;
  /** Default: its place in the list. */
  readonly order?: number | null | undefined;
  readonly stepType: string;
  readonly pagePath?: string | null | undefined;
  readonly eventType?: string | null | undefined;
  readonly matchType?: string | null | undefined;
}

type Kind = 'page_view' | 'event';
type MatchType = 'exact' | 'contains' | 'starts_with' | 'regex';

// The tracker's spellings of the same.
const KINDS = new Map<string, Kind>([
  ['page_view', 'page_view'],
  ['pageview', 'page_view'],
  ['event', 'event'],
]);
const MATCH_TYPES = new Map<string, MatchType>([
  ['', 'exact'],
  ['exact', 'exact'],
  ['contains', 'contains'],
  ['starts_with', 'starts_with'],
  ['startswith', 'starts_with'],
  ['regex', 'regex'],
]);

/**
 * The steps to store, by ascending order.
 * @throws AppError `invalid_parameter` naming the step
 */
export function checkedSteps(steps: readonly StepInput[]): NewFunnelStep[] {
  if (steps.length < MIN_STEPS || steps.length > MAX_STEPS)
    throw new AppError('invalid_parameter', `a funnel has ${MIN_STEPS} to ${MAX_STEPS} steps`);
  const checked = steps.map(checkedStep).sort((a, b) => a.order - b.order);
  // The tracker goes on to the next higher order: of two equal ones it would never reach the second.
  if (new Set(checked.map(({ order }) => order)).size < checked.length)
    throw new AppError('invalid_parameter', 'every step must have an order of its own');
  return checked;
}

function checkedStep(step: StepInput, index: number): NewFunnelStep {
  const name = step.name.trim();
  const order = step.order ?? index + 1;
  const kind = KINDS.get(step.stepType.toLowerCase());
  const matchType = MATCH_TYPES.get((step.matchType ?? '').toLowerCase());
  const pagePath = step.pagePath?.trim() ?? '';
  const eventType = step.eventType?.trim() ?? '';
  if (name === '') throw wrong(index, 'name must not be empty');
  if (kind === undefined) throw wrong(index, 'stepType must be page_view or event');
  if (matchType === undefined) throw wrong(index, 'matchType must be exact, contains, starts_with or regex');
  if (kind === 'event' && eventType === '') throw wrong(index, 'eventType is required');
  if (kind === 'page_view' && pagePath === '') throw wrong(index, 'pagePath is required');
  if (kind === 'page_view' && matchType === 'regex') {
    const problem = patternProblem(pagePath);
    if (problem !== null) throw wrong(index, `pagePath ${problem}`);
  }
  return { name, order, stepType: kind, pagePath, eventType, matchType };
}

/** Which events serve a stored step; the original stored some without a word of what they are about. */
export function matchOf(
  step: Pick<FunnelStepRecord, 'stepType' | 'pagePath' | 'eventType' | 'matchType'>,
): StepMatch {
  const kind = KINDS.get(step.stepType.toLowerCase());
  if (kind === 'event' && step.eventType) return { on: 'event', type: step.eventType };
  if (kind !== 'page_view' || !step.pagePath) return { on: 'nothing' };
  const how = MATCH_TYPES.get(step.matchType.toLowerCase()) ?? 'exact';
  if (how === 'regex' && patternProblem(step.pagePath) !== null) return { on: 'nothing' };
  return { on: 'page', how, text: how === 'exact' ? normalisePage(step.pagePath) : step.pagePath };
}

const wrong = (index: number, problem: string): AppError =>
  new AppError('invalid_parameter', `step ${index + 1}: ${problem}`);
