import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeRow, makeRow } from '../../test/integration/event-rows.js';
import type { EventRow } from '../events/row-decoder.js';
import { EventView } from './event-view.js';
import { compare, pageFits } from './facts.js';
import type { LiveAutomation } from './live-automation.js';
import { selectorTest } from './selector.js';
import { serverRules } from './server-rules.js';
import type { ServerTrigger } from './triggers.js';

function live(id: string, trigger: ServerTrigger): LiveAutomation {
  const action = { kind: 'wait', ms: 0 } as const;
  return {
    definition: {
      id,
      name: id,
      trigger,
      frequency: 'always',
      conditions: [],
      actions: [action],
      steps: [{ index: 0, action }],
    },
    planned: [],
    conditions: [],
  };
}

/** The obvious way: every trigger, one after the other, on the decoded event. */
function naive(trigger: ServerTrigger, event: EventRow): boolean {
  const properties = JSON.parse(event.properties);
  switch (trigger.kind) {
    case 'customEvent': {
      if (event.event_type !== trigger.eventName) return false;
      if (trigger.eventKey === '') return true;
      if (!Object.hasOwn(properties, trigger.eventKey)) return false;
      return trigger.eventValue === '' || String(properties[trigger.eventKey]) === trigger.eventValue;
    }
    case 'pageExit':
      return event.event_type === 'page_exit' && pageFits(trigger.urlPattern, event.page);
    case 'click':
      return (
        event.event_type === 'click' &&
        pageFits(trigger.urlPattern, event.page) &&
        (trigger.selector === '' ||
          trigger.selector.split(',').some((part) => {
            const [tag, id] = part.trim().split('#');
            const element = String(properties.element_tag ?? '');
            return (tag === '' || tag === element) && (id === undefined || id === properties.element_id);
          }))
      );
    default:
      return false;
  }
}

const word = fc.constantFrom('a', 'b', 'ü');
const type = fc.constantFrom('a', 'b', 'click', 'page_exit', 'pageview');
const pattern = fc.constantFrom('', '*', '/a', '/a*', '/*b');
const trigger: fc.Arbitrary<ServerTrigger> = fc.oneof(
  fc.record({
    kind: fc.constant('customEvent' as const),
    eventName: type,
    eventKey: fc.oneof(fc.constant(''), word),
    eventValue: fc.oneof(fc.constant(''), word),
  }),
  fc.record({ kind: fc.constant('pageExit' as const), urlPattern: pattern }),
  fc.record({
    kind: fc.constant('click' as const),
    selector: fc.constantFrom('', 'a', '#b', 'a#b', 'b, #a'),
    urlPattern: pattern,
  }),
);
const event = fc.record({
  event_type: type,
  page: fc.constantFrom('/', '/a', '/ab', '/cb'),
  title: fc.constantFrom('', 'x'.repeat(127), 'x'.repeat(128), 'ü'.repeat(9_000)),
  visitor_id: fc.constantFrom('', 'v', 'v'.repeat(200)),
  properties: fc
    .record({ a: word, b: word, element_tag: word, element_id: word }, { requiredKeys: [] })
    .map((value) => JSON.stringify(value)),
});

describe('the rules of a site', () => {
  it('start what the naive matcher starts', () => {
    const view = new EventView();
    let hits = 0;
    fc.assert(
      fc.property(
        fc.array(trigger, { maxLength: 8 }),
        fc.array(event, { maxLength: 4 }),
        (triggers, events) => {
          const automations = triggers.map((it, i) => live(String(i), it));
          const rules = serverRules(automations, []);
          for (const changes of events) {
            const row = makeRow({ ...changes, kind: 2 });
            const expected = automations
              .filter((_it, i) => naive(triggers[i] ?? fail(), row))
              .map(({ definition }) => definition.id);
            hits += expected.length;
            const started = rules?.startedBy(view.open(encodeRow(row))) ?? [];
            expect(started.map(({ definition }) => definition.id).sort()).toEqual(expected.sort());
          }
        },
      ),
      { seed: 5, numRuns: 3_000 },
    );
    expect(hits).toBeGreaterThan(1_000);
  });

  it('are none where nothing is to be done on the server', () => {
    const done = live('1', { kind: 'pageExit', urlPattern: '' });
    expect(serverRules([{ ...done, definition: { ...done.definition, steps: [] } }], [])).toBeUndefined();
    expect(
      serverRules([live('1', { kind: 'goalCompleted', goalId: 'gone', minValue: null })], []),
    ).toBeUndefined();
  });
});

function fail(): never {
  throw new Error('unreachable');
}

describe('EventView', () => {
  it('reads what was written, row after row, and is not confused by damaged ones', () => {
    const view = new EventView();
    const row = makeRow({ title: 'ü'.repeat(500), properties: '{"a":[1]}', timestamp: 1_760_000_000_123 });
    const bytes = encodeRow(row);
    for (let cut = 0; cut < bytes.length; cut += 3) {
      view.open(bytes.subarray(0, cut));
      expect(() => [view.text('event_type'), view.properties, view.kind, view.timestamp]).not.toThrow();
    }
    view.open(bytes);
    expect([view.text('page'), view.text('title'), view.kind, view.timestamp]).toEqual([
      row.page,
      row.title,
      1,
      row.timestamp,
    ]);
    expect(view.properties).toEqual({ a: [1] });
    expect(view.open(encodeRow(makeRow({ properties: 'no JSON' }))).properties).toEqual({});
  });
});

describe('selectorTest', () => {
  const button = { tag: 'BUTTON', id: 'buy', classes: ' big  red ' };
  it.each([
    ['', true],
    ['*', true],
    ['button', true],
    ['Button#buy.red.big', true],
    ['.blue, #buy', true],
    ['.re', false],
    ['a', false],
    ['button#sell', false],
  ])('%j: %s', (selector, fits) => expect(selectorTest(selector)?.(button)).toBe(fits));
  it.each(['a b', 'a > b', 'a[href]', 'a:hover', '#', '.', ',', 'a,', '##a', `${'.a'.repeat(600)}`])(
    '%j cannot be decided',
    (selector) => expect(selectorTest(selector)).toBeUndefined(),
  );
});

describe('compare', () => {
  it.each([
    ['equals', 'a', 'a', true],
    ['equals', null, '', false],
    ['not_equals', null, 'a', true],
    ['not_equals', 'a', 'a', false],
    ['contains', 'xay', 'a', true],
    ['contains', null, '', false],
    ['starts_with', 'ab', 'a', true],
    ['starts_with', 'ba', 'a', false],
    ['exists', '', 'x', true],
    ['exists', null, '', false],
    ['not_exists', null, '', true],
    ['not_exists', '', '', false],
  ] as const)('%s %j %j: %s', (operator, actual, expected, result) =>
    expect(compare(operator, actual, expected)).toBe(result),
  );
});
