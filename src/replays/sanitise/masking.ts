/**
 * What visitors typed never plays. The original's tracker masks every input in the browser (`maskAllInputs`); the same is done here to
 * whatever a client sends, so that a recorder set up otherwise, or an old one, gives nothing away.
 */
import type { Json, Scrub } from './scrub.js';

/** Inputs whose value is a label or a choice of the page, as rrweb itself leaves them. */
const OPEN_TYPES = new Set(['checkbox', 'radio', 'submit', 'button', 'reset', 'image', 'hidden']);

export const maskText = (text: string): string => (/^\**$/.test(text) ? text : '*'.repeat(text.length));

/** Shares of bars and positions in lists. */
const SMALL_NUMBER = /^(?:100|\d{1,2}|0?\.\d{1,6})$/;
/** What `value` means on elements that take no typing. */
const UNTYPED = new Set(['li', 'option', 'progress', 'meter', 'data', 'button']);

/** Masks the value of an element that was recorded whole, and remembers whether later changes of it are open. */
export function maskElement(scrub: Scrub, tag: string, id: number, attributes: Json): void {
  if (tag !== 'input' && tag !== 'textarea' && tag !== 'select') return;
  if (tag === 'input' && isOpenInput(attributes)) {
    scrub.openInputs.add(id);
    return;
  }
  if (typeof attributes.value === 'string') attributes.value = maskText(attributes.value);
  else if (typeof attributes.value === 'number') delete attributes.value;
}

function isOpenInput({ type, autocomplete, 'data-rr-is-password': secret }: Json): boolean {
  if (secret !== undefined || typeof type !== 'string' || !OPEN_TYPES.has(type.toLowerCase())) return false;
  return (
    typeof autocomplete !== 'string' ||
    !/(?:^|\s)(?:cc-|(?:current|new)-password|one-time)/i.test(autocomplete)
  );
}

/** The value that a changed `value` attribute may have; of unknown elements only numbers too small to be secrets. */
export function maskChangedValue(scrub: Scrub, tag: string | undefined, id: number, value: string): string {
  if ((tag !== undefined && UNTYPED.has(tag)) || scrub.openInputs.has(id) || SMALL_NUMBER.test(value))
    return value;
  return maskText(value);
}

/** The text of an input event. Those of boxes name a choice of the page, and only boxes are ever checked. */
export function maskInput(scrub: Scrub, id: number, text: string, isChecked: boolean): string {
  return isChecked || scrub.openInputs.has(id) ? text : maskText(text);
}
