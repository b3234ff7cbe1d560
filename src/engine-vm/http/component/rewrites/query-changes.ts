/** Changes of a query: parameters taken out by the name that all spellings stand for, and others added. */
import type { HttpRewrite } from '../../../../policy/http-rewrites.ts';
import type { Head } from '../../head.ts';
import { line } from '../../head-writer.ts';
import { DIGITS, JudgedTarget } from '../../judged-target.ts';
import type { MemberTarget } from '../../member-target.ts';

const AMPERSAND = 38;
const EQUALS = 61;
const PERCENT = 37;
const QUESTION = 63;
/** What stands for itself in a value (RFC 3986 2.3), and the beginning of what is encoded already. */
const PLAIN = new Uint8Array(256);
for (const letter of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%')
  PLAIN[letter.charCodeAt(0)] = 1;

/** Text, or an open segment of the path. */
type Piece = Uint8Array | number;

export class QueryChanges {
  readonly #removesAll: boolean;
  /** As judged targets have them. */
  readonly #removed: readonly Uint8Array[];
  readonly #added: readonly (readonly Piece[])[];

  /** `parts`: the names of the open segments of the path. */
  constructor({ remove, set }: NonNullable<HttpRewrite['to']['query']>, parts: readonly string[]) {
    this.#removesAll = remove.includes('*');
    this.#removed = [...remove, ...set.map(({ name }) => name)].map((name) =>
      line(JudgedTarget.comparedPair({ name: encode(name) }, false).name),
    );
    this.#added = set.map(({ name, value }) => [
      line(`${encode(name)}=`),
      ...value
        .split(/\{(\w+)\}/)
        .map((one, n): Piece => (n % 2 === 0 ? line(encode(one)) : parts.indexOf(one))),
    ]);
  }

  /** Whether values hold segments of the path. */
  get readsPath(): boolean {
    return this.#added.some((pieces) => pieces.some((piece) => typeof piece === 'number'));
  }

  /** Writes the query, with its question mark where there is one. `ranges`: of the open segments in the judged target. */
  write(target: MemberTarget, head: Head, judged: JudgedTarget, ranges: Int32Array): void {
    let mark = QUESTION;
    if (!this.#removesAll) {
      const { bytes, targetAt, targetEnd } = head;
      let at = targetAt;
      while (at < targetEnd && bytes[at++] !== QUESTION);
      // Pair by pair, beside the same pair in its one spelling: neither has more ampersands than the other.
      for (let judgedAt = judged.pathEnd; at < targetEnd; ) {
        const end = endOfPair(bytes, at, targetEnd);
        const judgedEnd = endOfPair(judged.bytes, judgedAt, judged.end);
        if (end > at && !this.#isRemoved(judged.bytes, judgedAt, judgedEnd)) {
          target.put(mark);
          mark = AMPERSAND;
          target.copy(bytes, at, end);
        }
        at = end + 1;
        judgedAt = judgedEnd + 1;
      }
    }
    for (const pieces of this.#added) {
      target.put(mark);
      mark = AMPERSAND;
      for (const piece of pieces) {
        if (typeof piece !== 'number') target.copy(piece, 0, piece.length);
        else putEncoded(target, judged.bytes, ranges[2 * piece]!, ranges[2 * piece + 1]!);
      }
    }
  }

  #isRemoved(bytes: Uint8Array, at: number, end: number): boolean {
    for (const name of this.#removed) {
      const nameEnd = at + name.length;
      if (nameEnd > end || (nameEnd < end && bytes[nameEnd] !== EQUALS)) continue;
      let n = 0;
      while (n < name.length && bytes[at + n] === name[n]) n++;
      if (n === name.length) return true;
    }
    return false;
  }
}

function endOfPair(bytes: Uint8Array, at: number, end: number): number {
  let p = at;
  while (p < end && bytes[p] !== AMPERSAND) p++;
  return p;
}

/** Of a judged path: percent signs begin encodings there. */
function putEncoded(target: MemberTarget, bytes: Uint8Array, at: number, end: number): void {
  for (let p = at; p < end; p++) {
    const byte = bytes[p]!;
    if (PLAIN[byte] === 1) target.put(byte);
    else {
      target.put(PERCENT);
      target.put(DIGITS[byte >> 4]!);
      target.put(DIGITS[byte & 15]!);
    }
  }
}

/** As `encodeURIComponent`, and what that leaves of delimiters. */
function encode(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
