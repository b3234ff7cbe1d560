/**
 * What an L7 service component is. Each request walks the chain in the order of the policy, then its response does.
 * To add one: write its file in component/, add its line to registry.ts (docs/adding-a-component.md).
 *
 * A component reads `exchange.request` and `exchange.response` (offsets into received bytes, valid during the call) and
 * changes them by marking fields in `isDropped` and by adding whole lines to `exchange.requestLines` or
 * `responseLines`. None awaits or throws; none allocates for a request where it can help it.
 */
import type { Exchange } from './exchange.ts';

export interface HttpComponent {
  readonly type: string;
  /**
   * Judges a request. 0 lets it go on; the id of a refusal (refusals.ts) refuses it; ANSWERED says that the component
   * has answered with `exchange.answer` or `exchange.respond`, or will, and that the request goes no further by itself.
   */
  onRequest?(exchange: Exchange): number;
  /** Sees the head of the final response before it is written. May call `exchange.addFilter`, and set
   * `exchange.responseLength` to -1 where the length is no longer known. */
  onResponse?(exchange: Exchange): void;
  /** Some times a second. */
  tick?(nowMs: number): void;
  /** Since the start, by outcome. */
  counters(): Record<string, number>;
  /** Of the memory that all threads share: each says the same. */
  shared?(): Record<string, number>;
}

/** `onRequest`: the client has its answer, or the component sees to it. */
export const ANSWERED = -1;

/** What a component keeps for an exchange. */
export interface Attachment {
  /** The client is about to be refused for what a member did. True: it was answered otherwise. */
  rescue?(exchange: Exchange): boolean;
  /** The exchange is over. */
  close(): void;
}

/**
 * Changes the body of a response on its way, or reads it: compression, the cache. Several are passed one after the
 * other, in the order in which they were added.
 */
export interface BodyFilter {
  /** The next one, nearer to the client; set by the exchange. */
  next: BodyFilter | null;
  /**
   * Takes a buffer of data, hands what it makes of it to `exchange.passOn(this.next, ...)`: any number of buffers, now
   * or later, the last of them with `isLast`; the first in the first call, be it empty, as the head goes with it.
   */
  transform(
    exchange: Exchange,
    buffer: number,
    at: number,
    end: number,
    isLast: boolean,
    trailers: Uint8Array | null,
  ): void;
  /** The client, which was full, takes more: for filters that make much of little. */
  resume?(exchange: Exchange): void;
  /** The exchange is over: free what is held. */
  close(): void;
}
