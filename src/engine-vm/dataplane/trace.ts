/**
 * `weft trace` and `weft explain` as one engine answers them: a synthetic packet walks the live graph
 * and the live flow table, and nothing is sent, counted or remembered.
 */

import { formatAddress, isIpv4, parseAddress } from '../../packet/address.ts';
import { writeChecksums } from '../../packet/checksum.ts';
import { HEADROOM, Packet } from '../../packet/packet.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP, parse } from '../../packet/parse.ts';
import type { Explanation, TraceAnswer, TraceQuestion, TraceStep } from '../../policy/answers.ts';
import { usedComponents } from '../../policy/http-order.ts';
import { PASS, REJECT } from '../component/component.ts';
import { Firewall } from '../component/firewall.ts';
import { DROPS } from '../drops.ts';
import { FORWARD, MEMBER, REVERSE, STRIDE } from '../flow/flow-record.ts';
import { COOKIES_ALWAYS, PLACE_BESIDE_PEER, PLACE_HERE } from './compiled-graph.ts';
import { endpoint, type FlowLister } from './flow-listing.ts';
import type { Gateways } from './gateways.ts';
import { isHashing } from './hashed-services.ts';
import type { PathState } from './path-state.ts';
import { newDecision, type ServiceChain } from './service-chain.ts';
import type { Splicer } from './splicer.ts';

export class Tracer {
  private readonly state: PathState;
  private readonly lister: FlowLister;
  private readonly gateways: Gateways;
  private readonly splicer: Splicer;

  constructor(state: PathState, lister: FlowLister, gateways: Gateways, splicer: Splicer) {
    this.state = state;
    this.lister = lister;
    this.gateways = gateways;
    this.splicer = splicer;
  }

  /** Throws an Error that says what is wrong with the question. */
  trace(question: TraceQuestion): TraceAnswer {
    const state = this.graphed();
    const { graph } = state;
    const { engine } = graph.source;
    const service = graph.source.services.find((candidate) => candidate.name === question.service);
    const protocol = service?.protocol === 'udp' ? PROTOCOL_UDP : PROTOCOL_TCP;
    const packet = synthesize(question, protocol, graph.macHigh, graph.macLow);
    const name = protocol === PROTOCOL_TCP ? 'tcp' : 'udp';
    const steps: TraceStep[] = [];
    const answer: TraceAnswer = {
      packet: `${name} ${endpoint(question.from, question.fromPort)} > ${endpoint(question.to, question.port)}`,
      hop: { engine: engine.id, host: engine.host, steps },
      outcome: null,
      next: null,
    };
    steps.push({
      component: 'parse',
      verdict: 'pass',
      detail: `IPv${packet.ipVersion}, ${packet.length} bytes`,
    });
    const found = state.flows.find(packet);
    const flow = found >= 0 && (found & 1) === FORWARD ? found >> 1 : -1;
    const known = flow < 0 ? null : this.lister.list(flow);
    steps.push({
      component: 'flow-table',
      verdict: known === null ? 'miss' : 'hit',
      detail:
        known === null
          ? 'a new flow'
          : `${known.state}, ${known.kind}, to ${known.vm}, ${known.packets} packets`,
    });
    if (flow >= 0) steps.push(this.kernelStep(flow));
    const tier = graph.tiers.find(
      packet.d0,
      packet.d1,
      packet.d2,
      packet.d3,
      packet.destinationPort,
      protocol,
    );
    if (tier < 0) {
      const isAnnounced = graph.addresses.find(packet.d0, packet.d1, packet.d2, packet.d3, 0, 0) > 0;
      steps.push({
        component: 'service',
        verdict: 'none',
        detail: 'no tier has this address, port and protocol',
      });
      answer.outcome = isAnnounced ? 'dropped: not-a-service' : 'bridged';
      return answer;
    }
    const { name: serviceName, tiers } = graph.source.services[graph.tierService[tier]];
    const tierName = tiers[graph.tierPosition[tier]].name;
    steps.push({
      component: 'service',
      verdict: 'match',
      detail: `service ${serviceName}, tier ${tierName}`,
    });
    if (question.balancedTo !== null) {
      this.traceMemberSide(packet, tier, question.balancedTo, answer);
      return answer;
    }
    if (flow < 0 && this.splicer.isWanted(tier)) steps.push(this.cookieStep(tier));
    const member = this.traceChain(packet, tier, flow, answer);
    if (member >= 0) this.traceDelivery(packet, tier, member, answer);
    return answer;
  }

  /** One explanation per tier. Throws where the service is not in this engine's graph, or `from` is no address. */
  explain(service: string, from: string | null): Explanation[] {
    const { graph, chains } = this.graphed();
    const index = graph.source.services.findIndex((candidate) => candidate.name === service);
    if (index < 0)
      throw new Error(`service ${service} is not in the graph of engine ${graph.source.engine.id}`);
    const words = new Int32Array(4);
    if (from !== null && !parseAddress(from, words)) throw new Error(`${from} is not an IP address`);
    const client: [number, number, number, number] | null =
      from === null ? null : [words[0], words[1], words[2], words[3]];
    return graph.source.services[index].tiers.map((tier, position) => {
      const sample = from ?? tier.addresses[0]?.address ?? '';
      const explanation = chains[index].balancer.explainTier(position, sample.includes(':') ? 6 : 4, client);
      explanation.reason += this.withoutRoom(index);
      const firewalls = chains[index].components.filter((component) => component instanceof Firewall);
      if (position > 0) return explanation;
      const { http } = graph.source.services[index];
      if (http !== undefined) explanation.http = { components: usedComponents(http) };
      if (firewalls.length === 0) return explanation;
      return { ...explanation, rules: firewalls.flatMap((firewall) => firewall.hits()) };
    });
  }

  /** What becomes of new flows of a service while the flow table has no room for them; else nothing. */
  private withoutRoom(service: number): string {
    const { flows, graph } = this.state;
    if (flows.hasRoom || flows.halfOpen.evictable(service + 1) >= 0) return '';
    return isHashing(graph.source.services[service])
      ? '; but the flow table is full: new flows go where a hash of them says, and are not counted'
      : '; but the flow table is full: new flows are dropped';
  }

  private cookieStep(tier: number): TraceStep {
    const isAlways = this.state.graph.tierCookies[tier] === COOKIES_ALWAYS;
    const why = isAlways ? 'synCookies is always' : 'the service is under a flood (synCookies: auto)';
    const detail = `${why}: where the firewall passes it, the engine answers the SYN itself; what follows is what the client's ACK finds`;
    return { component: 'syn-cookie', verdict: 'answers', detail };
  }

  /** What the kernel's program would do with the next packet of the flow, and with the answer. */
  private kernelStep(flow: number): TraceStep {
    const { flows } = this.state;
    const component = 'kernel';
    if (flows.slots === null) {
      return { component, verdict: 'none', detail: 'no program is in use: TypeScript forwards every packet' };
    }
    const way = (direction: number): string => {
      const slot = flows.slotOf(flow, direction);
      if (slot < 0) return 'TypeScript';
      if (flows.slots?.isInForce(slot) !== true) {
        return `TypeScript: slot ${slot} is stale, the flow is judged anew by its next packet`;
      }
      const { packets, bytes } = flows.slots.countersOf(slot);
      return `the kernel by slot ${slot} (${packets} packets, ${bytes} bytes so far)`;
    };
    return {
      component,
      verdict: flows.isKernels(flow, FORWARD) ? 'forwards' : 'hands up',
      detail: `next packet of the client: ${way(FORWARD)}; of the member: ${way(REVERSE)}; SYN, FIN, RST, fragments and options: TypeScript`,
    };
  }

  private graphed(): PathState {
    if (!this.state.isLoaded) throw new Error('no service graph has been applied yet');
    return this.state;
  }

  /** Walks the chain; the member, or -1 where the way ends here. */
  private traceChain(packet: Packet, tier: number, flow: number, answer: TraceAnswer): number {
    const { graph, chains, flows } = this.state;
    const chain: ServiceChain = chains[graph.tierService[tier]];
    const decision = newDecision();
    decision.service = graph.tierService[tier];
    decision.tier = graph.tierPosition[tier];
    decision.isNewFlow = flow < 0;
    decision.isTrace = true;
    if (flow >= 0) decision.member = flows.words[flow * STRIDE + MEMBER];
    else if (!flows.hasRoom && flows.halfOpen.evictable(graph.groupOf(tier)) < 0) {
      if (graph.tierHashes[tier] === 0) {
        answer.outcome = 'dropped: flow-table-full';
        return -1;
      }
      decision.isByHash = true;
    }
    const isProxied = graph.tierIsProxied[tier] === 1;
    for (const component of chain.components) {
      if (isProxied && !component.judgesEstablished) continue;
      if (flow >= 0 && !component.judgesEstablished) {
        const detail = 'the flow keeps its member';
        answer.hop.steps.push({ component: component.type, verdict: 'skipped', detail });
        continue;
      }
      const verdict = component.process(packet, decision);
      const word = verdict === PASS ? 'pass' : verdict === REJECT ? 'reject' : 'drop';
      answer.hop.steps.push({
        component: component.type,
        verdict: word,
        detail: component.describe(decision),
      });
      if (verdict === PASS) continue;
      const reason = DROPS[decision.reason][0];
      const isObserved = graph.source.engine.mode === 'mirror';
      const outcome = verdict === REJECT ? `rejected: ${reason}` : `dropped: ${reason}`;
      answer.outcome = isObserved ? `only observed; in line it would be ${outcome}` : outcome;
      return -1;
    }
    if (isProxied) {
      const detail = 'the connection ends in this engine, whose proxy chooses a member for each request';
      answer.hop.steps.push({ component: 'proxy', verdict: 'self', detail });
      answer.outcome = 'answered by the proxy of this engine';
      return -1;
    }
    if (decision.member < 0) answer.outcome = 'dropped: no-member';
    return decision.member;
  }

  private traceDelivery(packet: Packet, tier: number, member: number, answer: TraceAnswer): void {
    const { graph } = this.state;
    const { steps } = answer.hop;
    if (graph.source.engine.mode === 'mirror') {
      const detail = 'the engine gets copies of traffic, and sends none';
      steps.push({ component: 'mirror', verdict: 'observe', detail });
      answer.outcome = `only observed; in line it would go to ${graph.source.members[member].vm}`;
      return;
    }
    const target = graph.source.members[member];
    const at = graph.memberAddressAt(member, packet.ipVersion);
    if (at < 0) {
      answer.outcome = 'dropped: no-member';
      return;
    }
    const place = graph.memberPlace[member];
    const handsOn = graph.tierHandsOn[tier] === 1;
    if (handsOn && place === PLACE_HERE) {
      const detail = `destination ${target.mac} alone: members of the tier get packets as they are`;
      steps.push({ component: 'rewrite', verdict: 'done', detail });
      steps.push({ component: 'send', verdict: 'in', detail: `to ${target.vm} on this host` });
      this.traceHandedOn(packet, tier, target.vm, answer);
      return;
    }
    if (place === PLACE_BESIDE_PEER && (handsOn || graph.tierReturns[tier] === 0)) {
      const detail = `MACs only: destination ${target.mac}, source ${graph.source.engine.mac}`;
      steps.push({ component: 'rewrite', verdict: 'done', detail });
      const to = `to ${target.vm} beside engine ${target.engine}`;
      const tunnel = this.tunnelStep(graph.memberPeer[member]);
      if (tunnel !== null) steps.push(tunnel);
      steps.push({
        component: 'send',
        verdict: 'out',
        detail: tunnel === null ? to : `${to}, in another network`,
      });
      answer.next = { engine: target.engine ?? '', member: target.id };
      return;
    }
    if (graph.tierIsDsr[tier] === 1) {
      const detail = `destination ${target.mac} alone: ${target.vm} bears the service address itself (DSR)`;
      steps.push({ component: 'rewrite', verdict: 'done', detail });
      const way = place === PLACE_HERE ? 'in' : 'out';
      steps.push({ component: 'send', verdict: way, detail: `to ${target.vm} on ${target.host}` });
      answer.outcome = `delivered to ${target.vm}`;
      return;
    }
    const to = endpoint(this.memberText(member, packet.ipVersion), graph.tierMemberPort[tier]);
    if (place === PLACE_HERE) {
      steps.push({ component: 'rewrite', verdict: 'done', detail: `destination ${to}, ${target.mac}` });
      steps.push({ component: 'send', verdict: 'in', detail: `to ${target.vm} on this host` });
    } else {
      const reason =
        place === PLACE_BESIDE_PEER
          ? `through which the answer returns (returnPath); engine ${target.engine} passes it on and counts it`
          : `for no engine stands beside ${target.vm}`;
      const router = graph.isRouted(member, packet.ipVersion);
      const mac = router ? `by the router ${this.gatewayText(packet.ipVersion)}` : target.mac;
      const detail = `destination ${to}, ${mac}; source an own address, ${reason}`;
      steps.push({ component: 'rewrite', verdict: 'done', detail });
      steps.push({ component: 'send', verdict: 'out', detail: `to ${target.vm} on ${target.host}` });
    }
    answer.outcome = `delivered to ${target.vm}`;
  }

  /** What a member beside this engine sends on, to the next tier. */
  private traceHandedOn(packet: Packet, tier: number, vm: string, answer: TraceAnswer): void {
    const { graph, flows } = this.state;
    const { d0, d1, d2, d3, destinationPort, protocol } = packet;
    const head = graph.tiers.find(d0, d1, d2, d3, destinationPort, protocol);
    const { tiers } = graph.source.services[graph.tierService[tier]];
    const next = tiers[graph.tierPosition[tier] + 1].name;
    answer.hop.steps.push({
      component: 'hand-on',
      verdict: 'pass',
      detail: `${vm} hands the packet on to tier ${next}: its MAC says which tiers have seen it`,
    });
    const found = flows.find(packet, tier + 1 - head);
    const flow = found >= 0 && (found & 1) === FORWARD ? found >> 1 : -1;
    const detail = flow < 0 ? 'a new flow' : this.lister.summary(flow);
    answer.hop.steps.push({ component: 'flow-table', verdict: flow < 0 ? 'miss' : 'hit', detail });
    if (flow >= 0) answer.hop.steps.push(this.kernelStep(flow));
    const member = this.traceChain(packet, tier + 1, flow, answer);
    if (member >= 0) this.traceDelivery(packet, tier + 1, member, answer);
  }

  /** The encapsulation for a peer in another network; null for one on the link. */
  private tunnelStep(peer: number): TraceStep | null {
    const { graph } = this.state;
    const version = peer < 0 ? 0 : graph.peerTunnel[peer];
    if (version === 0) return null;
    const [o0, o1, o2, o3, p0, p1, p2, p3] = graph.tunnelEnds.subarray(peer * 8, peer * 8 + 8);
    const ends = `${formatAddress(o0, o1, o2, o3)} to ${formatAddress(p0, p1, p2, p3)}`;
    const vni = graph.tunnelVniOut[peer];
    const detail = `${ends}, VNI ${vni}, by the router ${this.gatewayText(version)}; IP packets of up to ${graph.tunnelRoom(peer)} bytes`;
    if (this.gateways.isKnown(version)) return { component: 'vxlan', verdict: 'done', detail };
    return { component: 'vxlan', verdict: 'drop', detail: `${detail}; the router does not answer` };
  }

  private gatewayText(ipVersion: number): string {
    const at = ipVersion === 4 ? 0 : 4;
    const [w0, w1, w2, w3] = this.state.graph.gateways.subarray(at, at + 4);
    return formatAddress(w0, w1, w2, w3);
  }

  private traceMemberSide(packet: Packet, tier: number, id: string, answer: TraceAnswer): void {
    const { graph } = this.state;
    const member = graph.source.members.findIndex((candidate) => candidate.id === id);
    if (member < 0 || graph.memberPlace[member] !== PLACE_HERE) {
      const detail = `member ${id} is not beside this engine`;
      answer.hop.steps.push({ component: 'balanced', verdict: 'drop', detail });
      answer.outcome = 'dropped: not-local';
      return;
    }
    const { vm } = graph.source.members[member];
    answer.hop.steps.push({
      component: 'balanced',
      verdict: 'pass',
      detail: `the source MAC is a peer's, the destination MAC names ${vm}: judged and balanced already`,
    });
    let own = graph.lastTier(tier);
    while (own > tier && !graph.isInTier(own, member)) own--;
    this.traceDelivery(packet, own, member, answer);
  }

  private memberText(member: number, ipVersion: number): string {
    const { ipv4, ipv6 } = this.state.graph.source.members[member];
    return (ipVersion === 4 ? ipv4 : ipv6) ?? '';
  }
}

/** The first packet of the flow in question: a SYN, or an empty datagram. */
function synthesize(question: TraceQuestion, protocol: number, macHigh: number, macLow: number): Packet {
  const from = new Int32Array(4);
  const to = new Int32Array(4);
  if (!parseAddress(question.from, from)) throw new Error(`${question.from} is not an IP address`);
  if (!parseAddress(question.to, to)) throw new Error(`${question.to} is not an IP address`);
  const isV4 = isIpv4(from[0], from[1], from[2]);
  if (isV4 !== isIpv4(to[0], to[1], to[2])) {
    throw new Error(`${question.from} and ${question.to} are of different address families`);
  }
  const buffer = new Uint8Array(HEADROOM + 74);
  const view = new DataView(buffer.buffer);
  const size = protocol === PROTOCOL_TCP ? 20 : 8;
  const l3 = HEADROOM + 14;
  const l4 = l3 + (isV4 ? 20 : 40);
  view.setUint16(HEADROOM, macHigh);
  view.setInt32(HEADROOM + 2, macLow);
  view.setUint16(HEADROOM + 12, isV4 ? 0x0800 : 0x86dd);
  if (isV4) {
    view.setUint16(l3, 0x4500);
    view.setUint16(l3 + 2, 20 + size);
    view.setUint8(l3 + 8, 64);
    view.setUint8(l3 + 9, protocol);
    view.setInt32(l3 + 12, from[3]);
    view.setInt32(l3 + 16, to[3]);
  } else {
    view.setUint8(l3, 0x60);
    view.setUint16(l3 + 4, size);
    view.setUint8(l3 + 6, protocol);
    view.setUint8(l3 + 7, 64);
    for (let i = 0; i < 4; i++) {
      view.setInt32(l3 + 8 + 4 * i, from[i]);
      view.setInt32(l3 + 24 + 4 * i, to[i]);
    }
  }
  view.setUint16(l4, question.fromPort);
  view.setUint16(l4 + 2, question.port);
  if (protocol === PROTOCOL_TCP) view.setUint16(l4 + 12, 0x5002);
  else view.setUint16(l4 + 4, 8);
  const packet = new Packet();
  parse(packet, buffer, HEADROOM, l4 + size - HEADROOM);
  writeChecksums(packet);
  return packet;
}
