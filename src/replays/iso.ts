/** Where dates end (ECMA-262, 21.4.1.1). */
const MAX_MS = 8.64e15;

/** RFC 3339 of a time in ms since epoch; a recorder's clock may say anything. */
export const isoOf = (ms: number): string => new Date(Math.max(-MAX_MS, Math.min(ms, MAX_MS))).toISOString();
