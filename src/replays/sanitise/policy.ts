/**
 * The second wall. Chunks are sanitised one by one, and a change of an attribute names its element by number only: that the element is a
 * frame may stand in another chunk. So every full snapshot carries a content security policy in its own document, which browsers apply
 * to everything that is played after it: no script, no frame from anywhere, no form, no object. (rrweb disarms recorded policies by their
 * usual spelling only; sanitising takes every recorded one out.)
 */
import { NODE, type SafeNode } from './nodes.js';

export const POLICY =
  "script-src 'none'; object-src 'none'; frame-src 'none'; child-src 'none'; worker-src 'none'; connect-src 'none'; form-action 'none'; base-uri 'none'; manifest-src 'none'";

/** Ids far above those of any recording. */
const META_ID = 2_147_483_001;
const HEAD_ID = 2_147_483_002;

/** Puts the policy first into the head of a snapshot's document. False when the document has no HTML root to put it in. */
export function addPolicy(document: SafeNode): boolean {
  const html = document.childNodes?.find(({ type }) => type === NODE.element);
  if (document.type !== NODE.document || html?.tagName !== 'html' || html.childNodes === undefined)
    return false;
  let head = html.childNodes.find(({ type }) => type === NODE.element);
  if (head?.tagName !== 'head' || head.isShadow === true) {
    head = { type: NODE.element, tagName: 'head', attributes: {}, childNodes: [], id: HEAD_ID };
    html.childNodes.unshift(head);
  }
  const others = (head.childNodes ?? []).filter(({ id }) => id !== META_ID);
  head.childNodes = [policyNode(), ...others];
  return true;
}

function policyNode(): SafeNode {
  const attributes = { 'http-equiv': 'content-security-policy', content: POLICY };
  return { type: NODE.element, tagName: 'meta', attributes, childNodes: [], id: META_ID };
}
