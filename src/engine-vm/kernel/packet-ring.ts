/**
 * A NIC as the data plane sees it: an AF_PACKET socket that takes every frame of the interface and gives frames to
 * it, in batches, unchanged in every bit that matters.
 *
 * Receiving: a TPACKET_V2 ring mapped as typed arrays, no system call per frame. A frame that is longer than a slot
 * (TSO makes them up to 64 KB) waits in the socket's queue and is fetched by recv. Sending: sendmmsg from slots of
 * our own, one system call per batch. PACKET_TX_RING was measured beside it (64 B and 1514 B over veth): 1365 and
 * 1405 ns a frame against 1341 and 1246, since the kernel copies ring frames a second time before it hands them to
 * another stack; and a ring needs a second way for long frames, which could then overtake.
 * PACKET_QDISC_BYPASS gained nothing and throws away the queue that absorbs bursts, so it stays off.
 *
 * PACKET_VNET_HDR puts a virtio_net_hdr before each frame, both ways: so partial checksums and TSO super-frames pass
 * without being finished in software (packet/packet.ts, HEADROOM).
 * Sources: linux Documentation/networking/packet_mmap.rst, include/uapi/linux/if_packet.h, packet(7).
 */
import { constants } from 'node:os';
import { HEADROOM } from '../../packet/packet.ts';
import { noTraffic, type PortCounters } from '../../state/shared.ts';
import { errno, kernelError, libc, setOption } from './libc.ts';
import { type Extent, PacketMemory } from './packet-memory.ts';

/** Whoever takes the frames of a NIC. The bytes belong to it until it returns; HEADROOM bytes before `start` too. */
export interface FrameReceiver {
  /** A frame will follow, and others before it: nothing is done with it yet but to bring near what it will need. */
  foresee?(buffer: Uint8Array, words: Uint32Array, start: number, length: number): void;
  receive(port: number, buffer: Uint8Array, start: number, length: number): void;
}

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0x80000;
const SOCK_NONBLOCK = 0x800;
const SOL_SOCKET = 1;
const SOL_PACKET = 263;
const SO_ERROR = 4;
const SO_SNDBUFFORCE = [32, 'SO_SNDBUFFORCE'] as const;
const SO_RCVBUFFORCE = [33, 'SO_RCVBUFFORCE'] as const;
const PACKET_ADD_MEMBERSHIP = [1, 'PACKET_ADD_MEMBERSHIP'] as const;
const PACKET_RX_RING = [5, 'PACKET_RX_RING'] as const;
const PACKET_STATISTICS = 6;
const PACKET_COPY_THRESH = [7, 'PACKET_COPY_THRESH'] as const;
const PACKET_VERSION = [10, 'PACKET_VERSION'] as const;
const PACKET_VNET_HDR = [15, 'PACKET_VNET_HDR'] as const;
const PACKET_IGNORE_OUTGOING = [23, 'PACKET_IGNORE_OUTGOING'] as const;
const TPACKET_V2 = 1;
const PACKET_MR_PROMISC = 1;
const ETH_P_ALL = 0x0003;
const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;

const TP_STATUS_USER = 1;
const TP_STATUS_COPY = 2;
const TP_STATUS_VLAN_VALID = 0x10;
const TP_STATUS_VLAN_TPID_VALID = 0x40;

/** Bytes of a slot: a 1500-byte frame with a tag, its virtio_net_hdr and the kernel's header of 66 bytes. */
const SLOT = 2048;
const RX_SLOTS = 2048;
const RX_BLOCK = 65536;
/** Frames handed to the kernel in one call. */
const BATCH = 64;
/** The longest frame the kernel makes is a 64 KB IP packet with its Ethernet header and tags. */
const LONG_BYTES = 128 * 1024;
/** Where recv puts a long frame: an Ethernet header and a restored tag keep the IP header on a word boundary. */
const LONG_FRAME = 26;
const TAG = 4;
/** Socket buffers: what may wait as long frames, and what drivers may hold of ours. */
const RECEIVE_BUFFER = 8 << 20;
const SEND_BUFFER = 4 << 20;
const MSGHDR = 64;
const IOVEC = 16;
/** Bytes of a sockaddr_ll, rounded up to whole words. */
const ADDRESS = 24;

/** Bytes of PacketMemory that one NIC takes. */
export const NIC_MEMORY = RX_SLOTS * SLOT + BATCH * SLOT + LONG_BYTES + 16384;

export class Nic {
  readonly name: string;
  /** To be polled for reading. */
  readonly fd: number;
  readonly #index: number;
  readonly #receiveName: string;
  readonly #receiveIndex: number;
  readonly #address: Uint8Array;
  readonly #memory: PacketMemory;
  readonly #ownsMemory: boolean;
  readonly #ring: Extent;
  readonly #slots: Extent;
  readonly #long: Extent;
  readonly #messages: Extent;
  readonly #counters = noTraffic();
  readonly #statistics = new Uint32Array(2);
  readonly #optionLength = new Uint32Array(1);
  #next = 0;
  #queued = 0;
  #isClosed = false;

  /**
   * Opens the interface: promiscuous, from now on. Several NICs of a thread share a `memory` of NIC_MEMORY bytes
   * each. `receiveFrom`: another interface by which its frames come up, where they do not come by itself. Throws ERR_KERNEL: no such interface, no right.
   */
  constructor(name: string, memory?: PacketMemory, receiveFrom: string = name) {
    this.name = name;
    const object = `interface ${name}`;
    this.#index = indexOf(name);
    this.#receiveName = receiveFrom;
    this.#receiveIndex = receiveFrom === name ? this.#index : indexOf(receiveFrom);
    this.#address = linkAddress(this.#index);
    this.#ownsMemory = memory === undefined;
    this.#memory = memory ?? new PacketMemory(NIC_MEMORY);
    this.fd = libc.socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const taken: Extent[] = [];
    const take = (length: number, fd?: number): Extent => {
      const extent = this.#memory.take(length, object, fd);
      taken.push(extent);
      return extent;
    };
    try {
      if (this.fd < 0) throw kernelError('socket AF_PACKET', object);
      this.#configure(object);
      this.#ring = take(RX_SLOTS * SLOT, this.fd);
      this.#slots = take(BATCH * SLOT);
      this.#long = take(LONG_BYTES);
      this.#messages = take(BATCH * (MSGHDR + IOVEC) + ADDRESS);
      this.#prepareMessages();
      this.#bind(object);
    } catch (error) {
      if (this.fd >= 0) libc.close(this.fd);
      for (const extent of taken) this.#memory.give(extent);
      if (this.#ownsMemory) this.#memory.close();
      throw error;
    }
  }

  #configure(object: string): void {
    const { fd } = this;
    setOption(fd, SOL_PACKET, PACKET_VERSION, [TPACKET_V2], object);
    setOption(fd, SOL_PACKET, PACKET_VNET_HDR, [1], object);
    setOption(fd, SOL_PACKET, PACKET_COPY_THRESH, [1], object);
    setOption(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, [1], object);
    setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, [RECEIVE_BUFFER], object);
    setOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, [SEND_BUFFER], object);
    const ring = [RX_BLOCK, (RX_SLOTS * SLOT) / RX_BLOCK, SLOT, RX_SLOTS];
    setOption(fd, SOL_PACKET, PACKET_RX_RING, ring, object);
    // struct packet_mreq: the index, the type in the low half of the second word, an address that is not used.
    setOption(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, [this.#index, PACKET_MR_PROMISC, 0, 0], object);
  }

  /** struct mmsghdr with one iovec each; only the lengths change from batch to batch. */
  #prepareMessages(): void {
    const { offset, address, length } = this.#messages;
    const view = new DataView(this.#memory.bytes.buffer, offset, length);
    const target = BATCH * (MSGHDR + IOVEC);
    this.#memory.bytes.set(this.#address, offset + target);
    for (let index = 0; index < BATCH; index++) {
      if (this.#isApart) {
        view.setBigUint64(index * MSGHDR, address + BigInt(target), true);
        view.setUint32(index * MSGHDR + 8, this.#address.length, true);
      }
      const iovec = BATCH * MSGHDR + index * IOVEC;
      view.setBigUint64(index * MSGHDR + 16, address + BigInt(iovec), true);
      view.setBigUint64(index * MSGHDR + 24, 1n, true);
      view.setBigUint64(iovec, this.#slots.address + BigInt(index * SLOT), true);
    }
  }

  /** Frames are sent by another interface than they come from: each send then says where to. */
  get #isApart(): boolean {
    return this.#receiveIndex !== this.#index;
  }

  /** Frames come from here on: before, the socket is on no protocol, so none can come from another interface. */
  #bind(object: string): void {
    const address = linkAddress(this.#receiveIndex);
    if (libc.bind(this.fd, address, address.length) < 0) throw kernelError('bind', object);
  }

  /**
   * Hands at most `budget` waiting frames to the handler, as frames of `port`, and returns how many there were.
   * Never waits. What the handler throws is thrown on; the frame is done with, and the next call goes on behind it.
   */
  receive(handler: FrameReceiver, port: number, budget: number): number {
    if (this.#isClosed) return 0;
    const { words, bytes } = this.#memory;
    const counters = this.#counters;
    let count = 0;
    while (count < budget) {
      const slot = this.#ring.offset + this.#next * SLOT;
      const word = slot >> 2;
      const status = Atomics.load(words, word);
      if ((status & TP_STATUS_USER) === 0) break;
      count++;
      this.#next = (this.#next + 1) & (RX_SLOTS - 1);
      try {
        let length = words[word + 1];
        // tp_mac is the low half of the fourth word, tp_vlan_tci and tp_vlan_tpid are the halves of the seventh.
        let start = slot + (words[word + 3] & 0xffff);
        if (words[word + 2] !== length) {
          start = this.#receiveLong(status);
          if (start < 0) continue;
          length = this.#longLength;
        }
        if ((status & TP_STATUS_VLAN_VALID) !== 0) {
          const tag = words[word + 6];
          const tpid = (status & TP_STATUS_VLAN_TPID_VALID) === 0 ? 0x8100 : tag >>> 16;
          restoreTag(bytes, start, tpid, tag & 0xffff);
          start -= TAG;
          length += TAG;
        }
        counters.receivedPackets++;
        counters.receivedBytes += length;
        handler.receive(port, bytes, start, length);
      } finally {
        Atomics.store(words, word, 0);
      }
    }
    return count;
  }

  #longLength = 0;

  /** Fetches the frame that did not fit its slot. Returns where it starts, or -1 when the kernel had no room for it. */
  #receiveLong(status: number): number {
    const { address, offset } = this.#long;
    const at = LONG_FRAME - HEADROOM;
    const room = LONG_BYTES - at;
    const got =
      (status & TP_STATUS_COPY) === 0
        ? -1
        : Number(libc.recv(this.fd, address + BigInt(at), BigInt(room), MSG_DONTWAIT | MSG_TRUNC));
    if (got < HEADROOM || got > room) {
      this.#counters.lost++;
      return -1;
    }
    this.#longLength = got - HEADROOM;
    return offset + LONG_FRAME;
  }

  /**
   * Sends a frame with its HEADROOM bytes; the buffer is free again on return. Frames leave in the order of the
   * calls, at the next `flush` at the latest. False where the kernel would not take it; it is then counted as lost.
   */
  send(buffer: Uint8Array, start: number, length: number): boolean {
    if (this.#isClosed) return false;
    const total = length + HEADROOM;
    if (total > SLOT) return this.#sendLong(buffer, start, length);
    if (this.#queued === BATCH) this.flush();
    const { bytes, words } = this.#memory;
    const index = this.#queued++;
    const to = this.#slots.offset + index * SLOT;
    if (buffer === bytes) bytes.copyWithin(to, start - HEADROOM, start + length);
    else bytes.set(buffer.subarray(start - HEADROOM, start + length), to);
    words[(this.#messages.offset + BATCH * MSGHDR + index * IOVEC + 8) >> 2] = total;
    return true;
  }

  #sendLong(buffer: Uint8Array, start: number, length: number): boolean {
    this.flush();
    const frame = buffer.subarray(start - HEADROOM, start + length);
    const length64 = BigInt(frame.length);
    const sent = this.#isApart
      ? libc.sendto(this.fd, frame, length64, MSG_DONTWAIT, this.#address, this.#address.length)
      : libc.send(this.fd, frame, length64, MSG_DONTWAIT);
    if (sent < 0) {
      this.#counters.lost++;
      return false;
    }
    this.#counters.sentPackets++;
    this.#counters.sentBytes += length;
    return true;
  }

  /** Whether frames wait for a flush. */
  get hasQueued(): boolean {
    return this.#queued !== 0;
  }

  /** Gives what `send` has collected to the kernel. Frames that it does not take are counted as lost. */
  flush(): void {
    const queued = this.#queued;
    if (queued === 0) return;
    this.#queued = 0;
    let done = 0;
    while (done < queued) {
      const at = this.#messages.address + BigInt(done * MSGHDR);
      const sent = libc.sendmmsg(this.fd, at, queued - done, MSG_DONTWAIT);
      if (sent > 0) {
        this.#countSent(done, sent);
        done += sent;
        continue;
      }
      // A frame that the kernel refuses for what it is (too long for the MTU) must not hold back those behind it;
      // where there is no room or no link, the rest would meet the same fate.
      const isFrame = errno() === constants.errno.EMSGSIZE || errno() === constants.errno.EINVAL;
      const lost = isFrame ? 1 : queued - done;
      this.#counters.lost += lost;
      done += lost;
    }
  }

  #countSent(from: number, count: number): void {
    const first = (this.#messages.offset + BATCH * MSGHDR + from * IOVEC + 8) >> 2;
    let sum = 0;
    for (let index = 0; index < count; index++) sum += this.#memory.words[first + index * (IOVEC / 4)];
    this.#counters.sentPackets += count;
    this.#counters.sentBytes += sum - count * HEADROOM;
  }

  /** Totals since the NIC was opened; `lost` includes what the kernel dropped because the ring was full. */
  counters(): PortCounters {
    if (!this.#isClosed) {
      this.#optionLength[0] = 8;
      // The kernel starts again from zero at each reading.
      if (
        libc.getsockopt(this.fd, SOL_PACKET, PACKET_STATISTICS, this.#statistics, this.#optionLength) === 0
      ) {
        this.#counters.lost += this.#statistics[1];
      }
    }
    return { ...this.#counters };
  }

  /** True while the interface that was opened still bears its name here; after that the NIC must be opened anew. */
  isPresent(): boolean {
    return (
      !this.#isClosed &&
      libc.if_nametoindex(this.name) === this.#index &&
      (!this.#isApart || libc.if_nametoindex(this.#receiveName) === this.#receiveIndex)
    );
  }

  /** Forgets an error of the socket (the interface went down), which would otherwise wake every poll at once. */
  clearError(): void {
    if (this.#isClosed) return;
    this.#optionLength[0] = 4;
    libc.getsockopt(this.fd, SOL_SOCKET, SO_ERROR, this.#statistics, this.#optionLength);
  }

  /** Lets go of the interface, sends nothing more, and frees the maps. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    libc.close(this.fd);
    for (const extent of [this.#ring, this.#slots, this.#long, this.#messages]) this.#memory.give(extent);
    if (this.#ownsMemory) this.#memory.close();
  }
}

function indexOf(name: string): number {
  const index = libc.if_nametoindex(name);
  if (index === 0) {
    throw kernelError('if_nametoindex', `interface ${name}`, 'is there such an interface here?');
  }
  return index;
}

/** The sockaddr_ll of an interface. */
function linkAddress(index: number): Uint8Array {
  const address = new Uint8Array(20);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_PACKET, true);
  view.setUint16(2, ETH_P_ALL);
  view.setInt32(4, index, true);
  return address;
}

/**
 * Puts an 802.1Q tag back that the kernel took out: the frame at `start` then begins 4 bytes earlier, behind its
 * virtio_net_hdr, whose offsets count from the start of the frame and grow with it.
 */
export function restoreTag(bytes: Uint8Array, start: number, tpid: number, tci: number): void {
  const head = start - HEADROOM;
  bytes.copyWithin(head - TAG, head, start + 12);
  bytes[start + 8] = tpid >> 8;
  bytes[start + 9] = tpid & 0xff;
  bytes[start + 10] = tci >> 8;
  bytes[start + 11] = tci & 0xff;
  const flags = bytes[head - TAG];
  const gsoType = bytes[head - TAG + 1];
  // VIRTIO_NET_HDR_F_NEEDS_CSUM: csum_start; a gso_type: hdr_len.
  if ((flags & 1) !== 0) addTag(bytes, head - TAG + 6);
  if (gsoType !== 0) addTag(bytes, head - TAG + 2);
}

/** Adds TAG to a 16-bit word of a virtio_net_hdr, which is in the byte order of this machine (little-endian). */
function addTag(bytes: Uint8Array, at: number): void {
  const value = (bytes[at] | (bytes[at + 1] << 8)) + TAG;
  bytes[at] = value & 0xff;
  bytes[at + 1] = value >> 8;
}
