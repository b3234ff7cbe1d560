/** The small frames that a connection writes beside its streams: put together, and sent before what comes next. */
import type { Channel, Channels } from '../channel.ts';
import * as f from './frames.ts';

const ROOM_BYTES = 4096;

export class ControlFrames {
  readonly #channel: Channel;
  readonly #channels: Channels;
  readonly #onShort: () => void;
  #buffer = -1;
  #at = 0;
  #end = 0;

  /** `onShort`: there is no buffer, so the peer cannot be told what it must know. */
  constructor(channel: Channel, channels: Channels, onShort: () => void) {
    this.#channel = channel;
    this.#channels = channels;
    this.#onShort = onShort;
  }

  /** Begins a frame, and returns where its payload is to be written; -1 where there is no memory. */
  begin(length: number, type: number, flags: number, id: number): number {
    const { buffers } = this.#channels;
    if (this.#buffer >= 0 && this.#end + length + f.FRAME_HEADER_BYTES > this.#at + ROOM_BYTES) this.flush();
    if (this.#buffer < 0) {
      this.#buffer = buffers.take();
      if (this.#buffer < 0) {
        this.#onShort();
        return -1;
      }
      this.#at = buffers.start(this.#buffer);
      this.#end = this.#at;
    }
    const at = this.#end;
    f.writeFrameHeader(buffers.bytes, at, length, type, flags, id);
    this.#end = at + f.FRAME_HEADER_BYTES + length;
    return at + f.FRAME_HEADER_BYTES;
  }

  /** A frame of one number: WINDOW_UPDATE, RST_STREAM. */
  number(type: number, id: number, value: number): void {
    const at = this.begin(4, type, 0, id);
    if (at >= 0) f.writeNumber(this.#channels.buffers.bytes, at, value);
  }

  /** What a client sends first. */
  preface(): void {
    const buffer = this.#channels.buffers.take();
    if (buffer < 0) {
      this.#onShort();
      return;
    }
    const at = this.#channels.buffers.start(buffer);
    this.#channels.buffers.bytes.set(f.PREFACE, at);
    this.#buffer = buffer;
    this.#at = at;
    this.#end = at + f.PREFACE.length;
  }

  settings(settings: readonly (readonly [number, number])[]): void {
    const { bytes } = this.#channels.buffers;
    const at = this.begin(settings.length * 6, f.SETTINGS, 0, 0);
    if (at < 0) return;
    for (const [n, [id, value]] of settings.entries()) {
      bytes[at + n * 6] = 0;
      bytes[at + n * 6 + 1] = id;
      f.writeNumber(bytes, at + n * 6 + 2, value);
    }
  }

  ping(): void {
    const at = this.begin(8, f.PING, 0, 0);
    if (at >= 0) this.#channels.buffers.bytes.fill(0, at, at + 8);
  }

  /** The answer to a PING, whose payload stands at `from`. */
  pong(bytes: Uint8Array, from: number): void {
    const at = this.begin(8, f.PING, f.ACK, 0);
    if (at >= 0) for (let n = 0; n < 8; n++) this.#channels.buffers.bytes[at + n] = bytes[from + n]!;
  }

  goaway(lastStream: number, code: number): void {
    const at = this.begin(8, f.GOAWAY, 0, 0);
    if (at < 0) return;
    f.writeNumber(this.#channels.buffers.bytes, at, lastStream);
    f.writeNumber(this.#channels.buffers.bytes, at + 4, code);
  }

  /** Sends what waits. Before anything of a stream is written, as it may be about that. */
  flush(): void {
    const buffer = this.#buffer;
    if (buffer < 0) return;
    this.#buffer = -1;
    this.#channel.write(buffer, this.#at, this.#end);
  }

  /** Throws away what waits. */
  drop(): void {
    if (this.#buffer >= 0) this.#channels.buffers.give(this.#buffer);
    this.#buffer = -1;
  }
}
