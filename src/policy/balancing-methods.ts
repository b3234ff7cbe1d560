/** The balancing methods by name: which there are for flows, and which for the requests of a service with `http`. */

/** By which the member of a new flow is chosen, or that of a request. */
export const FLOW_METHODS = [
  'topological',
  'least-connections',
  'round-robin',
  'weighted-round-robin',
  'source-hash',
  'maglev',
] as const;

export type FlowMethod = (typeof FLOW_METHODS)[number];

/** The others go by responses, which only services with `http` see. */
export const BALANCING_METHODS = [...FLOW_METHODS, 'least-response-time', 'peak-ewma'] as const;

export type BalancingMethod = (typeof BALANCING_METHODS)[number];

/** Whether flows can be balanced by it. */
export function isFlowMethod(method: BalancingMethod): method is FlowMethod {
  return (FLOW_METHODS as readonly BalancingMethod[]).includes(method);
}
