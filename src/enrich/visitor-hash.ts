/**
 * Visitors of trackers that send no `visitor_id`: a keyed hash under a random key of the UTC day, which is destroyed after two days. Within
 * a day the same browser at the same address is one visitor of a site; across days and sites nothing ties the hashes together, and once
 * the key is gone nobody can try addresses against them.
 */
import { createHmac } from 'node:crypto';

const DAY_MS = 86_400_000;
/** Bytes of a key. */
export const SALT_BYTES = 32;
/** Hex characters of a made id: 128 bits. */
const ID_CHARACTERS = 32;

/** The key of one UTC day. */
export interface DailySalt {
  /** Start of the day, ms since epoch. */
  readonly day: number;
  /** {@link SALT_BYTES} random bytes. */
  readonly key: Uint8Array;
}

/** Start of the UTC day of a time, ms since epoch. */
export function dayOf(ms: number): number {
  return Math.floor(ms / DAY_MS) * DAY_MS;
}

/** What the hash is made of, besides the day's key. */
export interface Sender {
  readonly siteId: string;
  /** Client address after the trusted-proxy rule; it goes into the hash and nowhere else. */
  readonly address: string;
  readonly userAgent: string;
  /** When its request arrived, ms since epoch. */
  readonly receivedAt: number;
}

/** Ids of the one visitor that a request comes from; nothing is computed until somebody asks. */
export class MadeVisitor {
  private day = Number.NaN;
  private id = '';

  constructor(
    private readonly sender: Sender,
    private readonly salts: readonly DailySalt[],
  ) {}

  /**
   * The id for an event of that time, '' when there is no key. An event of the day before has that day's, so that it is the same event
   * when it is sent again after midnight; older ones (their key is gone) and those from the future have that of the day of receipt.
   * @param timestamp ms since epoch
   */
  at(timestamp: number): string {
    const received = dayOf(this.sender.receivedAt);
    const happened = dayOf(timestamp);
    const wanted = happened === received - DAY_MS && this.saltOf(happened) !== null ? happened : received;
    if (wanted === this.day) return this.id;
    const salt = this.saltOf(wanted);
    if (salt === null) return '';
    this.day = wanted;
    this.id = this.hash(salt);
    return this.id;
  }

  private saltOf(day: number): DailySalt | null {
    return this.salts.find((salt) => salt.day === day) ?? null;
  }

  private hash({ key }: DailySalt): string {
    const { siteId, address, userAgent } = this.sender;
    // As JSON, so that no two lists of texts are the same input.
    const input = JSON.stringify([siteId, address, userAgent]);
    return createHmac('sha256', key).update(input).digest('hex').slice(0, ID_CHARACTERS);
  }
}
