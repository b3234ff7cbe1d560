/**
 * How TLS is spoken: OpenSSL's SSL_CTX for clients, and what it asks in the middle of their handshakes.
 */
import ffi from 'node:ffi';
import { WeftError } from '../../policy/errors.ts';
import {
  CTRL_MIN_VERSION,
  CTRL_MODE,
  CTRL_SESSION_CACHE,
  eachOf,
  RELEASE_BUFFERS,
  useCertificate,
} from './certificates.ts';
import { lib, library } from './openssl.ts';
import type { TicketKey } from './ticket-key.ts';

const P = 'pointer';
const CTRL_SERVERNAME_CALLBACK = 53;
/** No compression, no renegotiation, ChaCha20 for clients that put it first, else our order. */
const OPTIONS = (1n << 17n) | (1n << 21n) | (1n << 22n) | (1n << 30n);
const CIPHERS = 'ECDHE+AESGCM:ECDHE+CHACHA20:!aPSK:!aNULL';
const TICKET_SECONDS = 43_200n;

const CTRL_STATUS_CALLBACK = 63;
const CTRL_STATUS_RESPONSE = 71;
const CTRL_VERIFY_STORE = 106;
const VERIFY_PEER = 1;
/** X509_V_ERR_UNSPECIFIED. */
const UNSPECIFIED = 1;

const ALERT_FATAL = 2;
const NO_ACK = 3;

/** Whom OpenSSL asks in the middle of a handshake. */
export interface TlsCalls {
  readonly protocols: readonly string[];
  /** Tickets are made with the first; those of the others are taken, and replaced. */
  readonly ticketKeys: readonly TicketKey[];
  contextFor(name: string): TlsContext | null;
}

// One handshake at a time is in progress on a thread.
let asked: TlsCalls | null = null;
/** The first thing that is wrong with the certificate of the client, as X509_V_ERR. */
let wrong = 0;
let chosen = '';
let wanted = '';

/** A handshake goes on, of one that is asked by these; null where it is ours that asks. */
export function beginAsking(calls: TlsCalls | null): void {
  asked = calls;
  wrong = 0;
  chosen = '';
  wanted = '';
}

/** What was asked for in it, where ClientHello came: it is read in one of several calls. */
export function endAsking(): { serverName: string; protocol: string } {
  asked = null;
  return { serverName: wanted, protocol: chosen };
}

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

const NO_TICKET = 0;
const GOOD = 1;
const RENEW = 2;

const onTicket = library.registerCallback(
  { arguments: [P, P, P, P, P, 'i32'], return: 'i32' },
  (_ssl, namePointer, vectorPointer, cipherPointer, macPointer, isMade): number => {
    const [name, vector, cipher, mac] = [namePointer, vectorPointer, cipherPointer, macPointer] as [
      bigint,
      bigint,
      bigint,
      bigint,
    ];
    try {
      const keys = asked?.ticketKeys ?? [];
      if (isMade === 1) return keys[0]?.seal(name, vector, cipher, mac) === true ? GOOD : NO_TICKET;
      const index = keys.findIndex((key) => key.isOf(name));
      if (index < 0 || !keys[index]!.open(vector, cipher, mac)) return NO_TICKET;
      return index === 0 ? GOOD : RENEW;
    } catch {
      return NO_TICKET;
    }
  },
);

/** What is stapled, by the address of the context that shows the certificate. */
const staples = new Map<bigint, { readonly bytes: Uint8Array; readonly untilMs: number }>();

const onStatus = library.registerCallback({ arguments: [P, P], return: 'i32' }, (pointer): number => {
  const ssl = pointer as bigint;
  const staple = staples.get(lib.SSL_get_SSL_CTX(ssl));
  // One that is out of date is worse than none.
  if (staple === undefined || staple.untilMs <= Date.now()) return NO_ACK;
  const { length } = staple.bytes;
  const copy = lib.CRYPTO_malloc(BigInt(length), '', 0);
  if (copy === 0n) return NO_ACK;
  new Uint8Array(ffi.toArrayBuffer(copy, length, false)).set(staple.bytes);
  // The session is its owner from here on.
  lib.SSL_ctrl(ssl, CTRL_STATUS_RESPONSE, BigInt(length), copy);
  return 0;
});

// A handshake is not refused for a certificate: each request is, by name. What was found first stays what is said of it,
// in tickets too.
const onVerify = library.registerCallback(
  { arguments: ['i32', P], return: 'i32' },
  (isGood, pointer): number => {
    const context = pointer as bigint;
    if (isGood === 0 && wrong === 0) wrong = lib.X509_STORE_CTX_get_error(context) || UNSPECIFIED;
    if (wrong !== 0) lib.X509_STORE_CTX_set_error(context, wrong);
    return 1;
  },
);

// Callbacks live as long as the library that they are registered with.
const callbacks = { library, onServerName, onProtocols, onVerify, onStatus, onTicket };

/** SSL_CTX: a certificate with its key, and how TLS is spoken. */
export class TlsContext {
  readonly pointer: bigint;

  /** PEM, judged before. Throws ERR_KERNEL. */
  constructor(chain: string, key: string, isLatestOnly: boolean) {
    this.pointer = lib.SSL_CTX_new(lib.TLS_server_method());
    if (this.pointer === 0n) throw new WeftError('ERR_KERNEL', 'OpenSSL has no memory for a TLS context');
    lib.SSL_CTX_set_options(this.pointer, OPTIONS);
    this.#control(CTRL_MODE, RELEASE_BUFFERS);
    this.#control(CTRL_MIN_VERSION, isLatestOnly ? 0x304n : 0x303n);
    this.#control(CTRL_SESSION_CACHE, 0n);
    lib.SSL_CTX_set_num_tickets(this.pointer, 1n);
    lib.SSL_CTX_set_timeout(this.pointer, TICKET_SECONDS);
    lib.SSL_CTX_set_cipher_list(this.pointer, CIPHERS);
    lib.SSL_CTX_callback_ctrl(this.pointer, CTRL_SERVERNAME_CALLBACK, callbacks.onServerName);
    lib.SSL_CTX_set_alpn_select_cb(this.pointer, callbacks.onProtocols, 0n);
    lib.SSL_CTX_set_tlsext_ticket_key_evp_cb(this.pointer, callbacks.onTicket);
    if (!useCertificate(this.pointer, chain, key)) {
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

  /** Clients that ask get that OCSP response with the certificate, until then (milliseconds since 1970). */
  staple(bytes: Uint8Array, untilMs: number): void {
    staples.set(this.pointer, { bytes, untilMs });
    lib.SSL_CTX_callback_ctrl(this.pointer, CTRL_STATUS_CALLBACK, callbacks.onStatus);
  }

  /**
   * Asks clients for a certificate, which need not be there or good: `verdictOf` says. `store` is of openStore, and
   * stays the caller's; `id` is of 32 bytes at most, and a ticket of another is not taken.
   */
  askClients(store: bigint, authorities: string, id: Uint8Array): void {
    lib.SSL_CTX_ctrl(this.pointer, CTRL_VERIFY_STORE, 1n, store);
    lib.SSL_CTX_set_verify(this.pointer, VERIFY_PEER, callbacks.onVerify);
    lib.SSL_CTX_set_session_id_context(this.pointer, ffi.getRawPointer(id), id.length);
    // Browsers offer those of their certificates that come from one of these.
    eachOf(authorities, lib.PEM_read_bio_X509, (certificate) => {
      lib.SSL_CTX_add_client_CA(this.pointer, certificate);
      lib.X509_free(certificate);
    });
  }

  /** Sessions made of it keep what they need. */
  close(): void {
    staples.delete(this.pointer);
    lib.SSL_CTX_free(this.pointer);
  }
}
