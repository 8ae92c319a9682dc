/** Changes of style sheets and fonts. */
import { safeDeclaration } from './attributes.js';
import { safeCss } from './css.js';
import { isId, isObject, type Json, keepSome, type Scrub } from './scrub.js';

/** Where a rule stands: a number, or a path of them into nested rules. */
function isIndex(value: unknown): value is number | number[] {
  return isId(value) || (Array.isArray(value) && value.length > 0 && value.length <= 32 && value.every(isId));
}

/** Rules to insert, `{rule, index?}`. */
export function safeRules(scrub: Scrub, list: unknown): Json[] {
  return keepSome(scrub, list, (entry) => {
    if (!isObject(entry) || typeof entry.rule !== 'string') return undefined;
    const safe: Json = { rule: safeCss(entry.rule) };
    if (isIndex(entry.index)) safe.index = entry.index;
    return safe;
  });
}

/** Rules added to, taken from or put in place of a style sheet's. */
export function safeSheetChange(scrub: Scrub, data: Json): Json | undefined {
  const safe: Json = { source: 8 };
  if (!named(data, safe)) return undefined;
  if (Array.isArray(data.adds)) safe.adds = safeRules(scrub, data.adds);
  if (Array.isArray(data.removes))
    safe.removes = keepSome(scrub, data.removes, (entry) =>
      isObject(entry) && isIndex(entry.index) ? { index: entry.index } : undefined,
    );
  if (typeof data.replace === 'string') safe.replace = safeCss(data.replace);
  if (typeof data.replaceSync === 'string') safe.replaceSync = safeCss(data.replaceSync);
  return safe;
}

const PROPERTY = /^[-\w]{1,100}$/;

/** One declaration set in or removed from a rule. */
export function safeStyleDeclaration(data: Json): Json | undefined {
  const safe: Json = { source: 13 };
  // The player takes the index for a path without looking.
  if (!named(data, safe) || !Array.isArray(data.index) || !isIndex(data.index)) return undefined;
  safe.index = data.index;
  const { set, remove } = data;
  if (isObject(set) && typeof set.property === 'string' && PROPERTY.test(set.property)) {
    const value = typeof set.value === 'string' ? safeDeclaration(set.property, set.value) : null;
    safe.set = { property: set.property, value };
    if (set.priority === 'important') safe.set = { property: set.property, value, priority: 'important' };
  }
  if (isObject(remove) && typeof remove.property === 'string' && PROPERTY.test(remove.property))
    safe.remove = { property: remove.property };
  return safe;
}

/** Copies which sheet is meant: that of a node, or a constructed one. */
function named(data: Json, safe: Json): boolean {
  if (isId(data.id)) safe.id = data.id;
  if (isId(data.styleId)) safe.styleId = data.styleId;
  return safe.id !== undefined || safe.styleId !== undefined;
}

const REMOTE_FONT =
  /^\s{0,16}url\(\s{0,16}["']?\s{0,16}(?:https?:\/\/|data:(?:font\/|application\/(?:x-)?font|application\/octet-stream))/i;
const FONT_BYTES = /^\s*[[{][\d,\s":{}[\]]*$/;
const DESCRIPTORS = ['style', 'weight', 'stretch', 'unicodeRange', 'variant', 'featureSettings', 'display'];

/** A font that a script of the page loaded: its bytes, or where they are. */
export function safeFont(data: Json): Json | undefined {
  const { family, fontSource, buffer } = data;
  if (typeof family !== 'string' || family.length > 256 || typeof fontSource !== 'string') return undefined;
  const bytes = buffer === true;
  if (!(bytes ? FONT_BYTES : REMOTE_FONT).test(fontSource)) return undefined;
  const safe: Json = {
    source: 10,
    family,
    fontSource: bytes ? fontSource : safeCss(fontSource),
    buffer: bytes,
  };
  if (isObject(data.descriptors)) {
    const descriptors: Json = {};
    for (const name of DESCRIPTORS) {
      const value = data.descriptors[name];
      if (typeof value === 'string' && value.length <= 1_000) descriptors[name] = value;
    }
    safe.descriptors = descriptors;
  }
  return safe;
}
