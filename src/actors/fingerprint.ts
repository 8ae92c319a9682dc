import { randomBytes } from 'node:crypto';
import { flagsOf, type RowTable } from '../events/tables.js';

/**
 * Folds a 128-bit event id into 64 bits, without allocating: `read` leaves the result in `hi` and `lo`. All 16 bytes count, because ids
 * that senders give (version 1 or 7 UUIDs) may differ in any half only, and a secret seed keeps a sender from making two ids meet. At
 * eight million ids in the window, a new id meets another by chance once in 2 * 10^12 events.
 */
export class Fingerprint {
  hi = 0;
  lo = 0;
  readonly #seedHi: number;
  readonly #seedLo: number;

  /** @param seed 8 bytes; random when left out */
  constructor(seed: Buffer = randomBytes(8)) {
    this.#seedHi = seed.readInt32LE(0);
    this.#seedLo = seed.readInt32LE(4);
  }

  /**
   * Reads the id at the start of `bytes` (16 at least). (0, 0) never comes out: it means an empty slot.
   * @param salt `siteSalt`: senders may give the same UUID to events of two sites; NO_SITE when the site is not known
   */
  read(bytes: Uint8Array, salt: number): this {
    let a = this.#seedHi ^ salt;
    let b = this.#seedLo ^ Math.imul(salt, 0x27d4eb2f);
    for (let at = 0; at < 16; at += 4) {
      const word =
        ((bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16)) ^
        ((bytes[at + 3] ?? 0) << 24);
      a = Math.imul(a ^ word, 0x9e3779b1);
      a = (a << 13) | (a >>> 19);
      b = Math.imul(b ^ word ^ (a >>> 16), 0x5f356495);
      b = (b << 17) | (b >>> 15);
    }
    a = mix(a ^ Math.imul(b ^ (b >>> 13), 0x85ebca6b));
    b = mix(b ^ Math.imul(a ^ (a >>> 16), 0xc2b2ae35));
    this.hi = a >>> 0;
    this.lo = a === 0 && b === 0 ? 1 : b >>> 0;
    return this;
  }
}

export const NO_SITE = 0;

/** 32 bits of a site id, never NO_SITE. */
export function siteSalt(siteId: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < siteId.length; i++) hash = Math.imul(hash ^ siteId.charCodeAt(i), 0x01000193);
  return mix(hash) || 1;
}

/** The salt of a table's rows of a site: the same id in two tables is two rows. Never NO_SITE. */
export function tableSalt(site: number, table: RowTable): number {
  const code = flagsOf(table) >> 4;
  return code === 0 ? site : mix(site + code) || 1;
}

/** Final avalanche of MurmurHash3. */
function mix(value: number): number {
  let h = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

const FIRST_SLOTS = 16;

/** A set of fingerprints: open addressing with linear probing in one typed array, 8 bytes a slot, at most 70 % full, doubling. */
export class FingerprintSet {
  #slots = new Uint32Array(FIRST_SLOTS * 2);
  #mask = FIRST_SLOTS - 1;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Bytes of memory. */
  get byteLength(): number {
    return this.#slots.byteLength;
  }

  has({ hi, lo }: Fingerprint): boolean {
    const slots = this.#slots;
    for (let slot = lo & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const low = slots[slot * 2];
      const high = slots[slot * 2 + 1];
      if (low === lo && high === hi) return true;
      if (low === 0 && high === 0) return false;
    }
  }

  /** False when it is in already. */
  add({ hi, lo }: Fingerprint): boolean {
    if (!this.#place(hi, lo)) return false;
    if (++this.#size > (this.#mask + 1) * 0.7) this.#grow();
    return true;
  }

  clear(): void {
    this.#slots = new Uint32Array(FIRST_SLOTS * 2);
    this.#mask = FIRST_SLOTS - 1;
    this.#size = 0;
  }

  #place(hi: number, lo: number): boolean {
    const slots = this.#slots;
    for (let slot = lo & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const low = slots[slot * 2];
      const high = slots[slot * 2 + 1];
      if (low === lo && high === hi) return false;
      if (low === 0 && high === 0) {
        slots[slot * 2] = lo;
        slots[slot * 2 + 1] = hi;
        return true;
      }
    }
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Uint32Array(old.length * 2);
    this.#mask = this.#mask * 2 + 1;
    for (let at = 0; at < old.length; at += 2) {
      const low = old[at] ?? 0;
      const high = old[at + 1] ?? 0;
      if (low !== 0 || high !== 0) this.#place(high, low);
    }
  }
}
