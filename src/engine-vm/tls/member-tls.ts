/** What all TLS sessions with the members of a pool share on a thread: the context, tickets, the way to OpenSSL. */
import type { SocketBuffers } from '../kernel/socket-buffers.ts';
import { TlsMemberContext } from '../kernel/tls-member-context.ts';
import { TlsPipe } from '../kernel/tls-pipe.ts';
import type { MemberTlsSettings } from './settings.ts';

/** So long after a handshake that judged the certificate it may be left out. */
const TICKET_MS = 3_600_000;

interface Ticket {
  readonly session: bigint;
  readonly untilMs: number;
}

export class MemberTls {
  readonly pipe: TlsPipe;
  readonly #settings: MemberTlsSettings;
  readonly #context: TlsMemberContext;
  /** By the address and port of the member. */
  readonly #tickets = new Map<string, Ticket>();

  #isClosed = false;

  private constructor(settings: MemberTlsSettings, pipe: TlsPipe) {
    this.#settings = settings;
    this.pipe = pipe;
    this.#context = new TlsMemberContext({
      authorities: settings.authorities,
      revoked: settings.revoked,
      ...(settings.chain === undefined || settings.key === undefined
        ? {}
        : { chain: settings.chain, key: settings.key }),
      isLatestOnly: settings.minVersion === '1.3',
    });
  }

  /** `before` where nothing has changed, which is closed else; null where there is no TLS. Throws ERR_KERNEL. */
  static of(
    settings: MemberTlsSettings | undefined,
    buffers: SocketBuffers,
    before: MemberTls | null,
  ): MemberTls | null {
    if (settings !== undefined && before !== null && before.#settings.id === settings.id) return before;
    const made =
      settings === undefined ? null : new MemberTls(settings, before?.pipe ?? new TlsPipe(buffers));
    before?.close();
    return made;
  }

  /** A session that begins, with the last one's ticket where it is fresh. 0n where there is no memory. */
  begin(host: string, address: string, nowMs: number): bigint {
    const ssl = this.pipe.open(this.#context, false);
    if (ssl === 0n) return 0n;
    if (!this.#context.expect(ssl, this.#settings.serverName, address)) {
      this.pipe.close(ssl);
      return 0n;
    }
    const ticket = this.#tickets.get(host);
    if (ticket === undefined) return ssl;
    if (ticket.untilMs > nowMs) this.#context.resume(ssl, ticket.session);
    else this.#drop(host, ticket);
    return ssl;
  }

  /** The session has got its first bytes: with TLS 1.3 a ticket came before them. */
  established(ssl: bigint, host: string, nowMs: number): void {
    const session = this.#context.ticketOf(ssl);
    if (session === 0n) return;
    if (this.#isClosed) {
      this.#context.freeTicket(session);
      return;
    }
    const before = this.#tickets.get(host);
    if (before !== undefined) this.#drop(host, before);
    this.#tickets.set(host, { session, untilMs: nowMs + TICKET_MS });
  }

  #drop(host: string, { session }: Ticket): void {
    this.#tickets.delete(host);
    this.#context.freeTicket(session);
  }

  /** Sessions that are there go on. */
  close(): void {
    this.#isClosed = true;
    for (const [host, ticket] of this.#tickets) this.#drop(host, ticket);
    this.#context.close();
  }
}
