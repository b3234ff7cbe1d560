/**
 * Which peers live, as this engine's own probes through their data path tell. A peer that a graph names for the first
 * time is taken to live until it has been silent for `deadAfterMs`.
 */
import type { PeerObservation } from '../../state/shared.ts';
import {
  ANSWER_HAS_MEMBERS,
  ANSWER_INSIDE_ALIVE,
  CONTROL_ANSWER,
  CONTROL_PROBE,
  type ControlCodec,
  controlFlags,
  controlNonceHigh,
  controlNonceLow,
  nameHash,
} from './control.ts';
import type { Inside } from './inside.ts';
import { type PathState, PORT_OUT, SCRATCH_START } from './path-state.ts';
import type { Tunnel } from './tunnel.ts';

/** Probes whose answers are still taken, per peer. */
const OUTSTANDING = 8;

interface Peer {
  readonly id: string;
  readonly hash: number;
  answeredAt: number;
  /** When the present life began, as far as we know. */
  aliveSince: number;
  isAlive: boolean;
  isInsideAlive: boolean | null;
  nextProbeAt: number;
  /** Nonces of the latest probes, two words each; `probes` counts them. */
  readonly nonces: Int32Array;
  probes: number;
}

export class Peers {
  private readonly state: PathState;
  private readonly inside: Inside;
  private readonly tunnel: Tunnel;
  private codec: ControlCodec | null = null;
  /** In the order of the graph. */
  private peers: Peer[] = [];

  constructor(state: PathState, inside: Inside, tunnel: Tunnel) {
    this.state = state;
    this.inside = inside;
    this.tunnel = tunnel;
  }

  /** A new graph is in force; what is known of peers that stay is kept. */
  load(codec: ControlCodec): void {
    this.codec = codec;
    const now = this.state.now;
    const known = new Map(this.peers.map((peer) => [peer.id, peer]));
    const { peers, engine } = this.state.graph.source;
    this.peers = peers.map(
      ({ id }, index) =>
        known.get(id) ?? {
          id,
          hash: nameHash(id),
          answeredAt: now,
          aliveSince: now,
          isAlive: true,
          isInsideAlive: null,
          // Spread over the interval, so that a large group makes no bursts.
          nextProbeAt: now + (engine.probeIntervalMs * index) / peers.length,
          nonces: new Int32Array(OUTSTANDING * 2),
          probes: 0,
        },
    );
  }

  get count(): number {
    return this.peers.length;
  }

  id(peer: number): string {
    return this.peers[peer].id;
  }

  hash(peer: number): number {
    return this.peers[peer].hash;
  }

  isAlive(peer: number): boolean {
    return this.peers[peer].isAlive;
  }

  /** Since when the peer has lived without a break, monotonic milliseconds. */
  aliveSince(peer: number): number {
    return this.peers[peer].aliveSince;
  }

  /** Index of a peer by id, or -1. */
  find(id: string): number {
    return this.peers.findIndex((peer) => peer.id === id);
  }

  /** This engine itself stood still for so long: peers could not answer it meanwhile. */
  excuse(ms: number): void {
    for (const peer of this.peers) peer.answeredAt += ms;
  }

  tick(): void {
    const { now, graph } = this.state;
    const { probeIntervalMs, deadAfterMs } = graph.source.engine;
    for (let i = 0; i < this.peers.length; i++) {
      const peer = this.peers[i];
      peer.isAlive = now - peer.answeredAt < deadAfterMs;
      if (now < peer.nextProbeAt) continue;
      peer.nextProbeAt = Math.max(now, peer.nextProbeAt + probeIntervalMs);
      const at = (peer.probes++ % OUTSTANDING) * 2;
      peer.nonces[at] = this.state.random32();
      peer.nonces[at + 1] = this.state.random32();
      this.send(i, CONTROL_PROBE, 0, peer.nonces[at], peer.nonces[at + 1], null);
    }
  }

  /** Answers the authentic probe at hand. */
  answer(peer: number): void {
    const isInsideAlive = this.inside.isAlive;
    const flags =
      (isInsideAlive === null ? 0 : ANSWER_HAS_MEMBERS) | (isInsideAlive === true ? ANSWER_INSIDE_ALIVE : 0);
    const packet = this.state.packet;
    this.send(peer, CONTROL_ANSWER, flags, controlNonceHigh(packet), controlNonceLow(packet), null);
  }

  /** Takes the authentic answer at hand; false where it answers none of the latest probes. */
  receiveAnswer(index: number): boolean {
    const packet = this.state.packet;
    const peer = this.peers[index];
    const high = controlNonceHigh(packet);
    const low = controlNonceLow(packet);
    for (let i = 0; i < Math.min(peer.probes, OUTSTANDING); i++) {
      if (peer.nonces[i * 2] !== high || peer.nonces[i * 2 + 1] !== low) continue;
      const now = this.state.now;
      if (now - peer.answeredAt >= this.state.graph.source.engine.deadAfterMs) peer.aliveSince = now;
      peer.answeredAt = now;
      peer.isAlive = true;
      const flags = controlFlags(packet);
      peer.isInsideAlive =
        (flags & ANSWER_HAS_MEMBERS) === 0 ? null : (flags & ANSWER_INSIDE_ALIVE) === ANSWER_INSIDE_ALIVE;
      return true;
    }
    return false;
  }

  /** Sends a control frame to a peer. */
  send(
    peer: number,
    type: number,
    flags: number,
    nonceHigh: number,
    nonceLow: number,
    body: Uint8Array | null,
  ): void {
    const { graph, scratch, scratchView } = this.state;
    if (this.codec === null) return;
    const length = this.codec.write(
      scratch,
      scratchView,
      SCRATCH_START,
      graph.peerMacHigh[peer],
      graph.peerMacLow[peer],
      graph.macHigh,
      graph.macLow,
      type,
      flags,
      this.peers[peer].hash,
      nonceHigh,
      nonceLow,
      body,
    );
    if (graph.peerTunnel[peer] !== 0) this.tunnel.carryOwn(peer, scratch, SCRATCH_START, length);
    else this.state.sendScratch(PORT_OUT, length);
  }

  observations(): Record<string, PeerObservation> {
    const now = this.state.now;
    const seen: Record<string, PeerObservation> = {};
    for (const peer of this.peers) {
      seen[peer.id] = {
        isAlive: peer.isAlive,
        isInsideAlive: peer.isAlive ? peer.isInsideAlive : null,
        silentMs: Math.max(0, Math.round(now - peer.answeredAt)),
      };
    }
    return seen;
  }
}
