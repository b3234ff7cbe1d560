/** Content codings, and which of them a client takes: Accept-Encoding (RFC 9110 12.5.3), read without a string. */
import type { CodingName } from '../../kernel/compression.ts';
import { FIELD } from '../field-names.ts';
import type { Head } from '../head.ts';

/** Codings as bits, so that what a client takes is a number. */
export const IDENTITY = 1;
export const GZIP = 2;
export const BR = 4;
export const ZSTD = 8;
/** The client said nothing: it is sent what there is. */
export const ANY = 16;

export const CODING_BITS: Record<CodingName, number> = { gzip: GZIP, br: BR, zstd: ZSTD };
export const CODING_NAMES: readonly CodingName[] = ['gzip', 'br', 'zstd'];

/** Thousandths by place: identity, gzip, br, zstd; -1 where it is not named. */
const qualities = new Int16Array(4);
let others = -1;

/**
 * What the client takes, as bits. `qualityOf` tells how well, until the next call. A member that breaks the grammar of
 * the field is passed over.
 */
export function readAcceptEncoding(head: Head): number {
  qualities.fill(-1);
  others = -1;
  let isSaid = false;
  for (let n = 0; n < head.count; n++) {
    if (head.ids[n] !== FIELD['accept-encoding']) continue;
    isSaid = true;
    readValue(head.bytes, head.valueAt[n]!, head.valueEnd[n]!);
  }
  if (!isSaid) return ANY | IDENTITY | GZIP | BR | ZSTD;
  let bits = 0;
  for (let place = 0; place < 4; place++) {
    // Identity is taken unless it is refused, by name or with all others.
    if (qualities[place] === -1) qualities[place] = others >= 0 ? others : place === 0 ? 1 : 0;
    if (qualities[place]! > 0) bits |= 1 << place;
  }
  return bits;
}

/** The quality of one coding, in thousandths, as the latest `readAcceptEncoding` found it. */
export function qualityOf(bit: number): number {
  return qualities[31 - Math.clz32(bit)]!;
}

/** The best of these codings for the client, by its qualities and then by the order here; 0 where identity is as good. */
export function chooseCoding(accepted: number, codings: readonly number[]): number {
  if ((accepted & ANY) !== 0) return 0;
  let best = 0;
  let quality = 0;
  for (const coding of codings) {
    if ((accepted & coding) === 0 || qualityOf(coding) <= quality) continue;
    best = coding;
    quality = qualityOf(coding);
  }
  return quality >= qualityOf(IDENTITY) ? best : 0;
}

function readValue(bytes: Uint8Array, start: number, end: number): void {
  for (let at = start; at < end; ) {
    let stop = at;
    while (stop < end && bytes[stop] !== 44) stop++;
    readMember(bytes, at, stop);
    at = stop + 1;
  }
}

function readMember(bytes: Uint8Array, start: number, end: number): void {
  let at = start;
  while (at < end && isBlank(bytes[at]!)) at++;
  const nameAt = at;
  while (at < end && bytes[at] !== 59 && !isBlank(bytes[at]!)) at++;
  const nameEnd = at;
  while (at < end && isBlank(bytes[at]!)) at++;
  let quality = 1000;
  if (at < end) {
    quality = bytes[at] === 59 ? readQuality(bytes, at + 1, end) : -1;
    if (quality < 0) return;
  }
  if (nameEnd - nameAt === 1 && bytes[nameAt] === 42) others = quality;
  const place = placeOf(bytes, nameAt, nameEnd);
  if (place >= 0) qualities[place] = quality;
}

const NAMES = ['identity', 'gzip', 'br', 'zstd', 'x-gzip'].map((name) => Buffer.from(name));

/** The place among identity, gzip, br, zstd of a name, -1 for others. */
function placeOf(bytes: Uint8Array, at: number, end: number): number {
  search: for (let place = 0; place < NAMES.length; place++) {
    const name = NAMES[place]!;
    if (end - at !== name.length) continue;
    for (let n = 0; n < name.length; n++) {
      const is = bytes[at + n]!;
      if (is !== name[n] && ((is | 32) !== name[n] || is < 65 || is > 90)) continue search;
    }
    return place === 4 ? 1 : place;
  }
  return -1;
}

/** The bit of the coding that the field Content-Encoding at `n` names; 0 where it is another, or several. */
export function codingOf(head: Head, n: number): number {
  const place = placeOf(head.bytes, head.valueAt[n]!, head.valueEnd[n]!);
  return place < 0 ? 0 : 1 << place;
}

/** `q=0.5` in thousandths, -1 where it is none. */
function readQuality(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  let to = end;
  while (at < to && isBlank(bytes[at]!)) at++;
  while (to > at && isBlank(bytes[to - 1]!)) to--;
  if (to - at < 3 || (bytes[at]! | 32) !== 113 || bytes[at + 1] !== 61) return -1;
  const whole = bytes[at + 2]! - 48;
  if (whole !== 0 && whole !== 1) return -1;
  at += 3;
  if (at === to) return whole * 1000;
  if (bytes[at] !== 46 || to - at > 4) return -1;
  let thousandths = 0;
  let weight = 100;
  for (at++; at < to; at++, weight /= 10) {
    const digit = bytes[at]! - 48;
    if (digit < 0 || digit > 9) return -1;
    thousandths += digit * weight;
  }
  const quality = whole * 1000 + thousandths;
  return quality > 1000 ? -1 : quality;
}

function isBlank(byte: number): boolean {
  return byte === 32 || byte === 9;
}
