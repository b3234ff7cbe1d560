/**
 * The flow slots: what the kernel's program does with each direction of a flow, in memory that both see. A slot is
 * numbered as the flow table numbers directions (flow * 2 + direction); an index of two-choice buckets leads to it.
 * Writing a slot costs no system call. Readers check the slot's sequence before and after; a slot whose epoch is not
 * the one in force is as good as none, so that one store makes all of them stale at once.
 *
 *   bucket, 64 bytes: 8 x (hash, slot number + 1, 0 where free)
 *   slot, 128 bytes: as struct slot of flow.bpf.c; words on the wire's byte order
 */
import { delta, fold, sumWord } from '../../packet/checksum.ts';
import type { Packet } from '../../packet/packet.ts';
import type { FlowMemory } from '../flow/flow-memory.ts';
import { type SlotTunnel, TunnelHeads } from './tunnel-heads.ts';

export const SLOT_BYTES = 128;
export const BUCKET_BYTES = 64;
export const CONFIG_BYTES = 128;

const SLOT_WORDS = SLOT_BYTES / 4;
const ENTRIES = 8;
const BUCKET_WORDS = ENTRIES * 2;

// Words of a slot.
const SEQUENCE = 0;
const EPOCH = 1;
const ADDRESSES = 2;
const PORTS = 10;
const WAY = 11;
const DELTAS = 12;
const MACS = 13;
const NEW_MACS = 16;
const NEW_PORTS = 19;
const NEW_ADDRESSES = 20;
const PACKETS = 28;
const LAST_MS = 29;
const BYTES = 30;

// Words of the configuration.
const CONFIG_SEED = 0;
const CONFIG_MASK = 1;
const CONFIG_EPOCH = 2;
const CONFIG_NOW_MS = 3;
const CONFIG_CAPACITY = 9;

// Of the way of a slot, beside its ports.
const OUT_OF_TUNNEL = 16;
const INTO_TUNNEL = 32;

/** The third word of an IPv4 address, ::ffff:a.b.c.d, as on the wire. */
const IPV4_ON_WIRE = 0xffff << 16;

/** The memory of the maps. */
export interface SlotMemory {
  config: ArrayBuffer;
  index: ArrayBuffer;
  slots: ArrayBuffer;
  tunnels: ArrayBuffer;
  /** For the flow table that stands behind the slots. */
  records: FlowMemory;
}

/** Buckets for so many slots: half full at the most, a power of two. */
export function bucketsFor(slots: number): number {
  let buckets = 2;
  while (buckets * ENTRIES < slots * 2) buckets *= 2;
  return buckets;
}

export class FlowSlots {
  /** Most slots: two per flow. */
  readonly capacity: number;
  /** Where the flow table keeps its records, beside the slots. */
  readonly memory: FlowMemory;
  /** The clock of the process that left slots and records behind, as of its end; null where both are empty. */
  readonly leftMs: number | null;
  /** How long nobody was there, where they were taken over. */
  awayMs = 0;
  /** Taken over, and nobody there yet to take what the program does not know: the slots stay as they are. */
  isHeldBack = false;
  /** Directions that were not installed because both of their buckets were full. */
  crowded = 0;
  private readonly config: Int32Array;
  private readonly index: Int32Array;
  private readonly words: Int32Array;
  private readonly seed: number;
  private readonly mask: number;
  /** Counters of each slot as of its last reading: packets, low and high word of bytes. */
  private readonly read: Uint32Array;
  /** Tunnels that slots name. */
  readonly tunnels: TunnelHeads;
  /** As in the configuration, whose cache line the program writes with each upcall. */
  private epoch = 1;
  private nowMs = 0;

  /**
   * `seed`: any 32-bit number that others cannot guess. `leftMs` as the field: seed and epoch are then those that the
   * memory has.
   */
  constructor(memory: SlotMemory, capacity: number, seed: number, leftMs: number | null = null) {
    this.capacity = capacity;
    this.config = new Int32Array(memory.config);
    this.index = new Int32Array(memory.index);
    this.words = new Int32Array(memory.slots);
    this.memory = memory.records;
    this.tunnels = new TunnelHeads(memory.tunnels, this.config);
    this.leftMs = leftMs;
    this.isHeldBack = leftMs !== null;
    this.seed = leftMs === null ? seed | 0 : this.config[CONFIG_SEED];
    this.mask = bucketsFor(capacity) - 1;
    this.read = memory.records.read;
    if (leftMs !== null) {
      this.epoch = this.config[CONFIG_EPOCH];
      this.nowMs = this.config[CONFIG_NOW_MS];
    }
    this.config[CONFIG_SEED] = this.seed;
    this.config[CONFIG_MASK] = this.mask;
    this.config[CONFIG_EPOCH] = this.epoch;
    this.config[CONFIG_CAPACITY] = capacity;
  }

  /** Makes every slot stale: each flow's next packet goes to TypeScript, which may install it again. */
  invalidate(): void {
    if (this.isHeldBack) return;
    // 0 is the epoch of slots that were never written.
    this.epoch = (this.epoch + 1) | 0 || 1;
    Atomics.store(this.config, CONFIG_EPOCH, this.epoch);
  }

  /**
   * After a process that was killed at any moment: takes out of the index what `isInstalled` does not know, and what
   * stands in it twice. Returns 1 for each slot that is in the index.
   */
  reconcile(isInstalled: (slot: number) => boolean): Uint8Array {
    const isFiled = new Uint8Array(this.capacity);
    const { index } = this;
    for (let entry = 1; entry < index.length; entry += 2) {
      if (index[entry] === 0) continue;
      const slot = index[entry] - 1;
      const isRight = slot < this.capacity && isInstalled(slot) && index[entry - 1] === this.hashOf(slot);
      if (isRight && isFiled[slot] === 0) isFiled[slot] = 1;
      else Atomics.store(index, entry, 0);
    }
    return isFiled;
  }

  /** The clock by which the program notes when it saw a flow last. */
  setNow(nowMs: number): void {
    this.nowMs = nowMs | 0;
    this.config[CONFIG_NOW_MS] = this.nowMs;
  }

  /**
   * Installs a direction. The key is the packet as it came (`words` of the flow's record from `key`, ports, protocol);
   * `macs` the first 12 bytes of the frame as it came, `packet` the frame as it leaves. `tunnel`: out of which or into
   * which it goes, null where none. False where there is no room.
   */
  install(
    slot: number,
    key: Int32Array,
    keyAt: number,
    ports: number,
    macs: Int32Array,
    packet: Packet,
    ingress: number,
    egress: number,
    isFiled: boolean,
    tunnel: SlotTunnel | null = null,
  ): boolean {
    const { words } = this;
    const at = slot * SLOT_WORDS;
    const isIpv4 = packet.ipVersion === 4;
    let entry = 0;
    let hash = 0;
    if (!isFiled) {
      hash = this.hash(key, keyAt, ports, packet.protocol, isIpv4);
      entry = this.findEntry(hash);
      if (entry < 0) {
        this.crowded++;
        return false;
      }
    }
    const sequence = words[at + SEQUENCE] | 1;
    // Odd already where it was taken out: who looks at it still finds out.
    if (words[at + SEQUENCE] !== sequence) publish(words, at + SEQUENCE, sequence);
    words[at + EPOCH] = this.epoch;
    let addresses: number;
    if (isIpv4) {
      this.writeIpv4(at + ADDRESSES, key[keyAt + 3], key[keyAt + 7]);
      this.writeIpv4(at + NEW_ADDRESSES, packet.s3, packet.d3);
      addresses = fold(changeOf(key[keyAt + 3], packet.s3) + changeOf(key[keyAt + 7], packet.d3));
    } else {
      for (let i = 0; i < 8; i++) words[at + ADDRESSES + i] = swap(key[keyAt + i]);
      this.writeNewAddresses(at + NEW_ADDRESSES, packet);
      const source = delta(sumOf(key, keyAt), sumSource(packet));
      const destination = delta(sumOf(key, keyAt + 4), sumDestination(packet));
      addresses = fold(
        (isSameSource(key, keyAt, packet) ? 0 : source) +
          (isSameDestination(key, keyAt, packet) ? 0 : destination),
      );
    }
    words[at + PORTS] = swap(ports);
    const portsAfter = (packet.sourcePort << 16) | packet.destinationPort | 0;
    const portChange = fold(
      (ports >>> 16 === packet.sourcePort ? 0 : delta(ports >>> 16, packet.sourcePort)) +
        ((ports & 0xffff) === packet.destinationPort ? 0 : delta(ports & 0xffff, packet.destinationPort)),
    );
    const tunnelWay = tunnel === null ? 0 : tunnel.isInto ? INTO_TUNNEL : OUT_OF_TUNNEL;
    const way = ingress | (egress << 2) | tunnelWay;
    words[at + WAY] = packet.protocol | (way << 8) | (swap16(portChange) << 16);
    words[at + DELTAS] = swap16(addresses) | (tunnel === null ? 0 : (tunnel.peer + 1) << 16);
    const { view, start } = packet;
    for (let i = 0; i < 3; i++) {
      words[at + MACS + i] = macs[i];
      words[at + NEW_MACS + i] = view.getInt32(start + i * 4, true);
    }
    words[at + NEW_PORTS] = tunnelWay === INTO_TUNNEL ? swap16(tunnel!.port) : swap(portsAfter);
    if (!isFiled) {
      words[at + PACKETS] = 0;
      words[at + BYTES] = 0;
      words[at + BYTES + 1] = 0;
      const { read } = this;
      read[slot * 3] = 0;
      read[slot * 3 + 1] = 0;
      read[slot * 3 + 2] = 0;
    }
    words[at + LAST_MS] = this.nowMs;
    publish(words, at + SEQUENCE, (sequence + 1) | 0 || 2);
    if (!isFiled) {
      this.index[entry] = hash;
      publish(this.index, entry + 1, slot + 1);
    }
    return true;
  }

  /** The epoch in force: slots of another one are stale. */
  get epochInForce(): number {
    return this.epoch;
  }

  /** Whether an installed direction is of the epoch in force: else the program takes it for none. */
  isInForce(slot: number): boolean {
    return this.words[slot * SLOT_WORDS + EPOCH] === this.epoch;
  }

  /** Packets and bytes of an installed direction since it was installed; of packets the low 32 bits. */
  countersOf(slot: number): { packets: number; bytes: number } {
    const { words } = this;
    const at = slot * SLOT_WORDS;
    const bytes = (words[at + BYTES + 1] >>> 0) * 0x1_0000_0000 + (words[at + BYTES] >>> 0);
    return { packets: words[at + PACKETS] >>> 0, bytes };
  }

  /** Whether an installed direction expects packets with these MACs by this port. */
  isSameWay(slot: number, macs: Int32Array, ingress: number): boolean {
    const { words } = this;
    const at = slot * SLOT_WORDS;
    return (
      ((words[at + WAY] >>> 8) & 3) === ingress &&
      words[at + MACS] === macs[0] &&
      words[at + MACS + 1] === macs[1] &&
      words[at + MACS + 2] === macs[2]
    );
  }

  /** Takes an installed direction out. */
  remove(slot: number): void {
    const { words } = this;
    const at = slot * SLOT_WORDS;
    Atomics.store(words, at + SEQUENCE, words[at + SEQUENCE] | 1);
    this.unfile(slot, this.hashOf(slot));
  }

  /** Packets of an installed direction since the last call; its bytes since then are in `bytesSince`. */
  packetsSince(slot: number): number {
    const { words, read } = this;
    const at = slot * SLOT_WORDS;
    const packets = words[at + PACKETS] >>> 0;
    const low = words[at + BYTES] >>> 0;
    const high = words[at + BYTES + 1] >>> 0;
    const since = (packets - read[slot * 3]) >>> 0;
    this.bytesSince = (high - read[slot * 3 + 2]) * 0x1_0000_0000 + low - read[slot * 3 + 1];
    read[slot * 3] = packets;
    read[slot * 3 + 1] = low;
    read[slot * 3 + 2] = high;
    return since;
  }

  /** Set by `packetsSince`. */
  bytesSince = 0;

  /** When an installed direction saw its last packet, by the clock of `setNow`. */
  lastMs(slot: number): number {
    return this.words[slot * SLOT_WORDS + LAST_MS];
  }

  /** As FlowTable.foresee, for the two buckets of the key. */
  foresee(protocol: number, source: number, destination: number, ports: number): number {
    const h = mix(mix(this.seed, swap(source)), swap(destination));
    const hash = finish(mix(h, swap(ports) ^ protocol));
    return (
      this.index[(hash & this.mask) * BUCKET_WORDS] ^
      this.index[(otherPlace(hash) & this.mask) * BUCKET_WORDS]
    );
  }

  /** Two addresses of a slot, source and destination, as IPv4 ones stand there. */
  private writeIpv4(at: number, source: number, destination: number): void {
    const { words } = this;
    words[at] = 0;
    words[at + 1] = 0;
    words[at + 2] = IPV4_ON_WIRE;
    words[at + 3] = swap(source);
    words[at + 4] = 0;
    words[at + 5] = 0;
    words[at + 6] = IPV4_ON_WIRE;
    words[at + 7] = swap(destination);
  }

  private writeNewAddresses(at: number, packet: Packet): void {
    const { words } = this;
    words[at] = swap(packet.s0);
    words[at + 1] = swap(packet.s1);
    words[at + 2] = swap(packet.s2);
    words[at + 3] = swap(packet.s3);
    words[at + 4] = swap(packet.d0);
    words[at + 5] = swap(packet.d1);
    words[at + 6] = swap(packet.d2);
    words[at + 7] = swap(packet.d3);
  }

  private hash(key: Int32Array, at: number, ports: number, protocol: number, isIpv4: boolean): number {
    let h = this.seed;
    if (!isIpv4) {
      for (let i = 0; i < 3; i++) h = mix(h, swap(key[at + i]));
      for (let i = 4; i < 7; i++) h = mix(h, swap(key[at + i]));
    }
    h = mix(h, swap(key[at + 3]));
    h = mix(h, swap(key[at + 7]));
    return finish(mix(h, swap(ports) ^ protocol));
  }

  /** The hash of an installed direction. */
  private hashOf(slot: number): number {
    const { words } = this;
    const at = slot * SLOT_WORDS;
    const isIpv4 =
      words[at + ADDRESSES] === 0 &&
      words[at + ADDRESSES + 1] === 0 &&
      words[at + ADDRESSES + 2] === IPV4_ON_WIRE;
    let h = this.seed;
    if (!isIpv4) {
      for (let i = 0; i < 3; i++) h = mix(h, words[at + ADDRESSES + i]);
      for (let i = 4; i < 7; i++) h = mix(h, words[at + ADDRESSES + i]);
    }
    h = mix(h, words[at + ADDRESSES + 3]);
    h = mix(h, words[at + ADDRESSES + 7]);
    return finish(mix(h, words[at + PORTS] ^ (words[at + WAY] & 0xff)));
  }

  /** A free entry of the index for a hash, in the emptier of its two buckets; -1 where both are full. */
  private findEntry(hash: number): number {
    const first = (hash & this.mask) * BUCKET_WORDS;
    const second = (otherPlace(hash) & this.mask) * BUCKET_WORDS;
    const inFirst = this.freeIn(first);
    const inSecond = this.freeIn(second);
    if (inFirst === 0 && inSecond === 0) return -1;
    let entry = inSecond > inFirst ? second : first;
    while (this.index[entry + 1] !== 0) entry += 2;
    return entry;
  }

  private unfile(slot: number, hash: number): void {
    for (const place of [hash, otherPlace(hash)]) {
      const bucket = (place & this.mask) * BUCKET_WORDS;
      for (let entry = bucket; entry < bucket + BUCKET_WORDS; entry += 2) {
        if (this.index[entry + 1] !== slot + 1) continue;
        Atomics.store(this.index, entry + 1, 0);
        return;
      }
    }
  }

  private freeIn(bucket: number): number {
    let free = 0;
    for (let entry = bucket; entry < bucket + BUCKET_WORDS; entry += 2) {
      if (this.index[entry + 1] === 0) free++;
    }
    return free;
  }
}

/** Stores become visible in their order by themselves, so that Atomics, a call in V8, can be left out. */
const IS_ORDERED = process.arch === 'x64';

/** A store that the kernel's program sees after those before it. */
function publish(words: Int32Array, at: number, value: number): void {
  if (IS_ORDERED) words[at] = value;
  else Atomics.store(words, at, value);
}

/** A word with its bytes the other way round. */
export function swap(word: number): number {
  return ((word & 0xff) << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | ((word >>> 24) & 0xff);
}

/** As `swap`, of 16 bits. */
export function swap16(word: number): number {
  return ((word & 0xff) << 8) | ((word >>> 8) & 0xff);
}

/** A round of the program's hash. */
export function mix(h: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = (k << 15) | (k >>> 17);
  const mixed = h ^ Math.imul(k, 0x1b873593);
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0;
}

/** The end of the program's hash. */
export function finish(hash: number): number {
  let h = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

function otherPlace(hash: number): number {
  return Math.imul((hash >>> 16) | (hash << 16), 0x9e3779b1);
}

function sumOf(words: Int32Array, at: number): number {
  return sumWord(words[at]) + sumWord(words[at + 1]) + sumWord(words[at + 2]) + sumWord(words[at + 3]);
}

function sumSource(packet: Packet): number {
  return sumWord(packet.s0) + sumWord(packet.s1) + sumWord(packet.s2) + sumWord(packet.s3);
}

function sumDestination(packet: Packet): number {
  return sumWord(packet.d0) + sumWord(packet.d1) + sumWord(packet.d2) + sumWord(packet.d3);
}

/** What a checksum changes by where one word becomes another; 0 where it stays. */
function changeOf(before: number, after: number): number {
  return before === after ? 0 : delta(sumWord(before), sumWord(after));
}

function isSameSource(key: Int32Array, at: number, packet: Packet): boolean {
  return (
    key[at + 3] === packet.s3 &&
    key[at + 2] === packet.s2 &&
    key[at + 1] === packet.s1 &&
    key[at] === packet.s0
  );
}

function isSameDestination(key: Int32Array, at: number, packet: Packet): boolean {
  return (
    key[at + 7] === packet.d3 &&
    key[at + 6] === packet.d2 &&
    key[at + 5] === packet.d1 &&
    key[at + 4] === packet.d0
  );
}
