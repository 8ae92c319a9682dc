import { type Scope, SLOT_MS } from '../../../../metrics/metrics-store.js';

const DAY_MS = 86_400_000;

/** What all sites have in common. */
export interface RollupState {
  /** Quarter of an hour, ms since epoch: all rows that arrived before it are there. */
  readonly settled: number;
  /** Changes when rows were removed or rewritten, after which nothing that was counted before holds. */
  readonly history: string;
  /** Rows are being removed. */
  readonly isChanging: boolean;
}

/** Rows that a carried answer may not know yet: arrived since, or in slots that its period has gained or lost. */
export interface Stretch {
  /** ms since epoch, quarters of an hour. */
  readonly arrivedSince: number;
  readonly slotFrom: number;
  readonly slotTo: number;
}

/** What an answer is carried on from: it is of all rows that arrived before a moment, over a period up to an end; ms since epoch. */
export interface Base {
  readonly arrivedBefore: number;
  readonly to: number;
}

/** The sessions that such rows belong to. */
export interface Arrivals {
  readonly stretch: Stretch;
  /** The same as long as nothing has changed. */
  readonly state: string;
  /** Time of the latest event among them, ms since epoch; 0 when there is none. */
  readonly latest: number;
  /** When this was answered, by performance.now(). */
  readonly at: number;
  /** Of the rows that arrived since; undefined when they are too many. */
  readonly recent: Pairs | undefined;
  /** Of the rows that had arrived before, in the slots; likewise. */
  readonly cut: Pairs | undefined;
}

/** Session and visitor of some rows. */
export type Pairs = readonly (readonly [string, string])[];

export const slotAt = (at: number): number => Math.floor(at / SLOT_MS) * SLOT_MS;
export const slotAfter = (at: number): number => Math.ceil(at / SLOT_MS) * SLOT_MS;

/** One key for a question all day long, although the end of a running period moves on. */
export function answerKey({ siteId, from, to, filters }: Scope, part: string): string {
  return JSON.stringify([siteId, from, Math.ceil((to - from) / DAY_MS), filters, part]);
}

/** After every slot that there is. */
export const NEVER = 4_294_967_295_000;

/** A period that has ended before a moment is cut inside a slot of which everything had arrived. */
export const endsBefore = (arrivedBefore: number, to: number): boolean => slotAt(to) < arrivedBefore;

/**
 * What can be new in a period up to `to` for an answer over all rows that arrived before a moment, and up to another end. For all
 * periods that end after that moment it is the same: they share what is found out about it.
 */
export function stretchOf(base: Base, to: number): Stretch {
  const { arrivedBefore } = base;
  if (!endsBefore(arrivedBefore, Math.min(to, base.to)))
    return { arrivedSince: arrivedBefore, slotFrom: arrivedBefore, slotTo: NEVER };
  const slotFrom = slotAt(Math.min(to, base.to));
  if (to === base.to) return { arrivedSince: arrivedBefore, slotFrom, slotTo: slotFrom };
  return { arrivedSince: arrivedBefore, slotFrom, slotTo: slotAfter(Math.max(to, base.to)) };
}

/** Slots that such a period has gained or lost since the answer. */
export const slotsApart = (base: Base, to: number): number => {
  const { slotFrom, slotTo } = stretchOf(base, to);
  return slotTo === NEVER ? 0 : (slotTo - slotFrom) / SLOT_MS;
};

/** It is that of all periods that end after the moment. */
export const isOpen = ({ slotTo }: Stretch): boolean => slotTo === NEVER;
