/**
 * The component `request-id`: each request gets an id, or keeps that of a trusted proxy (`requestId`), in a field for its
 * member and in the access log. What others send in that field goes no further.
 */
import { randomFillSync } from 'node:crypto';
import type { HttpService } from '../../../policy/http-service.ts';
import type { RequestId as Policy } from '../../../policy/http-trusted-proxies.ts';
import type { HttpComponent } from '../component.ts';
import type { Exchange } from '../exchange.ts';
import type { Head } from '../head.ts';
import { line } from '../head-writer.ts';

/** The most bytes of an id that is taken. */
const MOST_BYTES = 128;
/** Of an id that we make: 128 random bits. */
const OWN_BYTES = 32;
const DIGITS = line('0123456789abcdef');

/** What an exchange keeps: the id, and in front of it and behind it what makes it a line. */
class IdLine {
  readonly line: Uint8Array;
  readonly id: Uint8Array;

  constructor(start: Uint8Array) {
    this.line = new Uint8Array(start.length + OWN_BYTES + 2);
    this.line.set(start);
    this.line.set([13, 10], start.length + OWN_BYTES);
    this.id = this.line.subarray(start.length, start.length + OWN_BYTES);
  }
}

export class RequestId implements HttpComponent {
  readonly type = 'request-id';
  readonly #policy: Policy;
  readonly #name: Uint8Array;
  readonly #start: Uint8Array;
  readonly #lines = new WeakMap<Exchange, IdLine>();
  readonly #random = new Uint8Array(4096);
  #used = this.#random.length;
  #made = 0;
  #taken = 0;

  private constructor(policy: Policy) {
    this.#policy = policy;
    this.#name = line(policy.field.toLowerCase());
    this.#start = line(`${policy.field}: `);
  }

  /** Null where requests get none. */
  static of({ requestId }: HttpService): RequestId | null {
    return requestId === undefined ? null : new RequestId(requestId);
  }

  onRequest(exchange: Exchange): number {
    const { request } = exchange;
    let found = -1;
    for (let n = 0; n < request.count; n++) {
      if (request.ids[n] !== 0 || !request.isNamed(n, this.#name)) continue;
      if (found < 0 && exchange.origin !== null && isId(request, n)) found = n;
      else request.isDropped[n] = 1;
    }
    if (found >= 0) this.#take(exchange, request, found);
    else this.#make(exchange);
    return 0;
  }

  #take(exchange: Exchange, { bytes, valueAt, valueEnd }: Head, n: number): void {
    this.#taken++;
    exchange.id = bytes.slice(valueAt[n]!, valueEnd[n]!);
    exchange.idLength = exchange.id.length;
  }

  #make(exchange: Exchange): void {
    this.#made++;
    let own = this.#lines.get(exchange);
    if (own === undefined) {
      own = new IdLine(this.#start);
      this.#lines.set(exchange, own);
    }
    if (this.#used === this.#random.length) {
      randomFillSync(this.#random);
      this.#used = 0;
    }
    for (let n = 0; n < OWN_BYTES; n += 2) {
      const byte = this.#random[this.#used++]!;
      own.id[n] = DIGITS[byte >> 4]!;
      own.id[n + 1] = DIGITS[byte & 15]!;
    }
    exchange.id = own.id;
    exchange.idLength = OWN_BYTES;
    exchange.requestLines.push(own.line);
  }

  onResponse(exchange: Exchange): void {
    if (!this.#policy.toClients || exchange.id === null || exchange.idLength === 0) return;
    for (let n = 0; n < exchange.response.count; n++) {
      if (exchange.response.isNamed(n, this.#name)) exchange.response.isDropped[n] = 1;
    }
    exchange.responseLines.push(
      line(`${this.#policy.field}: ${Buffer.from(exchange.id).toString('latin1')}\r\n`),
    );
  }

  counters(): Record<string, number> {
    return { made: this.#made, taken: this.#taken };
  }
}

/** Visible characters, none of which a line of the log would have to escape. */
function isId({ bytes, valueAt, valueEnd }: Head, n: number): boolean {
  const at = valueAt[n]!;
  const end = valueEnd[n]!;
  if (end === at || end - at > MOST_BYTES) return false;
  for (let p = at; p < end; p++) {
    const byte = bytes[p]!;
    if (byte < 33 || byte > 126 || byte === 34 || byte === 92) return false;
  }
  return true;
}
