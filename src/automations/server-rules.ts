/** Triggers that only the server can notice, compiled: which automations of a site does an event start? */
import { EventKind } from '../events/columns.js';
import { goalMatch } from '../goals/goal-stats.js';
import type { WatchedGoal } from '../storage/metadata/automations.js';
import { PagePattern } from '../websites/page-patterns.js';
import { type Config, textOf } from './config-fields.js';
import type { EventView } from './event-view.js';
import type { LiveAutomation } from './live-automation.js';
import { selectorTest } from './selector.js';
import { isBrowserTrigger, type ServerTrigger } from './triggers.js';

/** What a funnel event says, as far as triggers ask. */
export interface FunnelMoment {
  readonly funnelId: string;
  readonly eventType: string;
  readonly currentStep: number;
  readonly stepName: string;
}

interface EventRule {
  readonly automation: LiveAutomation;
  readonly test: (event: EventView) => boolean;
}

/** The rules of one site, found by the type of the event, so that an event that starts nothing costs one look-up. */
export class ServerRules {
  readonly #byType = new Map<string, EventRule[]>();
  readonly #onPageView: EventRule[] = [];
  readonly #byFunnel = new Map<
    string,
    { readonly automation: LiveAutomation; readonly test: (moment: FunnelMoment) => boolean }[]
  >();
  #count = 0;

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  addEvent(eventType: string, rule: EventRule): void {
    const rules = this.#byType.get(eventType) ?? [];
    rules.push(rule);
    this.#byType.set(eventType, rules);
    this.#count++;
  }

  addPageView(rule: EventRule): void {
    this.#onPageView.push(rule);
    this.#count++;
  }

  addFunnel(funnelId: string, automation: LiveAutomation, test: (moment: FunnelMoment) => boolean): void {
    const rules = this.#byFunnel.get(funnelId) ?? [];
    rules.push({ automation, test });
    this.#byFunnel.set(funnelId, rules);
    this.#count++;
  }

  /** The automations that the event starts, their conditions apart. */
  startedBy(event: EventView): readonly LiveAutomation[] {
    const rules = this.#byType.get(event.text('event_type'));
    const views =
      this.#onPageView.length > 0 && event.kind === EventKind.pageview ? this.#onPageView : undefined;
    if (rules === undefined && views === undefined) return NOBODY;
    const started: LiveAutomation[] = [];
    for (const list of [rules, views])
      if (list !== undefined)
        for (const { automation, test } of list) if (test(event)) started.push(automation);
    return started;
  }

  startedByFunnel(moment: FunnelMoment): readonly LiveAutomation[] {
    const rules = this.#byFunnel.get(moment.funnelId) ?? [];
    return rules.filter(({ test }) => test(moment)).map(({ automation }) => automation);
  }
}

const NOBODY: readonly LiveAutomation[] = [];

/** Compiles the triggers of a site's automations; undefined when none of them is the server's business. */
export function serverRules(
  automations: readonly LiveAutomation[],
  goals: readonly WatchedGoal[],
): ServerRules | undefined {
  const rules = new ServerRules();
  for (const automation of automations) {
    const { trigger, steps } = automation.definition;
    // Without a step for the server there would be nothing to do.
    if (!isBrowserTrigger(trigger) && steps.length > 0) addRule(rules, automation, trigger, goals);
  }
  return rules.isEmpty ? undefined : rules;
}

function addRule(
  rules: ServerRules,
  automation: LiveAutomation,
  trigger: ServerTrigger,
  goals: readonly WatchedGoal[],
): void {
  switch (trigger.kind) {
    case 'customEvent': {
      const { eventName, eventKey, eventValue } = trigger;
      const test =
        eventKey === '' ? always : (event: EventView) => hasValue(event.properties, eventKey, eventValue);
      if (eventName !== '') rules.addEvent(eventName, { automation, test });
      return;
    }
    case 'click': {
      const clicked = selectorTest(trigger.selector);
      const onPage = pageTest(trigger.urlPattern);
      if (clicked === undefined) return;
      const test = (event: EventView) => {
        if (!onPage(event)) return false;
        if (trigger.selector === '') return true;
        const { element_tag: tag, element_id: id, element_class: classes } = event.properties;
        return clicked({ tag: textOf(tag), id: textOf(id), classes: textOf(classes) });
      };
      rules.addEvent('click', { automation, test });
      return;
    }
    case 'pageExit':
      rules.addEvent('page_exit', { automation, test: pageTest(trigger.urlPattern) });
      return;
    case 'goalCompleted': {
      const goal = goals.find(({ id }) => id === trigger.goalId);
      if (goal === undefined) return;
      const match = goalMatch(goal);
      const { minValue } = trigger;
      const isEnough =
        minValue === null ? always : (event: EventView) => worthOf(event.properties) >= minValue;
      if (match.on === 'event') {
        rules.addEvent(match.type, { automation, test: isEnough });
        return;
      }
      // An exact path is no pattern, whatever is in it.
      const pattern = new PagePattern(match.path);
      const isPage =
        match.how === 'exact'
          ? (page: string) => page === match.path
          : (page: string) => pattern.matches(page);
      rules.addPageView({
        automation,
        test: (event) => isPage(event.text('page')) && isEnough(event),
      });
      return;
    }
    case 'funnelComplete':
      rules.addFunnel(trigger.funnelId, automation, ({ eventType }) => eventType === 'conversion');
      return;
    case 'funnelDropoff': {
      const { step } = trigger;
      const test = ({ eventType, currentStep, stepName }: FunnelMoment) =>
        eventType === 'dropoff' && (step === '' || step === String(currentStep) || step === stepName);
      rules.addFunnel(trigger.funnelId, automation, test);
      return;
    }
  }
}

const always = (): boolean => true;

function pageTest(urlPattern: string): (event: EventView) => boolean {
  if (urlPattern === '' || urlPattern === '*') return always;
  const pattern = new PagePattern(urlPattern);
  return (event) => pattern.matches(event.text('page'));
}

/** Does the event have the property, with this value unless that is ''? */
function hasValue(properties: Config, key: string, value: string): boolean {
  const actual = Object.hasOwn(properties, key) ? properties[key] : undefined;
  if (actual === undefined || actual === null) return false;
  return value === '' || (typeof actual === 'object' ? JSON.stringify(actual) : String(actual)) === value;
}

/** What a conversion is worth: its `value`, else its `revenue`; not a number: below everything. */
function worthOf(properties: Config): number {
  for (const worth of [properties.value, properties.revenue]) {
    const number = typeof worth === 'string' && worth.trim() !== '' ? Number(worth) : worth;
    if (typeof number === 'number' && Number.isFinite(number)) return number;
  }
  return Number.NEGATIVE_INFINITY;
}
