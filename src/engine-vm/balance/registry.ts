/** The balancing methods by name: one line each. To add one, see docs/adding-a-balancer.md. */
import type { FlowMethod } from '../../policy/balancing-methods.ts';
import type { Balancer } from './balancer.ts';
import { LeastConnections } from './least-connections.ts';
import { Maglev } from './maglev.ts';
import { RoundRobin } from './round-robin.ts';
import { SourceHash } from './source-hash.ts';
import { Topological } from './topological.ts';
import { WeightedRoundRobin } from './weighted-round-robin.ts';

const METHODS: Record<FlowMethod, (start: number) => Balancer> = {
  topological: (start) => new Topological(start),
  'least-connections': (start) => new LeastConnections(start),
  'round-robin': (start) => new RoundRobin(start),
  'weighted-round-robin': () => new WeightedRoundRobin(),
  'source-hash': () => new SourceHash(),
  maglev: () => new Maglev(),
};

/**
 * A fresh balancer. It keeps state (rotation, tables), so each tier and address family has one of its own. `start` is
 * where equals begin to take turns: engines that start apart do not all send their first flows to the same member.
 */
export function createBalancer(method: FlowMethod, start = 0): Balancer {
  return METHODS[method](start);
}
