/**
 * The component `client-certificate`: refuses requests of clients whose certificate is missing or bad, by name, and
 * tells members of a good one. Fields of these names that clients send go no further.
 */
import type { HttpService } from '../../../policy/http-service.ts';
import type { HttpComponent } from '../component.ts';
import type { Exchange } from '../exchange.ts';
import { OF_CLIENT_CERTIFICATE } from '../field-names.ts';
import { refusal } from '../refusals.ts';

const MISSING = refusal('client-certificate-missing');
const EXPIRED = refusal('client-certificate-expired');

export class ClientCertificate implements HttpComponent {
  readonly type = 'client-certificate';
  readonly #isRequired: boolean;
  #told = 0;
  #refused = 0;

  constructor(isRequired: boolean) {
    this.#isRequired = isRequired;
  }

  /** Null where clients are not asked for one. */
  static of({ tls }: HttpService): ClientCertificate | null {
    const asked = tls?.clientCertificates;
    return asked === undefined ? null : new ClientCertificate(asked.mode === 'required');
  }

  onRequest(exchange: Exchange): number {
    const { client, request, requestLines, context } = exchange;
    for (let n = 0; n < request.count; n++) {
      if (OF_CLIENT_CERTIFICATE[request.ids[n]!] === 1) request.isDropped[n] = 1;
    }
    const shown = client.tls?.shown ?? null;
    if (shown === null) {
      if (!this.#isRequired) return 0;
      this.#refused++;
      return MISSING;
    }
    const verdict = shown.endsMs <= context.nowMs && shown.refusal === 0 ? EXPIRED : shown.refusal;
    if (verdict !== 0) {
      this.#refused++;
      return verdict;
    }
    for (const one of shown.lines) requestLines.push(one);
    this.#told++;
    return 0;
  }

  counters(): Record<string, number> {
    return { told: this.#told, refused: this.#refused };
  }
}
