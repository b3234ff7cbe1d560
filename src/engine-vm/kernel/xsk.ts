/**
 * AF_XDP: frames that an XDP program redirects to a socket lie in memory that both see (the UMEM), without a socket
 * buffer made for them and without a system call for each; sending takes one system call per batch.
 *
 *   UMEM  [ chunk 2048 B | chunk | ... ]     chunks wander: fill ring -> kernel -> receive ring -> us -> fill ring
 *   chunk [ 256 B XDP | 2 | frame ... ]      2 bytes, so that IP fields stand on word boundaries
 *
 * All sockets of a thread share one UMEM, each with chunks of its own. The sockets copy (XDP_COPY): where a driver
 * would hand out its own buffers instead, every frame that the program redirects to another NIC would be copied, and
 * those are the many. A frame that does not fit a chunk is none of this socket's: the program leaves it to the packet
 * ring, as it does with all where there is no socket.
 * Sources: linux Documentation/networking/af_xdp.rst, include/uapi/linux/if_xdp.h.
 */
import { constants } from 'node:os';
import { HEADROOM } from '../../packet/packet.ts';
import { noTraffic, type PortCounters } from '../../state/shared.ts';
import { errno, kernelError, libc, setOption } from './libc.ts';
import type { Extent, PacketMemory } from './packet-memory.ts';
import type { FrameReceiver } from './packet-ring.ts';

const AF_XDP = 44;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0x80000;
const SOL_SOCKET = 1;
const SOL_XDP = 283;
const SO_ERROR = 4;
const SO_SNDBUFFORCE = [32, 'SO_SNDBUFFORCE'] as const;
const XDP_MMAP_OFFSETS = 1;
const XDP_RX_RING = [2, 'XDP_RX_RING'] as const;
const XDP_TX_RING = [3, 'XDP_TX_RING'] as const;
const XDP_UMEM_REG = 4;
const XDP_UMEM_FILL_RING = [5, 'XDP_UMEM_FILL_RING'] as const;
const XDP_UMEM_COMPLETION_RING = [6, 'XDP_UMEM_COMPLETION_RING'] as const;
const XDP_STATISTICS = 7;
const XDP_MAX_TX_SKB_BUDGET = [9, 'XDP_MAX_TX_SKB_BUDGET'] as const;
const XDP_SHARED_UMEM = 1;
const XDP_COPY = 2;
const PAGE_OFFSETS = { receive: 0, transmit: 0x8000_0000, fill: 0x1_0000_0000, completion: 0x1_8000_0000 };
const MSG_DONTWAIT = 0x40;

const CHUNK = 2048;
/** XDP_PACKET_HEADROOM, before which the kernel puts nothing. */
const XDP_HEADROOM = 256;
const ALIGNMENT = 2;
/** The longest frame that a chunk holds; the program leaves longer ones to the packet ring. */
export const LONGEST_FRAME = CHUNK - XDP_HEADROOM - ALIGNMENT - 10;
const RX_CHUNKS = 2048;
const TX_CHUNKS = 512;
const SHARE_BYTES = (RX_CHUNKS + TX_CHUNKS) * CHUNK;
/** A ring's head and its descriptors, rounded up; there are two of 16 bytes an entry and two of 8. */
const RING_BYTES = 4096 + RX_CHUNKS * 16;
const SEND_BUFFER = 8 << 20;
/** So many frames at once are worth a look ahead. */
const FORESEEN = 4;
/** Words are copied one by one up to here: a call costs more. */
const SHORT_FRAME = 256;

/** In the message where a queue is another socket's: one of a process that has just ended, if it is soon free. */
export const STILL_TAKEN = 'another socket still has it';

/** Queues of a NIC that get a socket; frames of those beyond come by the packet ring. */
export const MAX_QUEUES = 8;

/** Bytes of PacketMemory that so many sockets take, their UMEM included. */
export function xskMemory(sockets: number): number {
  return sockets * (SHARE_BYTES + RING_BYTES * 4);
}

/** The chunks that the sockets of a thread share. */
export class Umem {
  readonly memory: PacketMemory;
  readonly extent: Extent;
  /** Sockets that hold it; the kernel takes it from any of them. */
  readonly sockets = new Set<XskSocket>();
  readonly #free: number[];

  /** Takes room for so many sockets. Throws ERR_KERNEL. */
  constructor(memory: PacketMemory, sockets: number) {
    this.memory = memory;
    this.extent = memory.take(sockets * SHARE_BYTES, 'the UMEM');
    this.#free = Array.from({ length: sockets }, (_, share) => share);
  }

  /** Chunks for one socket: the offset of the first, or -1 where all are taken. */
  takeShare(): number {
    const share = this.#free.pop();
    return share === undefined ? -1 : share * SHARE_BYTES;
  }

  giveShare(offset: number): void {
    this.#free.push(offset / SHARE_BYTES);
  }

  close(): void {
    this.memory.give(this.extent);
  }
}

/** Where one ring lies, as indexes into the words of PacketMemory. */
interface Ring {
  extent: Extent;
  producer: number;
  consumer: number;
  descriptors: number;
}

export class XskSocket {
  /** To be polled for reading. */
  readonly fd: number;
  readonly queue: number;
  readonly #isVirtual: boolean;
  readonly #umem: Umem;
  readonly #memory: PacketMemory;
  readonly #share: number;
  readonly #rings: Ring[] = [];
  readonly #receive: Ring;
  readonly #fill: Ring;
  readonly #transmit: Ring;
  readonly #completion: Ring;
  /** Chunks to send from that nobody uses. */
  readonly #spare = new Uint32Array(TX_CHUNKS);
  #spares = 0;
  #received = 0;
  #filled = 0;
  /** Written into the ring, and shown to the kernel. */
  #queued = 0;
  #shown = 0;
  #completed = 0;
  readonly #counters = noTraffic();
  readonly #statistics = new BigUint64Array(6);
  readonly #optionLength = new Uint32Array(1);
  /** Means nothing: it is for the reading ahead not to be left out. */
  #near = 0;
  #isClosed = false;

  /**
   * Opens a socket on a queue of an interface. `isVirtual`: its frames were never on a wire, so that checksums may be
   * somebody else's to finish. Throws ERR_KERNEL: no such queue, no right, or another has the queue.
   */
  constructor(name: string, queue: number, umem: Umem, isVirtual = false) {
    this.#isVirtual = isVirtual;
    const object = `AF_XDP socket of ${name}, queue ${queue}`;
    this.queue = queue;
    this.#umem = umem;
    this.#memory = umem.memory;
    this.#share = umem.takeShare();
    this.fd = libc.socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
    try {
      if (this.fd < 0) throw kernelError('socket AF_XDP', object);
      if (this.#share < 0) throw kernelError('UMEM', object, 'all its chunks are taken');
      const [first] = umem.sockets;
      if (first === undefined) this.#register(object);
      const { fd } = this;
      setOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, [SEND_BUFFER], object);
      setOption(fd, SOL_XDP, XDP_UMEM_FILL_RING, [RX_CHUNKS], object);
      setOption(fd, SOL_XDP, XDP_UMEM_COMPLETION_RING, [TX_CHUNKS], object);
      setOption(fd, SOL_XDP, XDP_RX_RING, [RX_CHUNKS], object);
      setOption(fd, SOL_XDP, XDP_TX_RING, [TX_CHUNKS], object);
      // Frames that one call sends; kernels before 6.17 have 32, and are called again.
      libc.setsockopt(fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET[0], Uint32Array.of(TX_CHUNKS), 4);
      const offsets = new BigUint64Array(16);
      this.#optionLength[0] = offsets.byteLength;
      if (libc.getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, offsets, this.#optionLength) < 0) {
        throw kernelError('getsockopt XDP_MMAP_OFFSETS', object);
      }
      this.#receive = this.#map(offsets, 0, RX_CHUNKS * 16, PAGE_OFFSETS.receive, object);
      this.#transmit = this.#map(offsets, 4, TX_CHUNKS * 16, PAGE_OFFSETS.transmit, object);
      this.#fill = this.#map(offsets, 8, RX_CHUNKS * 8, PAGE_OFFSETS.fill, object);
      this.#completion = this.#map(offsets, 12, TX_CHUNKS * 8, PAGE_OFFSETS.completion, object);
      this.#giveChunks();
      this.#bind(name, queue, first, object);
    } catch (error) {
      this.#release();
      throw error;
    }
    umem.sockets.add(this);
  }

  /** Makes the memory a UMEM; the sockets that follow share it. */
  #register(object: string): void {
    const registration = new DataView(new ArrayBuffer(32));
    registration.setBigUint64(0, this.#umem.extent.address, true);
    registration.setBigUint64(8, BigInt(this.#umem.extent.length), true);
    registration.setUint32(16, CHUNK, true);
    registration.setUint32(20, ALIGNMENT, true);
    const bytes = new Uint8Array(registration.buffer);
    if (libc.setsockopt(this.fd, SOL_XDP, XDP_UMEM_REG, bytes, bytes.length) < 0) {
      throw kernelError('setsockopt XDP_UMEM_REG', object);
    }
  }

  #map(offsets: BigUint64Array, at: number, bytes: number, page: number, object: string): Ring {
    const descriptors = Number(offsets[at + 2]);
    const extent = this.#memory.take(RING_BYTES, object);
    this.#memory.map(extent, descriptors + bytes, this.fd, page, object);
    const ring = {
      extent,
      producer: (extent.offset + Number(offsets[at])) >> 2,
      consumer: (extent.offset + Number(offsets[at + 1])) >> 2,
      descriptors: (extent.offset + descriptors) >> 2,
    };
    this.#rings.push(ring);
    return ring;
  }

  /** The kernel's chunks to the kernel, ours to the spares. */
  #giveChunks(): void {
    const { words } = this.#memory;
    for (let chunk = 0; chunk < RX_CHUNKS; chunk++) {
      words[this.#fill.descriptors + chunk * 2] = this.#share + chunk * CHUNK;
    }
    this.#filled = RX_CHUNKS;
    Atomics.store(words, this.#fill.producer, this.#filled);
    for (let chunk = 0; chunk < TX_CHUNKS; chunk++) {
      this.#spare[chunk] = this.#share + (RX_CHUNKS + chunk) * CHUNK;
    }
    this.#spares = TX_CHUNKS;
  }

  #bind(name: string, queue: number, first: XskSocket | undefined, object: string): void {
    const address = new DataView(new ArrayBuffer(16));
    address.setUint16(0, AF_XDP, true);
    address.setUint16(2, first === undefined ? XDP_COPY : XDP_SHARED_UMEM, true);
    address.setUint32(4, libc.if_nametoindex(name), true);
    address.setUint32(8, queue, true);
    address.setUint32(12, first?.fd ?? 0, true);
    if (libc.bind(this.fd, new Uint8Array(address.buffer), 16) < 0) {
      const isTaken = errno() === constants.errno.EBUSY;
      throw kernelError('bind', object, isTaken ? STILL_TAKEN : undefined);
    }
  }

  /**
   * Hands at most `budget` waiting frames to the handler, as frames of `port`, and returns how many there were. Never
   * waits. What the handler throws is thrown on; the frame is done with, and the next call goes on behind it.
   */
  receive(handler: FrameReceiver, port: number, budget: number): number {
    const { waiting } = this;
    if (waiting === 0) return 0;
    const { words, bytes } = this.#memory;
    const count = Math.min(waiting, budget);
    const counters = this.#counters;
    const base = this.#umem.extent.offset;
    const from = this.#receive.descriptors;
    const back = this.#fill.descriptors;
    if (count >= FORESEEN && handler.foresee !== undefined) {
      // Another processor wrote the frames: all of them are fetched at once, before any of them is waited for.
      let near = 0;
      for (let index = 0; index < count; index++) {
        const descriptor = from + ((this.#received + index) & (RX_CHUNKS - 1)) * 4;
        const start = base + words[descriptor];
        near ^= words[start >> 2] ^ words[(start + words[descriptor + 2] - 1) >> 2];
      }
      this.#near ^= near;
      for (let index = 0; index < count; index++) {
        const descriptor = from + ((this.#received + index) & (RX_CHUNKS - 1)) * 4;
        handler.foresee(bytes, words, base + words[descriptor], words[descriptor + 2]);
      }
    }
    try {
      for (let index = 0; index < count; index++) {
        const descriptor = from + (this.#received & (RX_CHUNKS - 1)) * 4;
        this.#received = (this.#received + 1) >>> 0;
        const at = words[descriptor];
        const length = words[descriptor + 2];
        words[back + (this.#filled & (RX_CHUNKS - 1)) * 2] = at & -CHUNK;
        this.#filled = (this.#filled + 1) >>> 0;
        counters.receivedPackets++;
        counters.receivedBytes += length;
        const start = base + at;
        clearHead(words, bytes, start);
        if (this.#isVirtual) markPartial(words, bytes, start, length);
        handler.receive(port, bytes, start, length);
      }
    } finally {
      // The kernel sees neither before all of them are done with.
      Atomics.store(words, this.#receive.consumer, this.#received);
      Atomics.store(words, this.#fill.producer, this.#filled);
    }
    return count;
  }

  /** Frames that have come and were not received yet. */
  get waiting(): number {
    if (this.#isClosed) return 0;
    return (Atomics.load(this.#memory.words, this.#receive.producer) - this.#received) >>> 0;
  }

  /** Whether a frame can be sent from here: it is whole, and fits a chunk. */
  takes(buffer: Uint8Array, start: number, length: number): boolean {
    return length <= LONGEST_FRAME && (buffer[start - HEADROOM] | buffer[start - HEADROOM + 1]) === 0;
  }

  /**
   * Sends a frame that `takes` took; the buffer is free again on return. Frames leave in the order of the calls, at
   * the next `flush` at the latest. False where there is no room; it is then counted as lost.
   */
  send(buffer: Uint8Array, start: number, length: number): boolean {
    if (this.#isClosed) return false;
    if (this.#spares === 0) {
      this.flush();
      if (this.#spares === 0) {
        this.#counters.lost++;
        return false;
      }
    }
    const { words, bytes } = this.#memory;
    const chunk = this.#spare[--this.#spares];
    const to = this.#umem.extent.offset + chunk + ALIGNMENT;
    if (buffer === bytes && length <= SHORT_FRAME && (start & 3) === ALIGNMENT) {
      const end = (start + length + 3) >> 2;
      for (let word = start >> 2, into = to >> 2; word < end; word++, into++) words[into] = words[word];
    } else if (buffer === bytes) bytes.copyWithin(to, start, start + length);
    else bytes.set(buffer.subarray(start, start + length), to);
    const descriptor = this.#transmit.descriptors + (this.#queued & (TX_CHUNKS - 1)) * 4;
    words[descriptor] = chunk + ALIGNMENT;
    words[descriptor + 2] = length;
    this.#queued = (this.#queued + 1) >>> 0;
    this.#counters.sentPackets++;
    this.#counters.sentBytes += length;
    return true;
  }

  /** Gives what `send` has collected to the kernel, and takes back the chunks that it is done with. */
  flush(): void {
    const { words } = this.#memory;
    let taken = Atomics.load(words, this.#transmit.consumer);
    if (this.#shown !== this.#queued) {
      this.#shown = this.#queued;
      Atomics.store(words, this.#transmit.producer, this.#queued);
    }
    // What is left over (no room at the link, or no link) goes with the next flush.
    for (let before = -1; taken !== this.#queued && taken !== before; ) {
      before = taken;
      libc.send(this.fd, 0n, 0n, MSG_DONTWAIT);
      taken = Atomics.load(words, this.#transmit.consumer);
    }
    const done = Atomics.load(words, this.#completion.producer);
    if (done === this.#completed) return;
    for (; this.#completed !== done; this.#completed = (this.#completed + 1) >>> 0) {
      const at = this.#completion.descriptors + (this.#completed & (TX_CHUNKS - 1)) * 2;
      this.#spare[this.#spares++] = words[at] & -CHUNK;
    }
    Atomics.store(words, this.#completion.consumer, done);
  }

  /** Frames that wait to be sent. */
  get hasQueued(): boolean {
    return this.#shown !== this.#queued;
  }

  /** Totals since the socket was opened; `lost` includes what the kernel dropped because no chunk was free. */
  counters(): PortCounters {
    const counters = { ...this.#counters };
    if (this.#isClosed) return counters;
    this.#optionLength[0] = this.#statistics.byteLength;
    // Dropped, invalid twice, then full rings.
    if (libc.getsockopt(this.fd, SOL_XDP, XDP_STATISTICS, this.#statistics, this.#optionLength) === 0) {
      counters.lost += Number(this.#statistics[0] + this.#statistics[3]);
    }
    return counters;
  }

  /** Forgets an error of the socket, which would otherwise wake every poll at once. */
  clearError(): void {
    if (this.#isClosed) return;
    this.#optionLength[0] = 4;
    libc.getsockopt(this.fd, SOL_SOCKET, SO_ERROR, new Uint32Array(1), this.#optionLength);
  }

  /** Lets go of the queue: the kernel takes the socket out of every map, and frames take the other way. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#umem.sockets.delete(this);
    this.#release();
  }

  #release(): void {
    if (this.fd >= 0) libc.close(this.fd);
    for (const { extent } of this.#rings) this.#memory.give(extent);
    if (this.#share >= 0) this.#umem.giveShare(this.#share);
  }
}

/** Whoever takes the frame expects its virtio_net_hdr before it. */
function clearHead(words: Uint32Array, bytes: Uint8Array, start: number): void {
  const head = (start - HEADROOM) >> 2;
  words[head] = 0;
  words[head + 1] = 0;
  bytes[start - 2] = 0;
  bytes[start - 1] = 0;
}

/**
 * Says in the virtio_net_hdr that the checksum is still to be finished. XDP does not tell; but then the field holds the
 * sum of the pseudo-header.
 */
function markPartial(words: Uint32Array, bytes: Uint8Array, start: number, length: number): void {
  if (length < 42) return;
  const l3 = (start + 14) >> 2;
  let sum: number;
  let protocol: number;
  let header: number;
  const type = bytes[start + 12] | (bytes[start + 13] << 8);
  if (type === 0x0008) {
    if (bytes[start + 14] !== 0x45) return;
    protocol = bytes[start + 23];
    header = 34;
    sum = half(words[l3 + 3]) + half(words[l3 + 4]);
    const total = ((bytes[start + 16] << 8) | bytes[start + 17]) - 20;
    sum += ((total & 0xff) << 8) | ((total >> 8) & 0xff);
  } else if (type === 0xdd86) {
    protocol = bytes[start + 20];
    header = 54;
    sum = bytes[start + 18] | (bytes[start + 19] << 8);
    for (let word = l3 + 2; word < l3 + 10; word++) sum += half(words[word]);
  } else return;
  let offset: number;
  if (protocol === 6) offset = 16;
  else if (protocol === 17) offset = 6;
  else return;
  const field = start + header + offset;
  if (header + offset + 2 > length) return;
  sum += protocol << 8;
  sum = (sum & 0xffff) + (sum >>> 16);
  sum = (sum & 0xffff) + (sum >>> 16);
  if ((bytes[field] | (bytes[field + 1] << 8)) !== sum) return;
  // VIRTIO_NET_HDR_F_NEEDS_CSUM, csum_start, csum_offset.
  const head = (start - HEADROOM) >> 2;
  words[head] = 1;
  words[head + 1] = header << 16;
  bytes[start - 2] = offset;
}

function half(word: number): number {
  return (word & 0xffff) + (word >>> 16);
}
