/**
 * The memory of a flow table that outlives its process: records, traffic, what was read of the kernel's counters, and
 * whom the indexes in the records mean. It lies in a map of the kernel that is kept by name (fastpath/pins.ts).
 *
 * Records name members and peers by their index in the graph in force. The next process may have another graph, so
 * the ids are kept here as hashes. While indexes change the memory is unsealed: a process that is killed in that
 * moment leaves nothing that could be taken over.
 */
import { SPLICE_STRIDE, STRIDE } from './flow-record.ts';

/** Members and peers of one graph: more are not kept, and then neither are the flows. */
const NAMES = 32_768;
const HEADER_BYTES = 64;

// Words of the header.
const SEALED = 0;
const MEMBERS = 1;
const PEERS = 2;
/** Take-overs since the table last worked for a while. */
const ATTEMPTS = 3;
const MAX_ATTEMPTS = 5;

/** Bytes for a table of so many flows. */
export function flowMemoryBytes(flows: number): number {
  return HEADER_BYTES + NAMES * 8 + flows * (STRIDE * 4 + SPLICE_STRIDE * 4 + 16 + 24);
}

export class FlowMemory {
  /** As FlowTable. */
  readonly words: Int32Array;
  readonly traffic: Float64Array;
  readonly splices: Int32Array;
  /** As FlowSlots: three words for each direction. */
  readonly read: Uint32Array;
  private readonly header: Int32Array;
  private readonly names: Int32Array;

  constructor(buffer: ArrayBuffer, flows: number) {
    let at = 0;
    const take = (bytes: number): number => {
      at += bytes;
      return at - bytes;
    };
    this.header = new Int32Array(buffer, take(HEADER_BYTES), HEADER_BYTES / 4);
    this.names = new Int32Array(buffer, take(NAMES * 8), NAMES * 2);
    this.traffic = new Float64Array(buffer, take(flows * 16), flows * 2);
    this.words = new Int32Array(buffer, take(flows * STRIDE * 4), flows * STRIDE);
    this.splices = new Int32Array(buffer, take(flows * SPLICE_STRIDE * 4), flows * SPLICE_STRIDE);
    this.read = new Uint32Array(buffer, take(flows * 24), flows * 6);
  }

  /** Whether the records can be taken over; asking counts as an attempt, and a table that fails again is given up. */
  attempt(): boolean {
    if (this.header[SEALED] !== 1 || this.header[ATTEMPTS] >= MAX_ATTEMPTS) return false;
    this.header[ATTEMPTS]++;
    return true;
  }

  /** The table has worked for a while. */
  prove(): void {
    this.header[ATTEMPTS] = 0;
  }

  /** The indexes in the records are about to change. */
  unseal(): void {
    Atomics.store(this.header, SEALED, 0);
  }

  /** The records' indexes are those of these lists, by id. */
  seal(members: readonly { id: string }[], peers: readonly { id: string }[]): void {
    if (members.length + peers.length > NAMES) return;
    let at = 0;
    for (const list of [members, peers]) {
      for (const { id } of list) {
        this.names[at++] = hash(id, 0x811c9dc5);
        this.names[at++] = hash(id, 0x01234567);
      }
    }
    this.header[MEMBERS] = members.length;
    this.header[PEERS] = peers.length;
    Atomics.store(this.header, SEALED, 1);
  }

  /** By index in the records: the index in these lists, -1 where that one is gone. */
  relate(
    members: readonly { id: string }[],
    peers: readonly { id: string }[],
  ): { members: Int32Array; peers: Int32Array } {
    const count = this.header[MEMBERS];
    return {
      members: this.find(0, count, members),
      peers: this.find(count, this.header[PEERS], peers),
    };
  }

  private find(from: number, count: number, list: readonly { id: string }[]): Int32Array {
    const known = new Map(
      list.map(({ id }, index) => [`${hash(id, 0x811c9dc5)}.${hash(id, 0x01234567)}`, index]),
    );
    return Int32Array.from({ length: count }, (_, index) => {
      const at = (from + index) * 2;
      return known.get(`${this.names[at]}.${this.names[at + 1]}`) ?? -1;
    });
  }
}

/** FNV-1a, from a basis of the caller's. */
function hash(text: string, basis: number): number {
  let h = basis | 0;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h ^ (h >>> 15);
}
