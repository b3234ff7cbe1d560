/** Reads on for a moment, so that the last words of a connection are not lost with what nobody read. */
import type { Channel, ChannelOwner, Channels } from '../channel.ts';

/** Owns the channel of a session that is over, until the peer ends its side or the channel's deadline has passed. */
export class Ending implements ChannelOwner {
  readonly #channels: Channels;
  readonly #channel: Channel;
  readonly #onClosed: () => void;
  #isDone = false;

  constructor(channels: Channels, channel: Channel, onClosed: () => void) {
    this.#channels = channels;
    this.#channel = channel;
    this.#onClosed = onClosed;
  }

  onBytes(buffer: number): void {
    this.#channels.buffers.give(buffer);
  }

  onEnd(): void {
    this.onDeadline();
  }

  onDrained(): void {}

  onConnect(): void {}

  onDeadline(): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.#channel.close();
    this.#onClosed();
  }
}
