/** Blocks of fields behind a body: decoded, and checked as HTTP/1.1's are. One at a time, of all connections of a thread. */
import { Head } from '../head.ts';
import { type HeadLimits, parseTrailers } from '../parse-fields.ts';
import { HeadText, TRAILERS } from './head-text.ts';
import type { FieldSink, HpackDecoder } from './hpack-decoder.ts';

const head = new Head();
const text = new HeadText();
const lines = new Uint8Array(8192);
const nowhere: FieldSink = { field: () => undefined };

/** Nobody can follow the peer's table any more: an error of the connection. */
export const UNDECODABLE = 1;
/** An error of the stream. */
export const INVALID_TRAILERS = 2;

/** The lines of the trailers as HTTP/1.1 has them, null where there are none; or what is wrong. */
export function decodeTrailers(
  decoder: HpackDecoder,
  bytes: Uint8Array,
  at: number,
  end: number,
  limits: HeadLimits,
): Uint8Array | null | typeof UNDECODABLE | typeof INVALID_TRAILERS {
  text.begin(TRAILERS, lines, 0, lines.length - 8);
  if (!decoder.decode(bytes, at, end, text)) return UNDECODABLE;
  const textEnd = text.finish();
  if (text.error !== 0 || parseTrailers(lines, 0, textEnd, head, limits) !== textEnd) return INVALID_TRAILERS;
  return head.count === 0 ? null : lines.slice(0, textEnd);
}

/** Decodes a block that nobody gets, since the tables must go on; false where that cannot be. */
export function discardBlock(decoder: HpackDecoder, bytes: Uint8Array, at: number, end: number): boolean {
  return decoder.decode(bytes, at, end, nowhere);
}
