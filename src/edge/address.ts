/**
 * The client's address. Headers are believed only from proxies that the operator named; without any, the socket's peer counts
 * (contract A14: forged X-Forwarded-For, CF-Connecting-IP and X-Test-IP are never honoured).
 */
import ipaddr from 'ipaddr.js';
import type { Client } from '../net/client.js';
import type { UwsRequest, UwsResponse } from './uws.js';

export interface TrustedProxies {
  /**
   * Which peers are proxies: CIDR blocks or addresses, `loopback`, `private` (RFC 1918, unique local, link local, carrier NAT, and
   * loopback). Or one number: how many proxies stand in front, whatever their addresses. Empty: none.
   */
  readonly trust: readonly string[];
  /** A header that the trusted proxy sets to the client's address (`cf-connecting-ip`); it then goes before X-Forwarded-For. */
  readonly header?: string;
}

type Address = ipaddr.IPv4 | ipaddr.IPv6;
const LOOPBACK_RANGES = new Set(['loopback']);
const PRIVATE_RANGES = new Set(['loopback', 'private', 'uniqueLocal', 'linkLocal', 'carrierGradeNat']);
/** Longest X-Forwarded-For that is looked at, in characters from the right, and most entries. */
const MAX_FORWARDED = 2048;
const MAX_PEERS = 1_000;

export class ClientAddress {
  readonly #header: string;
  readonly #hops: number;
  readonly #ranges = new Set<string>();
  readonly #blocks: (readonly [Address, number])[] = [];
  readonly #none: boolean;
  /** Whether they are trusted, by text. */
  readonly #peers = new Map<string, boolean>();

  /** @throws Error for an entry that is neither a known word, a number, an address nor a CIDR block */
  constructor(options: TrustedProxies) {
    const entries = options.trust.map((entry) => entry.trim()).filter((entry) => entry !== '');
    this.#header = options.header?.toLowerCase() ?? '';
    this.#none = entries.length === 0;
    const [only] = entries;
    this.#hops = entries.length === 1 && only !== undefined && /^\d+$/.test(only) ? Number(only) : -1;
    if (this.#hops === 0) this.#none = true;
    if (this.#hops < 0) for (const entry of entries) this.#addEntry(entry);
  }

  #addEntry(entry: string): void {
    if (entry === 'loopback') for (const range of LOOPBACK_RANGES) this.#ranges.add(range);
    else if (entry === 'private') for (const range of PRIVATE_RANGES) this.#ranges.add(range);
    else this.#blocks.push(parseBlock(entry));
  }

  /** Reads what is needed of a request; only valid inside its handler. */
  of(res: UwsResponse, req: UwsRequest): string {
    const peer = addressText(new Uint8Array(res.getRemoteAddress()));
    if (this.#none) return peer;
    return this.resolve(peer, allForwarded(req), this.#header === '' ? '' : lastLine(req, this.#header));
  }

  /**
   * The rule itself.
   * @param peer the socket's address
   * @param forwarded all X-Forwarded-For values, comma-joined, in order of arrival
   * @param named value of the configured header
   */
  resolve(peer: string, forwarded: string, named: string): string {
    if (this.#none || (named === '' && forwarded === '')) return peer;
    if (this.#hops < 0 && !this.#trusts(peer)) return peer;
    if (named !== '') {
      const address = parseAddress(named);
      if (address !== null) return address.toString();
    }
    return this.#walk(peer, forwarded);
  }

  /** From the right, past the trusted ones; an entry that is no address ends the walk, since nothing left of it can be vouched for. */
  #walk(peer: string, forwarded: string): string {
    const entries = forwarded.slice(-MAX_FORWARDED).split(',');
    if (forwarded.length > MAX_FORWARDED) entries.shift();
    let client = peer;
    let hop = 0;
    for (let index = entries.length - 1; index >= 0; index--) {
      const text = entries[index];
      const address = text === undefined ? null : parseAddress(text);
      if (address === null) return client;
      client = address.toString();
      hop++;
      if (this.#hops >= 0 ? hop >= this.#hops : !this.#trustsAddress(address)) return client;
    }
    return client;
  }

  /** Of a peer: behind proxies these are few, and each request asks. */
  #trusts(text: string): boolean {
    const known = this.#peers.get(text);
    if (known !== undefined) return known;
    const address = parseAddress(text);
    const isTrusted = address !== null && this.#trustsAddress(address);
    if (this.#peers.size >= MAX_PEERS) this.#peers.clear();
    this.#peers.set(text, isTrusted);
    return isTrusted;
  }

  #trustsAddress(address: Address): boolean {
    if (this.#ranges.has(address.range())) return true;
    return this.#blocks.some(
      ([block, bits]) => address.kind() === block.kind() && address.match(block, bits),
    );
  }
}

/** An address in text form, IPv4-mapped ones as IPv4; accepts a port and brackets, as some proxies write them. Null when it is none. */
export function parseAddress(text: string): Address | null {
  const plain = plainIpv4(text);
  if (plain !== null) return plain;
  let bare = text.trim();
  if (bare.startsWith('[')) bare = bare.slice(1, bare.indexOf(']') < 0 ? undefined : bare.indexOf(']'));
  else if (/^\d+\.\d+\.\d+\.\d+:\d+$/.test(bare)) bare = bare.slice(0, bare.indexOf(':'));
  const zone = bare.indexOf('%');
  if (zone >= 0) bare = bare.slice(0, zone);
  if (ipaddr.IPv4.isValidFourPartDecimal(bare) || ipaddr.IPv6.isValid(bare)) return ipaddr.process(bare);
  return null;
}

const ZERO = 48;
const DOT = 46;

/** Four plain decimal numbers, as nearly all proxies write what nearly all clients have: a quarter of the cost of parsing in general. */
function plainIpv4(text: string): Address | null {
  if (text.length < 7 || text.length > 15) return null;
  const octets: number[] = [];
  let octet = -1;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === DOT) {
      if (octet < 0) return null;
      octets.push(octet);
      octet = -1;
      continue;
    }
    const digit = code - ZERO;
    // A number with a leading zero may mean an octal one.
    if (digit < 0 || digit > 9 || octet === 0) return null;
    octet = Math.max(octet, 0) * 10 + digit;
    if (octet > 255) return null;
  }
  if (octet < 0 || octets.length !== 3) return null;
  octets.push(octet);
  return new ipaddr.IPv4(octets);
}

/** Text of a socket's address (4 or 16 bytes). '' when the socket has none (closed meanwhile). */
export function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`;
  if (bytes.length !== 16) return '';
  if (isMapped(bytes)) return `${bytes[12]}.${bytes[13]}.${bytes[14]}.${bytes[15]}`;
  return ipaddr.fromByteArray([...bytes]).toString();
}

function isMapped(bytes: Uint8Array): boolean {
  if (bytes[10] !== 0xff || bytes[11] !== 0xff) return false;
  for (let index = 0; index < 10; index++) if (bytes[index] !== 0) return false;
  return true;
}

/** The limit's unit: an IPv4 address, or the /64 that one IPv6 household or machine commonly has to itself. */
export function addressGroup(address: string): string {
  if (!address.includes(':')) return address;
  const parsed = parseAddress(address);
  if (parsed === null || !('parts' in parsed)) return address;
  return `${parsed.parts
    .slice(0, 4)
    .map((part) => part.toString(16))
    .join(':')}::/64`;
}

/** Who is counted as one, of a request. */
export const clientOf = ({ address }: { readonly address: string }): Client => ({
  address,
  group: addressGroup(address),
});

/** A proxy that adds its line to one that came puts it behind: what stands before may be forged. */
function lastLine(req: UwsRequest, wanted: string): string {
  let last = '';
  req.forEach((name, value) => {
    if (name === wanted) last = value;
  });
  return last;
}

/** A proxy may add its own header line instead of extending the one that came; `getHeader` would see the forged (or empty) first one only. */
function allForwarded(req: UwsRequest): string {
  const lines: string[] = [];
  req.forEach((name, value) => {
    if (name === 'x-forwarded-for' && value.trim() !== '') lines.push(value);
  });
  return lines.join(',');
}

function parseBlock(entry: string): readonly [Address, number] {
  try {
    if (entry.includes('/')) return ipaddr.parseCIDR(entry);
    const address = ipaddr.process(entry);
    return [address, address.kind() === 'ipv4' ? 32 : 128];
  } catch {
    throw new Error(
      `trusted proxies: "${entry}" is no CIDR block, address, number of hops, "loopback" or "private"`,
    );
  }
}
