/** What becomes of a response's head when its body is coded anew. */
import type { Exchange } from '../exchange.ts';
import { FIELD } from '../field-names.ts';
import type { Head } from '../head.ts';
import { line } from '../head-writer.ts';

const VARY = line('Vary: Accept-Encoding\r\n');
const WEAK = 'ETag: W/';
/** Fields that tell of the bytes as the member sent them. */
const OF_BYTES = ['accept-ranges', 'content-md5', 'digest', 'content-digest', 'repr-digest'].map(line);

/** A response with a body that may be coded: none of a part, none that must stay as it is (RFC 9111 5.2.2.6). */
export function isCodable(response: Head): boolean {
  const { status } = response;
  if (status < 200 || status === 204 || status === 206 || status === 304) return false;
  if (response.find(FIELD['content-range']) >= 0) return false;
  for (let n = 0; n < response.count; n++) {
    if (response.ids[n] === FIELD['cache-control'] && hasToken(response, n, NO_TRANSFORM)) return false;
  }
  return true;
}

const NO_TRANSFORM = line('no-transform');
const ACCEPT_ENCODING = line('accept-encoding');
const STAR = line('*');

/** Adds Vary: Accept-Encoding, unless it is said. */
export function addVaryEncoding({ response, responseLines }: Exchange): void {
  for (let n = 0; n < response.count; n++) {
    if (response.ids[n] !== FIELD.vary) continue;
    if (hasToken(response, n, ACCEPT_ENCODING) || hasToken(response, n, STAR)) return;
  }
  if (!responseLines.includes(VARY)) responseLines.push(VARY);
}

/** Takes out length and digests; a strong ETag becomes a weak one, as these are other bytes of the same meaning. */
export function dropCodedFields({ response, responseLines }: Exchange): void {
  for (let n = 0; n < response.count; n++) {
    switch (response.ids[n]) {
      case FIELD['content-length']:
        response.isDropped[n] = 1;
        break;
      case FIELD.etag: {
        const at = response.valueAt[n]!;
        if (response.isDropped[n] === 1 || response.bytes[at] !== 34) break;
        response.isDropped[n] = 1;
        responseLines.push(line(`${WEAK}${response.text(at, response.valueEnd[n]!)}\r\n`));
        break;
      }
      case 0:
        for (const name of OF_BYTES) if (response.isNamed(n, name)) response.isDropped[n] = 1;
    }
  }
}

/** Whether a list of the field at `n` has that token (lower case), whatever its case there. */
export function hasToken({ bytes, valueAt, valueEnd }: Head, n: number, token: Uint8Array): boolean {
  const end = valueEnd[n]!;
  for (let at = valueAt[n]!; at < end; ) {
    while (at < end && (bytes[at] === 32 || bytes[at] === 9 || bytes[at] === 44)) at++;
    let same = 0;
    while (same < token.length && at + same < end && lower(bytes[at + same]!) === token[same]) same++;
    const stop = at + same;
    if (same === token.length && (stop === end || !isInToken(bytes[stop]!))) return true;
    while (at < end && bytes[at] !== 44) at++;
  }
  return false;
}

function lower(byte: number): number {
  return byte >= 65 && byte <= 90 ? byte | 32 : byte;
}

function isInToken(byte: number): boolean {
  return byte !== 44 && byte !== 32 && byte !== 9;
}
