/**
 * CSS selectors as far as a click event can tell: the tracker reports tag, id and classes of the element, nothing of its ancestors.
 * Lists of compounds such as `button.buy#now, .cart` can be decided; combinators, attributes and pseudo-classes cannot.
 */
export interface ClickedElement {
  /** Any case. */
  readonly tag: string;
  readonly id: string;
  /** Separated by white space. */
  readonly classes: string;
}

interface Compound {
  /** Lower case; '' and '*': any. */
  readonly tag: string;
  readonly ids: readonly string[];
  readonly classes: readonly string[];
}

export type SelectorTest = (element: ClickedElement) => boolean;

const NAME = '-?(?:[A-Za-z_\\u0080-\\uffff]|--)[\\w\\u0080-\\uffff-]*';
const COMPOUND = new RegExp(`^(\\*|${NAME})?((?:[#.]${NAME})*)$`);
const PART = new RegExp(`[#.]${NAME}`, 'g');
const MAX_COMPOUNDS = 50;

/** The test that a selector stands for; the empty one takes everything. Undefined when it cannot be decided. */
export function selectorTest(selector: string): SelectorTest | undefined {
  if (selector.trim() === '') return () => true;
  const compounds: Compound[] = [];
  for (const text of selector.split(',')) {
    const compound = readCompound(text.trim());
    if (compound === undefined || compounds.length === MAX_COMPOUNDS) return undefined;
    compounds.push(compound);
  }
  return (element) => {
    const classes = element.classes.split(/\s+/);
    return compounds.some((compound) => fits(compound, element, classes));
  };
}

/** Is it a selector that no click event can decide? */
export const isUndecidable = (selector: string): boolean => selectorTest(selector) === undefined;

function readCompound(text: string): Compound | undefined {
  const match = text.length > 1_000 ? null : COMPOUND.exec(text);
  if (match === null || text === '') return undefined;
  const parts: readonly string[] = match[2]?.match(PART) ?? [];
  const of = (sign: string) => parts.filter((part) => part.startsWith(sign)).map((part) => part.slice(1));
  return { tag: (match[1] ?? '').toLowerCase(), ids: of('#'), classes: of('.') };
}

function fits({ tag, ids, classes }: Compound, element: ClickedElement, has: readonly string[]): boolean {
  return (
    (tag === '' || tag === '*' || tag === element.tag.toLowerCase()) &&
    ids.every((id) => id === element.id) &&
    classes.every((name) => has.includes(name))
  );
}
