/** Stored responses on their way to clients: whole, in part, or as the word that nothing has changed. */
import { RECEIVE_BYTES } from '../../../kernel/socket-buffers.ts';
import { ANSWERED } from '../../component.ts';
import type { Exchange } from '../../exchange.ts';
import { FIELD } from '../../field-names.ts';
import { Head, METHOD } from '../../head.ts';
import { line } from '../../head-writer.ts';
import type { CacheStore } from './cache-store.ts';
import { type Asked, select } from './conditions.ts';
import { StoredBody } from './stored-body.ts';
import { NumberLine, readHead } from './stored-head.ts';

/** The version of requests whose responses have no head of text. */
const HTTP2 = 20;

export class StoredResponses {
  readonly #store: CacheStore;
  readonly #tellsStatus: boolean;
  readonly #bodies: StoredBody[] = [];
  readonly #age = new NumberLine('Age');
  readonly #length = new NumberLine('Content-Length');
  readonly #whole = new Head();

  /** `tellsStatus`: the line that says what the cache did goes with them. */
  constructor(store: CacheStore, tellsStatus: boolean) {
    this.#store = store;
    this.#tellsStatus = tellsStatus;
    this.#whole.isWhole = true;
  }

  /** Serves a pinned entry at once. */
  serve(exchange: Exchange, entry: number, request: Head, status: Uint8Array): number {
    if (request.method === METHOD.GET && request.version !== HTTP2 && !asksConditions(request)) {
      if (this.#serveWhole(exchange, entry, status)) return ANSWERED;
    }
    const body = this.load(exchange, entry, request, status);
    exchange.respond();
    body.resume(exchange);
    return ANSWERED;
  }

  /**
   * Serves an entry without a look at its head: one copy brings head and body into a buffer, where the lines of this
   * response are put between them. False where that cannot be, and the entry is pinned still.
   */
  #serveWhole(exchange: Exchange, entry: number, status: Uint8Array): boolean {
    const store = this.#store;
    const { buffers } = exchange.context;
    const buffer = buffers.take();
    if (buffer < 0) return false;
    const headAt = store.keyBytes(entry) + store.varyBytes(entry);
    const headBytes = store.headBytes(entry);
    const length = store.bodyBytes(entry);
    const first = Math.min(length, RECEIVE_BYTES - headBytes);
    const start = buffers.start(buffer);
    const end = start + headBytes + first;
    store.read(entry, headAt, headBytes + first, buffers.bytes, start);
    const head = this.#whole;
    head.status = statusAt(buffers.bytes, start);
    if (head.status === 204 || head.status === 304) {
      buffers.give(buffer);
      return false;
    }
    this.#tell(exchange, entry, status);
    exchange.responseLines.push(this.#length.of(length));
    head.bytes = buffers.bytes;
    head.start = start;
    head.end = start + headBytes;
    exchange.response = head;
    exchange.responseLength = length;
    if (first === length) {
      store.unpin(entry);
      exchange.respond();
      exchange.passOn(null, buffer, head.end, end, true, null);
      return true;
    }
    const body = this.#bodies.pop() ?? new StoredBody(this.#bodies);
    body.set(store, entry, buffers, headAt + headBytes + first, headAt + headBytes + length, false);
    exchange.replaceFilters(body);
    exchange.respond();
    exchange.passOn(null, buffer, head.end, end, false, null);
    if (exchange.isActive) body.resume(exchange);
    return true;
  }

  /** Lines that every stored response has. */
  #tell({ responseLines }: Exchange, entry: number, status: Uint8Array): void {
    responseLines.clear();
    responseLines.push(this.#age.of(Math.floor(this.#store.age(entry, Date.now()))));
    if (this.#tellsStatus) responseLines.push(status);
  }

  /** Makes a pinned entry the response of an exchange, whose body the filter then gives. */
  load(exchange: Exchange, entry: number, request: Head, status: Uint8Array): StoredBody {
    const store = this.#store;
    const { buffers } = exchange.context;
    const head = readHead(store, entry, buffers);
    const at = store.keyBytes(entry) + store.varyBytes(entry) + store.headBytes(entry);
    const length = store.bodyBytes(entry);
    let from = 0;
    let to = length;
    const { responseLines } = exchange;
    this.#tell(exchange, entry, status);
    if (asksConditions(request)) {
      const selection = select(askedOf(request), {
        status: head.status,
        etag: head.value('etag'),
        lastModified: head.value('last-modified'),
        date: head.value('date'),
        length,
      });
      if (selection.status === 304 || selection.status === 416) {
        to = 0;
        if (selection.status === 416) responseLines.push(line(`Content-Range: bytes */${length}\r\n`));
        for (let n = 0; n < head.count; n++) {
          const id = head.ids[n];
          if (id === FIELD['content-type'] || id === FIELD['content-encoding']) head.isDropped[n] = 1;
        }
      } else if (selection.status === 206) {
        ({ from, to } = selection);
        responseLines.push(line(`Content-Range: bytes ${from}-${to - 1}/${length}\r\n`));
      }
      if (selection.status !== 200) {
        head.status = selection.status;
        head.reasonEnd = head.reasonAt;
      }
    }
    if (head.status !== 304 && head.status !== 204) responseLines.push(this.#length.of(to - from));
    if (exchange.isHead) to = from;
    const body = this.#bodies.pop() ?? new StoredBody(this.#bodies);
    body.set(store, entry, buffers, at + from, at + to, true);
    exchange.response = head;
    exchange.responseLength = to - from;
    exchange.replaceFilters(body);
    return body;
  }
}

/** The status that a head which we wrote begins with. */
function statusAt(bytes: Uint8Array, at: number): number {
  return (bytes[at + 9]! - 48) * 100 + (bytes[at + 10]! - 48) * 10 + bytes[at + 11]! - 48;
}

/** All values of a field, as one list. */
export function joined(head: Head, id: number): string {
  let text = '';
  for (let n = 0; n < head.count; n++) {
    if (head.ids[n] !== id) continue;
    text += `${text === '' ? '' : ','}${head.text(head.valueAt[n]!, head.valueEnd[n]!)}`;
  }
  return text;
}

function isCondition(id: number): boolean {
  return (
    id === FIELD['if-none-match'] ||
    id === FIELD['if-modified-since'] ||
    id === FIELD.range ||
    id === FIELD['if-range']
  );
}

/** Whether a request asks for less than the whole response. */
export function asksConditions(request: Head): boolean {
  for (let n = 0; n < request.count; n++) if (isCondition(request.ids[n]!)) return true;
  return false;
}

/** Takes out what asks for less than the whole. */
export function dropConditions(request: Head): void {
  for (let n = 0; n < request.count; n++) if (isCondition(request.ids[n]!)) request.isDropped[n] = 1;
}

function askedOf(request: Head): Asked {
  return {
    ifNoneMatch:
      request.find(FIELD['if-none-match']) < 0 ? undefined : joined(request, FIELD['if-none-match']),
    ifModifiedSince: request.value('if-modified-since'),
    range: request.method === METHOD.GET ? request.value('range') : undefined,
    ifRange: request.value('if-range'),
  };
}
