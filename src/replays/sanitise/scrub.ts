/** What the parts of the sanitiser share: readers of untrusted JSON, and the state of one chunk. */

/** An object of untrusted JSON. */
export type Json = Record<string, unknown>;

/** Limits of a chunk's insides. A document beyond them is no page that a browser could have shown. */
export const DEPTH_LIMIT = 600;
export const NODE_LIMIT = 200_000;

/** State while one chunk is sanitised. */
export interface Scrub {
  /** Events, nodes, attributes, rules and commands taken out so far. */
  removed: number;
  /** Nodes seen so far. */
  nodes: number;
  /** Ids of this chunk's frames. */
  readonly frames: Set<number>;
  /** Ids of this chunk's inputs whose value is no secret (boxes, buttons). */
  readonly openInputs: Set<number>;
}

export const newScrub = (): Scrub => ({ removed: 0, nodes: 0, frames: new Set(), openInputs: new Set() });

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}

/** A node id as rrweb numbers them: a whole number, also -1 for "not in the document". */
export function isId(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value);
}

/** The array, or an empty one. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Maps a list and drops (counting) what `keep` answers with undefined. */
export function keepSome<Kept>(
  scrub: Scrub,
  list: unknown,
  keep: (entry: unknown) => Kept | undefined,
): Kept[] {
  const kept: Kept[] = [];
  for (const entry of listOf(list)) {
    const value = keep(entry);
    if (value === undefined) scrub.removed++;
    else kept.push(value);
  }
  return kept;
}

/** Copies the named fields that are finite numbers. */
export function copyNumbers(from: Json, to: Json, names: readonly string[]): void {
  for (const name of names) {
    const value = from[name];
    if (isNumber(value)) to[name] = value;
  }
}

/** Copies the named fields that are booleans. */
export function copyBooleans(from: Json, to: Json, names: readonly string[]): void {
  for (const name of names) {
    const value = from[name];
    if (typeof value === 'boolean') to[name] = value;
  }
}

/**
 * A copy of plain JSON that nothing interprets (payloads of custom events): `__proto__` keys and what lies deeper than `depth` go.
 */
export function plainCopy(scrub: Scrub, value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (depth <= 0) {
    scrub.removed++;
    return null;
  }
  if (Array.isArray(value)) return value.map((entry) => plainCopy(scrub, entry, depth - 1));
  const copy: Json = {};
  for (const [key, entry] of Object.entries(value)) {
    if (key === '__proto__') scrub.removed++;
    else copy[key] = plainCopy(scrub, entry, depth - 1);
  }
  return copy;
}
