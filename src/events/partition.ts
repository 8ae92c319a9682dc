/**
 * The partition of a site: the last 32 bits of its random 24-hex id modulo the number of partitions, so that the same site always has
 * the same single writer. Ids of another form (never made by us) fall back to their character codes.
 */
export function partitionOf(siteId: string, partitions: number): number {
  const tail = Number.parseInt(siteId.slice(-8), 16);
  if (!Number.isNaN(tail)) return tail % partitions;
  let sum = 0;
  for (let i = 0; i < siteId.length; i++) sum = (sum * 31 + siteId.charCodeAt(i)) >>> 0;
  return sum % partitions;
}
