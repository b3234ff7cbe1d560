/**
 * The component `host-check`: a client that asked for one name in its handshake gets nothing of a host that its
 * certificate does not have (421, RFC 9110 15.5.20): it asks again on a connection of its own.
 */
import type { HttpService } from '../../../policy/http-service.ts';
import type { HttpComponent } from '../component.ts';
import type { Exchange } from '../exchange.ts';
import { refusal } from '../refusals.ts';

const NOT_CERTIFIED = refusal('host-not-certified');

export class HostCheck implements HttpComponent {
  readonly type = 'host-check';
  #refused = 0;

  /** Null where clients speak no TLS. */
  static of({ tls }: HttpService): HostCheck | null {
    return tls === undefined ? null : new HostCheck();
  }

  onRequest({ client, request }: Exchange): number {
    const { tls } = client;
    const { bytes, hostIndex } = request;
    if (!tls || hostIndex < 0) return 0;
    if (tls.covers(bytes, request.valueAt[hostIndex]!, request.valueEnd[hostIndex]!)) return 0;
    this.#refused++;
    return NOT_CERTIFIED;
  }

  counters(): Record<string, number> {
    return { refused: this.#refused };
  }
}
