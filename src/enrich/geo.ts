/** Looks addresses up in the shared databases; what it answers are the encoded columns country_code to continent. */
import ipaddr from 'ipaddr.js';
import type { Reader, Response } from 'maxmind';
import { encodeStrings } from './byte-writer.js';
import { fill, type GeoImage, type GeoPart, openReader } from './geo-database.js';
import { NOWHERE, type Place, placeOf } from './geo-record.js';
import { RecentCache } from './recent-cache.js';

export class GeoLookup {
  private readonly cache: RecentCache<Uint8Array>;
  private v4: Reader<Response> | null = null;
  private v6: Reader<Response> | null = null;
  /** Databases that are opened when an address of IPv6 comes. */
  private later: readonly GeoPart[] = [];
  private failure: string | null = null;

  /** @param entries most addresses to remember */
  constructor(image: GeoImage, entries: number) {
    this.cache = new RecentCache(entries);
    try {
      for (const part of image) if (part.later === undefined) this.use(openReader(part.bytes));
      this.later = image.filter((part) => part.later !== undefined);
    } catch (error) {
      this.fail(error);
    }
  }

  /** Encoded columns of an address; unknown for private, malformed and unlisted ones. Never throws. */
  block(address: string): Uint8Array {
    const known = this.cache.get(address);
    if (known !== undefined) return known;
    const place = this.place(address);
    const made = place === NOWHERE ? NOWHERE_BLOCK : encodePlace(place);
    this.cache.set(address, made);
    return made;
  }

  /** Why look-ups have stopped, told once; null while all is well. */
  takeFailure(): string | null {
    const { failure } = this;
    this.failure = null;
    return failure;
  }

  place(address: string): Place {
    if (this.v4 === null && this.v6 === null) return NOWHERE;
    const ip = parseAddress(address);
    if (ip === null || ip.range() !== 'unicast') return NOWHERE;
    try {
      if (ip.kind() === 'ipv6') this.openLater();
      const reader = ip.kind() === 'ipv6' ? this.v6 : this.v4;
      return reader === null ? NOWHERE : placeOf(reader.get(ip.toString()));
    } catch (error) {
      this.fail(error);
      return NOWHERE;
    }
  }

  private openLater(): void {
    const { later } = this;
    this.later = [];
    for (const part of later) {
      fill(part);
      this.use(openReader(part.bytes));
    }
  }

  /** A tree of IPv6 holds the IPv4 addresses too, one of IPv4 must not be asked for others. */
  private use(reader: Reader<Response>): void {
    if (reader.metadata.ipVersion === 6) {
      this.v6 = reader;
      this.v4 ??= reader;
    } else this.v4 = reader;
  }

  private fail(error: unknown): void {
    this.failure = error instanceof Error ? error.message : String(error);
    this.v4 = null;
    this.v6 = null;
    this.later = [];
    this.cache.clear();
  }
}

function parseAddress(address: string): ipaddr.IPv4 | ipaddr.IPv6 | null {
  // The short and octal forms of IPv4 are no addresses of clients.
  if (!address.includes(':') && !ipaddr.IPv4.isValidFourPartDecimal(address)) return null;
  try {
    return ipaddr.process(address);
  } catch {
    return null;
  }
}

function encodePlace(place: Place): Uint8Array {
  return encodeStrings([place.countryCode, place.region, place.city, place.continent]);
}

const NOWHERE_BLOCK = encodePlace(NOWHERE);
