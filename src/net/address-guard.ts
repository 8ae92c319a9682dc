/** Which addresses this server may call on behalf of an account (promise P8): public ones, on ports that speak HTTP. */
import ipaddr from 'ipaddr.js';

/** Ports of services that could be talked into something by what looks like an HTTP request. */
const BLOCKED_PORTS: ReadonlySet<number> = new Set([
  ...[
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103,
    104, 109,
  ],
  ...[
    110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 445, 465, 512, 513, 514, 515,
    526, 530,
  ],
  ...[
    531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1433, 1521, 1719, 1720, 1723, 2049,
    2375,
  ],
  ...[
    2376, 2379, 2380, 3306, 3389, 3659, 4045, 4190, 4222, 5060, 5061, 5432, 5900, 5984, 6000, 6379, 6566,
    6665, 6666,
  ],
  ...[6667, 6668, 6669, 6679, 6697, 9000, 9042, 9092, 9200, 9300, 10080, 11211, 15672, 27017],
]);

/** Services of a cloud for its machines that have an address of the public internet: Azure's, which hands out certificates and settings. */
const HOST_SERVICES: ReadonlySet<string> = new Set(['168.63.129.16']);

/**
 * Is it an address of the public internet? Private, loopback, link-local (with the metadata services of clouds), unique local, carrier
 * grade NAT, multicast, reserved and unspecified ones are not, nor IPv6 forms that stand for an IPv4 address that is not, nor those that
 * a gateway would translate (6to4, Teredo, NAT64).
 * @param address IPv4 or IPv6 text, without brackets
 */
export function isPublicAddress(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  // A zone index (`fe80::1%eth0`) names an interface of this machine.
  if (address.includes('%')) return false;
  const parsed = ipaddr.process(address);
  return parsed.range() === 'unicast' && !HOST_SERVICES.has(parsed.toString());
}

/** What is wrong with calling this URL, '' when nothing is known to be; its host is still to be resolved. */
export function flawOfTarget(url: URL, allowPrivate: boolean): string {
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    return 'only http and https addresses are called';
  if (url.username !== '' || url.password !== '') return 'the address holds a user name or password';
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
  return !allowPrivate && BLOCKED_PORTS.has(port) ? `port ${port} is not called` : '';
}
