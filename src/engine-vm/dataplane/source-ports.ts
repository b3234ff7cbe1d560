/**
 * The source ports that members see of translated connections, so that their answers are those of one flow only. The
 * engine's own kernel must use others for its probes: the appliance sets net.ipv4.ip_local_port_range below FIRST_PORT.
 */
import { end } from '../flow/flow-life.ts';
import {
  FLAG_SEEN_FORWARD,
  FLAGS,
  KIND,
  KIND_DIRECT,
  STATE,
  STATE_CLOSING,
  STRIDE,
} from '../flow/flow-record.ts';
import { ANSWERS_DIRECT, type PathState } from './path-state.ts';

/** The ports that an engine chooses from: the first and the last one. */
export const FIRST_PORT = 40_000;
const LAST_PORT = 64_999;
/** How many ports are tried, from a random one on, before the choice fails: bounds the time of one packet. */
const PORT_TRIES = 256;
/** How long another flow without a record keeps a client port to itself after its last packet. */
const NOTED_MS = 60_000;

/** Finds the ports, and says whose the answers of a member are. */
export class SourcePorts {
  private readonly state: PathState;
  /** The own address, by index, whose port `findFar` found last. */
  farAddress = 0;

  constructor(state: PathState) {
    this.state = state;
  }

  /**
   * The client port that a member shall see: the client's own, or another where the member already speaks with that
   * one in a live flow (the same client port through two addresses). -1 where none is free.
   */
  findClient(addresses: Int32Array, memberAt: number, port: number): number {
    const { packet, flows, connections } = this.state;
    const { s0, s1, s2, s3 } = packet;
    const found = this.findReverse(addresses, memberAt, port, s0, s1, s2, s3, packet.sourcePort);
    if (found < 0 && !this.isNoted(addresses, memberAt, port, packet.sourcePort)) return packet.sourcePort;
    const at = (found >> 1) * STRIDE;
    const isGuess =
      found >= 0 &&
      flows.words[at + KIND] === KIND_DIRECT &&
      (flows.words[at + FLAGS] & FLAG_SEEN_FORWARD) === 0;
    if (found >= 0 && (flows.words[at + STATE] === STATE_CLOSING || isGuess)) {
      end(flows, connections, found >> 1);
      return packet.sourcePort;
    }
    let candidate = this.randomPort();
    for (let tries = 0; tries < PORT_TRIES; tries++) {
      const isFree =
        this.findReverse(addresses, memberAt, port, s0, s1, s2, s3, candidate) < 0 &&
        !this.isNoted(addresses, memberAt, port, candidate);
      if (isFree) return candidate;
      candidate = candidate < LAST_PORT ? candidate + 1 : FIRST_PORT;
    }
    return -1;
  }

  /** A free port of an own address of the packet's family, which `farAddress` then names; -1 where there is none. */
  findFar(addresses: Int32Array, memberAt: number, port: number): number {
    const { graph, packet } = this.state;
    const own = graph.ownAddresses;
    for (let address = 0; address < graph.ownAddressCount; address++) {
      const o = address * 4;
      const isIpv4 = own[o] === 0 && own[o + 1] === 0 && own[o + 2] === 0xffff;
      if (isIpv4 !== (packet.ipVersion === 4)) continue;
      let candidate = this.randomPort();
      for (let tries = 0; tries < PORT_TRIES; tries++) {
        const found = this.findReverse(
          addresses,
          memberAt,
          port,
          own[o],
          own[o + 1],
          own[o + 2],
          own[o + 3],
          candidate,
        );
        if (found < 0) {
          this.farAddress = address;
          return candidate;
        }
        candidate = candidate < LAST_PORT ? candidate + 1 : FIRST_PORT;
      }
    }
    return -1;
  }

  /** Whether the member's answers to the client of the packet at hand are those of another flow, recorded or noted. */
  isAnswered(addresses: Int32Array, memberAt: number, port: number): boolean {
    const { s0, s1, s2, s3, sourcePort } = this.state.packet;
    const found = this.findReverse(addresses, memberAt, port, s0, s1, s2, s3, sourcePort);
    return found >= 0 || this.isNoted(addresses, memberAt, port, sourcePort);
  }

  /** Whether a flow without a record, another than that of the packet at hand, has the answers of the member. */
  private isNoted(addresses: Int32Array, memberAt: number, port: number, clientPort: number): boolean {
    const { answers, packet, graph, now } = this.state;
    if (answers === null) return false;
    const ports = (port << 16) | clientPort;
    const value = answers.atAnswer(packet, addresses, memberAt, ports).get(now, NOTED_MS, false);
    if (value < 0) return false;
    const { d0, d1, d2, d3, destinationPort, protocol } = packet;
    const own = graph.hashed.indexOf(d0, d1, d2, d3, destinationPort, protocol);
    return value === ANSWERS_DIRECT
      ? own >= 0
      : own < 0 || (value - 1) >> 1 !== own || clientPort !== packet.sourcePort;
  }

  private findReverse(
    addresses: Int32Array,
    memberAt: number,
    port: number,
    c0: number,
    c1: number,
    c2: number,
    c3: number,
    clientPort: number,
  ): number {
    return this.state.flows.findKey(
      this.state.packet.protocol,
      addresses[memberAt],
      addresses[memberAt + 1],
      addresses[memberAt + 2],
      addresses[memberAt + 3],
      c0,
      c1,
      c2,
      c3,
      (port << 16) | clientPort,
    );
  }

  private randomPort(): number {
    return FIRST_PORT + Math.floor(this.state.random() * (LAST_PORT - FIRST_PORT + 1));
  }
}
