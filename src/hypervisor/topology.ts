/**
 * Hops between hosts, from the physical topology: H(i, j) of the topological load.
 *
 * Two VMs on one host are 0 hops apart; otherwise H is the number of physical switches that a frame crosses.
 */

/** Number of switches between two hosts with the given uplink paths (outermost switch first). */
export function hopsBetween(a: readonly string[], b: readonly string[]): number {
  let common = 0;
  while (common < a.length && common < b.length && a[common] === b[common]) common++;
  return a.length - common + (b.length - common) + 1;
}
