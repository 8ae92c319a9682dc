/** The cells that a session yields: question, label, visitors, numbers. */

import { type ChangedPart, type Levels, type Numbered, numbersOf } from './clickhouse-changed-parts.js';
import { type BoundValues, isPageFilter, pageCondition } from './clickhouse-conditions.js';
import { seconds } from './clickhouse-rows.js';

/** Arrays of cells. */
export function cellsOf(levels: Levels): string[] {
  const simple: { readonly number: number; readonly period: number; readonly label: string }[] = [];
  const cells: string[] = [];
  for (const one of levels.numbered) {
    const label = labelOf(levels.values, one.part);
    if (label === undefined) cells.push(cellsOfMany(levels, one));
    else simple.push({ number: one.number, period: one.period, label });
  }
  if (simple.length === 0) return cells;
  const { values } = levels;
  const parts = values.bind(
    'Array(UInt16)',
    simple.map(({ number }) => number),
  );
  const periods = values.bind(
    'Array(UInt16)',
    simple.map(({ period }) => period),
  );
  return [
    `arrayFilter(c -> c.4[1] > 0 OR c.4[2] > 0, arrayMap((part, k, label) -> (part, label, counted[k].1, counted[k].2),
      ${parts}, ${periods}, [${simple.map(({ label }) => label).join(', ')}]))`,
    ...cells,
  ];
}

/** Of questions in which a session has one label. */
function labelOf(values: BoundValues, part: ChangedPart): string | undefined {
  if (part.on === 'totals') return "''";
  if (part.on !== 'breakdown' && part.on !== 'places') return undefined;
  const label = `if(${part.attribute} = '', ${values.bind('String', part.missing)}, ${part.attribute})`;
  return part.on === 'breakdown'
    ? label
    : `concat(${label}, '\\0', if(${part.attribute} = '', '', country_code))`;
}

function cellsOfMany(levels: Levels, { number, part, period }: Numbered): string {
  const tag = `toUInt16(${number})`;
  const happened = `happened[${period}]`;
  switch (part.on) {
    case 'timeline':
      return bucketed(levels.values, tag, part.starts, `marks[${period}]`);
    case 'event timeline':
      return bucketed(levels.values, tag, part.starts, happened);
    case 'event types':
      return `arrayMap(e -> (${tag}, e.4, e.2, e.3), ${happened})`;
    case 'event days':
      return `arrayMap(e -> (${tag}, concat(toString(intDiv(e.1, 86400000)), '\\0', e.4), e.2, e.3), ${happened})`;
    case 'pages':
      return pageCells(levels, tag, period);
    case 'returning': {
      // Visitors of the period, those who came before it, and either: what the first two have in common follows.
      const [seen, earlier] = [`counted[${period}].1`, `earlier${number}`];
      return `arrayMap((label, list) -> (${tag}, label, list, [toInt64(0)]), ['seen', 'earlier', 'either'],
        [${seen}, ${earlier}, arrayConcat(${seen}, ${earlier})])`;
    }
    default:
      return '[]';
  }
}

function bucketed(values: BoundValues, tag: string, starts: readonly number[], list: string): string {
  const bounds = values.bind('Array(Int64)', seconds(starts));
  return `arrayMap(c -> (${tag}, toString(roundDown(intDiv(c.1, 1000), ${bounds})), c.2, c.3), ${list})`;
}

function pageCells({ values, filters, froms, ends }: Levels, tag: string, period: number): string {
  const here = `started[${period}]`;
  const matches = pageCondition(values, filters.filter(isPageFilter), 'v.2');
  const inside = `arrayMap(v -> toInt64(v.1 >= ${froms}[${period}] AND v.1 < ${ends}[moment][${period}] AND ${matches}), views)`;
  const until = 'arrayPopFront(arrayPushBack(views.1, if(exit_ms > lv, exit_ms, last)))';
  const known = `arrayMap((u, v, i) -> i < length(views) OR u > v.1, ${until}, views, arrayEnumerate(views))`;
  const numbers = numbersOf(
    'inside',
    `nth * ${here}`,
    `nth * ${here} * bounced`,
    `(i = 1) * ${here}`,
    `(i = length(views)) * ${here}`,
    `(i = 1) * ${here} * bounced`,
    'inside * known * least(1800000, until - v.1)',
    'inside * known',
  );
  const cells = `arrayMap((v, i, nth, inside, known, until) -> (${tag}, v.2, if(inside = 1, [v.3], []), ${numbers}),
    views, arrayEnumerate(views), arrayMap(n -> n = 1, arrayEnumerateUniq(views.2)), ${inside}, ${known}, ${until})`;
  return `if(${here} = 1 OR notEmpty(looks[${period}]), ${cells}, [])`;
}
