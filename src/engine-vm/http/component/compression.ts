/** The component `compression`: codes responses as their client takes them (`compression`). Requests pass unread. */
import type { Compression as Policy } from '../../../policy/http-acceleration.ts';
import type { HttpService } from '../../../policy/http-service.ts';
import { CODING_BITS, chooseCoding, readAcceptEncoding } from '../coding/accept-encoding.ts';
import { addVaryEncoding, dropCodedFields, isCodable } from '../coding/coded-head.ts';
import { Coders } from '../coding/coders.ts';
import { CodingFilter } from '../coding/coding-filter.ts';
import { MediaTypes } from '../coding/media-types.ts';
import type { HttpComponent } from '../component.ts';
import type { Exchange } from '../exchange.ts';
import { FIELD } from '../field-names.ts';
import { line } from '../head-writer.ts';

/** Below so many free buffers of all, as a shift, bodies go as they are. */
const SPARE_SHIFT = 3;

export class Compression implements HttpComponent {
  readonly type = 'compression';
  readonly #policy: Policy;
  readonly #bits: readonly number[];
  readonly #types: MediaTypes;
  readonly #coders: readonly { bit: number; coders: Coders; line: Uint8Array }[];
  #responses = 0;
  #secret = 0;
  #busy = 0;

  constructor(policy: Policy) {
    this.#policy = policy;
    this.#bits = policy.codings.map((coding) => CODING_BITS[coding]);
    this.#types = new MediaTypes(policy.types);
    this.#coders = policy.codings.map((coding) => ({
      bit: CODING_BITS[coding],
      coders: Coders.encoders(coding, policy.levels[coding]),
      line: line(`Content-Encoding: ${coding}\r\n`),
    }));
  }

  /** Null where the service compresses nothing. */
  static of(http: HttpService): Compression | null {
    return http.compression === undefined ? null : new Compression(http.compression);
  }

  onRequest(exchange: Exchange): number {
    const { request } = exchange;
    exchange.accepted = readAcceptEncoding(request);
    exchange.coding = chooseCoding(exchange.accepted, this.#bits);
    exchange.hasSecret = request.find(FIELD.cookie) >= 0 || request.find(FIELD.authorization) >= 0;
    if (!this.#policy.membersCompress) {
      for (let n = 0; n < request.count; n++) {
        if (request.ids[n] === FIELD['accept-encoding']) request.isDropped[n] = 1;
      }
    }
    return 0;
  }

  onResponse(exchange: Exchange): void {
    const { response, context } = exchange;
    const { responseLength } = exchange;
    if (exchange.isHead || (responseLength >= 0 && responseLength < this.#policy.minBytes)) return;
    if (!isCodable(response) || response.find(FIELD['content-encoding']) >= 0) return;
    if (!this.#types.has(response)) return;
    addVaryEncoding(exchange);
    const { coding } = exchange;
    if (coding === 0) return;
    if (!this.#policy.secrets && (exchange.hasSecret || response.find(FIELD['set-cookie']) >= 0)) {
      this.#secret++;
      return;
    }
    const { buffers } = context;
    const kind = this.#coders.find(({ bit }) => bit === coding)!;
    const coder = buffers.free < buffers.count >> SPARE_SHIFT ? null : kind.coders.take(buffers);
    if (coder === null) {
      this.#busy++;
      return;
    }
    this.#responses++;
    dropCodedFields(exchange);
    exchange.responseLines.push(kind.line);
    exchange.addFilter(new CodingFilter(kind.coders, coder, buffers, responseLength < 0, null));
    exchange.responseLength = -1;
  }

  counters(): Record<string, number> {
    return { responses: this.#responses, secret: this.#secret, busy: this.#busy };
  }
}
