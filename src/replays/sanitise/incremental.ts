/** Incremental snapshots: each source rebuilt from the fields that the player reads. */
import { safeAttributes, safeRate, safeVolume } from './attributes.js';
import { safeCanvas } from './canvas.js';
import { maskChangedValue, maskInput } from './masking.js';
import { mayHostShadow, safeNode } from './nodes.js';
import {
  copyBooleans,
  copyNumbers,
  isId,
  isNumber,
  isObject,
  type Json,
  keepSome,
  type Scrub,
} from './scrub.js';
import { safeFont, safeRules, safeSheetChange, safeStyleDeclaration } from './sheets.js';
import { safeTag } from './tags.js';

/** Values of `source`. */
export const SOURCE = {
  mutation: 0,
  mouseMove: 1,
  mouseInteraction: 2,
  scroll: 3,
  viewportResize: 4,
  input: 5,
  touchMove: 6,
  media: 7,
  styleSheetRule: 8,
  canvas: 9,
  font: 10,
  drag: 12,
  styleDeclaration: 13,
  selection: 14,
  adoptedStyleSheet: 15,
  customElement: 16,
} as const;

type Safe = (scrub: Scrub, data: Json, id: number) => Json | undefined;

/** By source; those of events without a node get the id 0. */
const SAFE: ReadonlyMap<unknown, Safe> = new Map<unknown, Safe>([
  [SOURCE.mutation, mutation],
  [SOURCE.mouseMove, positions],
  [SOURCE.touchMove, positions],
  [SOURCE.drag, positions],
  [SOURCE.mouseInteraction, mouseInteraction],
  [SOURCE.scroll, scroll],
  [SOURCE.viewportResize, viewportResize],
  [SOURCE.input, input],
  [SOURCE.media, media],
  [SOURCE.styleSheetRule, (scrub, data) => safeSheetChange(scrub, data)],
  [SOURCE.canvas, safeCanvas],
  [SOURCE.font, (_, data) => safeFont(data)],
  [SOURCE.styleDeclaration, (_, data) => safeStyleDeclaration(data)],
  [SOURCE.selection, selection],
  [SOURCE.adoptedStyleSheet, adoptedStyleSheet],
  [SOURCE.customElement, customElement],
]);
const NEEDS_ID: ReadonlySet<unknown> = new Set([2, 3, 5, 7, 9, 15]);

/** The data of an incremental snapshot; undefined when it is none that the player knows. */
export function safeIncremental(scrub: Scrub, data: Json): Json | undefined {
  const { source, id } = data;
  const known = isId(id);
  if (!known && NEEDS_ID.has(source)) return undefined;
  return SAFE.get(source)?.(scrub, data, known ? id : 0);
}

function mutation(scrub: Scrub, data: Json): Json {
  const removes = keepSome(scrub, data.removes, (entry) => {
    if (!isObject(entry) || !isId(entry.parentId) || !isId(entry.id)) return undefined;
    const safe: Json = { parentId: entry.parentId, id: entry.id };
    if (entry.isShadow === true) safe.isShadow = true;
    return safe;
  });
  const adds = keepSome(scrub, data.adds, (entry) => addedNode(scrub, entry));
  const texts = keepSome(scrub, data.texts, (entry) => {
    if (!isObject(entry) || !isId(entry.id)) return undefined;
    const { id, value } = entry;
    return typeof value === 'string' || value === null ? { id, value } : undefined;
  });
  const attributes = keepSome(scrub, data.attributes, (entry) => changedAttributes(scrub, entry));
  const safe: Json = { source: SOURCE.mutation, texts, attributes, removes, adds };
  if (data.isAttachIframe === true) safe.isAttachIframe = true;
  return safe;
}

function addedNode(scrub: Scrub, entry: unknown): Json | undefined {
  if (!isObject(entry) || !isId(entry.parentId)) return undefined;
  const before = scrub.removed;
  const node = safeNode(scrub, entry.node, { parent: undefined, depth: 0 });
  if (node === undefined) {
    scrub.removed = before; // Counted once, by the caller.
    return undefined;
  }
  const safe: Json = { parentId: entry.parentId };
  if (isId(entry.previousId) || entry.previousId === null) safe.previousId = entry.previousId;
  safe.nextId = isId(entry.nextId) ? entry.nextId : null;
  safe.node = node;
  return safe;
}

function changedAttributes(scrub: Scrub, entry: unknown): Json | undefined {
  if (!isObject(entry) || !isId(entry.id) || !isObject(entry.attributes)) return undefined;
  const { id } = entry;
  const attributes = safeAttributes(scrub, undefined, entry.attributes);
  if (typeof attributes.value === 'string')
    attributes.value = maskChangedValue(scrub, undefined, id, attributes.value);
  if (attributes.src !== undefined && scrub.frames.has(id)) {
    attributes.rr_src = attributes.src;
    delete attributes.src;
  }
  return { id, attributes };
}

function positions(scrub: Scrub, data: Json): Json | undefined {
  const kept = keepSome(scrub, data.positions, (entry) => {
    if (!isObject(entry) || !isNumber(entry.x) || !isNumber(entry.y) || !isId(entry.id)) return undefined;
    const { x, y, id } = entry;
    return { x, y, id, timeOffset: isNumber(entry.timeOffset) ? entry.timeOffset : 0 };
  });
  // The player reads the last position without looking whether there is one.
  return kept.length === 0 ? undefined : { source: data.source, positions: kept };
}

function mouseInteraction(_: Scrub, data: Json, id: number): Json | undefined {
  const { type } = data;
  if (!isId(type) || type < 0 || type > 10) return undefined;
  const safe: Json = { source: SOURCE.mouseInteraction, type, id };
  copyNumbers(data, safe, ['x', 'y', 'pointerType']);
  return safe;
}

function scroll(_: Scrub, data: Json, id: number): Json | undefined {
  const { x, y } = data;
  return isNumber(x) && isNumber(y) ? { source: SOURCE.scroll, id, x, y } : undefined;
}

function viewportResize(_: Scrub, { width, height }: Json): Json | undefined {
  return isNumber(width) && isNumber(height) ? { source: SOURCE.viewportResize, width, height } : undefined;
}

function input(scrub: Scrub, data: Json, id: number): Json | undefined {
  if (typeof data.text !== 'string') return undefined;
  const isChecked = data.isChecked === true;
  const safe: Json = {
    source: SOURCE.input,
    text: maskInput(scrub, id, data.text, isChecked),
    isChecked,
    id,
  };
  copyBooleans(data, safe, ['userTriggered']);
  return safe;
}

function media(_: Scrub, data: Json, id: number): Json | undefined {
  const { type, volume, playbackRate } = data;
  if (!isId(type) || type < 0 || type > 4) return undefined;
  const safe: Json = { source: SOURCE.media, type, id };
  copyNumbers(data, safe, ['currentTime']);
  if (isNumber(volume)) safe.volume = safeVolume(volume);
  if (isNumber(playbackRate)) safe.playbackRate = safeRate(playbackRate);
  copyBooleans(data, safe, ['muted', 'loop']);
  return safe;
}

function selection(scrub: Scrub, data: Json): Json {
  const ranges = keepSome(scrub, data.ranges, (entry) => {
    if (!isObject(entry)) return undefined;
    const safe: Json = {};
    copyNumbers(entry, safe, ['start', 'startOffset', 'end', 'endOffset']);
    return safe;
  });
  return { source: SOURCE.selection, ranges };
}

function adoptedStyleSheet(scrub: Scrub, data: Json, id: number): Json {
  const styleIds = keepSome(scrub, data.styleIds, (styleId) => (isId(styleId) ? styleId : undefined));
  const safe: Json = { source: SOURCE.adoptedStyleSheet, id, styleIds };
  if (Array.isArray(data.styles))
    safe.styles = keepSome(scrub, data.styles, (entry) =>
      isObject(entry) && isId(entry.styleId)
        ? { styleId: entry.styleId, rules: safeRules(scrub, entry.rules) }
        : undefined,
    );
  return safe;
}

function customElement(_: Scrub, { define }: Json): Json | undefined {
  if (!isObject(define) || typeof define.name !== 'string' || safeTag(define.name) !== define.name)
    return undefined;
  return mayHostShadow(define.name)
    ? { source: SOURCE.customElement, define: { name: define.name } }
    : undefined;
}
