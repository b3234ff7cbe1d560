/** One rewriting: which paths it is for, what members are asked for instead, and which paths of members are which of clients. */
import type { HttpRewrite } from '../../../../policy/http-rewrites.ts';
import type { Head } from '../../head.ts';
import { line } from '../../head-writer.ts';
import type { JudgedTarget } from '../../judged-target.ts';
import type { MemberTarget } from '../../member-target.ts';
import { PathTemplate } from './path-template.ts';
import { QueryChanges } from './query-changes.ts';

const QUESTION = 63;
/** A path of 512 bytes has no more open segments. */
const MOST_PARTS = 128;
// Used within one call each.
const ranges = new Int32Array(2 * MOST_PARTS);
const judgedRanges = new Int32Array(2 * MOST_PARTS);

export class Rewrite {
  /** Of what members get; null where it stays. */
  readonly host: Uint8Array | null;
  /** How the paths that it is for begin, as rules have them: `*` ends a beginning. */
  readonly paths: readonly string[];
  /** Whether paths are others for members than for clients. */
  readonly changesPath: boolean;
  /** Whether a path of a member says which of the client's it is. */
  readonly isMappedBack: boolean;
  readonly #from: PathTemplate | null;
  readonly #to: PathTemplate | null;
  /** For the n-th open segment of the one, which it is of the other. */
  readonly #forward: readonly number[];
  readonly #backward: readonly number[];
  readonly #query: QueryChanges | null;

  constructor({ path, to }: HttpRewrite) {
    const from = path === undefined ? null : new PathTemplate(path);
    const names = from?.names ?? [];
    this.#from = from;
    this.#to = to.path === undefined ? null : new PathTemplate(to.path);
    this.#forward = (this.#to?.names ?? []).map((name) => names.indexOf(name));
    this.#backward = names.map((name) => this.#to?.names.indexOf(name) ?? -1);
    this.changesPath = this.#to !== null;
    this.isMappedBack = this.#to === null || (from !== null && !this.#backward.includes(-1));
    this.#query = to.query === undefined ? null : new QueryChanges(to.query, names);
    this.host = to.host === undefined ? null : line(to.host);
    this.paths = from === null ? [] : [from.isOpen ? `${from.beginning}*` : from.beginning];
  }

  /** Writes what a member is asked for. False, with nothing written, where the path does not fit. */
  write(target: MemberTarget, head: Head, judged: JudgedTarget): boolean {
    const { bytes, targetAt, targetEnd } = head;
    let mark = targetAt;
    while (mark < targetEnd && bytes[mark] !== QUESTION) mark++;
    if (this.#from !== null && !this.#from.match(bytes, targetAt, mark, ranges)) return false;
    if (this.#to === null) target.copy(bytes, targetAt, mark);
    else this.#to.write(target, bytes, ranges, this.#forward);
    if (this.#query === null) target.copy(bytes, mark, targetEnd);
    else {
      if (this.#query.readsPath) this.#from!.match(judged.bytes, 0, judged.pathEnd, judgedRanges);
      this.#query.write(target, head, judged, judgedRanges);
    }
    return true;
  }

  /** The path of clients that a path of a member is; null where that is none. */
  pathBack(path: string): string | null {
    const from = this.#from;
    if (this.#to === null) {
      // The path that clients are answered for: others may be rewritten in another way.
      return from === null || from.match(latin1(path), 0, path.length, ranges) ? path : null;
    }
    const bytes = latin1(path);
    if (from === null || !this.isMappedBack || !this.#to.match(bytes, 0, bytes.length, ranges)) return null;
    const back = new TextSink();
    from.write(back, bytes, ranges, this.#backward);
    return back.text;
  }

  /** The Path of a cookie for clients, of one for members; null where it is none of what this is for. */
  cookiePathBack(path: string): string | null {
    if (path.endsWith('/')) return this.pathBack(path);
    const back = this.pathBack(`${path}/`) ?? this.pathBack(path);
    return back?.endsWith('/') ? back.slice(0, -1) || '/' : back;
  }
}

class TextSink {
  text = '';

  put(byte: number): void {
    this.text += String.fromCharCode(byte);
  }

  copy(from: Uint8Array, at: number, end: number): void {
    this.text += Buffer.from(from.subarray(at, end)).toString('latin1');
  }
}

function latin1(text: string): Uint8Array {
  return Buffer.from(text, 'latin1');
}
