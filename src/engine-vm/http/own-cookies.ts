/**
 * Takes our own session cookies out of a request, before anybody looks at it: members need not know them, and a request
 * that bears no other cookie tells nothing that only its client may know. The field is changed where it stands.
 */
import type { ExchangeContext } from './exchange-sides.ts';
import { FIELD } from './field-names.ts';
import type { Head } from './head.ts';
import type { Member } from './member.ts';
import type { Members } from './members.ts';
import { NO_COOKIE } from './session-cookie.ts';

const SEMICOLON = 59;
const BLANK = 32;

/** What was found of one request. */
export class OwnCookies {
  /** The members that cookies stand for, of one pool or several. */
  readonly #members: Member[] = [];
  /** There was one of no member. */
  #hasUnknown = false;

  /** Takes them out of the head. */
  take(head: Head, context: ExchangeContext): void {
    if (this.#members.length > 0) this.#members.length = 0;
    this.#hasUnknown = false;
    for (let n = 0; n < head.count; n++) if (head.ids[n] === FIELD.cookie) this.#takeFrom(head, n, context);
  }

  #takeFrom(head: Head, n: number, context: ExchangeContext): void {
    const { bytes } = head;
    const from = head.valueAt[n]!;
    const end = head.valueEnd[n]!;
    /** What is kept ends there. */
    let to = from;
    let isTaken = false;
    for (let at = from; at < end; ) {
      while (at < end && bytes[at] === BLANK) at++;
      let stop = at;
      while (stop < end && bytes[stop] !== SEMICOLON) stop++;
      if (this.#judge(bytes, at, stop, context)) isTaken = true;
      else if (!isTaken) to = stop;
      else {
        if (to > from) {
          bytes[to++] = SEMICOLON;
          bytes[to++] = BLANK;
        }
        bytes.copyWithin(to, at, stop);
        to += stop - at;
      }
      at = stop + 1;
    }
    if (!isTaken) return;
    head.valueEnd[n] = to;
    bytes.fill(BLANK, to, end);
    if (to > from) return;
    head.isDropped[n] = 1;
    head.ids[n] = 0;
  }

  /** Whether that pair is ours. */
  #judge(bytes: Uint8Array, at: number, stop: number, { members, pools }: ExchangeContext): boolean {
    if (this.#isOf(members, bytes, at, stop)) return true;
    for (const pool of pools) if (this.#isOf(pool, bytes, at, stop)) return true;
    return false;
  }

  #isOf(pool: Members, bytes: Uint8Array, at: number, stop: number): boolean {
    const position = pool.cookiePosition(bytes, at, stop);
    if (position === NO_COOKIE) return false;
    if (position < 0) this.#hasUnknown = true;
    else this.#members.push(pool.list[position]!);
    return true;
  }

  /** The member of that pool that the client shall come back to; null where there is none. */
  memberOf(pool: Members): Member | null {
    for (const member of this.#members) {
      if (pool.list[member.position] === member) return pool.comesBack(member) ? member : null;
    }
    if (this.#hasUnknown) pool.cookies.unknown++;
    return null;
  }
}
