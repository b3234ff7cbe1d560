/**
 * A path of whole segments, some of which are open: `{id}` is one segment, `{rest*}` all that follows. It is held against
 * paths as members would see them (decoded, slashes merged, parameters left out), in one walk; what the open segments
 * hold is handed on as it is spelled. As whole segments stay whole, no dot segment, no encoded slash and no second slash
 * comes into being.
 */
import { HEX } from '../../characters.ts';
import { line } from '../../head-writer.ts';
import { DIGITS, KEPT_IN_PATH } from '../../judged-target.ts';

const SLASH = 47;
const PERCENT = 37;
const SEMICOLON = 59;

/** What takes the bytes of a path. */
export interface PathSink {
  put(byte: number): void;
  copy(from: Uint8Array, at: number, end: number): void;
}

interface Segment {
  /** Null where it is open. */
  readonly text: Uint8Array | null;
  /** Into the ranges. */
  readonly part: number;
  readonly isRest: boolean;
}

export class PathTemplate {
  /** Of the open segments, in their order: the range of the n-th is at 2n and 2n + 1. */
  readonly names: readonly string[];
  /** How all paths that fit begin, in their one spelling; the whole path where nothing is open. */
  readonly beginning: string;
  readonly #segments: readonly Segment[];

  /** Of a text that the policy has checked. */
  constructor(text: string) {
    const names: string[] = [];
    this.#segments = text
      .slice(1)
      .split('/')
      .map((one) => {
        const isRest = one.endsWith('*}');
        if (!one.startsWith('{')) return { text: line(one), part: -1, isRest };
        return { text: null, part: names.push(one.replaceAll(/[{*}]/g, '')) - 1, isRest };
      });
    this.names = names;
    const open = text.indexOf('{');
    this.beginning = open < 0 ? text : text.slice(0, open);
  }

  get isOpen(): boolean {
    return this.names.length > 0;
  }

  /** Whether the path from `at`, a slash, to before `end` fits; then `ranges` says where its open segments are. */
  match(bytes: Uint8Array, at: number, end: number, ranges: Int32Array): boolean {
    if (bytes[at] !== SLASH) return false;
    let p = at;
    for (const { text, part, isRest } of this.#segments) {
      if (p >= end) return false;
      // Empty segments count for nothing, but for a last one.
      let stop = endOfSegment(bytes, ++p, end);
      while (isEmpty(bytes, p, stop) && stop < end) {
        p = stop + 1;
        stop = endOfSegment(bytes, p, end);
      }
      if (isRest) {
        ranges[2 * part] = isEmpty(bytes, p, stop) ? end : p;
        ranges[2 * part + 1] = end;
        return true;
      }
      if (text === null) {
        if (isEmpty(bytes, p, stop)) return false;
        ranges[2 * part] = p;
        ranges[2 * part + 1] = stop;
      } else if (!isSpelling(bytes, p, stop, text)) return false;
      p = stop;
    }
    return p === end;
  }

  /** Writes the path with its n-th open segment from the range `parts[n]` of `bytes`. */
  write(sink: PathSink, bytes: Uint8Array, ranges: Int32Array, parts: readonly number[]): void {
    for (const { text, part } of this.#segments) {
      sink.put(SLASH);
      if (text !== null) sink.copy(text, 0, text.length);
      else {
        const from = parts[part]!;
        sink.copy(bytes, ranges[2 * from]!, ranges[2 * from + 1]!);
      }
    }
  }
}

function endOfSegment(bytes: Uint8Array, at: number, end: number): number {
  let p = at;
  while (p < end && bytes[p] !== SLASH) p++;
  return p;
}

function isEmpty(bytes: Uint8Array, at: number, end: number): boolean {
  return at === end || bytes[at] === SEMICOLON;
}

/** Whether a segment is a spelling of the text, which is as paths are compared. */
function isSpelling(bytes: Uint8Array, at: number, end: number, text: Uint8Array): boolean {
  let n = 0;
  for (let p = at; p < end && bytes[p] !== SEMICOLON; p++) {
    let byte = bytes[p]!;
    if (byte === PERCENT && p + 2 < end) {
      const value = (HEX[bytes[p + 1]!]! << 4) | HEX[bytes[p + 2]!]!;
      if (value > 255) return false;
      p += 2;
      if (KEPT_IN_PATH[value] === 1) {
        if (text[n++] !== PERCENT || text[n++] !== DIGITS[value >> 4]) return false;
        byte = DIGITS[value & 15]!;
      } else byte = value;
    }
    if (text[n++] !== byte) return false;
  }
  return n === text.length;
}
