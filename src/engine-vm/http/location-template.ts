/** The Location of a redirect: text in which `{host}`, `{path}` and `{query}` stand for those that the client asked for. */
import type { Head } from './head.ts';
import { line } from './head-writer.ts';

const HOST = 0;
const PATH = 1;
const QUERY = 2;
const PARTS = ['host', 'path', 'query'];
/** Of a head of 14,336 bytes the path may stand twice; text has 1024. */
const MOST_BYTES = 32_768;
const COLON = 58;
const QUESTION_MARK = 63;

export class LocationTemplate {
  /** Whether it can only be written for requests with a Host. */
  readonly namesHost: boolean;
  readonly #texts: readonly Uint8Array[];
  /** What stands behind each of the texts but the last. */
  readonly #parts: readonly number[];

  constructor(text: string) {
    const pieces = `Location: ${text}\r\n`.split(/\{(host|path|query)\}/);
    this.#texts = pieces.filter((_, n) => n % 2 === 0).map(line);
    this.#parts = pieces.filter((_, n) => n % 2 === 1).map((name) => PARTS.indexOf(name));
    this.namesHost = this.#parts.includes(HOST);
  }

  /**
   * The whole line for a request, which has a Host where `namesHost`. `told`: the host that a trusted proxy says that the
   * client named; else empty. Valid until the next one.
   */
  line(request: Head, told: string): Uint8Array {
    const { bytes, hostIndex, targetAt, targetEnd } = request;
    const hostAt = hostIndex < 0 ? 0 : request.valueAt[hostIndex]!;
    const hostEnd = hostIndex < 0 ? 0 : endOfName(bytes, hostAt, request.valueEnd[hostIndex]!);
    let mark = targetAt;
    while (mark < targetEnd && bytes[mark] !== QUESTION_MARK) mark++;
    length = 0;
    for (let n = 0; n < this.#texts.length; n++) {
      const text = this.#texts[n]!;
      add(text, 0, text.length);
      const part = this.#parts[n];
      if (part === HOST && told !== '') addName(told);
      else if (part === HOST) add(bytes, hostAt, hostEnd);
      else if (part === PATH) add(bytes, targetAt, mark);
      else if (part === QUERY) add(bytes, mark, targetEnd);
    }
    // A view is made once for each length that occurs.
    const known = views.get(length);
    if (known !== undefined) return known;
    const view = made.subarray(0, length);
    views.set(length, view);
    return view;
  }
}

const made = new Uint8Array(MOST_BYTES);
const views = new Map<number, Uint8Array>();
let length = 0;

function add(from: Uint8Array, at: number, end: number): void {
  for (let p = at; p < end; p++) made[length++] = from[p]!;
}

/** A host without its port. */
function addName(host: string): void {
  const at = length;
  for (let n = 0; n < host.length; n++) made[length++] = host.charCodeAt(n);
  length = endOfName(made, at, length);
}

/** Where a host ends, and its port begins. */
function endOfName(bytes: Uint8Array, at: number, end: number): number {
  let p = end;
  while (p > at && bytes[p - 1]! >= 48 && bytes[p - 1]! <= 57) p--;
  return p > at && bytes[p - 1] === COLON ? p - 1 : end;
}
