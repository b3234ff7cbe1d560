/** The component `decompression`: decodes responses whose client does not take what the member sent (`decompression`). */
import type { Decompression as Policy } from '../../../policy/http-acceleration.ts';
import type { HttpService } from '../../../policy/http-service.ts';
import { ANY, CODING_NAMES, codingOf, readAcceptEncoding } from '../coding/accept-encoding.ts';
import { addVaryEncoding, dropCodedFields, isCodable } from '../coding/coded-head.ts';
import { Coders } from '../coding/coders.ts';
import { CodingFilter } from '../coding/coding-filter.ts';
import type { HttpComponent } from '../component.ts';
import type { Exchange } from '../exchange.ts';
import { FIELD } from '../field-names.ts';

export class Decompression implements HttpComponent {
  readonly type = 'decompression';
  readonly #policy: Policy;
  readonly #coders = CODING_NAMES.map((coding) => Coders.decoders(coding));
  #responses = 0;
  #busy = 0;

  constructor(policy: Policy) {
    this.#policy = policy;
  }

  /** Null where the service decompresses nothing. */
  static of(http: HttpService): Decompression | null {
    return http.decompression === undefined ? null : new Decompression(http.decompression);
  }

  onRequest(exchange: Exchange): number {
    exchange.accepted = readAcceptEncoding(exchange.request);
    return 0;
  }

  onResponse(exchange: Exchange): void {
    const { response, context, accepted } = exchange;
    const n = response.find(FIELD['content-encoding']);
    if (n < 0 || exchange.isHead || !isCodable(response)) return;
    const coding = codingOf(response, n);
    // `codingOf` knows identity too, which needs nothing.
    if (coding <= 1 || (accepted & (coding | ANY)) !== 0) return;
    const { buffers } = context;
    const coders = this.#coders[30 - Math.clz32(coding)]!;
    const coder = coders.take(buffers);
    if (coder === null) {
      this.#busy++;
      return;
    }
    this.#responses++;
    response.isDropped[n] = 1;
    dropCodedFields(exchange);
    addVaryEncoding(exchange);
    exchange.addFilter(new CodingFilter(coders, coder, buffers, false, this.#policy));
    exchange.responseLength = -1;
  }

  counters(): Record<string, number> {
    return { responses: this.#responses, busy: this.#busy };
  }
}
