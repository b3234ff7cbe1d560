/**
 * The head of a message, as offsets into the bytes it was received in. One object is used for many messages: it is
 * valid until its buffer goes on or the next head is parsed into it. Strings are made only where somebody asks.
 */
import { FIELD, type FieldName } from './field-names.ts';

/** The most fields a head may have; limits of policy are below. */
export const MOST_FIELDS = 256;

export const METHOD = {
  other: 0,
  GET: 1,
  HEAD: 2,
  POST: 3,
  PUT: 4,
  DELETE: 5,
  OPTIONS: 6,
  PATCH: 7,
  CONNECT: 8,
  TRACE: 9,
} as const;

/** Methods that may be repeated (RFC 9110 9.2.2). */
export function isIdempotent(method: number): boolean {
  return (
    method === METHOD.GET || method === METHOD.HEAD || (method >= METHOD.PUT && method <= METHOD.OPTIONS)
  );
}

/** What Connection said. */
export const CONNECTION_CLOSE = 1;
export const CONNECTION_KEEP_ALIVE = 2;
export const CONNECTION_UPGRADE = 4;
/** It named fields, which are marked in `isDropped`. */
export const CONNECTION_NAMES = 8;

export class Head {
  bytes: Uint8Array = new Uint8Array(0);
  /** The whole head, with the empty line. */
  start = 0;
  end = 0;
  /** Where the fields begin. */
  fieldsAt = 0;
  /** 10, 11; 20 of a request that came by HTTP/2. */
  version = 11;
  method = 0;
  methodAt = 0;
  methodEnd = 0;
  /** The target as it is forwarded: path and query, also where an absolute URI came; `*` of OPTIONS. */
  targetAt = 0;
  targetEnd = 0;
  /** True where the path holds `.` or `%`: nothing that the checks refuse, but not its only spelling perhaps. */
  isPathUnusual = false;
  /** Of an absolute URI, which must equal Host; -1 where the target is a path. */
  authorityAt = -1;
  authorityEnd = -1;
  status = 0;
  reasonAt = 0;
  reasonEnd = 0;
  /** Fields. A line goes from its name to `lineEnd`, behind its CRLF. */
  count = 0;
  readonly ids = new Uint8Array(MOST_FIELDS);
  readonly nameAt = new Int32Array(MOST_FIELDS);
  readonly nameEnd = new Int32Array(MOST_FIELDS);
  readonly valueAt = new Int32Array(MOST_FIELDS);
  readonly valueEnd = new Int32Array(MOST_FIELDS);
  readonly lineEnd = new Int32Array(MOST_FIELDS);
  /** 1 where the field goes no further: Connection names it, or a component drops it. */
  readonly isDropped = new Uint8Array(MOST_FIELDS);
  /** -1 where there is none. */
  contentLength = -1;
  isChunked = false;
  connection = 0;
  expectsContinue = false;
  hostIndex = -1;
  upgradeIndex = -1;
  /** A response that goes on as it stands, with a Date among its fields, which were not looked at: `count` is 0. */
  isWhole = false;

  /** Position of the first field of that name, -1 where there is none. */
  find(id: number): number {
    for (let n = 0; n < this.count; n++) if (this.ids[n] === id) return n;
    return -1;
  }

  /** The value of the first field of a known name. Makes a string. */
  value(name: FieldName): string | undefined {
    const n = this.find(FIELD[name]);
    return n < 0 ? undefined : this.text(this.valueAt[n]!, this.valueEnd[n]!);
  }

  /** Whether the field at `n` has that name, in lower case. For names without an id. */
  isNamed(n: number, name: Uint8Array): boolean {
    const at = this.nameAt[n]!;
    if (this.nameEnd[n]! - at !== name.length) return false;
    for (let i = 0; i < name.length; i++) {
      const is = this.bytes[at + i]!;
      if (is !== name[i] && (is < 65 || is > 90 || (is | 32) !== name[i])) return false;
    }
    return true;
  }

  get target(): string {
    return this.text(this.targetAt, this.targetEnd);
  }

  get methodName(): string {
    return this.text(this.methodAt, this.methodEnd);
  }

  /** Latin-1 text of a range. */
  text(at: number, end: number): string {
    return Buffer.from(this.bytes.buffer, this.bytes.byteOffset + at, end - at).toString('latin1');
  }
}
