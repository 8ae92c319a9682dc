import ipaddr from 'ipaddr.js';

/** Bytes of an IPv6 address that stay: a /48 is what a site gets, so that less tells no household. */
const IPV6_BYTES = 6;
/** Bytes of an IPv4 address that stay: a /24. */
const IPV4_BYTES = 3;

/**
 * The network of an address: IPv4 as a /24, IPv6 as a /48, the rest zero; IPv4 within IPv6 as IPv4. '' for what is no address.
 */
export function cutAddress(address: string): string {
  if (!ipaddr.isValid(address)) return '';
  const parsed = ipaddr.process(address);
  const kept = parsed.kind() === 'ipv4' ? IPV4_BYTES : IPV6_BYTES;
  const bytes = parsed.toByteArray().map((byte, place) => (place < kept ? byte : 0));
  return ipaddr.fromByteArray(bytes).toString();
}
