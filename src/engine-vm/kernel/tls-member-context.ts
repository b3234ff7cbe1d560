/** How TLS is spoken with members: OpenSSL's SSL_CTX of a client. */
import { WeftError } from '../../policy/errors.ts';
import {
  CTRL_MIN_VERSION,
  CTRL_MODE,
  CTRL_SESSION_CACHE,
  openStore,
  RELEASE_BUFFERS,
  useCertificate,
} from './certificates.ts';
import { lib } from './openssl.ts';

/** No compression, no renegotiation. */
const OPTIONS = (1n << 17n) | (1n << 30n);
const CIPHERS = 'ECDHE+AESGCM:ECDHE+CHACHA20:!aPSK:!aNULL';
const CTRL_SET_HOSTNAME = 55;
const VERIFY_PEER = 1;
/** SSL_SESS_CACHE_OFF: sessions are kept by whoever asks for them, and OpenSSL lets each be used again. */
const NO_CACHE = 0n;

export interface MemberContextOptions {
  /** PEM: whose certificates are believed, and which of those no longer. */
  readonly authorities: string;
  readonly revoked?: string;
  /** PEM: our own certificate with its key, for members that ask for one. */
  readonly chain?: string;
  readonly key?: string;
  readonly isLatestOnly: boolean;
}

export class TlsMemberContext {
  readonly pointer: bigint;

  /** PEM, judged before. Throws ERR_KERNEL. */
  constructor({ authorities, revoked, chain, key, isLatestOnly }: MemberContextOptions) {
    this.pointer = lib.SSL_CTX_new(lib.TLS_client_method());
    if (this.pointer === 0n) throw new WeftError('ERR_KERNEL', 'OpenSSL has no memory for a TLS context');
    lib.SSL_CTX_set_options(this.pointer, OPTIONS);
    lib.SSL_CTX_ctrl(this.pointer, CTRL_MODE, RELEASE_BUFFERS, 0n);
    lib.SSL_CTX_ctrl(this.pointer, CTRL_MIN_VERSION, isLatestOnly ? 0x304n : 0x303n, 0n);
    lib.SSL_CTX_ctrl(this.pointer, CTRL_SESSION_CACHE, NO_CACHE, 0n);
    lib.SSL_CTX_set_cipher_list(this.pointer, CIPHERS);
    lib.SSL_CTX_set_verify(this.pointer, VERIFY_PEER, 0n);
    try {
      // The context is the store's owner from here on.
      lib.SSL_CTX_set_cert_store(this.pointer, openStore(authorities, revoked ?? ''));
      if (chain !== undefined && !useCertificate(this.pointer, chain, key ?? '')) {
        throw new WeftError('ERR_KERNEL', 'OpenSSL refuses the certificate that members get, or its key');
      }
    } catch (error) {
      this.close();
      throw error;
    }
    lib.ERR_clear_error();
  }

  /**
   * For a session that begins: who must answer. A name, which is also asked for (SNI), or an address. False where
   * OpenSSL does not take it: then the session must not be used.
   */
  expect(ssl: bigint, name: string | undefined, address: string): boolean {
    if (name === undefined) return lib.X509_VERIFY_PARAM_set1_ip_asc(lib.SSL_get0_param(ssl), address) === 1;
    const text = Buffer.from(`${name}\0`, 'latin1');
    return lib.SSL_ctrl(ssl, CTRL_SET_HOSTNAME, 0n, text) === 1n && lib.SSL_set1_host(ssl, name) === 1;
  }

  /** Of a session that was verified: what the next one to the same member begins with; 0n where there is none. */
  ticketOf(ssl: bigint): bigint {
    if (lib.SSL_session_reused(ssl) === 1) return 0n;
    const session = lib.SSL_get1_session(ssl);
    if (session === 0n || lib.SSL_SESSION_is_resumable(session) === 1) return session;
    lib.SSL_SESSION_free(session);
    return 0n;
  }

  resume(ssl: bigint, ticket: bigint): void {
    if (lib.SSL_set_session(ssl, ticket) !== 1) lib.ERR_clear_error();
  }

  freeTicket(ticket: bigint): void {
    lib.SSL_SESSION_free(ticket);
  }

  /** Sessions made of it keep what they need. */
  close(): void {
    lib.SSL_CTX_free(this.pointer);
  }
}
