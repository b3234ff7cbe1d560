/** The balancing methods by name: one line each. To add one, see docs/adding-a-balancer.md. */
import type { BalancingMethod } from '../../policy/virtual-service.ts';
import type { Balancer } from './balancer.ts';
import { LeastConnections } from './least-connections.ts';
import { Maglev } from './maglev.ts';
import { RoundRobin } from './round-robin.ts';
import { SourceHash } from './source-hash.ts';
import { Topological } from './topological.ts';
import { WeightedRoundRobin } from './weighted-round-robin.ts';

const METHODS: Record<BalancingMethod, () => Balancer> = {
  topological: () => new Topological(),
  'least-connections': () => new LeastConnections(),
  'round-robin': () => new RoundRobin(),
  'weighted-round-robin': () => new WeightedRoundRobin(),
  'source-hash': () => new SourceHash(),
  maglev: () => new Maglev(),
};

/** A fresh balancer. It keeps state (rotation, tables), so each tier and address family has one of its own. */
export function createBalancer(method: BalancingMethod): Balancer {
  return METHODS[method]();
}
