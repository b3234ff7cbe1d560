/**
 * The target of a request as rules compare it: the one spelling of all that members may take for the same. Percent-
 * encodings of visible characters are decoded, slashes merged, parameters of segments (`;x=y`) left out; dot segments the
 * parser has refused. What stays encoded has upper-case digits. Allocates nothing for a request.
 */
import { HEX } from './characters.ts';
import type { Head } from './head.ts';
import { refusal } from './refusals.ts';

const AMBIGUOUS = refusal('target-ambiguous');
/** A head has at most 14,336 bytes. */
const MOST_BYTES = 16_384;
const SLASH = 47;
const PERCENT = 37;
const SEMICOLON = 59;
const QUESTION = 63;
export const DIGITS = new TextEncoder().encode('0123456789ABCDEF');

/** Encodings that are kept in paths: what would mean something else if it were decoded. */
export const KEPT_IN_PATH = keptOf('%/\\?#;');
const KEPT_IN_QUERY = keptOf('%&=+#');

export class JudgedTarget {
  readonly bytes = new Uint8Array(MOST_BYTES);
  /** The path is before it, the query, without its question mark, from it to before `end`. */
  pathEnd = 0;
  end = 0;
  readonly #ignoresCase: boolean;

  constructor(ignoresCase: boolean) {
    this.#ignoresCase = ignoresCase;
  }

  /** Reads that of a head that the parser let through. Returns 0, or the refusal of what can be read in two ways. */
  read({ bytes, targetAt, targetEnd }: Head): number {
    let mark = targetAt;
    while (mark < targetEnd && bytes[mark] !== QUESTION) mark++;
    this.end = 0;
    if (!this.#path(bytes, targetAt, mark)) return AMBIGUOUS;
    this.pathEnd = this.end;
    this.#query(bytes, mark + 1, targetEnd);
    return 0;
  }

  /** A parameter of a rule as it is compared; `*` may end its value. */
  static comparedPair(
    { name, value }: { name: string; value?: string | undefined },
    ignoresCase: boolean,
  ): { name: string; value?: string } {
    const target = new JudgedTarget(ignoresCase);
    const compared = (text: string): string => {
      target.end = 0;
      target.#query(Buffer.from(text, 'latin1'), 0, text.length);
      return Buffer.from(target.bytes.buffer, 0, target.end).toString('latin1');
    };
    if (value === undefined) return { name: compared(name) };
    const isPrefix = value.endsWith('*');
    return {
      name: compared(name),
      value: isPrefix ? `${compared(value.slice(0, -1))}*` : compared(value),
    };
  }

  #path(bytes: Uint8Array, from: number, to: number): boolean {
    let isParameter = false;
    for (let p = from; p < to; p++) {
      let byte = bytes[p]!;
      if (byte === SLASH) {
        isParameter = false;
        if (this.end > 0 && this.bytes[this.end - 1] === SLASH) continue;
      } else if (byte === SEMICOLON) isParameter = true;
      else if (byte === PERCENT) {
        byte = (HEX[bytes[p + 1]!]! << 4) | HEX[bytes[p + 2]!]!;
        if (byte < 32 || byte === 127 || byte === SLASH || byte === 92) return false;
        // Who decodes twice would see another character.
        if (byte === PERCENT && p + 4 < to && HEX[bytes[p + 3]!] !== 255 && HEX[bytes[p + 4]!] !== 255)
          return false;
        p += 2;
        if (isParameter) continue;
        if (KEPT_IN_PATH[byte] === 1) this.#encoded(byte);
        else this.#add(byte);
        continue;
      }
      if (!isParameter) this.#add(byte);
    }
    return true;
  }

  #query(bytes: Uint8Array, from: number, to: number): void {
    for (let p = from; p < to; p++) {
      const byte = bytes[p]!;
      if (byte === 43 || byte === 32) this.#encoded(32);
      else if (byte !== PERCENT || p + 2 >= to) this.#add(byte);
      else {
        const value = (HEX[bytes[p + 1]!]! << 4) | HEX[bytes[p + 2]!]!;
        if (value > 255) {
          this.#add(byte);
          continue;
        }
        p += 2;
        if (KEPT_IN_QUERY[value] === 1) this.#encoded(value);
        else this.#add(value);
      }
    }
  }

  #add(byte: number): void {
    const isUpper = this.#ignoresCase && byte >= 65 && byte <= 90;
    this.bytes[this.end++] = isUpper ? byte | 32 : byte;
  }

  #encoded(byte: number): void {
    this.#add(PERCENT);
    this.#add(DIGITS[byte >> 4]!);
    this.#add(DIGITS[byte & 15]!);
  }
}

function keptOf(visible: string): Uint8Array {
  const kept = new Uint8Array(256).fill(1);
  kept.fill(0, 33, 127);
  for (const letter of visible) kept[letter.charCodeAt(0)] = 1;
  return kept;
}
