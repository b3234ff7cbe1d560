/**
 * One end of a TCP connection for tests, as small as it can be and still right: it repeats what is not acknowledged (go
 * back n), keeps to the window of the other end, and asks again where that is closed, as Linux does (with the byte before).
 */
import type { FrameSpec } from '../../packet/frames.ts';
import type { Seen } from './network.ts';

const SEGMENT = 500;
const IN_FLIGHT = 2000;

export class MiniTcp {
  readonly received: number[] = [];
  isReset = false;
  isEstablished = false;
  private readonly first: number;
  private readonly data: Uint8Array;
  private readonly emit: (spec: Partial<FrameSpec>) => void;
  private hasBegun = false;
  /** Offsets into `data`: acknowledged, and sent. */
  private acknowledged = 0;
  private sent = 0;
  private expected = 0;
  private window = 0;

  constructor(first: number, data: Uint8Array, emit: (spec: Partial<FrameSpec>) => void) {
    this.first = first;
    this.data = data;
    this.emit = emit;
  }

  connect(): void {
    this.hasBegun = true;
    this.emit({ flags: 'S', seq: this.first });
  }

  take({ packet, flags }: Seen): void {
    const { view, l4 } = packet;
    const sequence = view.getUint32(l4 + 4);
    const acknowledged = (view.getUint32(l4 + 8) - this.first - 1) | 0;
    if (flags.includes('R')) {
      this.isReset = true;
      return;
    }
    if (flags === 'S') {
      this.expected = (sequence + 1) >>> 0;
      this.hasBegun = true;
      this.answer();
      return;
    }
    if (!this.hasBegun || acknowledged < this.acknowledged || acknowledged > this.data.length) return;
    if (flags === 'SA') {
      if (!this.isEstablished) this.expected = (sequence + 1) >>> 0;
      this.isEstablished = true;
      this.window = view.getUint16(l4 + 14);
      this.say(0, 0);
      this.push();
      return;
    }
    this.isEstablished = true;
    this.acknowledged = acknowledged;
    this.sent = Math.max(this.sent, acknowledged);
    this.window = view.getUint16(l4 + 14);
    const from = l4 + (view.getUint8(l4 + 12) >> 4) * 4;
    if (packet.end > from) {
      if (sequence === this.expected) {
        this.received.push(...packet.buffer.subarray(from, packet.end));
        this.expected = (this.expected + packet.end - from) >>> 0;
      }
      this.say(0, 0);
    } else if (((sequence - this.expected) | 0) < 0) this.say(0, 0);
    this.push();
  }

  /** Nothing has happened for a while. */
  repeat(): void {
    if (!this.hasBegun) return;
    if (!this.isEstablished) {
      if (this.expected === 0) this.emit({ flags: 'S', seq: this.first });
      else this.answer();
      return;
    }
    if (this.acknowledged === this.data.length) return;
    if (this.window === 0) this.say(-1, 0);
    this.sent = this.acknowledged;
    this.push();
  }

  private push(): void {
    const end = Math.min(this.data.length, this.acknowledged + Math.min(this.window, IN_FLIGHT));
    while (this.sent < end) {
      const length = Math.min(SEGMENT, end - this.sent);
      this.say(this.sent - this.acknowledged, length);
      this.sent += length;
    }
  }

  private answer(): void {
    this.emit({ flags: 'SA', seq: this.first, ack: this.expected, window: 4000 });
  }

  /** A segment that begins so far behind what is acknowledged. */
  private say(offset: number, length: number): void {
    const from = this.acknowledged + offset;
    const seq = (this.first + 1 + (length === 0 && offset >= 0 ? this.sent : from)) >>> 0;
    const payload = this.data.subarray(Math.max(0, from), Math.max(0, from) + length);
    this.emit({ flags: length > 0 ? 'PA' : 'A', seq, ack: this.expected, window: 4000, payload });
  }
}
