/** The Location of a redirect: text in which `{host}`, `{path}` and `{query}` stand for those of the request. */
import type { Head } from './head.ts';
import { line } from './head-writer.ts';

const HOST = 'host';
const PATH = 'path';
const COLON = 58;
const QUESTION_MARK = 63;

export class LocationTemplate {
  /** Whether it can only be written for requests with a Host. */
  readonly namesHost: boolean;
  readonly #texts: readonly Uint8Array[];
  /** What stands behind each of the texts but the last. */
  readonly #parts: readonly string[];
  readonly #textBytes: number;

  constructor(text: string) {
    const pieces = `Location: ${text}\r\n`.split(/\{(host|path|query)\}/);
    this.#texts = pieces.filter((_, n) => n % 2 === 0).map(line);
    this.#parts = pieces.filter((_, n) => n % 2 === 1);
    this.#textBytes = this.#texts.reduce((sum, { length }) => sum + length, 0);
    this.namesHost = this.#parts.includes(HOST);
  }

  /** The whole line for a request, which has a Host where `namesHost`. */
  line(request: Head): Uint8Array {
    const { bytes, hostIndex, targetAt, targetEnd } = request;
    const hostAt = hostIndex < 0 ? 0 : request.valueAt[hostIndex]!;
    const hostEnd = hostIndex < 0 ? 0 : endOfName(bytes, hostAt, request.valueEnd[hostIndex]!);
    let mark = targetAt;
    while (mark < targetEnd && bytes[mark] !== QUESTION_MARK) mark++;
    let length = this.#textBytes;
    for (const part of this.#parts) {
      length += part === HOST ? hostEnd - hostAt : part === PATH ? mark - targetAt : targetEnd - mark;
    }
    const made = new Uint8Array(length);
    let at = 0;
    for (let n = 0; n < this.#texts.length; n++) {
      made.set(this.#texts[n]!, at);
      at += this.#texts[n]!.length;
      if (n === this.#parts.length) break;
      const part = this.#parts[n];
      const from = part === HOST ? hostAt : part === PATH ? targetAt : mark;
      const end = part === HOST ? hostEnd : part === PATH ? mark : targetEnd;
      for (let p = from; p < end; p++) made[at++] = bytes[p]!;
    }
    return made;
  }
}

/** Where a host ends, and its port begins. */
function endOfName(bytes: Uint8Array, at: number, end: number): number {
  let p = end;
  while (p > at && bytes[p - 1]! >= 48 && bytes[p - 1]! <= 57) p--;
  return p > at && bytes[p - 1] === COLON ? p - 1 : end;
}
