/** The service components by type: one line each. To add one, see docs/adding-a-component.md. */
import type { GraphComponent, ServiceGraph } from '../../policy/graph.ts';
import type { ConnectionTable } from '../balance/connection-table.ts';
import { LoadBalancer } from '../balance/load-balancer.ts';
import type { SessionMap } from '../balance/session-map.ts';
import type { AddressClasses } from './address-classes.ts';
import type { Component } from './component.ts';
import { Firewall } from './firewall.ts';
import type { FirewallLog } from './firewall-log.ts';
import type { PreparedRules } from './prepared-rules.ts';

/** What a component may use of its engine. */
export interface ComponentContext {
  readonly graph: ServiceGraph;
  /** The service of the chain, as an index into `graph.services`. */
  readonly serviceIndex: number;
  /** Loaded with this graph. Whoever makes the flow counts it there (`opened`, `openedSent`, `chose`). */
  readonly connections: ConnectionTable;
  /** The address sets of the graph. */
  readonly addressSets: AddressClasses;
  readonly firewallLog: FirewallLog;
  /** Rules of this graph that are compiled already. */
  readonly preparedRules?: PreparedRules | null;
  /** Loaded with this graph. */
  readonly sessions: SessionMap;
  /** The latest verdict on a member (index into `graph.members`) of a pool; true where there is none. */
  isMemberUp(poolIndex: number, member: number): boolean;
  /** Monotonic. */
  nowMs(): number;
  /** Wall clock. */
  wallMs(): number;
  /**
   * A session of the client address (words of a Packet) was made, moved or used and others should be told; at most
   * once a second for one that is merely used. `scope` is the `service` of session messages and keys, `member` an
   * index into `graph.members`, `time` the session's hybrid time, wall-clock milliseconds.
   */
  onSession(
    scope: string,
    w0: number,
    w1: number,
    w2: number,
    w3: number,
    member: number,
    time: number,
    timeoutMs: number,
  ): void;
}

type Spec<T extends GraphComponent['type']> = Extract<GraphComponent, { type: T }>;

const COMPONENTS: {
  [T in GraphComponent['type']]: (
    spec: Spec<T>,
    context: ComponentContext,
    previous: Component | undefined,
  ) => Component;
} = {
  firewall: (spec, context, previous) => {
    const { graph } = context;
    const service = graph.services[context.serviceIndex];
    return new Firewall(
      spec,
      {
        service: service.name,
        tiers: service.tiers.map(({ name }) => name),
        addressSets: context.addressSets,
        memberSets: graph.memberSets ?? [],
        members: graph.members.map(({ vm }) => vm),
        log: context.firewallLog,
        nowMs: context.nowMs,
        wallMs: context.wallMs,
      },
      previous,
      context.preparedRules?.of(spec),
    );
  },
  'load-balancer': (spec, context, previous) => new LoadBalancer(spec, context, previous),
};

/**
 * Compiles one component of a service's chain. `previous`: the component in whose place it comes when a new graph
 * arrives; its counters are carried on, so that they count since boot.
 */
export function createComponent(
  spec: GraphComponent,
  context: ComponentContext,
  previous?: Component,
): Component {
  const create = COMPONENTS[spec.type] as (
    spec: GraphComponent,
    context: ComponentContext,
    previous: Component | undefined,
  ) => Component;
  return create(spec, context, previous);
}
