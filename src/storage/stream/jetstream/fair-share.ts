/** How many of the partitions `node` should hold: equal parts, what is left over goes to the first nodes by name. */
export function fairShare(nodes: ReadonlySet<string>, node: string, partitions: number): number {
  const rank = [...nodes].sort().indexOf(node);
  if (rank < 0) return 0;
  const equal = Math.floor(partitions / nodes.size);
  return equal + (rank < partitions % nodes.size ? 1 : 0);
}
