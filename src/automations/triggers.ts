/** What starts an automation: the words of the visual builder and of the original's API (contract 10.13, 10.14), and what they mean. */
import Type from 'typebox';
import {
  type Entry,
  entry,
  keyOf,
  numberField,
  numberOf,
  textField,
  textOf,
  wordField,
} from './config-fields.js';

/** How often an automation runs at most: always, or once within the session, the visitor's life, 24 hours or one hour (of a visitor). */
export type Frequency = 'always' | 'once_per_session' | 'once_per_visitor' | 'once_per_day' | 'once_per_hour';

/** Triggers that the unmodified tracker notices; the server learns of them by its execution report. */
export type BrowserTrigger =
  | { readonly kind: 'pageView' | 'exitIntent'; readonly urlPattern: string }
  | { readonly kind: 'formSubmit'; readonly selector: string; readonly urlPattern: string }
  | { readonly kind: 'timeOnPage'; readonly seconds: number; readonly urlPattern: string }
  | { readonly kind: 'scroll'; readonly percentage: number }
  | { readonly kind: 'inactivity'; readonly seconds: number };

/** Triggers that the tracker cannot notice: decided on the server as events flow. */
export type ServerTrigger =
  | {
      readonly kind: 'customEvent';
      readonly eventName: string;
      readonly eventKey: string;
      readonly eventValue: string;
    }
  | { readonly kind: 'click'; readonly selector: string; readonly urlPattern: string }
  | { readonly kind: 'pageExit'; readonly urlPattern: string }
  | { readonly kind: 'funnelDropoff'; readonly funnelId: string; readonly step: string }
  | { readonly kind: 'funnelComplete'; readonly funnelId: string }
  | { readonly kind: 'goalCompleted'; readonly goalId: string; readonly minValue: number | null };

export type Trigger = BrowserTrigger | ServerTrigger;

export interface TriggerRule {
  readonly trigger: Trigger;
  readonly frequency: Frequency;
}

const frequency = wordField('How often it runs at most; default `always`', [
  'always',
  'once',
  'once_per_session',
  'once_per_visitor',
  'once_per_day',
  'once_per_hour',
]);
const urlPattern = textField('Path of the page; `*` stands for any text, empty: every page');
const selector = textField('CSS selector of the element, empty: any');
const event = textField('Event type', 255);
const seconds = numberField('Seconds', 0, 86_400);
const id = textField('UUID', 64);

const stepField = Type.Optional(
  Type.Union([Type.String({ maxLength: 255 }), Type.Number(), Type.Null()], {
    description: 'Number or name of the step at which the visitor left; empty: any',
  }),
);

type Declared = Entry<TriggerRule>;

function declare<T extends Record<string, Type.TSchema>>(
  fields: T,
  meaning: (config: Readonly<Record<string, unknown>>) => Trigger,
): Declared {
  return entry(Type.Object({ ...fields, frequency }), (_typed, raw) => ({
    trigger: meaning(raw),
    frequency: frequencyOf(raw.frequency),
  }));
}

function frequencyOf(value: unknown): Frequency {
  switch (value) {
    case 'once':
    case 'once_per_visitor':
      return 'once_per_visitor';
    case 'once_per_session':
    case 'once_per_day':
    case 'once_per_hour':
      return value;
    default:
      return 'always';
  }
}

const customEvent = declare(
  { event_name: event, event_key: event, event_value: textField('Its value') },
  (config) => ({
    kind: 'customEvent',
    eventName: textOf(config.event_name),
    eventKey: textOf(config.event_key),
    eventValue: textOf(config.event_value),
  }),
);
const page = (kind: 'pageView' | 'exitIntent' | 'pageExit') =>
  declare({ url_pattern: urlPattern }, (config) => ({ kind, urlPattern: textOf(config.url_pattern) }));
const element = (kind: 'click' | 'formSubmit') =>
  declare({ selector, url_pattern: urlPattern }, (config) => ({
    kind,
    selector: textOf(config.selector),
    urlPattern: textOf(config.url_pattern),
  }));
const scroll = declare(
  { percentage: numberField('Depth in percent', 0, 100), depth: numberField('The same', 0, 100) },
  (config) => ({
    kind: 'scroll',
    percentage: numberOf(config.percentage, 0, 100) ?? numberOf(config.depth, 0, 100) ?? 50,
  }),
);

/** By `keyOf` the name. */
const TRIGGERS = new Map<string, Declared>([
  ['pageview', page('pageView')],
  ['exitintent', page('exitIntent')],
  ['pageexit', page('pageExit')],
  ['click', element('click')],
  ['formsubmit', element('formSubmit')],
  ['scroll', scroll],
  ['scrolldepth', scroll],
  ['customevent', customEvent],
  ['event', customEvent],
  [
    'timeonpage',
    declare({ seconds, url_pattern: urlPattern }, (config) => ({
      kind: 'timeOnPage',
      seconds: numberOf(config.seconds, 0, 86_400) ?? 0,
      urlPattern: textOf(config.url_pattern),
    })),
  ],
  [
    'inactivity',
    declare({ seconds }, (config) => ({
      kind: 'inactivity',
      seconds: numberOf(config.seconds, 0, 86_400) ?? 30,
    })),
  ],
  [
    'funneldropoff',
    declare({ funnel_id: id, step: stepField }, (config) => ({
      kind: 'funnelDropoff',
      funnelId: textOf(config.funnel_id).toLowerCase(),
      step: textOf(config.step),
    })),
  ],
  [
    'funnelcomplete',
    declare({ funnel_id: id }, (config) => ({
      kind: 'funnelComplete',
      funnelId: textOf(config.funnel_id).toLowerCase(),
    })),
  ],
  [
    'goalcompleted',
    declare({ goal_id: id, min_value: numberField('Least value', 0, 1e12) }, (config) => ({
      kind: 'goalCompleted',
      goalId: textOf(config.goal_id).toLowerCase(),
      minValue: numberOf(config.min_value, 0, 1e12),
    })),
  ],
]);

/** The vocabulary's entry of a trigger type, in any spelling of either vocabulary; undefined when there is none. */
export const triggerEntry = (type: string): Declared | undefined => TRIGGERS.get(keyOf(type));

/** Can the unmodified tracker notice it? */
export function isBrowserTrigger(trigger: Trigger): trigger is BrowserTrigger {
  switch (trigger.kind) {
    case 'pageView':
    case 'exitIntent':
    case 'formSubmit':
    case 'timeOnPage':
    case 'scroll':
    case 'inactivity':
      return true;
    default:
      return false;
  }
}
