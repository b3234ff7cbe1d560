/** The methods of balancing by request, by name: one line each. To add one: docs/adding-a-balancer.md. */
import type { BalancingMethod } from '../../../policy/balancing-methods.ts';
import { ByHash } from './by-hash.ts';
import { InTurn } from './in-turn.ts';
import { LeastRequests } from './least-requests.ts';
import { Quickest } from './quickest.ts';
import type { BalancedMembers, RequestBalancer } from './request-balancer.ts';

const METHODS: Record<BalancingMethod, (members: BalancedMembers) => RequestBalancer> = {
  topological: (members) => new LeastRequests(members, true),
  'least-connections': (members) => new LeastRequests(members, false),
  'round-robin': (members) => new InTurn(members, false),
  'weighted-round-robin': (members) => new InTurn(members, true),
  'source-hash': (members) => new ByHash(members),
  maglev: (members) => new ByHash(members),
  'least-response-time': (members) => new Quickest(members, false),
  'peak-ewma': (members) => new Quickest(members, true),
};

export function createRequestBalancer(method: BalancingMethod, members: BalancedMembers): RequestBalancer {
  return METHODS[method](members);
}

/** Whether the method goes by the client's address. */
export function usesSourceHash(method: BalancingMethod): boolean {
  return method === 'source-hash' || method === 'maglev';
}
