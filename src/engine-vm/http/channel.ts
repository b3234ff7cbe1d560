/**
 * One TCP connection as HTTP sees it: bytes come in buffers, bytes go out in buffers, in order, one send at a time. A
 * channel owns its fd: nobody else closes it. What is written is the channel's until it is sent.
 *
 * A session (TLS) stands between channel and owner where there is one: it gets what was received and writes what is to
 * be sent. Back-pressure: who writes looks at `isFull` and stops reading its own source until `onDrained`.
 */
import { type ConnectionEnds, peerAddress, socketEnds } from '../kernel/socket-address.ts';
import { BUFFER_BYTES, type SocketBuffers } from '../kernel/socket-buffers.ts';
import { MOST_FDS, type SocketEvents, type SocketLoop } from '../kernel/socket-loop.ts';

/** Who speaks on a channel: an HTTP/1 or HTTP/2 connection, to a client or a member. */
export interface ChannelOwner {
  /** Bytes from `at` to before `end`; the buffer is the owner's now, to write on or to give back. */
  onBytes(buffer: number, at: number, end: number): void;
  /** No more bytes will come: the other side has ended (0), or the connection is lost (errno). */
  onEnd(error: number): void;
  /** A channel that was full takes more. */
  onDrained(): void;
  /** `deadlineMs` has passed. */
  onDeadline(): void;
  /** After `Channels.connect`: connected (0), or not (errno). */
  onConnect(error: number): void;
}

/** What stands between a channel and its owner: bytes in, bytes out. A TLS session is one. */
export interface Session {
  /** Bytes that were received. Takes the buffer; hands what it makes of it to `channel.deliver`. */
  received(buffer: number, at: number, end: number): void;
  /** Bytes to be sent. Takes the buffer; hands what it makes of it to `channel.transmit`. */
  write(buffer: number, at: number, end: number): void;
  /** Nothing more is written: the last words of the protocol (close_notify) go to `channel.transmit`. */
  end(): void;
  /** The channel is closed: free what is held. */
  close(): void;
}

/** Buffers on their way in one channel, from which on it is full. */
const FULL = 3;
/** What is so short and has to wait is put together with what waits behind it. */
const SHORT_BYTES = 1024;

export class Channel {
  readonly fd: number;
  owner: ChannelOwner | null = null;
  session: Session | null = null;
  /** Both ends of the client's connection as a proxy in front told them; null where none did. */
  told: ConnectionEnds | null = null;
  #ends: ConnectionEnds | null = null;
  /** When `onDeadline` is called; 0 is never. Looked at a few times a second. */
  deadlineMs = 0;
  readonly #loop: SocketLoop;
  readonly #links: Links;
  #first = -1;
  #last = -1;
  /** Buffers that are queued or being sent. */
  #pending = 0;
  #isSending = false;
  #isConnected = false;
  #isPaused = false;
  #endsWhenSent = false;
  #closesWhenSent = false;
  #wasFull = false;
  /** The last one of the queue, where it is the channel's own and takes more. */
  #gathering = -1;
  isOpen = false;

  constructor(fd: number, loop: SocketLoop, links: Links) {
    this.fd = fd;
    this.#loop = loop;
    this.#links = links;
  }

  /** For `Channels`: begins anew with a fresh socket. */
  open(owner: ChannelOwner | null, isConnected: boolean): void {
    this.owner = owner;
    this.session = null;
    this.told = null;
    this.#ends = null;
    this.deadlineMs = 0;
    this.#first = -1;
    this.#last = -1;
    this.#pending = 0;
    this.#isSending = false;
    this.#isConnected = isConnected;
    this.#isPaused = false;
    this.#endsWhenSent = false;
    this.#closesWhenSent = false;
    this.#wasFull = false;
    this.#gathering = -1;
    this.isOpen = true;
  }

  /** The address of the client, as a proxy in front told it or the socket has it; empty where it is gone. */
  get peerAddress(): string {
    return this.told?.sourceAddress ?? peerAddress(this.fd);
  }

  /** Both ends of the client's connection; the same object for as long as that lasts. Null where it is gone. */
  get ends(): ConnectionEnds | null {
    this.#ends ??= this.told ?? socketEnds(this.fd);
    return this.#ends;
  }

  get isFull(): boolean {
    return this.#pending >= FULL;
  }

  /** Nothing is on its way. */
  get isIdle(): boolean {
    return this.#pending === 0;
  }

  /** Sends bytes from `at` to before `end`. The buffer is the channel's; on a closed channel it is given back at once. */
  write(buffer: number, at: number, end: number): void {
    if (this.session !== null) this.session.write(buffer, at, end);
    else this.transmit(buffer, at, end);
  }

  /** For sessions: what goes to the socket itself. */
  transmit(buffer: number, at: number, end: number): void {
    if (!this.isOpen || this.#endsWhenSent || end <= at) {
      this.#loop.buffers.give(buffer);
      return;
    }
    if (this.#first >= 0 && end - at <= SHORT_BYTES && this.#gather(buffer, at, end)) return;
    const { next, from, to } = this.#links;
    from[buffer] = at;
    to[buffer] = end;
    next[buffer] = -1;
    if (this.#last < 0) this.#first = buffer;
    else next[this.#last] = buffer;
    this.#last = buffer;
    this.#pending++;
    if (this.#pending >= FULL) this.#wasFull = true;
    this.#sendNext();
  }

  /** Something is on its way, so this waits: with others, in one buffer, as each send costs the same. */
  #gather(buffer: number, at: number, end: number): boolean {
    const { buffers } = this.#loop;
    const { from, to, next } = this.#links;
    let own = this.#gathering;
    const takesMore =
      own >= 0 &&
      own === this.#last &&
      !(own === this.#first && this.#isSending) &&
      to[own]! + end - at <= (own + 1) * BUFFER_BYTES;
    if (!takesMore) {
      own = buffers.take();
      if (own < 0) return false;
      from[own] = own * BUFFER_BYTES;
      to[own] = from[own]!;
      next[own] = -1;
      next[this.#last] = own;
      this.#last = own;
      this.#gathering = own;
      if (++this.#pending >= FULL) this.#wasFull = true;
    }
    buffers.bytes.copyWithin(to[own]!, at, end);
    to[own]! += end - at;
    buffers.give(buffer);
    return true;
  }

  /** For sessions: what the owner shall get. */
  deliver(buffer: number, at: number, end: number): void {
    if (this.isOpen && this.owner !== null) this.owner.onBytes(buffer, at, end);
    else this.#loop.buffers.give(buffer);
  }

  #sendNext(): void {
    if (this.#isSending || this.#first < 0 || !this.#isConnected) return;
    this.#isSending = true;
    const at = this.#links.from[this.#first]!;
    this.#loop.send(this.fd, at, this.#links.to[this.#first]! - at);
  }

  connected(): void {
    this.#isConnected = true;
    this.#sendNext();
  }

  /** For `Channels`: the send at the head of the queue is over. */
  sent(error: number): void {
    this.#isSending = false;
    const buffer = this.#first;
    this.#first = this.#links.next[buffer]!;
    if (this.#first < 0) this.#last = -1;
    this.#pending--;
    this.#loop.buffers.give(buffer);
    if (!this.isOpen) {
      this.#drop();
      return;
    }
    if (error !== 0) {
      this.#drop();
      this.owner?.onEnd(error);
      return;
    }
    this.#sendNext();
    if (this.#pending === 0 && this.#closesWhenSent) {
      this.owner?.onEnd(0);
      return;
    }
    if (this.#pending === 0 && this.#endsWhenSent) this.#loop.shutdown(this.fd);
    if (this.#wasFull && this.#pending <= 1) {
      this.#wasFull = false;
      this.owner?.onDrained();
    }
  }

  /** Gives back what is queued and not being sent. */
  #drop(): void {
    const { next } = this.#links;
    let buffer = this.#isSending ? next[this.#first]! : this.#first;
    while (buffer >= 0) {
      const after = next[buffer]!;
      this.#loop.buffers.give(buffer);
      this.#pending--;
      buffer = after;
    }
    if (this.#isSending) {
      next[this.#first] = -1;
      this.#last = this.#first;
    } else {
      this.#first = -1;
      this.#last = -1;
    }
  }

  pause(): void {
    if (this.#isPaused || !this.isOpen) return;
    this.#isPaused = true;
    this.#loop.pause(this.fd);
  }

  resume(): void {
    if (!this.#isPaused || !this.isOpen) return;
    this.#isPaused = false;
    this.#loop.receive(this.fd);
  }

  /** Ends our side once all is sent; the other side may still be read. */
  end(): void {
    this.session?.end();
    if (!this.isOpen || this.#endsWhenSent) return;
    this.#endsWhenSent = true;
    if (this.#pending === 0) this.#loop.shutdown(this.fd);
  }

  /** Tells the owner of an end once all is sent: it closes then. Nothing more may be written. */
  finish(): void {
    this.session?.end();
    if (!this.isOpen) return;
    this.#closesWhenSent = true;
    this.#endsWhenSent = true;
    if (this.#pending === 0) this.owner?.onEnd(0);
  }

  /** Closes at once; what is not sent is dropped. The owner hears nothing more. */
  close(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.deadlineMs = 0;
    this.owner = null;
    this.session?.close();
    this.session = null;
    this.#drop();
    this.#loop.close(this.fd);
  }
}

/** The queue of each channel, as links between its buffers: a buffer is in one queue at a time. */
interface Links {
  readonly next: Int32Array;
  readonly from: Int32Array;
  readonly to: Int32Array;
}

/** All channels of a thread by fd. Events of the loop come here. */
export class Channels implements SocketEvents {
  /** Monotonic milliseconds, taken once a turn. */
  nowMs = performance.now();
  onAccepted: (channel: Channel, listener: number) => void = (channel) => channel.close();
  onWoken: () => void = () => undefined;
  #loop!: SocketLoop;
  #links!: Links;
  readonly #channels: Channel[] = [];
  #nextLookMs = 0;

  /** The loop is made with this as its events, so it comes after. */
  attach(loop: SocketLoop): void {
    this.#loop = loop;
    const { count } = loop.buffers;
    this.#links = { next: new Int32Array(count), from: new Int32Array(count), to: new Int32Array(count) };
  }

  get loop(): SocketLoop {
    return this.#loop;
  }

  get buffers(): SocketBuffers {
    return this.#loop.buffers;
  }

  #at(fd: number): Channel {
    if (fd >= MOST_FDS) throw new RangeError(`file descriptor ${fd} is beyond what a thread takes`);
    while (this.#channels.length <= fd)
      this.#channels.push(new Channel(this.#channels.length, this.#loop, this.#links));
    return this.#channels[fd]!;
  }

  /** A channel on a fresh socket, connecting to the address at that offset; the owner hears `onConnect`. */
  connect(fd: number, owner: ChannelOwner | null, address: number, length: number): Channel {
    const channel = this.#at(fd);
    channel.open(owner, false);
    this.#loop.connect(fd, address, length);
    return channel;
  }

  onAccept(listener: number, fd: number): void {
    const channel = this.#at(fd);
    channel.open(null, true);
    this.#loop.receive(fd);
    this.onAccepted(channel, listener);
  }

  onConnect(fd: number, error: number): void {
    const channel = this.#channels[fd]!;
    if (!channel.isOpen) return;
    if (error === 0) {
      channel.connected();
      this.#loop.receive(fd);
    }
    channel.owner?.onConnect(error);
  }

  onReceive(fd: number, buffer: number, offset: number, length: number): void {
    const channel = this.#channels[fd]!;
    if (channel.session !== null) channel.session.received(buffer, offset, offset + length);
    else if (channel.owner !== null) channel.owner.onBytes(buffer, offset, offset + length);
    else this.buffers.give(buffer);
  }

  onEnd(fd: number, error: number): void {
    this.#channels[fd]!.owner?.onEnd(error);
  }

  onSent(fd: number, error: number): void {
    this.#channels[fd]!.sent(error);
  }

  onTurn(): void {
    this.nowMs = performance.now();
  }

  onWake(): void {
    this.onWoken();
  }

  /** One turn of the loop, and the deadlines that have passed. */
  turn(timeoutMs = LOOK_MS): void {
    this.#loop.turn(timeoutMs);
    if (this.nowMs >= this.#nextLookMs) this.#look();
  }

  /** One walk over all channels: cheaper than moving each of them about a timer wheel at every request. */
  #look(): void {
    this.#nextLookMs = this.nowMs + LOOK_MS;
    for (const channel of this.#channels) {
      if (channel.deadlineMs === 0 || channel.deadlineMs > this.nowMs) continue;
      channel.deadlineMs = 0;
      channel.owner?.onDeadline();
    }
  }
}

const LOOK_MS = 100;
