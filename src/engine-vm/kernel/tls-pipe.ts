/**
 * The way to OpenSSL and back for all TLS sessions of a thread. Sockets stay ours: a session is given records and gives
 * records, by way of two memory BIOs that all sessions share. Between two calls they are empty, so an idle session
 * holds no buffer.
 *
 * The one that is read stands on received bytes themselves, where they lie: it is pointed at them by writing to its
 * BUF_MEM, and what is left is read there. So a request costs three calls: SSL_read, SSL_write, BIO_read.
 */
import ffi from 'node:ffi';
import { WeftError } from '../../policy/errors.ts';
import { lib } from './openssl.ts';
import { BUFFER_BYTES, HEADROOM, type SocketBuffers } from './socket-buffers.ts';
import { beginAsking, endAsking, type TlsCalls } from './tls-context.ts';

/** What SSL_get_error says. */
const WANT_READ = 2;
const ZERO_RETURN = 6;

/** What the pipe's calls return besides lengths: more records are needed; the peer has ended; it is broken. */
export const WANTS = 0;
export const ENDED = -1;
export const BROKEN = -2;

const SHUT_BOTH = 3;
const BIO_RESET = 1;
const BIO_GET_MEM = 115;
const BIO_SET_EOF_RETURN = 130;
/** BUF_MEM of 64 bits, as words: length, address of the data, room. */
const MEM_BYTES = 32;
const LENGTH = 0;
const DATA = 2;
const ROOM = 4;

/** A session is the address of its SSL. */
export class TlsPipe {
  readonly #buffers: SocketBuffers;
  readonly #in: bigint;
  readonly #out: bigint;
  readonly #input: Uint32Array;
  readonly #output: Uint32Array;
  /** Addresses of buffers, made once each. */
  readonly #starts: bigint[] = [];
  /** After `handshake`: the protocol of ALPN, and the name that the client asked for; empty where there is none. */
  protocol = '';
  serverName = '';
  /** After `handshake` and `read`: up to where received bytes were taken. */
  taken = 0;

  /** Throws ERR_KERNEL where OpenSSL is not laid out as it is known to be. */
  constructor(buffers: SocketBuffers) {
    this.#buffers = buffers;
    const probe = Buffer.from('weft');
    this.#in = lib.BIO_new_mem_buf(probe, probe.length);
    this.#out = lib.BIO_new(lib.BIO_s_mem());
    lib.BIO_write(this.#out, probe, probe.length);
    this.#input = memoryOf(this.#in);
    this.#output = memoryOf(this.#out);
    const address = ffi.getRawPointer(probe);
    const isKnown =
      this.#input[LENGTH] === probe.length &&
      this.#input[DATA] === Number(address & 0xffff_ffffn) &&
      this.#input[DATA + 1] === Number(address >> 32n) &&
      this.#output[LENGTH] === probe.length;
    if (!isKnown)
      throw new WeftError(
        'ERR_KERNEL',
        'the memory BIOs of OpenSSL are not those of OpenSSL 3: use the pinned Node',
      );
    // At the end of what is there, more may come.
    lib.BIO_ctrl(this.#in, BIO_SET_EOF_RETURN, -1n, 0n);
    this.#input[LENGTH] = 0;
    lib.BIO_ctrl(this.#out, BIO_RESET, 0n, 0n);
    this.#output[LENGTH] = 0;
  }

  /** A session that takes what comes, or one that begins. 0n where there is no memory. */
  open({ pointer }: { pointer: bigint }, isServer: boolean): bigint {
    const ssl = lib.SSL_new(pointer);
    if (ssl === 0n) return 0n;
    lib.BIO_up_ref(this.#in);
    lib.BIO_up_ref(this.#out);
    lib.SSL_set_bio(ssl, this.#in, this.#out);
    if (isServer) lib.SSL_set_accept_state(ssl);
    else lib.SSL_set_connect_state(ssl);
    return ssl;
  }

  #put(at: number, end: number): void {
    const address = this.#buffers.addressNumber(at);
    const input = this.#input;
    input[DATA] = address >>> 0;
    input[DATA + 1] = Math.floor(address / 2 ** 32);
    input[LENGTH] = end - at;
    input[ROOM] = end - at;
  }

  #take(end: number): void {
    this.taken = end - this.#input[LENGTH]!;
    this.#input[LENGTH] = 0;
  }

  /** Goes on with received bytes; `at` may be `end`. 1 where the handshake is done; WANTS, BROKEN. */
  handshake(ssl: bigint, at: number, end: number, calls: TlsCalls | null): number {
    this.#put(at, end);
    beginAsking(calls);
    const result = lib.SSL_do_handshake(ssl);
    const { serverName, protocol } = endAsking();
    this.serverName = serverName;
    this.protocol = protocol;
    this.#take(end);
    return result === 1 ? 1 : this.#reason(ssl, result);
  }

  /** Plaintext of received bytes into a buffer: its length; WANTS where all are taken; ENDED, BROKEN. */
  read(ssl: bigint, at: number, end: number, buffer: number, length: number): number {
    this.#put(at, end);
    const result = lib.SSL_read(ssl, this.#startOf(buffer), length);
    this.#take(end);
    return result > 0 ? result : this.#reason(ssl, result);
  }

  #startOf(buffer: number): bigint {
    this.#starts[buffer] ??= this.#buffers.address(this.#buffers.start(buffer));
    return this.#starts[buffer];
  }

  /** Plaintext that is to be sent. False where the session is broken. */
  write(ssl: bigint, at: number, end: number): boolean {
    if (lib.SSL_write(ssl, this.#buffers.address(at), end - at) === end - at) return true;
    lib.ERR_clear_error();
    return false;
  }

  /** Says that nothing more will be written (close_notify). */
  shutdown(ssl: bigint): void {
    if (lib.SSL_shutdown(ssl) < 0) lib.ERR_clear_error();
  }

  get hasOutput(): boolean {
    return this.#output[LENGTH] !== 0;
  }

  /** Records that wait to be sent, into a buffer from its very beginning: how many bytes. */
  take(buffer: number): number {
    const at = this.#buffers.start(buffer) - HEADROOM;
    const length = Math.max(0, lib.BIO_read(this.#out, this.#buffers.address(at), BUFFER_BYTES));
    // BIO_read moves another mark than the one that is looked at here; both agree again by this.
    this.#output[LENGTH] = this.#output[LENGTH]! - length;
    return length;
  }

  dropOutput(): void {
    lib.BIO_ctrl(this.#out, BIO_RESET, 0n, 0n);
    this.#output[LENGTH] = 0;
  }

  #reason(ssl: bigint, result: number): number {
    const reason = lib.SSL_get_error(ssl, result);
    if (reason === WANT_READ) return WANTS;
    // The next call of this thread must not find what went wrong here.
    lib.ERR_clear_error();
    return reason === ZERO_RETURN ? ENDED : BROKEN;
  }

  close(ssl: bigint): void {
    // Without both ends of it OpenSSL would not resume the session again, whoever keeps it.
    lib.SSL_set_shutdown(ssl, SHUT_BOTH);
    lib.SSL_free(ssl);
  }
}

/** The BUF_MEM of a memory BIO, which stays where it is. */
function memoryOf(bio: bigint): Uint32Array {
  const found = new BigUint64Array(1);
  lib.BIO_ctrl(bio, BIO_GET_MEM, 0n, ffi.getRawPointer(found));
  return new Uint32Array(ffi.toArrayBuffer(found[0]!, MEM_BYTES, false));
}
