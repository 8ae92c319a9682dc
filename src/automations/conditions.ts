/** What must hold besides the trigger: the words of the visual builder and of the original's API, and what they mean. */
import Type from 'typebox';
import {
  type Config,
  type Entry,
  entry,
  keyOf,
  numberField,
  numberOf,
  textField,
  textOf,
  wordField,
} from './config-fields.js';

export type TextOperator = 'equals' | 'not_equals' | 'contains' | 'starts_with' | 'exists' | 'not_exists';
export type CountOperator = 'gt' | 'lt' | 'eq';
export type TrafficSource = 'any' | 'direct' | 'organic' | 'social' | 'paid' | 'referral' | 'custom';

export type Condition =
  | { readonly kind: 'device'; readonly device: string }
  | { readonly kind: 'visitor'; readonly isNew: boolean }
  | {
      readonly kind: 'urlParam' | 'cookie';
      readonly name: string;
      readonly operator: TextOperator;
      readonly value: string;
    }
  | {
      readonly kind: 'property';
      /** The builder's word for it. */
      readonly word: 'segment' | 'if';
      readonly name: string;
      readonly operator: TextOperator;
      readonly value: string;
    }
  | { readonly kind: 'eventProperty'; readonly name: string; readonly value: string }
  | { readonly kind: 'pageViews'; readonly operator: CountOperator; readonly count: number }
  | { readonly kind: 'trafficSource'; readonly source: TrafficSource; readonly value: string }
  | { readonly kind: 'pageMatch'; readonly pattern: string };

const OPERATORS: Readonly<Record<string, TextOperator>> = {
  equals: 'equals',
  equal: 'equals',
  eq: 'equals',
  is: 'equals',
  not_equals: 'not_equals',
  neq: 'not_equals',
  is_not: 'not_equals',
  contains: 'contains',
  starts_with: 'starts_with',
  startswith: 'starts_with',
  exists: 'exists',
  not_exists: 'not_exists',
};
const COUNT_OPERATORS: Readonly<Record<string, CountOperator>> = {
  gt: 'gt',
  lt: 'lt',
  eq: 'eq',
  equals: 'eq',
};
const SOURCES = ['any', 'direct', 'organic', 'social', 'paid', 'referral', 'custom'] as const;

const operator = wordField('How the value is compared; default `equals`', Object.keys(OPERATORS));
const value = textField('What it is compared with', 1_024);
const name = textField('Name', 255);

const operatorOf = (raw: unknown): TextOperator => OPERATORS[textOf(raw)] ?? 'equals';

function property(word: 'segment' | 'if'): Entry<Condition> {
  return entry(Type.Object({ property: name, operator, value: scalar() }), (_typed, raw) => ({
    kind: 'property',
    word,
    name: textOf(raw.property),
    operator: operatorOf(raw.operator),
    value: scalarOf(raw.value),
  }));
}

/** Values of the original's API may be numbers or switches. */
function scalar() {
  return Type.Optional(
    Type.Union([Type.String({ maxLength: 1_024 }), Type.Number(), Type.Boolean(), Type.Null()], {
      description: 'What it is compared with',
    }),
  );
}

function scalarOf(raw: unknown): string {
  return typeof raw === 'boolean' ? String(raw) : textOf(raw);
}

/** By `keyOf` the name. */
const CONDITIONS = new Map<string, Entry<Condition>>([
  [
    'device',
    entry(
      Type.Object({
        device_type: wordField('Kind of device', ['mobile', 'tablet', 'desktop', 'any', 'all']),
      }),
      (_typed, raw) => ({
        kind: 'device',
        device: textOf(raw.device_type),
      }),
    ),
  ],
  [
    'visitor',
    entry(
      Type.Object({
        visitor_type: wordField('Whether the visitor has been here before', ['new', 'returning']),
        visitor_status: wordField('The same', ['new', 'returning']),
      }),
      (_typed, raw) => ({
        kind: 'visitor',
        isNew: (textOf(raw.visitor_type) || textOf(raw.visitor_status)) !== 'returning',
      }),
    ),
  ],
  [
    'urlparam',
    entry(Type.Object({ param_name: name, operator, param_value: value, value }), (_typed, raw) => ({
      kind: 'urlParam',
      name: textOf(raw.param_name),
      operator: operatorOf(raw.operator),
      value: textOf(raw.param_value) || textOf(raw.value),
    })),
  ],
  [
    'pageviews',
    entry(
      Type.Object({
        operator: wordField('How the number is compared; default `gt`', Object.keys(COUNT_OPERATORS)),
        count: numberField('Page views of the session', 0, 1_000_000),
        value: numberField('The same', 0, 1_000_000),
      }),
      (_typed, raw) => ({
        kind: 'pageViews',
        operator: COUNT_OPERATORS[textOf(raw.operator)] ?? 'gt',
        count: numberOf(raw.count, 0, 1_000_000) ?? numberOf(raw.value, 0, 1_000_000) ?? 0,
      }),
    ),
  ],
  [
    'trafficsource',
    entry(
      Type.Object({ source_type: wordField('Where the visit came from', SOURCES), custom_value: value }),
      (_typed, raw) => ({
        kind: 'trafficSource',
        source: SOURCES.find((source) => source === raw.source_type) ?? 'any',
        value: textOf(raw.custom_value),
      }),
    ),
  ],
  [
    'cookie',
    entry(Type.Object({ cookie_name: name, operator, cookie_value: value, value }), (_typed, raw) => ({
      kind: 'cookie',
      name: textOf(raw.cookie_name),
      operator: operatorOf(raw.operator),
      value: textOf(raw.cookie_value) || textOf(raw.value),
    })),
  ],
  ['segment', property('segment')],
  ['if', property('if')],
  [
    'pagematch',
    entry(
      Type.Object({
        page: textField('Path of the page, `*` allowed'),
        pattern: textField('The same'),
        url_pattern: textField('The same'),
      }),
      (_typed, raw) => ({
        kind: 'pageMatch',
        pattern: textOf(raw.page) || textOf(raw.pattern) || textOf(raw.url_pattern),
      }),
    ),
  ],
  [
    'eventproperty',
    entry(Type.Object({ key: name, value: scalar() }), (_typed, raw: Config) => ({
      kind: 'eventProperty',
      name: textOf(raw.key),
      value: scalarOf(raw.value),
    })),
  ],
]);

/** The vocabulary's entry of a condition type, in any spelling of either vocabulary; undefined when there is none. */
export const conditionEntry = (type: string): Entry<Condition> | undefined => CONDITIONS.get(keyOf(type));

/** Does it always hold, because nothing was asked for? */
export function isVacuous(condition: Condition): boolean {
  if (condition.kind === 'device')
    return condition.device === '' || condition.device === 'any' || condition.device === 'all';
  return condition.kind === 'trafficSource' && condition.source === 'any';
}
