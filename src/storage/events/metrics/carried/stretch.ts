import type { Scope } from '../../../../metrics/metrics-store.js';
import { SLOT_MS } from '../clickhouse-rows.js';
import type { Stretch } from './arrivals.js';

const DAY_MS = 86_400_000;

export const slotAt = (at: number): number => Math.floor(at / SLOT_MS) * SLOT_MS;
export const slotAfter = (at: number): number => Math.ceil(at / SLOT_MS) * SLOT_MS;

/** One key for a question, although the end of a running period moves on. */
export function answerKey({ siteId, from, to, filters }: Scope, part: string): string {
  return JSON.stringify([siteId, from, Math.round((to - from) / DAY_MS), filters, part]);
}

/** After every slot that there is. */
const NEVER = 4_294_967_295_000;

/**
 * What can be new in a period up to `to` for an answer over all rows that arrived before a moment, and up to another end. For all
 * periods that end after that moment it is the same: they share what is found out about it.
 */
export function stretchOf(
  base: { readonly arrivedBefore: number; readonly to: number },
  to: number,
): Stretch {
  const { arrivedBefore } = base;
  const slotFrom = Math.min(slotAt(to), base.to);
  if (slotFrom >= arrivedBefore)
    return { arrivedSince: arrivedBefore, slotFrom: arrivedBefore, slotTo: NEVER };
  return { arrivedSince: arrivedBefore, slotFrom, slotTo: Math.max(slotAfter(to), base.to) };
}
