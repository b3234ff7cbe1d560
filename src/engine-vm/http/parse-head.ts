/**
 * Heads of HTTP/1.1 messages, parsed in place: requests and responses, whose fields parse-fields.ts reads. Strict by RFC
 * 9112; what two programs might read in two ways is refused, with a reason (refusals.ts).
 *
 * Every function returns 0 where the bytes end before the head does, the offset behind the head where it is whole, and
 * the negative id of a refusal. They write one zero byte at `end`, which no table allows, so that no loop has to look
 * where the bytes end: there must be room for it.
 */
import { FIELD_VALUE, HEX, TARGET, TOKEN } from './characters.ts';
import { type Head, METHOD } from './head.ts';
import { isHostValid } from './host.ts';
import { begin, type HeadLimits, parseFields } from './parse-fields.ts';
import { refusal } from './refusals.ts';
import { isEqual, spells, spellsLower } from './spelling.ts';

const CR = 13;
const LF = 10;
const SP = 32;

const REQUEST_LINE = -refusal('request-line-invalid');
const METHOD_INVALID = -refusal('method-invalid');
const METHOD_REFUSED = -refusal('method-refused');
const TARGET_INVALID = -refusal('target-invalid');
const TARGET_ENCODING = -refusal('target-encoding-invalid');
const TARGET_SLASH = -refusal('target-slash-encoded');
const TARGET_DOTS = -refusal('target-dot-segment');
const HOST_DIFFERS = -refusal('target-host-differs');
const VERSION = -refusal('version-unsupported');
const HEAD_TOO_LARGE = -refusal('head-too-large');
const TOO_MANY = -refusal('too-many-fields');
const LINE_END = -refusal('line-end-invalid');
const HOST_MISSING = -refusal('host-missing');
const LENGTH_AND_CODING = -refusal('content-length-with-transfer-encoding');
const CODING_HTTP10 = -refusal('transfer-encoding-in-http10');
const MEMBER_HEAD = -refusal('member-head-invalid');
const MEMBER_TOO_LARGE = -refusal('member-head-too-large');

/** Parses the head of a request. */
export function parseRequestHead(
  bytes: Uint8Array,
  start: number,
  end: number,
  head: Head,
  limits: HeadLimits,
): number {
  let p = start;
  // RFC 9112 2.2: one empty line before a request is overlooked.
  if (bytes[p] === CR) {
    if (p + 1 >= end) return 0;
    if (bytes[p + 1] !== LF) return LINE_END;
    p += 2;
  }
  begin(head, bytes, p, end);
  const last = Math.min(end, p + limits.headBytes);
  const room = last - p;
  head.methodAt = p;
  while (TOKEN[bytes[p]!] === 1) p++;
  if (p >= last)
    return end - head.start > room ? HEAD_TOO_LARGE : p - head.methodAt > 32 ? METHOD_INVALID : 0;
  if (bytes[p] !== SP || p === head.methodAt || p - head.methodAt > 32) return METHOD_INVALID;
  head.methodEnd = p;
  head.method = methodOf(bytes, head.methodAt, p);
  p++;
  let at = p;
  let look = 0;
  while (TARGET[bytes[p]!] !== 0) look |= TARGET[bytes[p++]!]!;
  if (p >= last) return end - head.start > room ? HEAD_TOO_LARGE : 0;
  if (bytes[p] !== SP) return p === at ? REQUEST_LINE : TARGET_INVALID;
  if (p === at) return REQUEST_LINE;
  head.targetAt = at;
  head.targetEnd = p;
  p++;
  // "HTTP/1.x" CR LF
  if (end - p < 10) return mayBecomeVersion(bytes, p, end);
  if (!isHttp1(bytes, p)) return isHttp(bytes, p) ? VERSION : REQUEST_LINE;
  const minor = bytes[p + 7]! - 48;
  if (minor !== 0 && minor !== 1) return minor > 1 && minor < 10 ? VERSION : REQUEST_LINE;
  if (bytes[p + 8] !== CR || bytes[p + 9] !== LF) return bytes[p + 8] === LF ? LINE_END : REQUEST_LINE;
  head.version = 10 + minor;
  p += 10;
  if (head.method === METHOD.CONNECT || head.method === METHOD.TRACE) return METHOD_REFUSED;
  at = head.targetAt;
  if (bytes[at] !== 47) {
    const status = notAPath(bytes, head);
    if (status < 0) return status;
  }
  if ((look & 2) !== 0) {
    head.isPathUnusual = true;
    const status = checkPath(bytes, head.targetAt, head.targetEnd, limits.allowsEncodedSlash);
    if (status < 0) return status;
  }
  head.fieldsAt = p;
  p = parseFields(bytes, p, end, last, head, limits.fields, false);
  if (p <= 0) return p;
  head.end = p;
  if (head.isChunked) {
    if (head.contentLength >= 0) return LENGTH_AND_CODING;
    if (head.version === 10) return CODING_HTTP10;
  }
  if (head.hostIndex < 0) {
    if (head.version === 11) return HOST_MISSING;
  } else if (head.authorityAt >= 0) {
    const hostAt = head.valueAt[head.hostIndex]!;
    if (!isEqual(bytes, head.authorityAt, head.authorityEnd, hostAt, head.valueEnd[head.hostIndex]!))
      return HOST_DIFFERS;
  }
  return p;
}

/** Whether what is there of the version can still become one. */
function mayBecomeVersion(bytes: Uint8Array, p: number, end: number): number {
  const wanted = 'HTTP/1.';
  for (let n = 0; p + n < end && n < wanted.length; n++) {
    if (bytes[p + n] !== wanted.charCodeAt(n)) return n === 5 ? VERSION : REQUEST_LINE;
  }
  return 0;
}

function isHttp(bytes: Uint8Array, p: number): boolean {
  return (
    bytes[p] === 72 &&
    bytes[p + 1] === 84 &&
    bytes[p + 2] === 84 &&
    bytes[p + 3] === 80 &&
    bytes[p + 4] === 47
  );
}

function isHttp1(bytes: Uint8Array, p: number): boolean {
  return isHttp(bytes, p) && bytes[p + 5] === 49 && bytes[p + 6] === 46;
}

/** Methods are told apart by case (RFC 9110 9.1). */
function methodOf(bytes: Uint8Array, at: number, end: number): number {
  switch (end - at) {
    case 3:
      if (spells(bytes, at, 'GET')) return METHOD.GET;
      return spells(bytes, at, 'PUT') ? METHOD.PUT : METHOD.other;
    case 4:
      if (spells(bytes, at, 'POST')) return METHOD.POST;
      return spells(bytes, at, 'HEAD') ? METHOD.HEAD : METHOD.other;
    case 5:
      if (spells(bytes, at, 'PATCH')) return METHOD.PATCH;
      return spells(bytes, at, 'TRACE') ? METHOD.TRACE : METHOD.other;
    case 6:
      return spells(bytes, at, 'DELETE') ? METHOD.DELETE : METHOD.other;
    case 7:
      if (spells(bytes, at, 'OPTIONS')) return METHOD.OPTIONS;
      return spells(bytes, at, 'CONNECT') ? METHOD.CONNECT : METHOD.other;
    default:
      return METHOD.other;
  }
}

/** `*` of OPTIONS, and absolute URIs, of which the path is forwarded. */
function notAPath(bytes: Uint8Array, head: Head): number {
  const { targetAt: at, targetEnd: end } = head;
  if (bytes[at] === 42) return end - at === 1 && head.method === METHOD.OPTIONS ? 0 : TARGET_INVALID;
  const scheme = spellsLower(bytes, at, at + 7, 'http://')
    ? 7
    : spellsLower(bytes, at, at + 8, 'https://')
      ? 8
      : 0;
  if (scheme === 0) return TARGET_INVALID;
  let p = at + scheme;
  while (p < end && bytes[p] !== 47 && bytes[p] !== 63) p++;
  // Without a path there is nothing to forward in place: nobody but a test sends that.
  if (p === end || bytes[p] === 63) return TARGET_INVALID;
  if (!isHostValid(bytes, at + scheme, p)) return TARGET_INVALID;
  head.authorityAt = at + scheme;
  head.authorityEnd = p;
  head.targetAt = p;
  return 0;
}

/**
 * What a program behind may decode or simplify differently from a rule before it: NUL, broken and overlong encodings,
 * encoded slashes, `.` and `..` as whole segments however they are spelled.
 */
function checkPath(bytes: Uint8Array, at: number, end: number, allowsEncodedSlash: boolean): number {
  let isQuery = false;
  let dots = 0;
  let others = 0;
  for (let p = at; p <= end; p++) {
    let c = p === end ? 47 : bytes[p]!;
    if (c === 37) {
      const value = (HEX[bytes[p + 1]!]! << 4) | HEX[bytes[p + 2]!]!;
      if (p + 2 >= end || value > 255) return TARGET_ENCODING;
      if (value === 0) return TARGET_ENCODING;
      if (isOverlong(bytes, p, value)) return TARGET_ENCODING;
      p += 2;
      if (isQuery) continue;
      if ((value === 47 || value === 92) && !allowsEncodedSlash) return TARGET_SLASH;
      c = value;
    }
    if (isQuery) continue;
    if (c === 46) dots++;
    else if (c === 47 || c === 92 || c === 63 || c === 59) {
      if (others === 0 && (dots === 1 || dots === 2)) return TARGET_DOTS;
      dots = 0;
      others = 0;
      // `;` begins parameters of a segment, which some programs cut off.
      if (c === 59) others = 1;
      if (c === 63 && bytes[p] === 63) isQuery = true;
    } else others++;
  }
  return 0;
}

/** Bytes that begin no UTF-8, and beginnings of sequences that are longer than they need be. */
function isOverlong(bytes: Uint8Array, p: number, value: number): boolean {
  if (value < 0xc0) return false;
  if (value === 0xc0 || value === 0xc1 || value > 0xf4) return true;
  if (value !== 0xe0 && value !== 0xf0) return false;
  if (bytes[p + 3] !== 37) return false;
  const next = (HEX[bytes[p + 4]!]! << 4) | HEX[bytes[p + 5]!]!;
  return value === 0xe0 ? next >= 0x80 && next < 0xa0 : next >= 0x80 && next < 0x90;
}

/** Parses the head of a response, interim ones too. */
export function parseResponseHead(
  bytes: Uint8Array,
  start: number,
  end: number,
  head: Head,
  limits: HeadLimits,
): number {
  begin(head, bytes, start, end);
  const last = Math.min(end, start + limits.headBytes);
  let p = start;
  if (end - p < 13) return mayBecomeVersion(bytes, p, end) < 0 ? MEMBER_HEAD : 0;
  if (!isHttp1(bytes, p)) return MEMBER_HEAD;
  const minor = bytes[p + 7]! - 48;
  if ((minor !== 0 && minor !== 1) || bytes[p + 8] !== SP) return MEMBER_HEAD;
  head.version = 10 + minor;
  const status = (bytes[p + 9]! - 48) * 100 + (bytes[p + 10]! - 48) * 10 + bytes[p + 11]! - 48;
  for (let n = 9; n < 12; n++) if (bytes[p + n]! < 48 || bytes[p + n]! > 57) return MEMBER_HEAD;
  if (status < 100 || status > 599) return MEMBER_HEAD;
  head.status = status;
  p += 12;
  // The blank before an empty reason is left out by some.
  if (bytes[p] === SP) p++;
  else if (bytes[p] !== CR) return MEMBER_HEAD;
  head.reasonAt = p;
  while (FIELD_VALUE[bytes[p]!] === 1) p++;
  head.reasonEnd = p;
  if (p + 1 >= last) return end > last ? MEMBER_TOO_LARGE : p < end && bytes[p] !== CR ? MEMBER_HEAD : 0;
  if (bytes[p] !== CR || bytes[p + 1] !== LF) return MEMBER_HEAD;
  p += 2;
  head.fieldsAt = p;
  p = parseFields(bytes, p, end, last, head, limits.fields, true);
  if (p <= 0) return p === HEAD_TOO_LARGE || p === TOO_MANY ? MEMBER_TOO_LARGE : p === 0 ? 0 : MEMBER_HEAD;
  head.end = p;
  if (head.isChunked && (head.contentLength >= 0 || head.version === 10))
    return -refusal('member-framing-invalid');
  return p;
}
