/**
 * Which variant of a response fits a request: the values of the fields that its Vary names, kept with the entry.
 *
 *   vary = [ length of name | name | length of value, 2 bytes | value ] ...
 *
 * Accept-Encoding is kept as the set of codings that it takes, so that browsers which write it in several ways share.
 */
import { readAcceptEncoding } from '../../coding/accept-encoding.ts';
import type { Head } from '../../head.ts';
import type { VariantMatcher } from './cache-store.ts';

const MOST_BYTES = 1024;
const ACCEPT_ENCODING = 'accept-encoding';
const scratch = new Uint8Array(MOST_BYTES);

/** The vary part for a response with these Vary fields to that request; null where it fits nobody else, or is too long. */
export function variantOf(vary: readonly string[], request: Head): Uint8Array | null {
  const names = vary.flatMap((text) => text.toLowerCase().split(','));
  const parts: number[] = [];
  for (const name of new Set(names.map((one) => one.trim()))) {
    if (name === '') continue;
    if (name === '*' || name.length > 255) return null;
    const bytes = Buffer.from(name, 'latin1');
    const length = valueInto(request, bytes, 0, bytes.length, scratch);
    if (length < 0) return null;
    parts.push(bytes.length, ...bytes, length >> 8, length & 255, ...scratch.subarray(0, length));
    if (parts.length > MOST_BYTES) return null;
  }
  return Uint8Array.from(parts);
}

/** Compares variants to one request at a time. */
export class RequestVariant implements VariantMatcher {
  request!: Head;

  fits(bytes: Uint8Array, at: number, end: number): boolean {
    for (let p = at; p < end; ) {
      const nameAt = p + 1;
      const nameEnd = nameAt + bytes[p]!;
      const length = (bytes[nameEnd]! << 8) | bytes[nameEnd + 1]!;
      const valueAt = nameEnd + 2;
      if (valueInto(this.request, bytes, nameAt, nameEnd, scratch) !== length) return false;
      for (let n = 0; n < length; n++) if (scratch[n] !== bytes[valueAt + n]) return false;
      p = valueAt + length;
    }
    return true;
  }
}

/** Writes the value of all fields of a name (lower case) to `to`; returns its length, -1 where it is too long. */
function valueInto(request: Head, name: Uint8Array, at: number, end: number, to: Uint8Array): number {
  if (end - at === ACCEPT_ENCODING.length && isSame(name, at, ACCEPT_ENCODING)) {
    to[0] = readAcceptEncoding(request);
    return 1;
  }
  let length = 0;
  for (let n = 0; n < request.count; n++) {
    if (!isNamed(request, n, name, at, end)) continue;
    const valueAt = request.valueAt[n]!;
    const valueEnd = request.valueEnd[n]!;
    if (length + valueEnd - valueAt + 1 > to.length) return -1;
    if (length > 0) to[length++] = 44;
    for (let p = valueAt; p < valueEnd; p++) to[length++] = request.bytes[p]!;
  }
  return length;
}

function isSame(bytes: Uint8Array, at: number, text: string): boolean {
  for (let n = 0; n < text.length; n++) if (bytes[at + n] !== text.charCodeAt(n)) return false;
  return true;
}

function isNamed(head: Head, n: number, name: Uint8Array, at: number, end: number): boolean {
  const from = head.nameAt[n]!;
  if (head.nameEnd[n]! - from !== end - at) return false;
  for (let i = 0; i < end - at; i++) {
    const is = head.bytes[from + i]!;
    if (is !== name[at + i] && (is < 65 || is > 90 || (is | 32) !== name[at + i])) return false;
  }
  return true;
}
