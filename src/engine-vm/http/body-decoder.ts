/**
 * Where the body of a message ends, and what of it is data: by length, chunked (RFC 9112 7.1), or until the connection
 * ends. Data is handed on as one range of the bytes it came in: chunks that share a buffer are moved together in place.
 *
 * Chunk extensions are dropped, and bounded; whoever sends the data on frames it anew.
 */
import { HEX, TOKEN } from './characters.ts';
import { Head } from './head.ts';
import { type HeadLimits, parseTrailers } from './parse-fields.ts';
import { refusal } from './refusals.ts';

export const NO_BODY = 0;
export const BY_LENGTH = 1;
export const CHUNKED = 2;
export const UNTIL_CLOSE = 3;
export type BodyMode = typeof NO_BODY | typeof BY_LENGTH | typeof CHUNKED | typeof UNTIL_CLOSE;

const SIZE = 0;
const EXTENSION = 1;
const SIZE_LF = 2;
const DATA = 3;
const DATA_CR = 4;
const DATA_LF = 5;
const TRAILER = 6;

const CR = 13;
const LF = 10;
const CHUNK_INVALID = refusal('chunk-invalid');
const EXTENSION_TOO_LONG = refusal('chunk-extension-too-long');
const TOO_LARGE = refusal('body-too-large');
const TRAILER_INVALID = refusal('trailer-invalid');

/** Bytes of extensions in one message. */
const EXTENSION_BYTES = 1024;
const TRAILER_BYTES = 4096;
/** Hexadecimal digits of a chunk's size: 2^48 is larger than any limit. */
const SIZE_DIGITS = 12;

const trailerHead = new Head();

export class BodyDecoder {
  mode: BodyMode = NO_BODY;
  /** True when the whole body was seen. */
  isDone = true;
  /** What `decode` found: data of the body, of that call. */
  dataAt = 0;
  dataEnd = 0;
  /** The refusal where `decode` returned -1. */
  error = 0;
  /** Bytes of data so far. */
  received = 0;
  /** The trailer fields with their last CRLF, once done; null where there were none. */
  trailers: Uint8Array | null = null;
  #limit = 0;
  #remaining = 0;
  #state = SIZE;
  #digits = 0;
  #extension = 0;
  #trailerBytes: Uint8Array | null = null;
  #trailerLength = 0;

  /** Begins a message. `length` counts for BY_LENGTH. */
  begin(mode: BodyMode, length: number, limit: number): void {
    this.mode = mode;
    this.isDone = mode === NO_BODY || (mode === BY_LENGTH && length === 0);
    this.received = 0;
    this.trailers = null;
    this.#limit = limit;
    this.#remaining = mode === BY_LENGTH ? length : 0;
    this.#state = SIZE;
    this.#digits = 0;
    this.#extension = 0;
    this.#trailerLength = 0;
  }

  /** Returns the offset behind what belongs to the body (`end`, unless it is done), or -1: see `error`. */
  decode(bytes: Uint8Array, at: number, end: number, limits: HeadLimits): number {
    this.dataAt = at;
    this.dataEnd = at;
    if (this.isDone) return at;
    if (this.mode === CHUNKED) return this.#decodeChunks(bytes, at, end, limits);
    let take = end - at;
    if (this.mode === BY_LENGTH) {
      take = Math.min(take, this.#remaining);
      this.#remaining -= take;
      this.isDone = this.#remaining === 0;
    }
    this.received += take;
    if (this.received > this.#limit) return this.#refuse(TOO_LARGE);
    this.dataEnd = at + take;
    return this.dataEnd;
  }

  #refuse(error: number): number {
    this.error = error;
    return -1;
  }

  #decodeChunks(bytes: Uint8Array, at: number, end: number, limits: HeadLimits): number {
    let p = at;
    while (p < end) {
      switch (this.#state) {
        case SIZE: {
          const byte = bytes[p++]!;
          const digit = HEX[byte]!;
          if (digit < 16) {
            if (++this.#digits > SIZE_DIGITS) return this.#refuse(CHUNK_INVALID);
            this.#remaining = this.#remaining * 16 + digit;
          } else if (this.#digits === 0) return this.#refuse(CHUNK_INVALID);
          else if (byte === CR) this.#state = SIZE_LF;
          // Blanks before an extension are read differently by different programs, so they are refused.
          else if (byte === 59) this.#state = EXTENSION;
          else return this.#refuse(CHUNK_INVALID);
          break;
        }
        case EXTENSION: {
          const byte = bytes[p++]!;
          if (byte === CR) this.#state = SIZE_LF;
          else if (TOKEN[byte] !== 1 && byte !== 61 && byte !== 34 && byte !== 59)
            return this.#refuse(CHUNK_INVALID);
          else if (++this.#extension > EXTENSION_BYTES) return this.#refuse(EXTENSION_TOO_LONG);
          break;
        }
        case SIZE_LF:
          if (bytes[p++] !== LF) return this.#refuse(CHUNK_INVALID);
          this.#digits = 0;
          this.#state = this.#remaining === 0 ? TRAILER : DATA;
          if (this.received + this.#remaining > this.#limit) return this.#refuse(TOO_LARGE);
          break;
        case DATA: {
          const take = Math.min(end - p, this.#remaining);
          if (this.dataEnd === this.dataAt) {
            this.dataAt = p;
            this.dataEnd = p + take;
          } else {
            bytes.copyWithin(this.dataEnd, p, p + take);
            this.dataEnd += take;
          }
          p += take;
          this.received += take;
          this.#remaining -= take;
          if (this.#remaining === 0) this.#state = DATA_CR;
          break;
        }
        case DATA_CR:
          if (bytes[p++] !== CR) return this.#refuse(CHUNK_INVALID);
          this.#state = DATA_LF;
          break;
        case DATA_LF:
          if (bytes[p++] !== LF) return this.#refuse(CHUNK_INVALID);
          this.#state = SIZE;
          break;
        default:
          return this.#decodeTrailers(bytes, p, end, limits);
      }
    }
    return p;
  }

  #decodeTrailers(bytes: Uint8Array, at: number, end: number, limits: HeadLimits): number {
    if (this.#trailerLength === 0 && end - at >= 2 && bytes[at] === CR && bytes[at + 1] === LF) {
      this.isDone = true;
      return at + 2;
    }
    // Trailers are rare: they are gathered apart, whole.
    this.#trailerBytes ??= new Uint8Array(TRAILER_BYTES + 1);
    const stored = this.#trailerBytes;
    const before = this.#trailerLength;
    const take = Math.min(end - at, TRAILER_BYTES - before);
    stored.set(bytes.subarray(at, at + take), before);
    const length = before + take;
    const status = parseTrailers(stored, 0, length, trailerHead, limits);
    if (status < 0) return this.#refuse(-status);
    if (status === 0) {
      if (length === TRAILER_BYTES) return this.#refuse(TRAILER_INVALID);
      this.#trailerLength = length;
      return end;
    }
    this.isDone = true;
    this.trailers = trailerHead.count === 0 ? null : stored.slice(0, status);
    return at + status - before;
  }
}
