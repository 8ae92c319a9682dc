/** What is known when conditions are decided, and the deciding. */
import { PagePattern } from '../websites/page-patterns.js';
import type { Condition, TextOperator, TrafficSource } from './conditions.js';

/** Each fact is undefined where it is not known; null where it is known not to exist. */
export interface Facts {
  /** `mobile`, `tablet`, `desktop` or another kind, lower case. */
  device(): string | undefined;
  page(): string | undefined;
  urlParam(name: string): string | null | undefined;
  cookie(name: string): string | null | undefined;
  /** Of the event, or else of the visit (`country`, `browser`, …); any of the answers counts as its value. */
  property(name: string): readonly string[] | undefined;
  /** Of the event alone. */
  eventProperty(name: string): string | null | undefined;
  /** Is it the visitor's first session? */
  isNewVisitor(): boolean | undefined;
  /** Page views of the session so far. */
  pageViews(): number | undefined;
  /** How the session came about. */
  traffic(): Traffic | undefined;
}

/** Knows nothing; who knows something of an occasion overrides that. */
export class UnknownFacts implements Facts {
  device(): string | undefined {
    return undefined;
  }

  page(): string | undefined {
    return undefined;
  }

  urlParam(_name: string): string | null | undefined {
    return undefined;
  }

  cookie(_name: string): string | null | undefined {
    return undefined;
  }

  property(_name: string): readonly string[] | undefined {
    return undefined;
  }

  eventProperty(_name: string): string | null | undefined {
    return undefined;
  }

  isNewVisitor(): boolean | undefined {
    return undefined;
  }

  pageViews(): number | undefined {
    return undefined;
  }

  traffic(): Traffic | undefined {
    return undefined;
  }
}

export interface Traffic {
  /** Channel as metrics.md names them, e.g. `Organic Search`. */
  readonly channel: string;
  /** '' = none. */
  readonly referrerHost: string;
  readonly utmSource: string;
}

/** Does the condition hold? Undefined: what it asks for is not known. */
export function holds(condition: Condition, facts: Facts): boolean | undefined {
  switch (condition.kind) {
    case 'device':
      return when(facts.device(), (device) => device === condition.device);
    case 'visitor':
      return when(facts.isNewVisitor(), (isNew) => isNew === condition.isNew);
    case 'urlParam':
      return when(facts.urlParam(condition.name), (value) =>
        compare(condition.operator, value, condition.value),
      );
    case 'cookie':
      return when(facts.cookie(condition.name), (value) =>
        compare(condition.operator, value, condition.value),
      );
    case 'property':
      return when(facts.property(condition.name), (values) =>
        compareAny(condition.operator, values, condition.value),
      );
    case 'eventProperty':
      return when(
        facts.eventProperty(condition.name),
        (value) => value !== null && value === condition.value,
      );
    case 'pageMatch':
      return when(facts.page(), (page) => condition.pattern !== '' && pageFits(condition.pattern, page));
    case 'pageViews':
      return when(facts.pageViews(), (count) => {
        if (condition.operator === 'eq') return count === condition.count;
        return condition.operator === 'gt' ? count > condition.count : count < condition.count;
      });
    case 'trafficSource':
      return when(facts.traffic(), (traffic) => comesFrom(traffic, condition.source, condition.value));
  }
}

function when<T>(fact: T | undefined, test: (fact: T) => boolean): boolean | undefined {
  return fact === undefined ? undefined : test(fact);
}

/** @param actual null: there is none */
export function compare(operator: TextOperator, actual: string | null, expected: string): boolean {
  switch (operator) {
    case 'exists':
      return actual !== null;
    case 'not_exists':
      return actual === null;
    case 'equals':
      return actual === expected;
    case 'not_equals':
      return actual !== expected;
    case 'contains':
      return actual?.includes(expected) ?? false;
    case 'starts_with':
      return actual?.startsWith(expected) ?? false;
  }
}

function compareAny(operator: TextOperator, values: readonly string[], expected: string): boolean {
  const isNegative = operator === 'not_equals' || operator === 'not_exists';
  if (values.length === 0) return compare(operator, null, expected);
  const test = (value: string) => compare(operator, value, expected);
  return isNegative ? values.every(test) : values.some(test);
}

/** The tracker's rule of `url_pattern`: empty and `*` are every page, other stars stand for any text, everything else is the page itself. */
export function pageFits(pattern: string, page: string): boolean {
  return pattern === '' || pattern === '*' || new PagePattern(pattern).matches(page);
}

const PAID = /^(Paid .*|Display|Cross-network)$/;

function comesFrom(
  { channel, referrerHost, utmSource }: Traffic,
  source: TrafficSource,
  value: string,
): boolean {
  switch (source) {
    case 'any':
      return true;
    case 'direct':
      return channel === 'Direct';
    case 'organic':
      return channel.startsWith('Organic') && channel !== 'Organic Social';
    case 'social':
      return channel === 'Organic Social' || channel === 'Paid Social';
    case 'paid':
      return PAID.test(channel);
    case 'referral':
      return channel === 'Referral';
    case 'custom': {
      const wanted = value.toLowerCase();
      return wanted !== '' && [referrerHost, utmSource].some((text) => text.toLowerCase().includes(wanted));
    }
  }
}
