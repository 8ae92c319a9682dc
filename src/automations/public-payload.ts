/**
 * What the tracker of a site gets to see of its automations (contract 10.15): its own words, and nothing but what it needs. Keys are
 * picked, never removed, so that what is added to an automation one day does not leave the server by itself.
 */
import { PagePattern } from '../websites/page-patterns.js';
import type { Action } from './actions.js';
import type { Automation } from './automation.js';
import type { Condition, TextOperator } from './conditions.js';
import type { Config } from './config-fields.js';
import { type Definition, definitionOf } from './definition.js';
import { type BrowserTrigger, isBrowserTrigger } from './triggers.js';

export interface PublicAutomation {
  readonly id: string;
  readonly websiteId: string;
  readonly name: string;
  readonly triggerType: string;
  readonly triggerConfig: Config;
  readonly isActive: true;
  readonly actions: readonly {
    readonly actionType: string;
    readonly actionConfig: Config;
    readonly orderIndex: number;
  }[];
  readonly conditions: readonly PublicCondition[];
}

export interface PublicCondition extends Config {
  readonly conditionType: string;
  readonly conditionConfig: Config;
}

/** The active automations that the tracker can do something about. */
export function publicPayload(automations: readonly Automation[]): PublicAutomation[] {
  return automations.flatMap((automation) => {
    const definition = automation.isActive ? definitionOf(automation) : undefined;
    if (definition === undefined || !isBrowserTrigger(definition.trigger)) return [];
    const shown = forTracker(definition, definition.trigger);
    return shown === undefined ? [] : [{ ...shown, websiteId: automation.websiteId }];
  });
}

/** Undefined when the conditions can never hold in a browser. */
function forTracker(
  definition: Definition,
  trigger: BrowserTrigger,
): Omit<PublicAutomation, 'websiteId'> | undefined {
  const { id, name, actions, frequency } = definition;
  const shown = triggerFor(trigger);
  let urlPattern = 'urlPattern' in trigger ? trigger.urlPattern : '';
  const conditions: PublicCondition[] = [];
  for (const condition of browserConditions(definition)) {
    if (condition.kind === 'pageMatch') {
      // The tracker knows no such condition, but its triggers have a pattern of pages: the two are one where one implies the other.
      const both = narrower(urlPattern, condition.pattern);
      if (both === undefined) return undefined;
      urlPattern = both;
    } else if (condition.kind === 'eventProperty') {
      // Nothing that the tracker notices by itself has properties.
      return undefined;
    } else {
      conditions.push(conditionFor(condition));
    }
  }
  return {
    id,
    name,
    triggerType: shown.type,
    triggerConfig: { ...shown.config, ...(urlPattern === '' ? {} : { url_pattern: urlPattern }), frequency },
    isActive: true,
    actions: actions.map(actionFor),
    conditions,
  };
}

/**
 * The conditions that the tracker is asked. It tells mobile from desktop only: where nothing but the server's actions depend on a tablet,
 * the server looks at the report's user agent instead.
 */
export function browserConditions({ conditions, actions }: Definition): Condition[] {
  const onlyServer = actions.every((action) => action.kind !== 'browser');
  return conditions.filter((condition) => !(onlyServer && isTablet(condition)));
}

export const isTablet = (condition: Condition): boolean =>
  condition.kind === 'device' && condition.device === 'tablet';

function narrower(pattern: string, other: string): string | undefined {
  if (pattern === '' || pattern === '*' || pattern === other) return other === '' ? undefined : other;
  if (other === '*') return pattern;
  const isGlob = (text: string) => text.includes('*');
  // Two patterns with stars cannot be joined in the tracker's words; the trigger's is the one that the builder shows.
  if (isGlob(pattern) && isGlob(other)) return pattern;
  const [exact, glob] = isGlob(pattern) ? [other, pattern] : [pattern, other];
  return new PagePattern(glob).matches(exact) ? exact : undefined;
}

function triggerFor(trigger: BrowserTrigger): { readonly type: string; readonly config: Config } {
  switch (trigger.kind) {
    case 'scroll':
      // The tracker fires on the first scroll at `scroll`; `scrollDepth` waits for the depth.
      return { type: 'scrollDepth', config: { percentage: trigger.percentage, depth: trigger.percentage } };
    case 'timeOnPage':
    case 'inactivity':
      return { type: trigger.kind, config: { seconds: trigger.seconds } };
    case 'formSubmit':
      return { type: trigger.kind, config: trigger.selector === '' ? {} : { selector: trigger.selector } };
    default:
      return { type: trigger.kind, config: {} };
  }
}

/** The tracker knows `eq`, `neq` and `contains`, and of cookies also `exists` and `not_exists`; any other word lets everything pass. */
const OPERATORS: Readonly<Record<TextOperator, string>> = {
  equals: 'eq',
  not_equals: 'neq',
  contains: 'contains',
  starts_with: 'contains',
  exists: 'neq',
  not_exists: 'eq',
};

/** Its fields stand both in the config and beside it: the tracker looks in either place. */
function conditionFor(
  condition: Exclude<Condition, { kind: 'pageMatch' | 'eventProperty' }>,
): PublicCondition {
  const both = (conditionType: string, config: Config): PublicCondition => ({
    ...config,
    conditionType,
    conditionConfig: config,
  });
  switch (condition.kind) {
    case 'device':
      return both('device', { operator: 'eq', value: condition.device, device_type: condition.device });
    case 'visitor': {
      const status = condition.isNew ? 'new' : 'returning';
      return both('visitor', { operator: 'eq', value: status, visitor_status: status });
    }
    case 'urlParam': {
      const { name, operator, value } = condition;
      const isPresence = operator === 'exists' || operator === 'not_exists';
      const config = {
        operator: OPERATORS[operator],
        value: isPresence ? '' : value,
        param_name: name,
        param: name,
      };
      return both('url_param', config);
    }
    case 'cookie': {
      const { name, operator, value } = condition;
      const isPresence = operator === 'exists' || operator === 'not_exists';
      return both('cookie', {
        operator: isPresence ? operator : OPERATORS[operator],
        value,
        cookie_name: name,
      });
    }
    case 'property': {
      const { name, operator, value } = condition;
      return both(condition.word, { operator: OPERATORS[operator], value, property: name, param: name });
    }
    case 'pageViews':
      return both('page_views', {
        operator: condition.operator,
        value: condition.count,
        count: condition.count,
      });
    case 'trafficSource': {
      const value = condition.source === 'custom' ? condition.value : condition.source;
      return both('traffic_source', { operator: condition.source === 'custom' ? 'contains' : 'eq', value });
    }
  }
}

/** Of an action of the server the tracker gets its name alone: it does nothing then, and reports the execution. */
function actionFor(action: Action, orderIndex: number): PublicAutomation['actions'][number] {
  if (action.kind === 'browser') return { actionType: action.type, actionConfig: action.config, orderIndex };
  return { actionType: action.kind, actionConfig: {}, orderIndex };
}
