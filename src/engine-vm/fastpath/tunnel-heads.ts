/**
 * Tunnels to engines across a router as the kernel's program knows them: the outer headers ready to be put before a
 * frame, and what tells a datagram of the other direction. One entry for each peer, in memory that both see.
 *
 * An entry is written when the first flow is entrusted that needs it, once for each epoch of the slots. By then no slot
 * in force names it; the program reads the epoch again after an entry, so that it uses none that changed meanwhile.
 */
import { fold, sumBytes } from '../../packet/checksum.ts';
import { PROTOCOL_UDP } from '../../packet/parse.ts';
import { VXLAN_HEADERS, type VxlanEnds, writeVxlan } from '../../packet/vxlan.ts';

/** Bytes of struct tunnel of flow.bpf.c, and how many there are; flows to peers beyond stay with TypeScript. */
export const TUNNEL_BYTES = 128;
export const TUNNELS = 1024;

/** Which tunnel a slot's packets go into or come out of. */
export interface SlotTunnel {
  peer: number;
  isInto: boolean;
  /** Source port of the datagrams, where they go in. */
  port: number;
}

// 32-bit words of the configuration.
const CONFIG_OWN_MAC = 17;
const CONFIG_OWN_MAC_REST = 18;

// Bytes of an entry.
const HEAD = 2;
const SUM = 72;
const ROOM = 76;
const VNI_IN = 80;

const IPV4_TOTAL = 16;
const IPV4_CHECKSUM = 24;
const IPV6_LENGTH = 18;
const IPV6_UDP = 54;

export class TunnelHeads {
  private readonly view: DataView;
  private readonly config: Int32Array;
  /** The epoch of the slots for which each was written. */
  private readonly epochs = new Int32Array(TUNNELS);

  constructor(memory: ArrayBuffer, config: Int32Array) {
    this.view = new DataView(memory);
    this.config = config;
  }

  isWritten(peer: number, epoch: number): boolean {
    return this.epochs[peer] === epoch;
  }

  /** `room`: the longest IP packet that fits; `vniIn`: of the peer's datagrams to us. */
  write(peer: number, epoch: number, ends: VxlanEnds, room: number, vniIn: number): void {
    const { view, config } = this;
    const at = peer * TUNNEL_BYTES;
    const bytes = ends.isIpv4 ? VXLAN_HEADERS.ipv4 : VXLAN_HEADERS.ipv6;
    const head = at + HEAD;
    // Complete but for what is of one datagram: its lengths, source port and checksum.
    writeVxlan(view, head + bytes, 0, ends, 0);
    let sum: number;
    if (ends.isIpv4) {
      view.setUint16(head + IPV4_TOTAL, 0);
      view.setUint16(head + IPV4_CHECKSUM, 0);
      view.setUint16(head + 38, 0);
      sum = sumBytes(view, head + 14, 20);
    } else {
      view.setUint16(head + IPV6_LENGTH, 0);
      view.setUint16(head + IPV6_UDP + 4, 0);
      view.setUint16(head + IPV6_UDP + 6, 0);
      // The pseudo-header, and the headers of UDP and VXLAN.
      sum = PROTOCOL_UDP + sumBytes(view, head + 22, 32) + sumBytes(view, head + IPV6_UDP, 16);
    }
    view.setUint16(at, bytes, true);
    const folded = fold(sum);
    // A sum of words as they lie in memory.
    view.setUint32(at + SUM, ((folded & 0xff) << 8) | (folded >> 8), true);
    view.setUint32(at + ROOM, room, true);
    view.setUint32(at + VNI_IN, (vniIn << 8) >>> 0);
    config[CONFIG_OWN_MAC] = swapWord((ends.fromHigh << 16) | (ends.fromLow >>> 16));
    config[CONFIG_OWN_MAC_REST] = ((ends.fromLow & 0xff) << 8) | ((ends.fromLow >>> 8) & 0xff) | (1 << 16);
    this.epochs[peer] = epoch;
  }
}

function swapWord(word: number): number {
  return ((word & 0xff) << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | ((word >>> 24) & 0xff);
}
