/** Control frames between engines: what comes from a peer, with the key of the group, goes to whom it concerns. */
import { destinationHigh, destinationLow } from '../../packet/ethernet.ts';
import { dropIndex } from '../drops.ts';
import { MAC_PEER, MAC_SELF, macIndex, macKind } from './compiled-graph.ts';
import {
  CONTROL_ANSWER,
  CONTROL_CLAIM,
  CONTROL_FLOWS,
  CONTROL_ORPHAN,
  CONTROL_PROBE,
  CONTROL_REFUSED,
  type ControlCodec,
  controlType,
} from './control.ts';
import type { Orphans } from './orphans.ts';
import { type PathState, PORT_OUT } from './path-state.ts';
import type { Peers } from './peers.ts';
import type { Replicator } from './replicator.ts';
import type { Splicer } from './splicer.ts';

const CONTROL_INVALID = dropIndex('control-invalid');

export class ControlFrames {
  private readonly state: PathState;
  private readonly peerTable: Peers;
  private readonly orphans: Orphans;
  private readonly replicator: Replicator;
  private readonly splicer: Splicer;
  private codec: ControlCodec | null = null;

  constructor(
    state: PathState,
    peerTable: Peers,
    orphans: Orphans,
    replicator: Replicator,
    splicer: Splicer,
  ) {
    this.state = state;
    this.peerTable = peerTable;
    this.orphans = orphans;
    this.replicator = replicator;
    this.splicer = splicer;
  }

  /** A new graph is in force, with the key of its group. */
  load(codec: ControlCodec): void {
    this.codec = codec;
  }

  /** What peers ask and answer is all that an engine in mode `mirror` takes of them. */
  observe(source: number): void {
    const { state } = this;
    const { packet } = state;
    const peer = macIndex(source);
    const isOfPeer =
      macKind(source) === MAC_PEER && this.codec?.isAuthentic(packet, this.peerTable.hash(peer)) === true;
    const type = isOfPeer ? controlType(packet) : 0;
    if (type === CONTROL_PROBE) this.peerTable.answer(peer);
    else if (type === CONTROL_ANSWER) this.peerTable.receiveAnswer(peer);
    else if (!isOfPeer) state.drop(CONTROL_INVALID);
  }

  /** Takes the control frame at hand; false where it is none of ours and to be bridged. */
  take(port: number, source: number): boolean {
    const state = this.state;
    const { packet, graph } = state;
    const destination = macKind(graph.macs.find(destinationHigh(packet), destinationLow(packet)));
    if (destination !== MAC_SELF && destination !== MAC_PEER) return false;
    if (destination === MAC_PEER && port === PORT_OUT) return false;
    const peer = macIndex(source);
    const isTaken =
      port === PORT_OUT &&
      macKind(source) === MAC_PEER &&
      this.codec?.isAuthentic(packet, this.peerTable.hash(peer)) === true &&
      this.takeAuthentic(peer);
    if (!isTaken) state.drop(CONTROL_INVALID);
    return true;
  }

  private takeAuthentic(peer: number): boolean {
    switch (controlType(this.state.packet)) {
      case CONTROL_PROBE:
        this.peerTable.answer(peer);
        return true;
      case CONTROL_ANSWER:
        return this.peerTable.receiveAnswer(peer);
      case CONTROL_ORPHAN:
        this.orphans.receiveOrphan(peer);
        return true;
      case CONTROL_CLAIM:
        return this.orphans.receiveClaim(peer);
      case CONTROL_FLOWS:
        return this.replicator.receive();
      case CONTROL_REFUSED:
        return this.splicer.receiveRefusal();
      default:
        return false;
    }
  }
}
