import { randomUUID } from 'node:crypto';

const THREAD = randomUUID();
let serial = 0;

/**
 * What stands for the client's time in the id of something that was sent without time and id: makes such ids differ, within this thread
 * and from all others.
 * @param receivedAt ms since epoch
 */
export function uniqueClock(receivedAt: number): string {
  return `${receivedAt} ${THREAD} ${serial++}`;
}
