/** What a client asks of a stored response: conditions and ranges (RFC 9110 13, 14). Pure. */
import { parseDate } from './freshness.ts';

/** Fields of the request that matter here, and of the stored response. */
export interface Asked {
  readonly ifNoneMatch: string | undefined;
  readonly ifModifiedSince: string | undefined;
  readonly range: string | undefined;
  readonly ifRange: string | undefined;
}

export interface Stored {
  readonly status: number;
  readonly etag: string | undefined;
  readonly lastModified: string | undefined;
  readonly date: string | undefined;
  readonly length: number;
}

export type Selection =
  | { readonly status: 304 | 416 }
  /** `status` 206: bytes from `from` to before `to`; else the whole. */
  | { readonly status: 206 | 200; readonly from: number; readonly to: number };

/** What of a stored response answers a GET or HEAD: all of it (status 200 stands for its own), a part, 304 or 416. */
export function select(asked: Asked, stored: Stored): Selection {
  const { length } = stored;
  if (asked.ifNoneMatch !== undefined) {
    if (matches(asked.ifNoneMatch, stored.etag)) return { status: 304 };
  } else if (asked.ifModifiedSince !== undefined) {
    const since = parseDate(asked.ifModifiedSince);
    const modified = parseDate(stored.lastModified);
    if (since !== null && modified !== null && modified <= since) return { status: 304 };
  }
  const whole = { status: 200, from: 0, to: length } as const;
  if (asked.range === undefined || stored.status !== 200) return whole;
  if (asked.ifRange !== undefined && !isSame(asked.ifRange, stored)) return whole;
  return rangeOf(asked.range, length) ?? whole;
}

/** If-None-Match: weak comparison (RFC 9110 8.8.3.2). */
function matches(list: string, etag: string | undefined): boolean {
  if (list.trim() === '*') return true;
  if (etag === undefined) return false;
  const wanted = etag.replace(/^W\//, '');
  for (const [, opaque] of list.matchAll(/(?:W\/)?("[^"]*")/g)) if (opaque === wanted) return true;
  return false;
}

/** If-Range: a strong ETag, or the very date; a date is strong only where it is a minute older than the response. */
function isSame(validator: string, { etag, lastModified, date }: Stored): boolean {
  if (validator.startsWith('"')) return validator === etag;
  const modified = parseDate(lastModified);
  const made = parseDate(date);
  if (modified === null || made === null || made - modified < 60_000) return false;
  return parseDate(validator) === modified;
}

/** One range; null where there are several, or it is none: then all is sent. */
function rangeOf(text: string, length: number): Selection | null {
  const match = /^bytes=\s*(\d*)-(\d*)\s*$/i.exec(text);
  if (match === null || (match[1] === '' && match[2] === '')) return null;
  if (match[1] === '') {
    const count = Number(match[2]);
    if (count === 0 || length === 0) return { status: 416 };
    return { status: 206, from: Math.max(0, length - count), to: length };
  }
  const from = Number(match[1]);
  const last = match[2] === '' ? Number.MAX_SAFE_INTEGER : Number(match[2]);
  if (last < from) return null;
  if (from >= length) return { status: 416 };
  return { status: 206, from, to: Math.min(length, last + 1) };
}
