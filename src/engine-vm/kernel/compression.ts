/**
 * gzip, brotli and zstd as streams over socket buffers: the libraries that the pinned Node carries, called by their own
 * names. A coder is made once and used for many bodies; nothing is allocated for a piece of one.
 */
import ffi from 'node:ffi';
import { WeftError } from '../../policy/errors.ts';
import type { SocketBuffers } from './socket-buffers.ts';

const { functions: lib } = ffi.dlopen(null, {
  deflateInit2_: {
    arguments: ['pointer', 'i32', 'i32', 'i32', 'i32', 'i32', 'string', 'i32'],
    return: 'i32',
  },
  deflate: { arguments: ['pointer', 'i32'], return: 'i32' },
  deflateReset: { arguments: ['pointer'], return: 'i32' },
  deflateEnd: { arguments: ['pointer'], return: 'i32' },
  inflateInit2_: { arguments: ['pointer', 'i32', 'string', 'i32'], return: 'i32' },
  inflate: { arguments: ['pointer', 'i32'], return: 'i32' },
  inflateReset: { arguments: ['pointer'], return: 'i32' },
  inflateEnd: { arguments: ['pointer'], return: 'i32' },
  BrotliEncoderCreateInstance: { arguments: ['pointer', 'pointer', 'pointer'], return: 'pointer' },
  BrotliEncoderSetParameter: { arguments: ['pointer', 'i32', 'u32'], return: 'i32' },
  BrotliEncoderCompressStream: {
    arguments: ['pointer', 'i32', 'pointer', 'pointer', 'pointer', 'pointer', 'pointer'],
    return: 'i32',
  },
  BrotliEncoderHasMoreOutput: { arguments: ['pointer'], return: 'i32' },
  BrotliEncoderDestroyInstance: { arguments: ['pointer'], return: 'void' },
  BrotliDecoderCreateInstance: { arguments: ['pointer', 'pointer', 'pointer'], return: 'pointer' },
  BrotliDecoderDecompressStream: {
    arguments: ['pointer', 'pointer', 'pointer', 'pointer', 'pointer', 'pointer'],
    return: 'i32',
  },
  BrotliDecoderDestroyInstance: { arguments: ['pointer'], return: 'void' },
  ZSTD_createCCtx: { arguments: [], return: 'pointer' },
  ZSTD_CCtx_setParameter: { arguments: ['pointer', 'i32', 'i32'], return: 'i64' },
  ZSTD_CCtx_reset: { arguments: ['pointer', 'i32'], return: 'i64' },
  ZSTD_compressStream2: { arguments: ['pointer', 'pointer', 'pointer', 'i32'], return: 'i64' },
  ZSTD_freeCCtx: { arguments: ['pointer'], return: 'i64' },
  ZSTD_createDCtx: { arguments: [], return: 'pointer' },
  ZSTD_DCtx_setParameter: { arguments: ['pointer', 'i32', 'i32'], return: 'i64' },
  ZSTD_DCtx_reset: { arguments: ['pointer', 'i32'], return: 'i64' },
  ZSTD_decompressStream: { arguments: ['pointer', 'pointer', 'pointer'], return: 'i64' },
  ZSTD_freeDCtx: { arguments: ['pointer'], return: 'i64' },
});

/** What shall become of the input: more follows; all of it shall come out now; it was the last. */
export const RUN = 0;
export const FLUSH = 1;
export const FINISH = 2;

/** What `code` returns. All input is taken, and with FLUSH or FINISH all output written. */
export const TAKEN = 0;
/** The room for output is used up, and there is more. */
export const MORE = 1;
/** Decoders: the coded body is whole; nothing may follow. */
export const ENDED = 2;
/** Decoders: this is not of that coding. */
export const INVALID = 3;

export type CodingName = 'gzip' | 'br' | 'zstd';

export interface Coder {
  /** Where the input that the latest `code` did not take begins, and where its output ends. */
  readonly read: number;
  readonly written: number;
  /** Codes bytes of the socket buffers, from `at` to before `end`, into `to` to before `limit`. Returns TAKEN and so on. */
  code(at: number, end: number, to: number, limit: number, operation: number): number;
  /** For the next body. */
  reset(): void;
  /** Frees its memory; it cannot be used again. */
  close(): void;
}

/** Words that the libraries read and write; the memory of an ArrayBuffer of its own does not move. */
class Words {
  readonly #bytes: ArrayBuffer;
  readonly #words: Uint32Array;
  readonly address: bigint;

  constructor(length: number) {
    this.#bytes = new ArrayBuffer(length);
    this.#words = new Uint32Array(this.#bytes);
    this.address = ffi.getRawPointer(this.#bytes);
  }

  /** A word of 64 bits at a byte offset; values are below 2^53. */
  set(at: number, value: number): void {
    this.#words[at >> 2] = value % 2 ** 32;
    this.#words[(at >> 2) + 1] = Math.floor(value / 2 ** 32);
  }

  get(at: number): number {
    return this.#words[at >> 2]! + this.#words[(at >> 2) + 1]! * 2 ** 32;
  }

  set32(at: number, value: number): void {
    this.#words[at >> 2] = value;
  }

  get32(at: number): number {
    return this.#words[at >> 2]!;
  }
}

// Offsets in z_stream (zlib.h) where words have 64 bits.
const NEXT_IN = 0;
const AVAIL_IN = 8;
const NEXT_OUT = 24;
const AVAIL_OUT = 32;
const Z_STREAM_BYTES = 112;
const ZLIB_VERSION = '1.3';
const Z_NO_FLUSH = 0;
const Z_SYNC_FLUSH = 2;
const Z_FINISH = 4;
const Z_STREAM_END = 1;
const Z_BUF_ERROR = -5;
/** Window bits of gzip's format. */
const GZIP = 31;

abstract class ZlibStream {
  read = 0;
  written = 0;
  protected readonly stream = new Words(Z_STREAM_BYTES);
  readonly #buffers: SocketBuffers;

  constructor(buffers: SocketBuffers) {
    this.#buffers = buffers;
  }

  protected set(at: number, end: number, to: number, limit: number): void {
    const { stream } = this;
    stream.set(NEXT_IN, this.#buffers.addressNumber(at));
    stream.set32(AVAIL_IN, end - at);
    stream.set(NEXT_OUT, this.#buffers.addressNumber(to));
    stream.set32(AVAIL_OUT, limit - to);
  }

  protected get(end: number, limit: number): void {
    this.read = end - this.stream.get32(AVAIL_IN);
    this.written = limit - this.stream.get32(AVAIL_OUT);
  }
}

class GzipEncoder extends ZlibStream implements Coder {
  constructor(buffers: SocketBuffers, level: number) {
    super(buffers);
    const { address } = this.stream;
    check(lib.deflateInit2_(address, level, 8, GZIP, 8, 0, ZLIB_VERSION, Z_STREAM_BYTES) === 0, 'gzip');
  }

  code(at: number, end: number, to: number, limit: number, operation: number): number {
    this.set(at, end, to, limit);
    const flush = operation === RUN ? Z_NO_FLUSH : operation === FLUSH ? Z_SYNC_FLUSH : Z_FINISH;
    const result = lib.deflate(this.stream.address, flush);
    this.get(end, limit);
    if (operation === FINISH) return result === Z_STREAM_END ? TAKEN : MORE;
    return this.written === limit ? MORE : TAKEN;
  }

  reset(): void {
    lib.deflateReset(this.stream.address);
  }

  close(): void {
    lib.deflateEnd(this.stream.address);
  }
}

class GzipDecoder extends ZlibStream implements Coder {
  constructor(buffers: SocketBuffers) {
    super(buffers);
    check(lib.inflateInit2_(this.stream.address, GZIP, ZLIB_VERSION, Z_STREAM_BYTES) === 0, 'gzip');
  }

  code(at: number, end: number, to: number, limit: number): number {
    this.set(at, end, to, limit);
    for (;;) {
      const result = lib.inflate(this.stream.address, Z_NO_FLUSH);
      this.get(end, limit);
      if (result === Z_STREAM_END) {
        // RFC 1952 2.2: members may follow one another.
        lib.inflateReset(this.stream.address);
        if (this.read === end) return ENDED;
        if (this.written === limit) return MORE;
        continue;
      }
      if (result !== 0 && result !== Z_BUF_ERROR) return INVALID;
      return this.written === limit ? MORE : TAKEN;
    }
  }

  reset(): void {
    lib.inflateReset(this.stream.address);
  }

  close(): void {
    lib.inflateEnd(this.stream.address);
  }
}

const BROTLI_QUALITY = 1;
const BROTLI_WINDOW = 2;
const BROTLI_WINDOW_BITS = 18;
/** The libraries' numbers for RUN, FLUSH and FINISH are ours. */

/** Where brotli's arguments stand: bytes of input, its address, room of output, its address. */
class BrotliArguments {
  readonly #words = new Words(32);
  readonly #buffers: SocketBuffers;
  readonly availableIn = this.#words.address;
  readonly nextIn = this.#words.address + 8n;
  readonly availableOut = this.#words.address + 16n;
  readonly nextOut = this.#words.address + 24n;

  constructor(buffers: SocketBuffers) {
    this.#buffers = buffers;
  }

  set(at: number, end: number, to: number, limit: number): void {
    this.#words.set(0, end - at);
    this.#words.set(8, this.#buffers.addressNumber(at));
    this.#words.set(16, limit - to);
    this.#words.set(24, this.#buffers.addressNumber(to));
  }

  get inputLeft(): number {
    return this.#words.get(0);
  }

  get roomLeft(): number {
    return this.#words.get(16);
  }
}

class BrotliEncoder implements Coder {
  read = 0;
  written = 0;
  readonly #arguments: BrotliArguments;
  readonly #quality: number;
  #state = 0n;

  constructor(buffers: SocketBuffers, quality: number) {
    this.#arguments = new BrotliArguments(buffers);
    this.#quality = quality;
    this.#create();
  }

  // The library has no way to use a state again.
  #create(): void {
    this.#state = lib.BrotliEncoderCreateInstance(0n, 0n, 0n);
    check(this.#state !== 0n, 'br');
    lib.BrotliEncoderSetParameter(this.#state, BROTLI_QUALITY, this.#quality);
    lib.BrotliEncoderSetParameter(this.#state, BROTLI_WINDOW, BROTLI_WINDOW_BITS);
  }

  code(at: number, end: number, to: number, limit: number, operation: number): number {
    const words = this.#arguments;
    words.set(at, end, to, limit);
    for (;;) {
      lib.BrotliEncoderCompressStream(
        this.#state,
        operation,
        words.availableIn,
        words.nextIn,
        words.availableOut,
        words.nextOut,
        0n,
      );
      this.read = end - words.inputLeft;
      this.written = limit - words.roomLeft;
      if (words.roomLeft === 0) return MORE;
      if (words.inputLeft === 0 && lib.BrotliEncoderHasMoreOutput(this.#state) === 0) return TAKEN;
    }
  }

  reset(): void {
    this.close();
    this.#create();
  }

  close(): void {
    lib.BrotliEncoderDestroyInstance(this.#state);
    this.#state = 0n;
  }
}

class BrotliDecoder implements Coder {
  read = 0;
  written = 0;
  readonly #arguments: BrotliArguments;
  #state = 0n;

  constructor(buffers: SocketBuffers) {
    this.#arguments = new BrotliArguments(buffers);
    this.#create();
  }

  #create(): void {
    this.#state = lib.BrotliDecoderCreateInstance(0n, 0n, 0n);
    check(this.#state !== 0n, 'br');
  }

  code(at: number, end: number, to: number, limit: number): number {
    const words = this.#arguments;
    words.set(at, end, to, limit);
    const result = lib.BrotliDecoderDecompressStream(
      this.#state,
      words.availableIn,
      words.nextIn,
      words.availableOut,
      words.nextOut,
      0n,
    );
    this.read = end - words.inputLeft;
    this.written = limit - words.roomLeft;
    // BROTLI_DECODER_RESULT_: ERROR, SUCCESS, NEEDS_MORE_INPUT, NEEDS_MORE_OUTPUT
    if (result === 0) return INVALID;
    if (result === 1) return this.read === end ? ENDED : INVALID;
    return result === 3 ? MORE : TAKEN;
  }

  reset(): void {
    this.close();
    this.#create();
  }

  close(): void {
    lib.BrotliDecoderDestroyInstance(this.#state);
    this.#state = 0n;
  }
}

const ZSTD_LEVEL = 100;
const ZSTD_WINDOW_LOG = 101;
/** Bounds what an encoder keeps to some hundred KB. */
const ZSTD_ENCODER_WINDOW = 18;
/** RFC 9659: of the coding zstd, at most 8 MB. */
const ZSTD_DECODER_WINDOW = 23;
const ZSTD_RESET_SESSION = 1;

abstract class ZstdStream {
  read = 0;
  written = 0;
  /** ZSTD_inBuffer and ZSTD_outBuffer, each an address, a size, a position. */
  readonly #words = new Words(48);
  protected readonly input = this.#words.address;
  protected readonly output = this.#words.address + 24n;
  readonly #buffers: SocketBuffers;

  constructor(buffers: SocketBuffers) {
    this.#buffers = buffers;
  }

  protected set(at: number, end: number, to: number, limit: number): void {
    this.#words.set(0, this.#buffers.addressNumber(at));
    this.#words.set(8, end - at);
    this.#words.set(16, 0);
    this.#words.set(24, this.#buffers.addressNumber(to));
    this.#words.set(32, limit - to);
    this.#words.set(40, 0);
  }

  protected get(at: number, to: number): void {
    this.read = at + this.#words.get(16);
    this.written = to + this.#words.get(40);
  }
}

class ZstdEncoder extends ZstdStream implements Coder {
  readonly #context = lib.ZSTD_createCCtx();

  constructor(buffers: SocketBuffers, level: number) {
    super(buffers);
    check(this.#context !== 0n, 'zstd');
    lib.ZSTD_CCtx_setParameter(this.#context, ZSTD_LEVEL, level);
    lib.ZSTD_CCtx_setParameter(this.#context, ZSTD_WINDOW_LOG, ZSTD_ENCODER_WINDOW);
  }

  code(at: number, end: number, to: number, limit: number, operation: number): number {
    this.set(at, end, to, limit);
    for (;;) {
      const left = lib.ZSTD_compressStream2(this.#context, this.output, this.input, operation);
      this.get(at, to);
      if (this.written === limit) return MORE;
      if (this.read === end && (operation === RUN || left === 0n)) return TAKEN;
    }
  }

  reset(): void {
    lib.ZSTD_CCtx_reset(this.#context, ZSTD_RESET_SESSION);
  }

  close(): void {
    lib.ZSTD_freeCCtx(this.#context);
  }
}

class ZstdDecoder extends ZstdStream implements Coder {
  readonly #context = lib.ZSTD_createDCtx();

  constructor(buffers: SocketBuffers) {
    super(buffers);
    check(this.#context !== 0n, 'zstd');
    lib.ZSTD_DCtx_setParameter(this.#context, 100, ZSTD_DECODER_WINDOW);
  }

  code(at: number, end: number, to: number, limit: number): number {
    this.set(at, end, to, limit);
    for (;;) {
      const left = lib.ZSTD_decompressStream(this.#context, this.output, this.input);
      this.get(at, to);
      if (left < 0n) return INVALID;
      // A frame is whole; another may follow.
      if (left === 0n && this.read === end) return ENDED;
      if (this.written === limit) return MORE;
      if (this.read === end) return TAKEN;
    }
  }

  reset(): void {
    lib.ZSTD_DCtx_reset(this.#context, ZSTD_RESET_SESSION);
  }

  close(): void {
    lib.ZSTD_freeDCtx(this.#context);
  }
}

/** An encoder of that level: 1-9 of gzip, 0-11 of br, 1-19 of zstd. Throws ERR_NO_CAPACITY where memory is short. */
export function createEncoder(coding: CodingName, buffers: SocketBuffers, level: number): Coder {
  if (coding === 'gzip') return new GzipEncoder(buffers, level);
  return coding === 'br' ? new BrotliEncoder(buffers, level) : new ZstdEncoder(buffers, level);
}

/** A decoder. Throws ERR_NO_CAPACITY where memory is short. */
export function createDecoder(coding: CodingName, buffers: SocketBuffers): Coder {
  if (coding === 'gzip') return new GzipDecoder(buffers);
  return coding === 'br' ? new BrotliDecoder(buffers) : new ZstdDecoder(buffers);
}

function check(isMade: boolean, coding: CodingName): void {
  if (!isMade) {
    throw new WeftError(
      'ERR_NO_CAPACITY',
      `no memory for a coder of ${coding}: give the machine more memory`,
    );
  }
}
