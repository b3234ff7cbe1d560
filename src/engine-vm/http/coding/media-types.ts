/** A set of media types, such as `text/*` and `application/json`: whether Content-Type names one of them. */
import { FIELD } from '../field-names.ts';
import type { Head } from '../head.ts';

export class MediaTypes {
  /** Lower case; of `text/*` up to the slash. */
  readonly #whole: readonly Uint8Array[];
  readonly #begins: readonly Uint8Array[];

  constructor(types: readonly string[]) {
    const bytes = (text: string): Uint8Array => Buffer.from(text.toLowerCase());
    this.#whole = types.filter((type) => !type.endsWith('/*')).map(bytes);
    this.#begins = types.filter((type) => type.endsWith('/*')).map((type) => bytes(type.slice(0, -1)));
  }

  has(head: Head): boolean {
    const n = head.find(FIELD['content-type']);
    if (n < 0) return false;
    const at = head.valueAt[n]!;
    let end = at;
    while (end < head.valueEnd[n]! && head.bytes[end] !== 59 && head.bytes[end] !== 32) end++;
    for (const type of this.#begins) if (end - at > type.length && begins(head.bytes, at, type)) return true;
    for (const type of this.#whole) if (end - at === type.length && begins(head.bytes, at, type)) return true;
    return false;
  }
}

function begins(bytes: Uint8Array, at: number, wanted: Uint8Array): boolean {
  for (let n = 0; n < wanted.length; n++) {
    const is = bytes[at + n]!;
    if (is !== wanted[n] && (is < 65 || is > 90 || (is | 32) !== wanted[n])) return false;
  }
  return true;
}
