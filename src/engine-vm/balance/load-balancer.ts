/**
 * The service component `load-balancer`: for the first packet of a flow it finds the member. A client with a live
 * session keeps its member; otherwise the balancing method chooses among the tier's candidates. Whoever makes the
 * flow counts it in the connection table; the component itself changes nothing there.
 */

import type { Packet } from '../../packet/packet.ts';
import type { Candidate, Explanation, MemberPath } from '../../policy/answers.ts';
import { isFlowMethod } from '../../policy/balancing-methods.ts';
import type { GraphComponent, GraphMember, GraphTier } from '../../policy/graph.ts';
import { type Component, type Decision, DROP, PASS, type Verdict } from '../component/component.ts';
import type { ComponentContext } from '../component/registry.ts';
import { tunnelTo } from '../dataplane/reach.ts';
import { dropIndex } from '../drops.ts';
import { hashFlow } from '../flow/flow-hash.ts';
import type { Balancer, Candidates } from './balancer.ts';
import { hashAddress, hashText } from './hash.ts';
import { Maglev } from './maglev.ts';
import { createBalancer } from './registry.ts';
import { SourceHash } from './source-hash.ts';

type Spec = Extract<GraphComponent, { type: 'load-balancer' }>;

const NO_MEMBER = dropIndex('no-member');

/** How the latest choice came about, for `describe`. */
const BY_METHOD = 0;
const BY_SESSION = 1;
const BY_HASH = 2;

export class LoadBalancer implements Component {
  readonly type = 'load-balancer';
  readonly judgesEstablished = false;

  private readonly spec: Spec;
  private readonly context: ComponentContext;
  private readonly tiers: TierBalancer[];
  private readonly sessionTimeoutMs: number;
  /** A client keeps its member: a hash has to go by its address alone. */
  private readonly isByClient: boolean;
  private chosen = 0;
  private continued = 0;
  private refused = 0;
  private latest: TierView | null = null;
  private latestPosition = -1;
  private latestWay = BY_METHOD;

  constructor(spec: Spec, context: ComponentContext, previous?: Component) {
    this.spec = spec;
    this.context = context;
    this.sessionTimeoutMs = spec.persistence.type === 'source-address' ? spec.persistence.timeoutMs : 0;
    this.isByClient = this.sessionTimeoutMs > 0 || spec.method === 'source-hash' || spec.method === 'maglev';
    this.tiers = context.graph.services[context.serviceIndex].tiers.map(
      (tier, index) => new TierBalancer(tier, index, spec, context),
    );
    if (previous instanceof LoadBalancer) {
      this.chosen = previous.chosen;
      this.continued = previous.continued;
      this.refused = previous.refused;
    }
  }

  process(packet: Packet, decision: Decision): Verdict {
    const tier = this.tiers[decision.tier];
    const view = packet.ipVersion === 6 ? tier.ipv6 : tier.ipv4;
    view.refresh();
    decision.rule = -1;
    this.latest = view;
    this.latestWay = BY_METHOD;
    const { sessions } = this.context;
    const { s0, s1, s2, s3 } = packet;
    let position = -1;
    if (this.sessionTimeoutMs > 0) {
      const member = sessions.find(tier.scope, s0, s1, s2, s3, this.context.nowMs());
      position = member < 0 ? -1 : view.positionOf(member);
      const isReached = position >= 0 && (!decision.isByHash || view.isHashable[position] === 1);
      if (isReached && view.continues[position] === 1) this.latestWay = BY_SESSION;
      else position = -1;
    }
    if (position < 0) {
      if (decision.isByHash) {
        position = view.byHash(packet, this.isByClient);
        this.latestWay = BY_HASH;
      } else position = view.balancer.choose(view, hashAddress(s0, s1, s2, s3), decision.isTrace);
    }
    this.latestPosition = position;
    if (position < 0) {
      decision.member = -1;
      decision.reason = NO_MEMBER;
      if (!decision.isTrace) this.refused++;
      return DROP;
    }
    decision.member = view.members[position];
    if (decision.isTrace) return PASS;
    if (this.latestWay === BY_SESSION) this.continued++;
    else this.chosen++;
    if (this.sessionTimeoutMs > 0) this.remember(tier.scope, s0, s1, s2, s3, decision.member);
    return PASS;
  }

  describe(decision: Decision): string {
    const view = this.latest;
    if (view === null) return 'nothing decided yet';
    if (decision.member < 0 || this.latestPosition < 0) return 'no member is up, not draining and reachable';
    const vm = this.context.graph.members[decision.member].vm;
    if (this.latestWay === BY_SESSION) return `${vm}: the client's session keeps its member`;
    if (this.latestWay === BY_HASH) {
      return `${vm}: the flow table is full; the highest weighted rendezvous score for ${this.isByClient ? "the client's address" : 'the flow'}`;
    }
    return `${vm}: ${view.balancer.explain(view, this.latestPosition)}`;
  }

  /** `chosen` by the method, `session` kept, `no-member` found. */
  counters(): Record<string, number> {
    return { chosen: this.chosen, session: this.continued, 'no-member': this.refused };
  }

  /**
   * Why a new flow to a tier would go where it goes now; changes nothing. `client`: the words of its address, or
   * null for any client: then sessions are left out, and a method that goes by the client's address names none.
   */
  explainTier(
    tierIndex: number,
    family: 4 | 6,
    client: readonly [number, number, number, number] | null = null,
  ): Explanation {
    const { graph } = this.context;
    const service = graph.services[this.context.serviceIndex];
    const tier = this.tiers[tierIndex];
    const view = family === 6 ? tier.ipv6 : tier.ipv4;
    view.refresh();
    let position = -1;
    let reason = '';
    if (client !== null && this.sessionTimeoutMs > 0) {
      const member = this.context.sessions.find(tier.scope, ...client, this.context.nowMs());
      const kept = member < 0 ? -1 : view.positionOf(member);
      if (kept >= 0 && view.continues[kept] === 1) {
        position = kept;
        reason = "persistence: the client's session keeps its member";
      }
    }
    if (position < 0) {
      const isByClient = this.spec.method === 'source-hash' || this.spec.method === 'maglev';
      position = view.balancer.choose(view, client === null ? 0 : hashAddress(...client), true);
      reason = view.balancer.explain(view, position);
      if (isByClient && client === null && position >= 0) {
        position = -1;
        reason = `${this.spec.method}: each client address has a member of its own; name a client to see which`;
      }
    }
    return {
      service: service.name,
      tier: service.tiers[tierIndex].name,
      engine: graph.engine.id,
      host: graph.engine.host,
      method: this.spec.method,
      candidates: Array.from(view.members, (_member, index) => view.candidate(index)),
      choice: position < 0 ? null : graph.members[view.members[position]].vm,
      reason,
      returnPath: service.returnPath ?? 'direct',
    };
  }

  private remember(scope: number, w0: number, w1: number, w2: number, w3: number, member: number): void {
    const { context } = this;
    const isToTell = context.sessions.set(scope, w0, w1, w2, w3, member, context.nowMs(), context.wallMs());
    if (!isToTell) return;
    const time = context.sessions.timeOf(scope, w0, w1, w2, w3);
    context.onSession(context.sessions.scopeName(scope), w0, w1, w2, w3, member, time, this.sessionTimeoutMs);
  }
}

/** One tier in both address families: a method that keeps state must not see the usable set alternate. */
class TierBalancer {
  readonly scope: number;
  readonly ipv4: TierView;
  readonly ipv6: TierView;

  constructor(tier: GraphTier, index: number, spec: Spec, context: ComponentContext) {
    this.scope = context.sessions.scopeOf(context.serviceIndex, index);
    this.ipv4 = new TierView(tier, 4, spec, context);
    this.ipv6 = new TierView(tier, 6, spec, context);
  }
}

/** The candidates of a tier in one address family, refreshed in place. */
class TierView implements Candidates {
  readonly count: number;
  readonly members: Int32Array;
  readonly connections: Float64Array;
  readonly hops: Float64Array;
  readonly weights: Float64Array;
  readonly usable: Uint8Array;
  readonly ids: Uint32Array;
  /** 1 where a session may go on: as `usable`, and draining members too. */
  readonly continues: Uint8Array;
  readonly balancer: Balancer;
  /** 1 where packets get to the member without a record of the flow. */
  readonly isHashable: Uint8Array;

  private readonly hashed: { -readonly [Key in keyof Candidates]: Candidates[Key] };
  private readonly rendezvous = new SourceHash();
  private readonly context: ComponentContext;
  private readonly pool: number;
  private readonly family: 4 | 6;
  private readonly isDraining: Uint8Array;
  private readonly hasAddress: Uint8Array;
  /** Whether members hand packets on: then an engine must stand beside each, which knows what it was given. */
  private readonly needsEngine: boolean;
  /** Position by graph member, -1 for members of other pools. */
  private readonly positions: Int32Array;

  constructor(tier: GraphTier, family: 4 | 6, spec: Spec, context: ComponentContext) {
    const { graph } = context;
    const entries = graph.pools[tier.pool].members;
    const member = (index: number): GraphMember => graph.members[entries[index].member];
    const count = entries.length;
    this.context = context;
    this.pool = tier.pool;
    this.family = family;
    this.needsEngine = tier.handsOn !== undefined;
    this.count = count;
    // Policy refuses the others without http, whose requests are not balanced here.
    const method = isFlowMethod(spec.method) ? spec.method : 'least-connections';
    this.balancer = createBalancer(method, (hashText(graph.engine.id) >>> 0) % Math.max(count, 1));
    this.members = Int32Array.from(entries, (entry) => entry.member);
    this.connections = new Float64Array(count);
    this.hops = Float64Array.from(entries, (_entry, index) => member(index).hops);
    this.weights = Float64Array.from(entries, (entry) => entry.weight);
    this.usable = new Uint8Array(count);
    this.continues = new Uint8Array(count);
    this.ids = Uint32Array.from(entries, (_entry, index) => hashText(member(index).id));
    this.isDraining = Uint8Array.from(entries, (entry) => (entry.isDraining ? 1 : 0));
    this.hasAddress = Uint8Array.from(entries, (_entry, index) =>
      (family === 4 ? member(index).ipv4 : member(index).ipv6) === null ? 0 : 1,
    );
    const isDsr = graph.services[context.serviceIndex].delivery === 'dsr';
    this.isHashable = Uint8Array.from(entries, (_entry, index) =>
      isDsr || member(index).engine !== null ? 1 : 0,
    );
    const { members, connections, hops, weights, ids } = this;
    this.hashed = { count, members, connections, hops, weights, ids, usable: new Uint8Array(count) };
    this.positions = new Int32Array(graph.members.length).fill(-1);
    entries.forEach((entry, index) => {
      this.positions[entry.member] = index;
    });
  }

  refresh(): void {
    const { connections } = this.context;
    for (let position = 0; position < this.count; position++) {
      const member = this.members[position];
      const isReachable =
        this.hasAddress[position] === 1 &&
        this.weights[position] > 0 &&
        !(this.needsEngine && this.context.graph.members[member].engine === null) &&
        this.context.isMemberUp(this.pool, member);
      this.connections[position] = connections.connections(member);
      this.continues[position] = isReachable ? 1 : 0;
      this.usable[position] = isReachable && this.isDraining[position] === 0 ? 1 : 0;
    }
  }

  /** The position for the flow of a packet, the same on every engine that sees the same members; -1: none. */
  byHash(packet: Packet, isByClient: boolean): number {
    const { s0, s1, s2, s3, d0, d1, d2, d3, protocol } = packet;
    const { hashed, isHashable, usable } = this;
    let isWhole = true;
    for (let position = 0; position < this.count; position++) {
      if (isHashable[position] === 0) isWhole = false;
      hashed.usable[position] = usable[position] & isHashable[position];
    }
    if (isByClient) {
      const hash = hashAddress(s0, s1, s2, s3);
      // Where the method itself can tell, flows with a record and without one have the same member.
      return isWhole && this.balancer instanceof Maglev
        ? this.balancer.choose(this, hash, true)
        : this.rendezvous.choose(hashed, hash, true);
    }
    const ports = (packet.sourcePort << 16) | packet.destinationPort;
    const hash = hashFlow(0, protocol, s0, s1, s2, s3, d0, d1, d2, d3, ports);
    return this.rendezvous.choose(hashed, hash >>> 0, true);
  }

  positionOf(member: number): number {
    return this.positions[member];
  }

  candidate(position: number): Candidate {
    const member = this.context.graph.members[this.members[position]];
    const connections = this.connections[position];
    return {
      member: member.id,
      vm: member.vm,
      host: member.host,
      connections,
      hops: member.hops,
      load: connections * (1 + member.hops),
      weight: this.weights[position],
      isUsable: this.usable[position] === 1,
      reason: this.whyNot(position),
      path: this.pathTo(member),
    };
  }

  private pathTo(member: GraphMember): MemberPath {
    const { graph, serviceIndex } = this.context;
    if (member.engine === null) return 'translated';
    const isReturning = graph.services[serviceIndex].returnPath === 'engine';
    if (member.engine === graph.engine.id) return 'in line';
    if (isReturning) return 'translated';
    const peer = graph.peers.find(({ id }) => id === member.engine);
    return peer !== undefined && tunnelTo(graph.engine, peer) !== null ? 'VXLAN' : 'in line';
  }

  private whyNot(position: number): string {
    if (this.hasAddress[position] === 0) return `has no IPv${this.family} address`;
    if (!this.context.isMemberUp(this.pool, this.members[position]))
      return 'its health monitor says it is down, or has not checked it yet';
    if (this.needsEngine && this.context.graph.members[this.members[position]].engine === null)
      return 'no engine stands beside it, so nobody would know what it hands on';
    if (this.weights[position] <= 0) return 'weight 0 takes no new flows';
    if (this.isDraining[position] === 1) return 'draining: keeps its flows and sessions, takes no new ones';
    return '';
  }
}
