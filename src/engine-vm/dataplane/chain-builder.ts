/**
 * Builds the chains of a graph's services out of their components, which take over what is theirs from the chains in
 * force.
 */
import { formatAddress } from '../../packet/address.ts';
import type { ServiceGraph } from '../../policy/graph.ts';
import { AddressClasses, keyOf } from '../component/address-classes.ts';
import type { FirewallLog } from '../component/firewall-log.ts';
import { PreparedRules } from '../component/prepared-rules.ts';
import { createComponent } from '../component/registry.ts';
import type { CompiledGraph } from './compiled-graph.ts';
import type { MemberHealth } from './member-health.ts';
import type { PathState } from './path-state.ts';
import { ServiceChain } from './service-chain.ts';

/** What components need of their surroundings. */
export interface ChainOptions {
  /** Monotonic milliseconds. Read once per packet: may be cached for a batch of packets. */
  nowMs: () => number;
  /** Wall clock, milliseconds. */
  wallMs: () => number;
  /**
   * A session of a client address was made, moved or used, and other engines should know. `service` is the session's
   * scope: the service, with `.<tier>` behind it for every tier but the first.
   */
  onSession: (service: string, client: string, member: string, time: number, timeoutMs: number) => void;
}

/** Builds chains, for one graph after the other. */
export class ChainBuilder {
  private readonly state: PathState;
  private readonly health: MemberHealth;
  private readonly log: FirewallLog;
  private readonly options: ChainOptions;
  private addressSets = new AddressClasses();
  private prepared: PreparedRules | null = null;

  constructor(state: PathState, health: MemberHealth, log: FirewallLog, options: ChainOptions) {
    this.state = state;
    this.health = health;
    this.log = log;
    this.options = options;
  }

  /** Compiles the rules of a graph, with pauses; `build` of the same object then has them. */
  *prepare(graph: ServiceGraph): Generator<void, void> {
    this.prepared = null;
    const prepared = new PreparedRules(graph, this.addressSets, this.options.wallMs);
    yield* prepared.steps();
    this.prepared = prepared;
  }

  /** The chains of a graph that is not in force yet. Where one cannot be built, those in force are built again. */
  build(next: CompiledGraph): ServiceChain[] {
    const state = this.state;
    try {
      return this.chainsOf(next);
    } catch (error) {
      if (state.isLoaded) state.chains = this.chainsOf(state.graph);
      throw error;
    }
  }

  private chainsOf(compiled: CompiledGraph): ServiceChain[] {
    const { options, health, log } = this;
    const { sessions, connections, chains: before } = this.state;
    const graph = compiled.source;
    sessions.load(graph);
    // Sets that did not change are not laid over each other again.
    const sets = graph.addressSets ?? [];
    const prepared = this.prepared?.graph === graph ? this.prepared : null;
    this.prepared = null;
    const addressSets =
      prepared?.addressSets ??
      (keyOf(sets) === this.addressSets.key ? this.addressSets : new AddressClasses(sets));
    this.addressSets = addressSets;
    const previous = new Map(before.map((chain) => [chain.service, chain.components]));
    return graph.services.map((service, serviceIndex) => {
      const context = {
        graph,
        serviceIndex,
        connections,
        sessions,
        addressSets,
        firewallLog: log,
        preparedRules: prepared,
        isMemberUp: (pool: number, member: number) => health.isUp(pool, member),
        nowMs: options.nowMs,
        wallMs: options.wallMs,
        onSession: (
          scope: string,
          w0: number,
          w1: number,
          w2: number,
          w3: number,
          member: number,
          time: number,
          timeoutMs: number,
        ) =>
          options.onSession(scope, formatAddress(w0, w1, w2, w3), graph.members[member].id, time, timeoutMs),
      };
      const components = service.components.map((component, index) =>
        createComponent(component, context, previous.get(service.name)?.[index]),
      );
      return new ServiceChain(service.name, components);
    });
  }
}
