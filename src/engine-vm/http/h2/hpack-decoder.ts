/**
 * HPACK (RFC 7541) as a receiver: fields come out one by one, as ranges of bytes that are valid during the call. The
 * dynamic table is as large as the protocol's default and no larger, and made when the first field enters it.
 */
import { decodeHuffman } from './huffman.ts';
import {
  STATIC_BYTES,
  STATIC_COUNT,
  STATIC_NAME_AT,
  STATIC_VALUE_AT,
  STATIC_VALUE_END,
} from './static-table.ts';

/** Takes the fields of a block. */
export interface FieldSink {
  field(
    nameBytes: Uint8Array,
    nameAt: number,
    nameEnd: number,
    valueBytes: Uint8Array,
    valueAt: number,
    valueEnd: number,
  ): void;
}

/** SETTINGS_HEADER_TABLE_SIZE as we leave it. */
const TABLE_BYTES = 4096;
const ENTRY_BYTES = 32;
const MOST_ENTRIES = TABLE_BYTES / ENTRY_BYTES;
/** The longest block that a session gathers. */
export const MOST_BLOCK_BYTES = 32_768;

// What was Huffman-coded, and names that come out of the dynamic table: for one field at a time.
const scratch = new Uint8Array(4 * MOST_BLOCK_BYTES + TABLE_BYTES);

// A string that was just read: where it stands.
let stringBytes: Uint8Array = scratch;
let stringAt = 0;
let stringEnd = 0;
let scratchEnd = 0;
// Behind what was just read.
let position = 0;

export class HpackDecoder {
  #store: Uint8Array | null = null;
  #storeEnd = 0;
  #maxBytes = TABLE_BYTES;
  #bytes = 0;
  #count = 0;
  /** The newest entry. */
  #newest = 0;
  readonly #at = new Uint16Array(MOST_ENTRIES);
  readonly #nameLength = new Uint16Array(MOST_ENTRIES);
  readonly #valueLength = new Uint16Array(MOST_ENTRIES);

  /** Decodes a whole block. False where it is none: then the connection is lost (COMPRESSION_ERROR). */
  decode(bytes: Uint8Array, at: number, end: number, sink: FieldSink): boolean {
    position = at;
    let mayResize = true;
    while (position < end) {
      const first = bytes[position]!;
      scratchEnd = 0;
      if (first >= 0x80) {
        const index = integer(bytes, end, 7);
        if (!this.#indexed(index, sink)) return false;
      } else if (first >= 0x40) {
        if (!this.#literal(bytes, end, 6, true, sink)) return false;
      } else if (first >= 0x20) {
        const size = integer(bytes, end, 5);
        if (!mayResize || size < 0 || size > TABLE_BYTES) return false;
        this.#maxBytes = size;
        this.#evict(0);
        continue;
      } else if (!this.#literal(bytes, end, 4, false, sink)) return false;
      mayResize = false;
    }
    return true;
  }

  /** The entry's slot, by index behind the static table; -1 where there is none. */
  #slot(index: number): number {
    const n = index - STATIC_COUNT - 1;
    return n < 0 || n >= this.#count ? -1 : (this.#newest - n + MOST_ENTRIES) % MOST_ENTRIES;
  }

  #indexed(index: number, sink: FieldSink): boolean {
    if (index <= 0) return false;
    if (index <= STATIC_COUNT) {
      const valueAt = STATIC_VALUE_AT[index]!;
      const valueEnd = STATIC_VALUE_END[index]!;
      sink.field(STATIC_BYTES, STATIC_NAME_AT[index]!, valueAt, STATIC_BYTES, valueAt, valueEnd);
      return true;
    }
    const slot = this.#slot(index);
    if (slot < 0) return false;
    const store = this.#store!;
    const at = this.#at[slot]!;
    const valueAt = at + this.#nameLength[slot]!;
    sink.field(store, at, valueAt, store, valueAt, valueAt + this.#valueLength[slot]!);
    return true;
  }

  #literal(bytes: Uint8Array, end: number, prefix: number, isKept: boolean, sink: FieldSink): boolean {
    const index = integer(bytes, end, prefix);
    if (index < 0) return false;
    if (index === 0) {
      if (!readString(bytes, end)) return false;
    } else if (index <= STATIC_COUNT) {
      stringBytes = STATIC_BYTES;
      stringAt = STATIC_NAME_AT[index]!;
      stringEnd = STATIC_VALUE_AT[index]!;
    } else {
      const slot = this.#slot(index);
      if (slot < 0) return false;
      // The entry may have to go for the new one.
      const at = this.#at[slot]!;
      const length = this.#nameLength[slot]!;
      for (let n = 0; n < length; n++) scratch[n] = this.#store![at + n]!;
      stringBytes = scratch;
      stringAt = 0;
      stringEnd = length;
      scratchEnd = length;
    }
    const nameBytes = stringBytes;
    const nameAt = stringAt;
    const nameEnd = stringEnd;
    if (!readString(bytes, end)) return false;
    const valueBytes = stringBytes;
    const valueAt = stringAt;
    const valueEnd = stringEnd;
    if (isKept) this.#insert(nameBytes, nameAt, nameEnd, valueBytes, valueAt, valueEnd);
    sink.field(nameBytes, nameAt, nameEnd, valueBytes, valueAt, valueEnd);
    return true;
  }

  #insert(
    nameBytes: Uint8Array,
    nameAt: number,
    nameEnd: number,
    valueBytes: Uint8Array,
    valueAt: number,
    valueEnd: number,
  ): void {
    const nameLength = nameEnd - nameAt;
    const valueLength = valueEnd - valueAt;
    const size = nameLength + valueLength + ENTRY_BYTES;
    this.#evict(size);
    if (size > this.#maxBytes) return;
    this.#store ??= new Uint8Array(2 * TABLE_BYTES);
    const store = this.#store;
    if (this.#storeEnd + nameLength + valueLength > store.length) this.#compact(store);
    this.#newest = (this.#newest + 1) % MOST_ENTRIES;
    const slot = this.#newest;
    let to = this.#storeEnd;
    this.#at[slot] = to;
    this.#nameLength[slot] = nameLength;
    this.#valueLength[slot] = valueLength;
    for (let p = nameAt; p < nameEnd; p++) store[to++] = nameBytes[p]!;
    for (let p = valueAt; p < valueEnd; p++) store[to++] = valueBytes[p]!;
    this.#storeEnd = to;
    this.#bytes += size;
    this.#count++;
  }

  /** Makes room for so many bytes; all goes where they are more than the table takes. */
  #evict(size: number): void {
    while (this.#count > 0 && this.#bytes + size > this.#maxBytes) {
      const oldest = (this.#newest - this.#count + 1 + MOST_ENTRIES) % MOST_ENTRIES;
      this.#bytes -= this.#nameLength[oldest]! + this.#valueLength[oldest]! + ENTRY_BYTES;
      this.#count--;
    }
  }

  /** Entries stand in the store in their order: what is left of them moves to its beginning. */
  #compact(store: Uint8Array): void {
    if (this.#count === 0) {
      this.#storeEnd = 0;
      return;
    }
    const oldest = (this.#newest - this.#count + 1 + MOST_ENTRIES) % MOST_ENTRIES;
    const from = this.#at[oldest]!;
    store.copyWithin(0, from, this.#storeEnd);
    this.#storeEnd -= from;
    for (let n = 0; n < this.#count; n++) this.#at[(oldest + n) % MOST_ENTRIES]! -= from;
  }
}

/** An integer with a prefix of so many bits (RFC 7541 5.1), at `position`; -1 where it is cut off or beyond 2^24. */
function integer(bytes: Uint8Array, end: number, prefix: number): number {
  if (position >= end) return -1;
  const most = (1 << prefix) - 1;
  let value = bytes[position++]! & most;
  if (value < most) return value;
  for (let shift = 0; shift <= 21; shift += 7) {
    if (position >= end) return -1;
    const byte = bytes[position++]!;
    value += (byte & 127) * 2 ** shift;
    if (byte < 128) return value > 1 << 24 ? -1 : value;
  }
  return -1;
}

function readString(bytes: Uint8Array, end: number): boolean {
  if (position >= end) return false;
  const isCoded = bytes[position]! >= 0x80;
  const length = integer(bytes, end, 7);
  if (length < 0 || position + length > end) return false;
  const at = position;
  position += length;
  if (!isCoded) {
    stringBytes = bytes;
    stringAt = at;
    stringEnd = position;
    return true;
  }
  const to = decodeHuffman(bytes, at, position, scratch, scratchEnd);
  if (to < 0) return false;
  stringBytes = scratch;
  stringAt = scratchEnd;
  stringEnd = to;
  scratchEnd = to;
  return true;
}
