/**
 * What a member is asked for where that is not what the client asked for: path, query and host of the component `rewrites`.
 * The request's head keeps the client's, for rules, routes, the cache and the log. One for each exchange that ever needed one,
 * used again.
 */
import type { Rewrite } from './component/rewrites/rewrite.ts';
import type { Head } from './head.ts';

/** As much as a head may have. */
export const MOST_TARGET_BYTES = 14_336;

export class MemberTarget {
  /** Path and query are before `end`, the client's Host from there to before `hostEnd`. */
  bytes = new Uint8Array(256);
  end = 0;
  hostEnd = 0;
  /** Where it does not fit: nothing of it may be used. */
  isTooLong = false;
  /** By which it was made. */
  rewrite: Rewrite;

  constructor(rewrite: Rewrite) {
    this.rewrite = rewrite;
  }

  /** Begins another one in its place. */
  begin(rewrite: Rewrite): void {
    this.rewrite = rewrite;
    this.end = 0;
    this.hostEnd = 0;
    this.isTooLong = false;
  }

  /** Keeps the client's Host, behind the target. */
  keepHost({ bytes, hostIndex, valueAt, valueEnd }: Head): void {
    const { end } = this;
    if (hostIndex >= 0) this.copy(bytes, valueAt[hostIndex]!, valueEnd[hostIndex]!);
    this.hostEnd = this.end;
    this.end = end;
  }

  /** The client's Host; empty where there was none. */
  get clientHost(): string {
    return Buffer.from(this.bytes.buffer, this.end, this.hostEnd - this.end).toString('latin1');
  }

  /** For another exchange. */
  clone(): MemberTarget {
    const other = new MemberTarget(this.rewrite);
    other.bytes = this.bytes.slice();
    other.end = this.end;
    other.hostEnd = this.hostEnd;
    return other;
  }

  /** What Host says to members; null where it stays. */
  get host(): Uint8Array | null {
    return this.rewrite.host;
  }

  put(byte: number): void {
    if (this.#hasRoom(1)) this.bytes[this.end++] = byte;
  }

  copy(from: Uint8Array, at: number, end: number): void {
    if (!this.#hasRoom(end - at)) return;
    for (let p = at; p < end; p++) this.bytes[this.end++] = from[p]!;
  }

  #hasRoom(count: number): boolean {
    if (this.end + count > MOST_TARGET_BYTES) this.isTooLong = true;
    else if (this.end + count > this.bytes.length) {
      const larger = new Uint8Array(Math.max(2 * this.bytes.length, this.end + count));
      larger.set(this.bytes);
      this.bytes = larger;
    }
    return !this.isTooLong;
  }
}
