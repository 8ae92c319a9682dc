/** `POST /automations/test`: would this automation run for these data? Everything is decided, nothing is done. */
import { AppError } from '../errors.js';
import { actionEntry, flawOf, gapOf } from './actions.js';
import { conditionEntry } from './conditions.js';
import type { Config } from './config-fields.js';
import { compare, holds, pageFits } from './facts.js';
import { selectorTest } from './selector.js';
import { TrialData } from './trial-data.js';
import { isBrowserTrigger, type Trigger, triggerEntry } from './triggers.js';

interface Worded {
  readonly type: string;
  readonly config: Config;
}

export interface TrialInput {
  readonly trigger: Worded;
  readonly conditions: readonly Worded[];
  readonly actions: readonly Worded[];
  /** What happened, in the words of events: `event_type`, `page`, `properties`, `device_type`, `page_url`, … */
  readonly testData: Config;
}

/** Contract 10.12. */
export interface TrialResult {
  readonly success: boolean;
  readonly message: string;
  readonly trigger: { readonly matched: boolean; readonly message: string };
  readonly conditions: {
    readonly total: number;
    readonly passed: number;
    readonly failed: number;
    readonly details: readonly { index: number; type: string; passed: boolean; message: string }[];
  };
  readonly actions: {
    readonly total: number;
    readonly executed: number;
    readonly details: readonly { index: number; type: string; wouldRun: boolean; message: string }[];
  };
}

/** @throws AppError `unknown_type`, `invalid_request` for words and configs that could not be saved either */
export function tryAutomation(input: TrialInput): TrialResult {
  const data = new TrialData(input.testData);
  const { trigger: meant } = read(triggerEntry(input.trigger.type), 'trigger', input.trigger);
  const trigger = tryTrigger(meant, data);
  const conditions = input.conditions.map((worded, index) => {
    const verdict = holds(read(conditionEntry(worded.type), 'condition', worded), data);
    const message = {
      true: 'Condition holds',
      false: 'Condition does not hold',
      undefined: 'testData does not tell',
    };
    return { index, type: worded.type, passed: verdict === true, message: message[`${verdict}`] };
  });
  const passed = conditions.filter((condition) => condition.passed).length;
  const runs = trigger.matched && passed === conditions.length;
  const inBrowser = isBrowserTrigger(meant);
  const actions = input.actions.map((worded, index) => {
    const action = read(actionEntry(worded.type), 'action', worded);
    const flaw =
      flawOf(action) ||
      gapOf(action) ||
      (action.kind === 'browser' && !inBrowser ? 'the tracker does not notice this trigger' : '');
    const wouldRun = runs && flaw === '';
    const message = flaw || (runs ? 'Would run (nothing was sent)' : 'Would not run');
    return { index, type: worded.type, wouldRun, message };
  });
  const executed = actions.filter((action) => action.wouldRun).length;
  const success = runs && executed === actions.length;
  return {
    success,
    message: success ? 'The automation would run' : 'The automation would not run as it is',
    trigger,
    conditions: { total: conditions.length, passed, failed: conditions.length - passed, details: conditions },
    actions: { total: actions.length, executed, details: actions },
  };
}

function read<T>(
  entry: { problem(config: unknown): string; read(config: unknown): T | undefined } | undefined,
  what: string,
  { type, config }: Worded,
): T {
  if (entry === undefined) throw new AppError('unknown_type', `Unknown ${what} type "${type}"`);
  const meaning = entry.read(config);
  if (meaning !== undefined) return meaning;
  throw new AppError('invalid_request', `Invalid ${what} config: ${entry.problem(config)}`);
}

function tryTrigger(trigger: Trigger, data: TrialData): TrialResult['trigger'] {
  const reason = whyNot(trigger, data);
  return reason === '' ? { matched: true, message: 'Trigger matches' } : { matched: false, message: reason };
}

/** '' when the trigger matches. */
function whyNot(trigger: Trigger, data: TrialData): string {
  if ('urlPattern' in trigger) {
    const page = data.page();
    if (page === undefined ? !pageFits(trigger.urlPattern, '') : !pageFits(trigger.urlPattern, page))
      return 'The page does not fit url_pattern';
  }
  switch (trigger.kind) {
    case 'pageView':
      return data.isEvent('pageview') ? '' : 'The event is no page view';
    case 'pageExit':
      return data.isEvent('page_exit') ? '' : 'The event is no page exit';
    case 'exitIntent':
      return '';
    case 'scroll':
      return atLeast(data.number('scroll_depth', 'percentage', 'depth'), trigger.percentage, 'scroll_depth');
    case 'timeOnPage':
    case 'inactivity':
      return atLeast(data.number('time_on_page', 'seconds', 'inactive_seconds'), trigger.seconds, 'seconds');
    case 'formSubmit':
    case 'click':
      return clicked(trigger.selector, data) ? '' : 'The element does not fit the selector';
    case 'customEvent': {
      if (data.eventType !== trigger.eventName) return 'The event has another name';
      const value = data.eventProperty(trigger.eventKey) ?? null;
      const fits =
        trigger.eventKey === '' ||
        compare(trigger.eventValue === '' ? 'exists' : 'equals', value, trigger.eventValue);
      return fits ? '' : 'The event has not the property';
    }
    case 'funnelComplete':
      return data.text('funnel_id').toLowerCase() === trigger.funnelId ? '' : 'It is another funnel';
    case 'funnelDropoff': {
      if (data.text('funnel_id').toLowerCase() !== trigger.funnelId) return 'It is another funnel';
      return trigger.step === '' || data.text('step', 'current_step', 'step_name') === trigger.step
        ? ''
        : 'It is another step';
    }
    case 'goalCompleted': {
      if (data.text('goal_id').toLowerCase() !== trigger.goalId) return 'It is another goal';
      return trigger.minValue === null
        ? ''
        : atLeast(data.number('value', 'revenue'), trigger.minValue, 'value');
    }
  }
}

function atLeast(actual: number | undefined, wanted: number, name: string): string {
  if (actual === undefined) return wanted === 0 ? '' : `testData has no ${name}`;
  return actual >= wanted ? '' : `${name} is below ${wanted}`;
}

function clicked(selector: string, data: TrialData): boolean {
  if (selector === '' || data.text('selector') === selector) return true;
  const element = {
    tag: data.text('element_tag'),
    id: data.text('element_id', 'form_id'),
    classes: data.text('element_class'),
  };
  return selectorTest(selector)?.(element) ?? false;
}
