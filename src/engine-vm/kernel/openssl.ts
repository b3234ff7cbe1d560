/**
 * TLS by the OpenSSL that the pinned Node carries, called by its own names. Sockets stay ours: a session is given
 * records and gives records, by way of two memory BIOs that all sessions of a thread share. Between two calls they are
 * empty, so an idle session holds no buffer.
 */
import ffi from 'node:ffi';
import { WeftError } from '../../policy/errors.ts';
import { BUFFER_BYTES, HEADROOM, type SocketBuffers } from './socket-buffers.ts';

const P = 'pointer';
const { lib: library, functions: lib } = ffi.dlopen(null, {
  TLS_server_method: { arguments: [], return: P },
  SSL_CTX_new: { arguments: [P], return: P },
  SSL_CTX_free: { arguments: [P], return: 'void' },
  SSL_CTX_ctrl: { arguments: [P, 'i32', 'i64', P], return: 'i64' },
  SSL_CTX_callback_ctrl: { arguments: [P, 'i32', P], return: 'i64' },
  SSL_CTX_set_options: { arguments: [P, 'u64'], return: 'u64' },
  SSL_CTX_set_cipher_list: { arguments: [P, 'string'], return: 'i32' },
  SSL_CTX_set_alpn_select_cb: { arguments: [P, P, P], return: 'void' },
  SSL_CTX_set_num_tickets: { arguments: [P, 'u64'], return: 'i32' },
  SSL_CTX_set_timeout: { arguments: [P, 'i64'], return: 'i64' },
  SSL_CTX_use_certificate: { arguments: [P, P], return: 'i32' },
  SSL_CTX_use_PrivateKey: { arguments: [P, P], return: 'i32' },
  BIO_new_mem_buf: { arguments: [P, 'i32'], return: P },
  BIO_s_mem: { arguments: [], return: P },
  BIO_new: { arguments: [P], return: P },
  BIO_free: { arguments: [P], return: 'i32' },
  BIO_up_ref: { arguments: [P], return: 'i32' },
  BIO_ctrl: { arguments: [P, 'i32', 'i64', P], return: 'i64' },
  BIO_read: { arguments: [P, P, 'i32'], return: 'i32' },
  BIO_write: { arguments: [P, P, 'i32'], return: 'i32' },
  PEM_read_bio_X509: { arguments: [P, P, P, P], return: P },
  PEM_read_bio_PrivateKey: { arguments: [P, P, P, P], return: P },
  X509_free: { arguments: [P], return: 'void' },
  EVP_PKEY_free: { arguments: [P], return: 'void' },
  ERR_clear_error: { arguments: [], return: 'void' },
  SSL_new: { arguments: [P], return: P },
  SSL_free: { arguments: [P], return: 'void' },
  SSL_set_bio: { arguments: [P, P, P], return: 'void' },
  SSL_set_accept_state: { arguments: [P], return: 'void' },
  SSL_set_SSL_CTX: { arguments: [P, P], return: P },
  SSL_get_servername: { arguments: [P, 'i32'], return: P },
  SSL_do_handshake: { arguments: [P], return: 'i32' },
  SSL_read: { arguments: [P, P, 'i32'], return: 'i32' },
  SSL_write: { arguments: [P, P, 'i32'], return: 'i32' },
  SSL_shutdown: { arguments: [P], return: 'i32' },
  SSL_get_error: { arguments: [P, 'i32'], return: 'i32' },
});

const CTRL_EXTRA_CHAIN_CERT = 14;
const CTRL_MODE = 33;
const CTRL_SESSION_CACHE = 44;
const CTRL_SERVERNAME_CALLBACK = 53;
const CTRL_TICKET_KEYS = 59;
const CTRL_MIN_VERSION = 123;
/** SSL_MODE_RELEASE_BUFFERS. */
const MODES = 0x10n;
/** No compression, no renegotiation, ChaCha20 for clients that put it first, else our order. */
const OPTIONS = (1n << 17n) | (1n << 21n) | (1n << 22n) | (1n << 30n);
const CIPHERS = 'ECDHE+AESGCM:ECDHE+CHACHA20:!aPSK:!aNULL';
const TICKET_SECONDS = 43_200n;
const BIO_RESET = 1;
const BIO_PENDING = 10;

const ALERT_FATAL = 2;
const NO_ACK = 3;

/** What SSL_get_error says. */
const WANT_READ = 2;
const ZERO_RETURN = 6;

/** What the pipe's calls return besides lengths: more records are needed; the peer has ended; it is broken. */
export const WANTS = 0;
export const ENDED = -1;
export const BROKEN = -2;

/** Whom OpenSSL asks in the middle of a handshake. */
export interface TlsCalls {
  readonly protocols: readonly string[];
  contextFor(name: string): TlsContext | null;
}

// One handshake at a time is in progress on a thread.
let asked: TlsCalls | null = null;
let chosen = '';
let wanted = '';

const onServerName = library.registerCallback({ arguments: [P, P, P], return: 'i32' }, (pointer): number => {
  const ssl = pointer as bigint;
  try {
    const name = lib.SSL_get_servername(ssl, 0);
    if (asked === null || name === 0n) return NO_ACK;
    wanted = (ffi.toString(name) ?? '').toLowerCase();
    const context = asked.contextFor(wanted);
    if (context === null) return NO_ACK;
    lib.SSL_set_SSL_CTX(ssl, context.pointer);
    return 0;
  } catch {
    return ALERT_FATAL;
  }
});

const onProtocols = library.registerCallback(
  { arguments: [P, P, P, P, 'u32', P], return: 'i32' },
  (_ssl, outPointer, lengthPointer, listPointer, count): number => {
    const [out, outLength, list] = [outPointer, lengthPointer, listPointer] as [bigint, bigint, bigint];
    const length = count as number;
    if (asked === null) return ALERT_FATAL;
    const offered = ffi.toBuffer(list, length, true);
    for (const protocol of asked.protocols) {
      for (let at = 0; at < length; at += offered[at]! + 1) {
        const size = offered[at]!;
        if (offered.toString('latin1', at + 1, at + 1 + size) !== protocol) continue;
        ffi.setUint64(out, 0, list + BigInt(at + 1));
        ffi.setUint8(outLength, 0, size);
        chosen = protocol;
        return 0;
      }
    }
    return ALERT_FATAL;
  },
);

// Callbacks live as long as the library that they are registered with.
const callbacks = { library, onServerName, onProtocols };

/** SSL_CTX: a certificate with its key, and how TLS is spoken. */
export class TlsContext {
  readonly pointer: bigint;

  /** PEM, judged before. Throws ERR_KERNEL. */
  constructor(chain: string, key: string, isLatestOnly: boolean) {
    this.pointer = lib.SSL_CTX_new(lib.TLS_server_method());
    if (this.pointer === 0n) throw new WeftError('ERR_KERNEL', 'OpenSSL has no memory for a TLS context');
    lib.SSL_CTX_set_options(this.pointer, OPTIONS);
    this.#control(CTRL_MODE, MODES);
    this.#control(CTRL_MIN_VERSION, isLatestOnly ? 0x304n : 0x303n);
    this.#control(CTRL_SESSION_CACHE, 0n);
    lib.SSL_CTX_set_num_tickets(this.pointer, 1n);
    lib.SSL_CTX_set_timeout(this.pointer, TICKET_SECONDS);
    lib.SSL_CTX_set_cipher_list(this.pointer, CIPHERS);
    lib.SSL_CTX_callback_ctrl(this.pointer, CTRL_SERVERNAME_CALLBACK, callbacks.onServerName);
    lib.SSL_CTX_set_alpn_select_cb(this.pointer, callbacks.onProtocols, 0n);
    if (!this.#useChain(chain) || !this.#useKey(key)) {
      this.close();
      throw new WeftError(
        'ERR_KERNEL',
        'OpenSSL refuses a certificate or its key: look at `tls.certificates`',
      );
    }
    lib.ERR_clear_error();
  }

  #control(command: number, value: bigint): bigint {
    return lib.SSL_CTX_ctrl(this.pointer, command, value, 0n);
  }

  #useChain(pem: string): boolean {
    const text = Buffer.from(pem);
    const bio = lib.BIO_new_mem_buf(text, text.length);
    let count = 0;
    let isTaken = true;
    for (; isTaken; count++) {
      const certificate = lib.PEM_read_bio_X509(bio, 0n, 0n, 0n);
      if (certificate === 0n) break;
      if (count === 0) {
        isTaken = lib.SSL_CTX_use_certificate(this.pointer, certificate) === 1;
        lib.X509_free(certificate);
      } else {
        isTaken = lib.SSL_CTX_ctrl(this.pointer, CTRL_EXTRA_CHAIN_CERT, 0n, certificate) === 1n;
        if (!isTaken) lib.X509_free(certificate);
      }
    }
    lib.BIO_free(bio);
    return isTaken && count > 0;
  }

  #useKey(pem: string): boolean {
    const text = Buffer.from(pem);
    const bio = lib.BIO_new_mem_buf(text, text.length);
    const key = lib.PEM_read_bio_PrivateKey(bio, 0n, 0n, 0n);
    lib.BIO_free(bio);
    text.fill(0);
    if (key === 0n) return false;
    const isTaken = lib.SSL_CTX_use_PrivateKey(this.pointer, key) === 1;
    lib.EVP_PKEY_free(key);
    return isTaken;
  }

  /** 80 bytes: name, HMAC key and AES key of session tickets. */
  setTicketKeys(keys: Uint8Array): void {
    lib.SSL_CTX_ctrl(this.pointer, CTRL_TICKET_KEYS, BigInt(keys.length), ffi.getRawPointer(keys));
  }

  /** Sessions made of it keep what they need. */
  close(): void {
    lib.SSL_CTX_free(this.pointer);
  }
}

/** The way of all sessions of a thread to OpenSSL and back. A session is the address of its SSL. */
export class TlsPipe {
  readonly #buffers: SocketBuffers;
  readonly #in: bigint;
  readonly #out: bigint;
  /** After `handshake`: the protocol of ALPN, and the name that the client asked for; empty where there is none. */
  protocol = '';
  serverName = '';

  constructor(buffers: SocketBuffers) {
    this.#buffers = buffers;
    this.#in = lib.BIO_new(lib.BIO_s_mem());
    this.#out = lib.BIO_new(lib.BIO_s_mem());
  }

  /** 0n where there is no memory. */
  open({ pointer }: TlsContext): bigint {
    const ssl = lib.SSL_new(pointer);
    if (ssl === 0n) return 0n;
    lib.BIO_up_ref(this.#in);
    lib.BIO_up_ref(this.#out);
    lib.SSL_set_bio(ssl, this.#in, this.#out);
    lib.SSL_set_accept_state(ssl);
    return ssl;
  }

  /** Records that were received; `handshake` or `read` takes them, until it wants more. */
  put(at: number, end: number): void {
    lib.BIO_write(this.#in, this.#buffers.address(at), end - at);
  }

  /** 1 where it is done; WANTS, BROKEN. */
  handshake(ssl: bigint, calls: TlsCalls): number {
    asked = calls;
    chosen = '';
    wanted = '';
    lib.ERR_clear_error();
    const result = lib.SSL_do_handshake(ssl);
    asked = null;
    // ClientHello is read in one of several calls.
    if (wanted !== '' || chosen !== '') {
      this.serverName = wanted;
      this.protocol = chosen;
    } else {
      this.serverName = '';
      this.protocol = '';
    }
    return result === 1 ? 1 : this.#reason(ssl, result);
  }

  /** Plaintext into memory at that offset: its length; WANTS, ENDED, BROKEN. */
  read(ssl: bigint, at: number, length: number): number {
    lib.ERR_clear_error();
    const result = lib.SSL_read(ssl, this.#buffers.address(at), length);
    return result > 0 ? result : this.#reason(ssl, result);
  }

  /** Plaintext that is to be sent. False where the session is broken. */
  write(ssl: bigint, at: number, end: number): boolean {
    lib.ERR_clear_error();
    return lib.SSL_write(ssl, this.#buffers.address(at), end - at) === end - at;
  }

  /** Says that nothing more will be written (close_notify). */
  shutdown(ssl: bigint): void {
    lib.ERR_clear_error();
    lib.SSL_shutdown(ssl);
  }

  /** Records that wait to be sent, into a buffer from its very beginning: how many bytes. */
  take(buffer: number): number {
    const at = this.#buffers.start(buffer) - HEADROOM;
    return Math.max(0, lib.BIO_read(this.#out, this.#buffers.address(at), BUFFER_BYTES));
  }

  get hasOutput(): boolean {
    return lib.BIO_ctrl(this.#out, BIO_PENDING, 0n, 0n) > 0n;
  }

  dropInput(): void {
    lib.BIO_ctrl(this.#in, BIO_RESET, 0n, 0n);
  }

  dropOutput(): void {
    lib.BIO_ctrl(this.#out, BIO_RESET, 0n, 0n);
  }

  #reason(ssl: bigint, result: number): number {
    const reason = lib.SSL_get_error(ssl, result);
    if (reason === WANT_READ) return WANTS;
    return reason === ZERO_RETURN ? ENDED : BROKEN;
  }

  close(ssl: bigint): void {
    lib.SSL_free(ssl);
  }
}
