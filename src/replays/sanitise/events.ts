/** rrweb events, one by one. */
import { safeIncremental } from './incremental.js';
import { safeNode } from './nodes.js';
import { addPolicy } from './policy.js';
import { isNumber, isObject, type Json, plainCopy, type Scrub } from './scrub.js';
import { isSafeUrl } from './urls.js';

/** Values of `type`. */
export const EVENT = {
  domContentLoaded: 0,
  load: 1,
  fullSnapshot: 2,
  incremental: 3,
  meta: 4,
  custom: 5,
  plugin: 6,
} as const;

export interface SafeEvent {
  readonly type: number;
  readonly data: Json;
  readonly timestamp: number;
}

const PAYLOAD_DEPTH = 32;
/** Plugins whose events only tell something. Others (such as canvas streams) ask the player to act. */
const TOLD_BY = /^rrweb\/(?:console|sequential-id)@\d/;

/** An event that is safe to play; undefined when it is no rrweb event, or nothing of it may stay. */
export function safeEvent(scrub: Scrub, event: unknown): SafeEvent | undefined {
  if (!isObject(event) || !isTime(event.timestamp)) return undefined;
  const data = safeData(scrub, event.type, isObject(event.data) ? event.data : {});
  if (data === undefined || typeof event.type !== 'number') return undefined;
  return { type: event.type, data, timestamp: event.timestamp };
}

/** Milliseconds since the epoch, within what dates can hold. */
function isTime(value: unknown): value is number {
  return isNumber(value) && value > 0 && value <= 8.64e15;
}

function safeData(scrub: Scrub, type: unknown, data: Json): Json | undefined {
  switch (type) {
    case EVENT.domContentLoaded:
    case EVENT.load:
      return {};
    case EVENT.fullSnapshot:
      return fullSnapshot(scrub, data);
    case EVENT.incremental:
      return safeIncremental(scrub, data);
    case EVENT.meta:
      return meta(data);
    case EVENT.custom:
      if (typeof data.tag !== 'string' || data.tag.length > 256) return undefined;
      return { tag: data.tag, payload: plainCopy(scrub, data.payload ?? null, PAYLOAD_DEPTH) };
    case EVENT.plugin:
      if (typeof data.plugin !== 'string' || !TOLD_BY.test(data.plugin)) return undefined;
      return { plugin: data.plugin, payload: plainCopy(scrub, data.payload ?? null, PAYLOAD_DEPTH) };
    default:
      return undefined;
  }
}

function fullSnapshot(scrub: Scrub, data: Json): Json | undefined {
  const node = safeNode(scrub, data.node, { parent: undefined, depth: 0 });
  if (node === undefined || !addPolicy(node)) return undefined;
  const offset = isObject(data.initialOffset) ? data.initialOffset : {};
  const { top, left } = offset;
  return { node, initialOffset: { left: isNumber(left) ? left : 0, top: isNumber(top) ? top : 0 } };
}

function meta({ href, width, height }: Json): Json | undefined {
  if (!isNumber(width) || !isNumber(height)) return undefined;
  const shown = typeof href === 'string' && /^https?:/i.test(href) && isSafeUrl(href, 'link') ? href : '';
  return { href: shown, width, height };
}
