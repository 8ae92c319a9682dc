/** How parts lie in objects: one object a site and block, the parts of a session side by side. */
import { createHash } from 'node:crypto';
import { grouped } from './grouped.js';
import type { RecordingPart } from './recording-row.js';
import type { PlacedPart } from './replay-store.js';

export const OBJECT_TYPE = 'application/octet-stream';

/** All objects of a site, and nothing else. */
export const sitePrefix = (siteId: string): string => `replays/${siteId}/`;

/** An object that is to be written. */
export interface BuiltObject {
  readonly siteId: string;
  readonly objectKey: string;
  readonly body: Buffer;
  readonly parts: readonly PlacedPart[];
}

/**
 * The objects of a block. The same parts under the same token make the same objects, byte for byte, so that a repetition overwrites an
 * object with itself.
 */
export function buildObjects(parts: readonly RecordingPart[], token: string): BuiltObject[] {
  const bySite = grouped(parts, (part) => part.siteId);
  return Array.from(bySite, ([siteId, ofSite]) => buildObject(siteId, ofSite, token));
}

function buildObject(siteId: string, parts: RecordingPart[], token: string): BuiltObject {
  const ordered = parts.toSorted(compare);
  const day = new Date(Math.min(...ordered.map((part) => part.receivedAt))).toISOString().slice(0, 10);
  const objectKey = objectKeyOf(siteId, day.replaceAll('-', ''), [
    token,
    ...ordered.map((part) => part.eventId),
  ]);
  let offset = 0;
  const placed = ordered.map((part) => {
    const at = offset;
    offset += part.data.length;
    return { part, objectKey, offset: at };
  });
  return { siteId, objectKey, body: Buffer.concat(ordered.map((part) => part.data)), parts: placed };
}

/** @param contents what the object is made of: other contents never get the same key */
export function objectKeyOf(siteId: string, day: string, contents: readonly string[]): string {
  const hash = createHash('sha256').update(contents.join('\n')).digest('hex').slice(0, 32);
  return `${sitePrefix(siteId)}${day}/${hash}.bin`;
}

/** The day in an object's key, `yyyymmdd`. */
export function dayOf(objectKey: string): string {
  return objectKey.split('/')[2] ?? '';
}

/** By session and then as they are played. */
function compare(a: RecordingPart, b: RecordingPart): number {
  return (
    compareText(a.sessionKey, b.sessionKey) ||
    a.firstMs - b.firstMs ||
    a.sequence - b.sequence ||
    compareText(a.chunkId, b.chunkId) ||
    a.part - b.part
  );
}

function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
