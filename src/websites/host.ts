/** Longest host name of the DNS (RFC 1035), which also fits the column. */
const MAX_HOST_LENGTH = 253;

/**
 * The bare host of an address as people type it: `https://www.Example.com:8080/shop` → `example.com`. Lower case, international names
 * in their ASCII form, no port, no path, no leading `www.`, no trailing dot.
 * @returns null when there is no host in it, or a scheme other than http(s)
 */
export function normalizeHost(address: string): string | null {
  const trimmed = address.trim();
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(trimmed)?.[1];
  if (scheme !== undefined && !/^https?$/i.test(scheme)) return null;
  let url: URL;
  try {
    url = new URL(scheme === undefined ? `https://${trimmed}` : trimmed);
  } catch {
    return null;
  }
  const host = url.hostname.replace(/\.$/, '').replace(/^www\.(?=.)/, '');
  const valid =
    host.length > 0 && host.length <= MAX_HOST_LENGTH && /^(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)$/.test(host);
  return valid && !host.startsWith('.') && !host.includes('..') ? host : null;
}
