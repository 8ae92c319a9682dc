import { createHash } from 'node:crypto';

/**
 * Whether a session is among those that are kept. The same session always is or is not, on every node, so that it is recorded as a whole.
 * @param rate share of the sessions, 0 to 1; 0 and less: none
 */
export function isSampled(siteId: string, sessionId: string, rate: number): boolean {
  if (rate >= 1) return true;
  if (!(rate > 0)) return false;
  const hash = createHash('sha256').update(`sampling\u0000${siteId}\u0000${sessionId}`).digest();
  return hash.readUInt32BE() / 2 ** 32 < rate;
}
