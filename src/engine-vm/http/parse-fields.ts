/**
 * Fields of HTTP/1.1 heads, parsed in place, and trailer sections, which are nothing else. Strict as parse-head.ts, with
 * the same results: 0 where the bytes end before the section does, the offset behind it, the negative id of a refusal.
 */
import { FIELD_VALUE, TOKEN } from './characters.ts';
import { FIELD, fieldId, GUARDED, LOOKALIKE, NOT_FOR_CONNECTION, NOT_FOR_TRAILERS } from './field-names.ts';
import {
  CONNECTION_CLOSE,
  CONNECTION_KEEP_ALIVE,
  CONNECTION_NAMES,
  CONNECTION_UPGRADE,
  type Head,
  MOST_FIELDS,
} from './head.ts';
import { isHostValid } from './host.ts';
import { refusal } from './refusals.ts';
import { isEqual, spellsLower } from './spelling.ts';

/** Limits of one service. */
export interface HeadLimits {
  readonly headBytes: number;
  readonly fields: number;
  /** `%2f` and `%5c` in paths. */
  readonly allowsEncodedSlash: boolean;
}

// Constants of this file: what is imported is loaded anew for every byte.
const CR = 13;
const LF = 10;
const SP = 32;
const TAB = 9;
const COLON = 58;

const HEAD_TOO_LARGE = -refusal('head-too-large');
const TOO_MANY = -refusal('too-many-fields');
const NAME_INVALID = -refusal('field-name-invalid');
const VALUE_INVALID = -refusal('field-value-invalid');
const FOLDED = -refusal('field-folded');
const LOOKALIKES = -refusal('field-lookalike');
const LINE_END = -refusal('line-end-invalid');
const HOST_DUPLICATE = -refusal('host-duplicate');
const HOST_INVALID = -refusal('host-invalid');
const LENGTH_INVALID = -refusal('content-length-invalid');
const LENGTH_DUPLICATE = -refusal('content-length-duplicate');
const CODING_UNSUPPORTED = -refusal('transfer-encoding-unsupported');
const CODING_DUPLICATE = -refusal('transfer-encoding-duplicate');
const CONNECTION_END_TO_END = -refusal('connection-names-end-to-end');
const CONNECTION_INVALID = -refusal('connection-invalid');
const EXPECTATION = -refusal('expectation-unknown');
const TRAILER_INVALID = -refusal('trailer-invalid');
const TRAILER_FORBIDDEN = -refusal('trailer-forbidden');

/** Digits of a length: 15 fit a double exactly. */
const LENGTH_DIGITS = 15;

/** Makes the head one that begins at `start`, of which nothing is read yet, and writes the zero byte at `end`. */
export function begin(head: Head, bytes: Uint8Array, start: number, end: number): void {
  bytes[end] = 0;
  head.bytes = bytes;
  head.start = start;
  head.count = 0;
  head.contentLength = -1;
  head.isChunked = false;
  head.connection = 0;
  head.expectsContinue = false;
  head.hostIndex = -1;
  head.upgradeIndex = -1;
  head.authorityAt = -1;
  head.isPathUnusual = false;
}

/** Parses a trailer section: fields and the empty line. Other fields than in heads are forbidden. */
export function parseTrailers(
  bytes: Uint8Array,
  start: number,
  end: number,
  head: Head,
  limits: HeadLimits,
): number {
  begin(head, bytes, start, end);
  head.fieldsAt = start;
  const p = parseFields(bytes, start, end, end, head, limits.fields, true);
  if (p <= 0) return p === 0 ? 0 : TRAILER_INVALID;
  for (let n = 0; n < head.count; n++) {
    if (NOT_FOR_TRAILERS[head.ids[n]!] === 1) return TRAILER_FORBIDDEN;
  }
  head.end = p;
  return p;
}

/** Parses fields and the empty line behind them into a head that has begun; `last` is where it gets too large. */
export function parseFields(
  bytes: Uint8Array,
  start: number,
  end: number,
  last: number,
  head: Head,
  limit: number,
  isResponse: boolean,
): number {
  let p = start;
  const most = Math.min(limit, MOST_FIELDS);
  for (;;) {
    if (bytes[p] === CR) {
      if (p + 1 >= last) return end > last ? HEAD_TOO_LARGE : p + 1 < end ? LINE_END : 0;
      if (bytes[p + 1] !== LF) return LINE_END;
      p += 2;
      break;
    }
    const nameAt = p;
    while (TOKEN[bytes[p]!] === 1) p++;
    if (p >= last) return end > last ? HEAD_TOO_LARGE : 0;
    if (bytes[p] !== COLON || p === nameAt) {
      if (p > nameAt) return NAME_INVALID;
      return bytes[p] === SP || bytes[p] === TAB ? FOLDED : bytes[p] === LF ? LINE_END : NAME_INVALID;
    }
    const nameEnd = p++;
    while (bytes[p] === SP || bytes[p] === TAB) p++;
    const valueAt = p;
    while (FIELD_VALUE[bytes[p]!] === 1) p++;
    if (p + 1 >= last) {
      if (end > last) return HEAD_TOO_LARGE;
      return p < end && bytes[p] !== CR ? (bytes[p] === LF ? LINE_END : VALUE_INVALID) : 0;
    }
    if (bytes[p] !== CR) return bytes[p] === LF ? LINE_END : VALUE_INVALID;
    if (bytes[p + 1] !== LF) return LINE_END;
    let valueEnd = p;
    while (valueEnd > valueAt && (bytes[valueEnd - 1] === SP || bytes[valueEnd - 1] === TAB)) valueEnd--;
    p += 2;
    const n = head.count;
    if (n >= most) return TOO_MANY;
    let id = fieldId(bytes, nameAt, nameEnd);
    if (id >= LOOKALIKE) {
      id -= LOOKALIKE;
      if (GUARDED[id] === 1) return LOOKALIKES;
      id = 0;
    }
    head.ids[n] = id;
    head.nameAt[n] = nameAt;
    head.nameEnd[n] = nameEnd;
    head.valueAt[n] = valueAt;
    head.valueEnd[n] = valueEnd;
    head.lineEnd[n] = p;
    head.isDropped[n] = 0;
    head.count = n + 1;
    if (id !== 0 && id <= FIELD.expect) {
      const status = note(bytes, head, n, id, isResponse);
      if (status < 0) return status;
    }
  }
  if ((head.connection & CONNECTION_NAMES) !== 0) {
    const status = markNamed(bytes, head);
    if (status < 0) return status;
  }
  return p;
}

/** What the proxy itself reads of a field. */
function note(bytes: Uint8Array, head: Head, n: number, id: number, isResponse: boolean): number {
  const at = head.valueAt[n]!;
  const end = head.valueEnd[n]!;
  switch (id) {
    case FIELD.host:
      if (isResponse) return 0;
      if (head.hostIndex >= 0) return HOST_DUPLICATE;
      head.hostIndex = n;
      return isHostValid(bytes, at, end) ? 0 : HOST_INVALID;
    case FIELD['content-length']: {
      if (head.contentLength >= 0) return LENGTH_DUPLICATE;
      if (end === at || end - at > LENGTH_DIGITS) return LENGTH_INVALID;
      let length = 0;
      for (let p = at; p < end; p++) {
        const digit = bytes[p]! - 48;
        if (digit < 0 || digit > 9) return LENGTH_INVALID;
        length = length * 10 + digit;
      }
      head.contentLength = length;
      return 0;
    }
    case FIELD['transfer-encoding']:
      if (head.isChunked) return CODING_DUPLICATE;
      head.isChunked = true;
      return spellsLower(bytes, at, end, 'chunked') ? 0 : CODING_UNSUPPORTED;
    case FIELD.connection:
      return noteConnection(bytes, head, at, end);
    case FIELD.upgrade:
      if (head.upgradeIndex < 0) head.upgradeIndex = n;
      return 0;
    case FIELD.expect:
      if (isResponse) return 0;
      if (!spellsLower(bytes, at, end, '100-continue')) return EXPECTATION;
      // Of HTTP/1.0 it is to be overlooked (RFC 9110 10.1.1).
      head.expectsContinue = head.version === 11;
      return 0;
    default:
      return 0;
  }
}

function noteConnection(bytes: Uint8Array, head: Head, at: number, end: number): number {
  for (let p = at; p < end; ) {
    while (p < end && (bytes[p] === SP || bytes[p] === TAB || bytes[p] === 44)) p++;
    if (p >= end) break;
    const from = p;
    while (p < end && TOKEN[bytes[p]!] === 1) p++;
    const to = p;
    while (p < end && (bytes[p] === SP || bytes[p] === TAB)) p++;
    if (to === from || (p < end && bytes[p] !== 44)) return CONNECTION_INVALID;
    if (spellsLower(bytes, from, to, 'close')) head.connection |= CONNECTION_CLOSE;
    else if (spellsLower(bytes, from, to, 'keep-alive')) head.connection |= CONNECTION_KEEP_ALIVE;
    else if (spellsLower(bytes, from, to, 'upgrade')) head.connection |= CONNECTION_UPGRADE;
    else {
      const id = fieldId(bytes, from, to) & (LOOKALIKE - 1);
      if (NOT_FOR_CONNECTION[id] === 1) return CONNECTION_END_TO_END;
      head.connection |= CONNECTION_NAMES;
    }
  }
  return 0;
}

/** Marks the fields that Connection names. */
function markNamed(bytes: Uint8Array, head: Head): number {
  for (let n = 0; n < head.count; n++) {
    if (head.ids[n] !== FIELD.connection) continue;
    for (let p = head.valueAt[n]!; p < head.valueEnd[n]!; ) {
      while (p < head.valueEnd[n]! && TOKEN[bytes[p]!] !== 1) p++;
      const from = p;
      while (p < head.valueEnd[n]! && TOKEN[bytes[p]!] === 1) p++;
      if (p === from) break;
      for (let other = 0; other < head.count; other++) {
        if (isEqual(bytes, from, p, head.nameAt[other]!, head.nameEnd[other]!)) head.isDropped[other] = 1;
      }
    }
  }
  return 0;
}
