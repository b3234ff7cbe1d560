/**
 * Writes the fields of a block as the text of an HTTP/1.1 head, which the parser of HTTP/1.1 then reads: so both versions
 * are held to the same rules, and what goes on is the same. Here is judged what only HTTP/2 has: pseudo-header fields,
 * letters in upper case, fields of one connection (RFC 9113 8.2, 8.3).
 */
import { FIELD_VALUE, TARGET, TOKEN } from '../characters.ts';
import { FIELD, fieldId } from '../field-names.ts';
import { isHostValid } from '../host.ts';
import { refusal } from '../refusals.ts';
import { spells } from '../spelling.ts';
import type { FieldSink } from './hpack-decoder.ts';

/** What a block is. */
export const REQUEST = 0;
export const RESPONSE = 1;
export const TRAILERS = 2;

const HEAD_TOO_LARGE = refusal('head-too-large');
const PSEUDO = refusal('pseudo-field-invalid');
const CONNECTION_FIELD = refusal('connection-field-in-http2');
const NAME_INVALID = refusal('field-name-invalid');
const VALUE_INVALID = refusal('field-value-invalid');
const METHOD_INVALID = refusal('method-invalid');
const METHOD_REFUSED = refusal('method-refused');
const TARGET_INVALID = refusal('target-invalid');
const HOST_DIFFERS = refusal('target-host-differs');
const HOST_DUPLICATE = refusal('host-duplicate');
const HOST_INVALID = refusal('host-invalid');

const encoder = new TextEncoder();
const HTTP11 = encoder.encode(' HTTP/1.1\r\n');
const HTTP11_STATUS = encoder.encode('HTTP/1.1 ');
const HOST = encoder.encode('host: ');
const COOKIE = encoder.encode('cookie: ');

const MOST_BYTES = 16_384;
// Positions in NAMES; `#requestLine` takes the first four in their order.
const AUTHORITY = 2;
const STATUS = 4;
const NAMES = [':method', ':path', ':authority', ':scheme', ':status'];

export class HeadText implements FieldSink {
  /** The refusal; 0 where there is none. */
  error = 0;
  /** `te: trailers` was said. */
  takesTrailers = false;
  #kind = REQUEST;
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  #limit = 0;
  #isOpen = false;
  #hasHost = false;
  // Pseudo-header fields come in any order, and cookies in pieces: they are kept until they can be written.
  readonly #kept = new Uint8Array(MOST_BYTES);
  #keptEnd = 0;
  readonly #keptAt = new Int32Array(NAMES.length);
  readonly #keptTo = new Int32Array(NAMES.length);
  readonly #cookies = new Uint8Array(MOST_BYTES);
  #cookieEnd = 0;

  /** Text goes to `bytes` from `at` to before `limit`. */
  begin(kind: number, bytes: Uint8Array, at: number, limit: number): void {
    this.error = 0;
    this.takesTrailers = false;
    this.#kind = kind;
    this.#bytes = bytes;
    this.#at = at;
    this.#limit = limit;
    this.#isOpen = kind === TRAILERS;
    this.#hasHost = false;
    this.#keptEnd = 0;
    this.#keptAt.fill(-1);
    this.#cookieEnd = 0;
  }

  /** Ends the head, and returns where its text ends. Not to be used where `error` is set then. */
  finish(): number {
    if (this.error === 0 && !this.#isOpen) this.#open();
    if (this.#cookieEnd > 0) {
      this.#add(COOKIE, 0, COOKIE.length);
      this.#add(this.#cookies, 0, this.#cookieEnd);
      this.#crlf();
    }
    this.#crlf();
    return this.#at;
  }

  field(
    nameBytes: Uint8Array,
    nameAt: number,
    nameEnd: number,
    valueBytes: Uint8Array,
    valueAt: number,
    valueEnd: number,
  ): void {
    if (this.error !== 0) return;
    if (nameBytes[nameAt] === 58 && nameEnd > nameAt) {
      this.#pseudo(nameBytes, nameAt, nameEnd, valueBytes, valueAt, valueEnd);
      return;
    }
    if (!this.#isOpen) {
      this.#open();
      if (this.error !== 0) return;
    }
    for (let p = nameAt; p < nameEnd; p++) {
      const byte = nameBytes[p]!;
      if (TOKEN[byte] !== 1 || (byte >= 65 && byte <= 90)) {
        this.error = NAME_INVALID;
        return;
      }
    }
    if (nameEnd === nameAt) {
      this.error = NAME_INVALID;
      return;
    }
    for (let p = valueAt; p < valueEnd; p++) {
      if (FIELD_VALUE[valueBytes[p]!] !== 1) {
        this.error = VALUE_INVALID;
        return;
      }
    }
    if (valueEnd > valueAt && (isBlank(valueBytes[valueAt]!) || isBlank(valueBytes[valueEnd - 1]!))) {
      this.error = VALUE_INVALID;
      return;
    }
    switch (fieldId(nameBytes, nameAt, nameEnd)) {
      case FIELD.connection:
      case FIELD['keep-alive']:
      case FIELD['proxy-connection']:
      case FIELD['transfer-encoding']:
      case FIELD.upgrade:
        this.error = CONNECTION_FIELD;
        return;
      case FIELD.te:
        if (this.#kind === RESPONSE) break;
        if (valueEnd - valueAt !== 8 || !spells(valueBytes, valueAt, 'trailers')) {
          this.error = CONNECTION_FIELD;
          return;
        }
        this.takesTrailers = true;
        break;
      case FIELD.host:
        if (this.#kind !== REQUEST) break;
        if (this.#hasHost) {
          this.error = HOST_DUPLICATE;
          return;
        }
        this.#hasHost = true;
        if (this.#keptAt[AUTHORITY]! < 0) break;
        // The same as :authority, which was written already.
        if (!this.#isAuthority(valueBytes, valueAt, valueEnd)) this.error = HOST_DIFFERS;
        return;
      case FIELD.cookie:
        if (this.#kind === REQUEST) {
          this.#keepCookie(valueBytes, valueAt, valueEnd);
          return;
        }
        break;
      default:
    }
    this.#add(nameBytes, nameAt, nameEnd);
    this.#colon();
    this.#add(valueBytes, valueAt, valueEnd);
    this.#crlf();
  }

  #pseudo(
    nameBytes: Uint8Array,
    nameAt: number,
    nameEnd: number,
    valueBytes: Uint8Array,
    valueAt: number,
    valueEnd: number,
  ): void {
    let which = 0;
    while (which < NAMES.length) {
      const name = NAMES[which]!;
      if (name.length === nameEnd - nameAt && spells(nameBytes, nameAt, name)) break;
      which++;
    }
    const isOurs = which < NAMES.length && (which === STATUS) === (this.#kind === RESPONSE);
    if (!isOurs || this.#isOpen || this.#keptAt[which]! >= 0) {
      this.error = PSEUDO;
      return;
    }
    if (this.#keptEnd + valueEnd - valueAt > MOST_BYTES) {
      this.error = HEAD_TOO_LARGE;
      return;
    }
    this.#keptAt[which] = this.#keptEnd;
    for (let p = valueAt; p < valueEnd; p++) this.#kept[this.#keptEnd++] = valueBytes[p]!;
    this.#keptTo[which] = this.#keptEnd;
  }

  /** Pseudo-header fields are complete: writes the first line. */
  #open(): void {
    this.#isOpen = true;
    this.error = this.#kind === REQUEST ? this.#requestLine() : this.#statusLine();
  }

  #requestLine(): number {
    const [methodAt, pathAt, authorityAt, schemeAt] = this.#keptAt as unknown as number[];
    const [methodEnd, pathEnd, authorityEnd, schemeEnd] = this.#keptTo as unknown as number[];
    const kept = this.#kept;
    if (methodAt! < 0) return PSEUDO;
    for (let p = methodAt!; p < methodEnd!; p++) if (TOKEN[kept[p]!] !== 1) return METHOD_INVALID;
    // Tunnels are not made, so it does not matter what else it has.
    if (methodEnd! - methodAt! === 7 && spells(kept, methodAt!, 'CONNECT')) return METHOD_REFUSED;
    if (pathAt! < 0 || schemeAt! < 0) return PSEUDO;
    const scheme = schemeEnd! - schemeAt!;
    if (!(scheme === 4 || scheme === 5) || !spells(kept, schemeAt!, scheme === 4 ? 'http' : 'https'))
      return PSEUDO;
    if (pathEnd === pathAt) return PSEUDO;
    for (let p = pathAt!; p < pathEnd!; p++) if (TARGET[kept[p]!] === 0) return TARGET_INVALID;
    // An absolute URI would name another host.
    if (kept[pathAt!] !== 47 && kept[pathAt!] !== 42) return TARGET_INVALID;
    this.#add(kept, methodAt!, methodEnd!);
    this.#add(SPACE, 0, 1);
    this.#add(kept, pathAt!, pathEnd!);
    this.#add(HTTP11, 0, HTTP11.length);
    if (authorityAt! >= 0) {
      if (!isHostValid(kept, authorityAt!, authorityEnd!)) return HOST_INVALID;
      this.#add(HOST, 0, HOST.length);
      this.#add(kept, authorityAt!, authorityEnd!);
      this.#crlf();
    }
    return this.error;
  }

  #statusLine(): number {
    const at = this.#keptAt[STATUS]!;
    const end = this.#keptTo[STATUS]!;
    if (at < 0 || end - at !== 3) return PSEUDO;
    for (let p = at; p < end; p++) if (this.#kept[p]! < 48 || this.#kept[p]! > 57) return PSEUDO;
    this.#add(HTTP11_STATUS, 0, HTTP11_STATUS.length);
    this.#add(this.#kept, at, end);
    this.#add(SPACE, 0, 1);
    this.#crlf();
    return this.error;
  }

  #isAuthority(bytes: Uint8Array, at: number, end: number): boolean {
    const from = this.#keptAt[AUTHORITY]!;
    if (this.#keptTo[AUTHORITY]! - from !== end - at) return false;
    for (let n = 0; n < end - at; n++)
      if (lower(bytes[at + n]!) !== lower(this.#kept[from + n]!)) return false;
    return true;
  }

  /** RFC 9113 8.2.3: pieces of Cookie are one field again for those who know no others. */
  #keepCookie(bytes: Uint8Array, at: number, end: number): void {
    const cookies = this.#cookies;
    if (this.#cookieEnd + end - at + 2 > MOST_BYTES) {
      this.error = HEAD_TOO_LARGE;
      return;
    }
    if (this.#cookieEnd > 0) {
      cookies[this.#cookieEnd++] = 59;
      cookies[this.#cookieEnd++] = 32;
    }
    for (let p = at; p < end; p++) cookies[this.#cookieEnd++] = bytes[p]!;
  }

  #add(bytes: Uint8Array, at: number, end: number): void {
    if (this.#at + end - at > this.#limit) {
      if (this.error === 0) this.error = HEAD_TOO_LARGE;
      return;
    }
    const target = this.#bytes;
    let to = this.#at;
    for (let p = at; p < end; p++) target[to++] = bytes[p]!;
    this.#at = to;
  }

  #colon(): void {
    this.#add(COLON, 0, 2);
  }

  #crlf(): void {
    this.#add(CRLF, 0, 2);
  }
}

const SPACE = encoder.encode(' ');
const COLON = encoder.encode(': ');
const CRLF = encoder.encode('\r\n');

function isBlank(byte: number): boolean {
  return byte === 32 || byte === 9;
}

function lower(byte: number): number {
  return byte >= 65 && byte <= 90 ? byte | 32 : byte;
}
