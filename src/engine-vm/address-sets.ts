/**
 * Puts the address sets of the policy into graphs: a graph names them with the hash of what it means, and they come as
 * entries of the shared state of their own. A graph that was kept brings those of its time.
 */
import type { AddressSetEntry, ServiceGraph } from '../policy/graph.ts';

/** Where they stand in the shared state. */
export const SETS_PREFIX = 'address-set/';

/**
 * The graph with every set in it, or the names of the sets that are not here yet as the graph means them. `latest`
 * reads the shared state; `before` is the graph in force.
 */
export function withSets(
  graph: ServiceGraph,
  latest: (name: string) => AddressSetEntry | undefined,
  before: ServiceGraph | null,
): { graph: ServiceGraph; missing: string[] } {
  const missing: string[] = [];
  const addressSets = graph.addressSets?.map((set) => {
    if (set.prefixes !== undefined) return set;
    const entry = latest(set.name);
    const prefixes =
      entry?.hash === set.hash
        ? entry.prefixes
        : before?.addressSets?.find(({ name, hash }) => name === set.name && hash === set.hash)?.prefixes;
    if (prefixes === undefined) missing.push(set.name);
    return prefixes === undefined ? set : { ...set, prefixes };
  });
  return { graph: addressSets === undefined ? graph : { ...graph, addressSets }, missing };
}

/** What tells two graphs apart: all of them but the content of sets, which their hashes stand for. */
export function graphText(graph: ServiceGraph): string {
  const addressSets = graph.addressSets?.map(({ name, hash }) => ({ name, hash }));
  return JSON.stringify(addressSets === undefined ? graph : { ...graph, addressSets });
}
