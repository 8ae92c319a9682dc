/** From the stored words of an automation to their meaning: what starts it, what must hold, what runs where. */
import { AppError } from '../errors.js';
import { type Action, actionEntry, type BrowserAction, flawOf, gapOf, type ServerAction } from './actions.js';
import { AUTOMATION_LIMITS, type Automation, type AutomationInput } from './automation.js';
import { type Condition, conditionEntry, isVacuous } from './conditions.js';
import type { Config, Entry } from './config-fields.js';
import { isUndecidable } from './selector.js';
import { type Frequency, isBrowserTrigger, type Trigger, triggerEntry } from './triggers.js';

/** A step of the server, with the place of its action in the automation: a part of the idempotency key of webhooks. */
export interface Step {
  readonly index: number;
  readonly action: ServerAction;
}

export interface Definition {
  readonly id: string;
  readonly name: string;
  readonly trigger: Trigger;
  readonly frequency: Frequency;
  /** Without those that always hold. */
  readonly conditions: readonly Condition[];
  readonly actions: readonly Action[];
  /** What the server runs, in order; waits only where something of the server's comes after them. */
  readonly steps: readonly Step[];
}

type Worded = Pick<Automation, 'id' | 'name' | 'triggerType' | 'triggerConfig'> & {
  readonly actions: AutomationInput['actions'];
  readonly conditions: AutomationInput['conditions'];
};

/** The meaning of a stored automation; undefined when a word of it is not understood (a database of the original may hold anything). */
export function definitionOf(automation: Worded): Definition | undefined {
  const rule = triggerEntry(automation.triggerType)?.read(automation.triggerConfig);
  if (rule === undefined) return undefined;
  const conditions: Condition[] = [];
  for (const { conditionType, conditionConfig } of automation.conditions) {
    const condition = conditionEntry(conditionType)?.read(conditionConfig);
    if (condition === undefined) return undefined;
    if (!isVacuous(condition)) conditions.push(condition);
  }
  const actions: Action[] = [];
  for (const { actionType, actionConfig } of automation.actions) {
    const action = actionEntry(actionType)?.read(actionConfig);
    if (action === undefined) return undefined;
    actions.push(action);
  }
  const { id, name } = automation;
  return { id, name, ...rule, conditions, actions, steps: stepsOf(actions) };
}

function stepsOf(actions: readonly Action[]): Step[] {
  const steps: Step[] = [];
  for (const [index, action] of actions.entries())
    if (action.kind !== 'browser') steps.push({ index, action });
  while (steps.at(-1)?.action.kind === 'wait') steps.pop();
  return steps;
}

/**
 * @throws AppError `unknown_type` for a word of neither vocabulary; `invalid_request` for configs that do not fit or are too large
 */
export function checkAutomation({ triggerType, triggerConfig, conditions, actions }: AutomationInput): void {
  checkPart('trigger', triggerType, 'triggerConfig', triggerConfig, triggerEntry(triggerType));
  for (const [i, { conditionType, conditionConfig }] of conditions.entries())
    checkPart(
      'condition',
      conditionType,
      `conditions.${i}.conditionConfig`,
      conditionConfig,
      conditionEntry(conditionType),
    );
  for (const [i, { actionType, actionConfig }] of actions.entries()) {
    const path = `actions.${i}.actionConfig`;
    const flaw = flawOf(checkPart('action', actionType, path, actionConfig, actionEntry(actionType)));
    if (flaw !== '') invalid(path, flaw);
  }
  const configs = [triggerConfig, ...conditions.map((it) => it.conditionConfig)];
  const bytes = [...configs, ...actions.map((it) => it.actionConfig)].reduce(
    (sum, it) => sum + bytesOf(it),
    0,
  );
  if (bytes > AUTOMATION_LIMITS.bytes)
    invalid('actions', `are, with trigger and conditions, larger than ${AUTOMATION_LIMITS.bytes / 1024} KiB`);
}

const bytesOf = (config: Config): number => Buffer.byteLength(JSON.stringify(config));

function checkPart<T>(
  what: string,
  type: string,
  path: string,
  config: Config,
  known: Entry<T> | undefined,
): T {
  if (known === undefined) throw new AppError('unknown_type', `Unknown ${what} type "${type}"`);
  const meaning = known.read(config);
  if (meaning === undefined) return invalid(path, known.problem(config));
  if (bytesOf(config) > AUTOMATION_LIMITS.configBytes)
    return invalid(path, `is larger than ${AUTOMATION_LIMITS.configBytes / 1024} KiB`);
  return meaning;
}

function invalid(path: string, problem: string): never {
  throw new AppError('invalid_request', `Invalid automation: ${path} ${problem}`, {
    details: [{ path, problem }],
  });
}

/** What will not happen although it was saved, in words for the owner: parts that no unmodified tracker and no server can run. */
export function warningsOf(automation: Worded): string[] {
  const definition = definitionOf(automation);
  if (definition === undefined) return ['a part of this automation is not understood: it does not run'];
  const warnings = definition.actions.map(gapOf).filter((gap) => gap !== '');
  const { trigger, actions, steps, conditions } = definition;
  const inBrowser = isBrowserTrigger(trigger);
  const browserActions = actions.filter((action): action is BrowserAction => action.kind === 'browser');
  if (!inBrowser && browserActions.length > 0) {
    const names = [...new Set(browserActions.map(({ type }) => type))].join(', ');
    warnings.push(`the tracker does not notice this trigger, so it cannot run: ${names}`);
  }
  if (inBrowser && browserActions.length > 0 && steps.some(({ action }) => action.kind === 'wait'))
    warnings.push('a wait holds up actions of the server only: the tracker runs its own at once');
  if (
    (trigger.kind === 'click' || trigger.kind === 'formSubmit') &&
    isUndecidable(trigger.selector) &&
    !inBrowser
  )
    warnings.push('the selector cannot be decided from a click event: use tag, #id and .class');
  if (!inBrowser && conditions.some(({ kind }) => kind === 'cookie'))
    warnings.push('the server knows no cookies: the cookie condition never holds for this trigger');
  return warnings;
}
