/** What all TLS sessions of a thread share: contexts by name, keys of tickets, the way to and from OpenSSL. */
import { hkdfSync } from 'node:crypto';
import { closeStore, openStore } from '../kernel/certificates.ts';
import type { SocketBuffers } from '../kernel/socket-buffers.ts';
import { TICKET_KEY_BYTES, TicketKey } from '../kernel/ticket-key.ts';
import { type TlsCalls, TlsContext } from '../kernel/tls-context.ts';
import { TlsPipe } from '../kernel/tls-pipe.ts';
import type { CertificateSettings, TlsSettings } from './settings.ts';
import type { CertificateField } from './shown-certificate.ts';

const TICKET_HOURS = 12;

export class ServerTls implements TlsCalls {
  readonly pipe: TlsPipe;
  readonly protocols: readonly string[];
  readonly #settings: TlsSettings;
  readonly #byName = new Map<string, CertificateSettings>();
  /** Made when the first client asks for them: a thousand names cost nothing at the start. */
  readonly #contexts = new Map<CertificateSettings, TlsContext>();
  readonly #first: TlsContext;
  /** Whose certificates of clients are believed; 0n where they are asked for none. */
  #store = 0n;
  #handshakes = 0;
  #isClosed = false;
  #epoch = -1;
  #ticketKeys: readonly TicketKey[] = [];

  private constructor(settings: TlsSettings, pipe: TlsPipe) {
    this.#settings = settings;
    this.pipe = pipe;
    this.protocols = settings.protocols;
    for (const certificate of settings.certificates) {
      // The first that has a name wins.
      for (const name of certificate.names) {
        if (!this.#byName.has(name)) this.#byName.set(name, certificate);
      }
    }
    this.#first = this.#contextOf(settings.certificates[0]!);
  }

  /** `before` where nothing has changed; null where there is no TLS. Throws ERR_KERNEL. */
  static of(
    settings: TlsSettings | undefined,
    buffers: SocketBuffers,
    before: ServerTls | null,
  ): ServerTls | null {
    if (settings === undefined) return null;
    if (before !== null && before.#settings.id === settings.id) return before;
    return new ServerTls(settings, before?.pipe ?? new TlsPipe(buffers));
  }

  #contextOf(certificate: CertificateSettings): TlsContext {
    let context = this.#contexts.get(certificate);
    if (context === undefined) {
      context = new TlsContext(certificate.chain, certificate.key, this.#settings.minVersion === '1.3');
      const { ocsp } = certificate;
      if (ocsp !== undefined) context.staple(ocsp.response, ocsp.untilMs);
      const { clients } = this.#settings;
      if (clients !== undefined) {
        this.#store ||= openStore(clients.authorities, clients.revoked);
        context.askClients(this.#store, clients.authorities, Buffer.from(clients.id, 'hex'));
      }
      this.#contexts.set(certificate, context);
    }
    return context;
  }

  /** What members are told of certificates; null where clients are not asked for one. */
  get certificateFields(): readonly CertificateField[] | null {
    return this.#settings.clients?.fields ?? null;
  }

  /** The context that sessions begin with. */
  get context(): TlsContext {
    return this.#first;
  }

  /** Of this half day, and of the one before; none where there is no secret to make them of. */
  get ticketKeys(): readonly TicketKey[] {
    const epoch = Math.floor(Date.now() / (TICKET_HOURS * 3_600_000));
    if (epoch !== this.#epoch) {
      this.#epoch = epoch;
      const { ticketSecret, clients } = this.#settings;
      const keyOf = (of: number): TicketKey => {
        const info = `weft tickets ${of} ${clients?.id ?? ''}`;
        return new TicketKey(new Uint8Array(hkdfSync('sha256', ticketSecret!, '', info, TICKET_KEY_BYTES)));
      };
      this.#ticketKeys = ticketSecret === undefined ? [] : [keyOf(epoch), keyOf(epoch - 1)];
    }
    return this.#ticketKeys;
  }

  find(name: string): CertificateSettings | null {
    const exact = this.#byName.get(name);
    if (exact !== undefined) return exact;
    const dot = name.indexOf('.');
    return (dot < 0 ? undefined : this.#byName.get(`*${name.slice(dot)}`)) ?? null;
  }

  contextFor(name: string): TlsContext | null {
    const certificate = this.find(name.toLowerCase());
    return certificate === null ? null : this.#contextOf(certificate);
  }

  /** Is the certificate that is shown for `shown` also one of `host`? Both in lower case. */
  covers(shown: string, host: string): boolean {
    if (shown === host) return true;
    const { names } = this.find(shown) ?? this.#settings.certificates[0]!;
    const dot = host.indexOf('.');
    return names.includes(host) || (dot >= 0 && names.includes(`*${host.slice(dot)}`));
  }

  /** A handshake begins, which may ask for further contexts until `ended`. */
  began(): void {
    this.#handshakes++;
  }

  ended(): void {
    this.#handshakes--;
    if (this.#isClosed && this.#handshakes === 0) this.#free();
  }

  /** No handshake begins any more. Sessions that are there go on. */
  close(): void {
    this.#isClosed = true;
    if (this.#handshakes === 0) this.#free();
  }

  #free(): void {
    for (const context of this.#contexts.values()) context.close();
    this.#contexts.clear();
    if (this.#store !== 0n) closeStore(this.#store);
    this.#store = 0n;
  }
}
