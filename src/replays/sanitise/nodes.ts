/** Nodes as rrweb serialises them, rebuilt from what is known to be harmless. Ids are kept, so that later changes find their nodes. */
import { safeAttributes } from './attributes.js';
import { safeCss } from './css.js';
import { maskElement, maskText } from './masking.js';
import { DEPTH_LIMIT, isId, isObject, type Json, listOf, NODE_LIMIT, type Scrub } from './scrub.js';
import { isCustomName, mayBeSvg, safeTag } from './tags.js';

/** Values of `type` of a serialised node. */
export const NODE = { document: 0, doctype: 1, element: 2, text: 3, cdata: 4, comment: 5 } as const;

export interface SafeNode {
  type: number;
  tagName?: string;
  attributes?: Json;
  textContent?: string;
  isStyle?: true;
  name?: string;
  publicId?: string;
  systemId?: string;
  childNodes?: SafeNode[];
  compatMode?: 'BackCompat';
  isSVG?: true;
  needBlock?: true;
  isCustom?: true;
  isShadowHost?: true;
  isShadow?: true;
  id: number;
  rootId?: number;
}

/** Where a node stands. */
export interface Place {
  /** Safe tag of the parent element; undefined when unknown or a document. */
  readonly parent: string | undefined;
  readonly depth: number;
}

/** A node with everything beneath it; undefined (and counted) when it cannot be one. */
export function safeNode(scrub: Scrub, node: unknown, place: Place): SafeNode | undefined {
  if (++scrub.nodes > NODE_LIMIT || place.depth > DEPTH_LIMIT || !isObject(node) || !isId(node.id))
    return lost(scrub);
  switch (node.type) {
    case NODE.document:
      return documentNode(scrub, node, node.id, place);
    case NODE.doctype:
      return withPlace(node, {
        type: NODE.doctype,
        name:
          typeof node.name === 'string' && /^[A-Za-z][\w:.-]{0,100}$/.test(node.name) ? node.name : 'html',
        publicId: textOf(node.publicId),
        systemId: textOf(node.systemId),
        id: node.id,
      });
    case NODE.element:
      return elementNode(scrub, node, node.id, place);
    // A CDATA section cannot be made in an HTML document: the player would stop.
    case NODE.cdata:
    case NODE.text:
      return textNode(node, node.id, place);
    case NODE.comment:
      return withPlace(node, { type: NODE.comment, textContent: textOf(node.textContent), id: node.id });
    default:
      return lost(scrub);
  }
}

function lost(scrub: Scrub): undefined {
  scrub.removed++;
  return undefined;
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Adds what tells the player in which document or shadow root a node belongs. */
function withPlace(from: Json, node: SafeNode): SafeNode {
  if (isId(from.rootId)) node.rootId = from.rootId;
  if (from.isShadow === true) node.isShadow = true;
  return node;
}

function textNode(node: Json, id: number, { parent }: Place): SafeNode {
  let text = textOf(node.textContent);
  const isStyle = node.isStyle === true || parent === 'style';
  if (isStyle) text = safeCss(text);
  else if (parent === 'textarea') text = maskText(text);
  const safe: SafeNode = { type: NODE.text, textContent: text, id };
  if (isStyle && node.isStyle === true) safe.isStyle = true;
  return withPlace(node, safe);
}

function documentNode(scrub: Scrub, node: Json, id: number, { depth }: Place): SafeNode {
  const childNodes: SafeNode[] = [];
  // One doctype, then one element: the player stops where the DOM refuses a node.
  let next: number = NODE.doctype;
  for (const child of listOf(node.childNodes)) {
    const safe = safeNode(scrub, child, { parent: undefined, depth: depth + 1 });
    if (safe === undefined) continue;
    const isPart = safe.type === NODE.doctype || safe.type === NODE.element;
    if (safe.type !== NODE.comment && !(isPart && safe.type >= next)) lost(scrub);
    else {
      if (isPart) next = safe.type + 1;
      delete safe.isShadow;
      childNodes.push(safe);
    }
  }
  const safe: SafeNode = { type: NODE.document, childNodes, id };
  if (node.compatMode === 'BackCompat' && childNodes.length > 0) safe.compatMode = 'BackCompat';
  if (isId(node.rootId)) safe.rootId = node.rootId;
  return safe;
}

function elementNode(scrub: Scrub, node: Json, id: number, { depth }: Place): SafeNode | undefined {
  if (typeof node.tagName !== 'string') return lost(scrub);
  const tagName = safeTag(node.tagName);
  const replaced = tagName !== node.tagName.toLowerCase();
  if (replaced) scrub.removed++;
  const isScript = node.tagName.toLowerCase() === 'script';
  const attributes = isScript
    ? {}
    : safeAttributes(scrub, tagName, isObject(node.attributes) ? node.attributes : {});
  if (!isScript) settle(scrub, tagName, id, attributes);
  const childNodes: SafeNode[] = [];
  for (const child of listOf(node.childNodes)) {
    const safe = safeNode(scrub, child, { parent: tagName, depth: depth + 1 });
    if (safe === undefined) continue;
    if (safe.type === NODE.document || safe.type === NODE.doctype) lost(scrub);
    else {
      if (isScript && safe.type === NODE.text) safe.textContent = '';
      childNodes.push(safe);
    }
  }
  const safe: SafeNode = { type: NODE.element, tagName, attributes, childNodes, id };
  if (node.isSVG === true && mayBeSvg(tagName)) safe.isSVG = true;
  if (node.needBlock === true) safe.needBlock = true;
  if (node.isCustom === true && isCustomName(tagName)) safe.isCustom = true;
  if (node.isShadowHost === true && safe.isSVG !== true && mayHostShadow(tagName)) safe.isShadowHost = true;
  return withPlace(node, safe);
}

/** What depends on an element's kind and on several attributes together. */
function settle(scrub: Scrub, tag: string, id: number, attributes: Json): void {
  maskElement(scrub, tag, id, attributes);
  if (tag === 'iframe') {
    scrub.frames.add(id);
    // As rrweb does: a frame's document is played from the recording or not at all.
    if (attributes.src !== undefined) {
      attributes.rr_src ??= attributes.src;
      delete attributes.src;
      scrub.removed++;
    }
  }
}

const HOSTS = new Set(
  'article aside blockquote body div footer h1 h2 h3 h4 h5 h6 header main nav p section span'.split(' '),
);
/** Elsewhere `attachShadow` throws, which would stop the player. */
export const mayHostShadow = (tag: string): boolean => HOSTS.has(tag) || isCustomName(tag);
