/** What the peer may send of DATA on a whole connection: opened again by what went on, and by what is held (RFC 9113 5.2). */
import { RECEIVE_BYTES } from '../../kernel/socket-buffers.ts';
import type { Channels } from '../channel.ts';
import { FIRST_WINDOW } from './frames.ts';

/** Bytes of all streams that may be on their way to us, or held and not lent. */
const WINDOW = 262_144;
/** What is held may open the window by this share of the free buffers: a little, so that no peer gets all of them. */
const LENT_SHARE = 1 / 16;

export class ReceiveWindow {
  /** By so much our first WINDOW_UPDATE opens it. */
  static readonly FIRST_UPDATE = WINDOW - FIRST_WINDOW;
  readonly #channels: Channels;
  readonly #update: (more: number) => void;
  #left = WINDOW;
  #unacknowledged = 0;
  /** Of what is held: by so much the window was opened already. */
  #lent = 0;

  /** `update`: tells the peer that it may send so many bytes more. */
  constructor(channels: Channels, update: (more: number) => void) {
    this.#channels = channels;
    this.#update = update;
  }

  /** A frame of so many bytes came. False where that is more than was allowed. */
  receive(length: number): boolean {
    this.#left -= length;
    return this.#left >= 0;
  }

  /** Data went on, or was thrown away. */
  taken(length: number): void {
    this.#unacknowledged += length;
    if (this.#unacknowledged < WINDOW / 4) return;
    this.#left += this.#unacknowledged;
    this.#update(this.#unacknowledged);
    this.#unacknowledged = 0;
  }

  /** Data of a stream cannot go on yet. Others shall not wait for it, as long as buffers are not short. */
  held(length: number): void {
    if (this.#lent + length > this.#channels.buffers.free * RECEIVE_BYTES * LENT_SHARE) return;
    this.#lent += length;
    this.taken(length);
  }

  /** Data that was held went on, or was thrown away. */
  takenHeld(length: number): void {
    const repaid = Math.min(this.#lent, length);
    this.#lent -= repaid;
    if (length > repaid) this.taken(length - repaid);
  }
}
