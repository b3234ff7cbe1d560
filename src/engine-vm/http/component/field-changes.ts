/** The component `field-changes`: sets, adds and removes header fields of requests and responses (`requestFields`, `responseFields`). */
import type { HttpService } from '../../../policy/http-service.ts';
import type { HttpComponent } from '../component.ts';
import type { Exchange } from '../exchange.ts';
import type { FieldLines } from '../field-lines.ts';
import type { Head } from '../head.ts';
import { line } from '../head-writer.ts';

interface Changes {
  /** Lower case. */
  readonly dropped: readonly Uint8Array[];
  readonly lines: readonly Uint8Array[];
}

export class FieldChanges implements HttpComponent {
  readonly type = 'field-changes';
  readonly #request: Changes;
  readonly #response: Changes;
  #requests = 0;
  #responses = 0;

  constructor(http: HttpService) {
    this.#request = compile(http.requestFields);
    this.#response = compile(http.responseFields);
  }

  /** Null where the service changes nothing. */
  static of(http: HttpService): FieldChanges | null {
    const { requestFields, responseFields } = http;
    const count = [requestFields, responseFields].flatMap((one) => [
      ...one.set,
      ...one.add,
      ...one.remove,
    ]).length;
    return count === 0 ? null : new FieldChanges(http);
  }

  onRequest(exchange: Exchange): number {
    if (apply(this.#request, exchange.request, exchange.requestLines)) this.#requests++;
    return 0;
  }

  onResponse(exchange: Exchange): void {
    if (apply(this.#response, exchange.response, exchange.responseLines)) this.#responses++;
  }

  counters(): Record<string, number> {
    return { requests: this.#requests, responses: this.#responses };
  }
}

function compile({ set, add, remove }: HttpService['requestFields']): Changes {
  const names = [...set.map(({ name }) => name), ...remove].map((name) => name.toLowerCase());
  return {
    dropped: [...new Set(names)].map(line),
    lines: [...set, ...add].map(({ name, value }) => line(`${name}: ${value}\r\n`)),
  };
}

function apply({ dropped, lines }: Changes, head: Head, added: FieldLines): boolean {
  if (dropped.length + lines.length === 0) return false;
  for (let n = 0; n < head.count; n++) {
    for (const name of dropped) {
      if (head.isNamed(n, name)) head.isDropped[n] = 1;
    }
  }
  for (const one of lines) added.push(one);
  return true;
}
