/**
 * TCP sockets by io_uring: accepting and receiving go on by themselves (multishot), into buffers that the kernel takes
 * from a ring; sends are batched; one system call a turn.
 *
 * A fd is closed only when nothing of it is under way any more: its number cannot come back from the kernel while an
 * operation on the earlier socket is still to be told of.
 */
import { constants } from 'node:os';
import { IoUring } from './io-uring.ts';
import { libc } from './libc.ts';
import { setWaiting, tcpSocket } from './socket-address.ts';
import { BUFFER_BYTES, HEADROOM, RECEIVE_BYTES, type SocketBuffers } from './socket-buffers.ts';
import { MOST_FDS, type SocketEvents, type SocketLoop } from './socket-loop.ts';

const OP_POLL_ADD = 6;
const OP_ACCEPT = 13;
const OP_ASYNC_CANCEL = 14;
const OP_CONNECT = 16;
const OP_CLOSE = 19;
const OP_SEND = 26;
const OP_RECV = 27;
const SQE_BUFFER_SELECT = 1 << 5;
const SQE_SKIP_SUCCESS = 1 << 6;
const RECV_MULTISHOT = 1 << 1;
const ACCEPT_MULTISHOT = 1;
const POLLIN = 1;
const MSG_WAITALL = 0x100;
const MSG_NOSIGNAL = 0x4000;
const SOCK_CLOEXEC = 0x80000;
const CQE_BUFFER = 1;
const CQE_MORE = 2;
const { ENOBUFS, ECANCELED, EINTR, EAGAIN, EMFILE, ENFILE } = constants.errno;

/** What a completion is of; the high word of its user data, the fd being the low one. */
const RECEIVED = 1;
const SENT = 2;
const ACCEPTED = 3;
const CONNECTED = 4;
const WOKEN = 5;
const OTHER = 6;

/** What is under way of a fd, and what is wanted. */
const RECEIVING = 1;
const WANTED = 2;
const SENDING = 4;
const CONNECTING = 8;
const CLOSING = 16;
const CANCELLING = 32;
const ACCEPTING = 64;
const UNDER_WAY = RECEIVING | SENDING | CONNECTING | ACCEPTING;

/** Buffers that the kernel may fill before we look again. Few, so that the same pages are used again soon. */
const OFFERED = 512;

/** How long a listener without fds waits. */
const DEAF_MS = 50;

export class UringLoop implements SocketLoop {
  readonly kind = 'io_uring';
  readonly buffers: SocketBuffers;
  readonly #events: SocketEvents;
  readonly #ring: IoUring;
  readonly #state = new Uint8Array(MOST_FDS);
  readonly #sendAt = new Int32Array(MOST_FDS);
  readonly #sendEnd = new Int32Array(MOST_FDS);
  /** Receives that found no buffer, to be begun again. */
  readonly #starved: number[] = [];
  /** Listeners that found no fd to accept with, and when they try again. */
  readonly #deaf: number[] = [];
  #deafUntilMs = 0;
  readonly #wakeFd: number;
  readonly #wake = new BigUint64Array(1);
  /** Words of the ring of offered buffers; its tail is the 16 bits at byte 14. */
  readonly #offer: number;
  readonly #halves: Uint16Array;
  readonly #offerTail: number;
  #offered = 0;
  #tail = 0;

  constructor(buffers: SocketBuffers, events: SocketEvents, wakeFd: number) {
    this.buffers = buffers;
    this.#events = events;
    this.#ring = new IoUring(4096, 16_384, buffers);
    try {
      const ring = buffers.reserve(OFFERED * 16, 4096);
      this.#offer = ring >> 2;
      this.#halves = new Uint16Array(buffers.bytes.buffer);
      this.#offerTail = (ring >> 1) + 7;
      this.#ring.registerBuffers(buffers, ring, OFFERED);
    } catch (error) {
      this.#ring.close();
      throw error;
    }
    this.#wakeFd = wakeFd;
    this.#refill();
    this.#awaitWake();
  }

  /** Offers free buffers to the kernel until it has enough. */
  #refill(): void {
    const { buffers } = this;
    const { words } = buffers;
    while (this.#offered < OFFERED) {
      const buffer = buffers.take();
      if (buffer < 0) break;
      const at = this.#offer + ((this.#tail & (OFFERED - 1)) << 2);
      const address = buffers.addressNumber(buffer * BUFFER_BYTES + HEADROOM);
      words[at] = address >>> 0;
      words[at + 1] = (address / 4294967296) >>> 0;
      words[at + 2] = RECEIVE_BYTES;
      // The other half of this word of the first entry is the tail.
      this.#halves[(at << 1) + 6] = buffer;
      this.#tail = (this.#tail + 1) & 0xffff;
      this.#offered++;
    }
    Atomics.store(this.#halves, this.#offerTail, this.#tail);
  }

  #entry(word: number, fd: number, of: number, kind: number): number {
    const at = this.#ring.entry();
    const { entries } = this.#ring;
    entries[at] = word;
    entries[at + 1] = fd;
    entries[at + 8] = of;
    entries[at + 9] = kind;
    return at;
  }

  #point(at: number, offset: number): void {
    const address = this.buffers.addressNumber(offset);
    this.#ring.entries[at + 4] = address >>> 0;
    this.#ring.entries[at + 5] = (address / 4294967296) >>> 0;
  }

  #awaitWake(): void {
    const at = this.#entry(OP_POLL_ADD, this.#wakeFd, this.#wakeFd, WOKEN);
    this.#ring.entries[at + 7] = POLLIN;
  }

  accepting = 0;

  accept(listener: number): void {
    this.accepting++;
    // One that was taken over may come from a process with epoll.
    setWaiting(listener, true);
    this.#state[listener] = ACCEPTING;
    const at = this.#entry(OP_ACCEPT | (ACCEPT_MULTISHOT << 16), listener, listener, ACCEPTED);
    this.#ring.entries[at + 7] = SOCK_CLOEXEC;
  }

  stopAccepting(listener: number): void {
    const at = this.#deaf.indexOf(listener);
    if (at >= 0) this.#deaf.splice(at, 1);
    this.close(listener);
  }

  socket(address: Uint8Array): number {
    return tcpSocket(address);
  }

  connect(fd: number, address: number, length: number): void {
    this.#state[fd] |= CONNECTING;
    const at = this.#entry(OP_CONNECT, fd, fd, CONNECTED);
    this.#ring.entries[at + 2] = length;
    this.#point(at, address);
  }

  receive(fd: number): void {
    const state = this.#state[fd]!;
    this.#state[fd] = state | WANTED;
    if ((state & (RECEIVING | CLOSING)) === 0) this.#receive(fd);
  }

  #receive(fd: number): void {
    this.#state[fd] = (this.#state[fd]! | RECEIVING) & ~CANCELLING;
    this.#entry(OP_RECV | (SQE_BUFFER_SELECT << 8) | (RECV_MULTISHOT << 16), fd, fd, RECEIVED);
  }

  pause(fd: number): void {
    const state = this.#state[fd]! & ~WANTED;
    this.#state[fd] = state;
    if ((state & (RECEIVING | CANCELLING)) === RECEIVING) this.#cancelReceive(fd);
  }

  #cancelReceive(fd: number): void {
    this.#state[fd]! |= CANCELLING;
    this.#cancel(fd, RECEIVED);
  }

  #cancel(fd: number, kind: number): void {
    const at = this.#entry(OP_ASYNC_CANCEL | (SQE_SKIP_SUCCESS << 8), -1, fd, OTHER);
    this.#ring.entries[at + 4] = fd;
    this.#ring.entries[at + 5] = kind;
  }

  send(fd: number, offset: number, length: number): void {
    this.#sendAt[fd] = offset;
    this.#sendEnd[fd] = offset + length;
    this.#state[fd]! |= SENDING;
    this.#send(fd);
  }

  #send(fd: number): void {
    const at = this.#entry(OP_SEND, fd, fd, SENT);
    this.#point(at, this.#sendAt[fd]!);
    this.#ring.entries[at + 6] = this.#sendEnd[fd]! - this.#sendAt[fd]!;
    this.#ring.entries[at + 7] = MSG_NOSIGNAL | MSG_WAITALL;
  }

  shutdown(fd: number): void {
    libc.shutdown(fd, 1);
  }

  close(fd: number): void {
    const state = this.#state[fd]!;
    if ((state & CLOSING) !== 0) return;
    this.#state[fd] = (state | CLOSING) & ~WANTED;
    if ((state & (RECEIVING | CANCELLING)) === RECEIVING) this.#cancelReceive(fd);
    if ((state & SENDING) !== 0) this.#cancel(fd, SENT);
    if ((state & CONNECTING) !== 0) this.#cancel(fd, CONNECTED);
    if ((state & ACCEPTING) !== 0) this.#cancel(fd, ACCEPTED);
    this.#closeIfIdle(fd);
  }

  #closeIfIdle(fd: number): void {
    if ((this.#state[fd]! & UNDER_WAY) !== 0) return;
    // From the moment the kernel closes it, the number may come back by accepting.
    this.#state[fd] = 0;
    this.#entry(OP_CLOSE | (SQE_SKIP_SUCCESS << 8), fd, fd, OTHER);
  }

  turn(timeoutMs: number): void {
    const ring = this.#ring;
    ring.enter(1, timeoutMs);
    this.#events.onTurn();
    const { words, signed, completions, completionMask } = ring;
    const tail = ring.tail;
    for (let head = ring.head; head !== tail; head = (head + 1) >>> 0) {
      const at = completions + ((head & completionMask) << 2);
      const fd = words[at]!;
      const result = signed[at + 2]!;
      const flags = words[at + 3]!;
      switch (words[at + 1]) {
        case RECEIVED:
          this.#received(fd, result, flags);
          break;
        case SENT:
          this.#sent(fd, result);
          break;
        case ACCEPTED:
          this.#accepted(fd, result, flags);
          break;
        case CONNECTED:
          this.#state[fd]! &= ~CONNECTING;
          if ((this.#state[fd]! & CLOSING) !== 0) this.#closeIfIdle(fd);
          else this.#events.onConnect(fd, result < 0 ? -result : 0);
          break;
        case WOKEN:
          if (result === -ECANCELED) break;
          libc.read(fd, this.#wake, 8n);
          this.#awaitWake();
          this.#events.onWake();
          break;
      }
    }
    ring.consumed(tail);
    this.#refill();
    if (this.#starved.length > 0 && this.#offered > 0) this.#feed();
    if (this.#deaf.length > 0) this.#listenAgain();
  }

  #listenAgain(): void {
    const now = performance.now();
    if (now < this.#deafUntilMs) return;
    this.#deafUntilMs = now + DEAF_MS;
    for (const listener of this.#deaf.splice(0)) if (this.#state[listener] === 0) this.accept(listener);
  }

  #feed(): void {
    for (const fd of this.#starved.splice(0)) {
      if ((this.#state[fd]! & (WANTED | RECEIVING | CLOSING)) === WANTED) this.#receive(fd);
    }
  }

  #received(fd: number, result: number, flags: number): void {
    const isLast = (flags & CQE_MORE) === 0;
    if (isLast) this.#state[fd]! &= ~(RECEIVING | CANCELLING);
    const isClosing = (this.#state[fd]! & CLOSING) !== 0;
    if ((flags & CQE_BUFFER) !== 0) {
      const buffer = flags >>> 16;
      this.#offered--;
      if (result > 0 && !isClosing) {
        this.#events.onReceive(fd, buffer, buffer * BUFFER_BYTES + HEADROOM, result);
      } else this.buffers.give(buffer);
    }
    if (!isLast) return;
    const state = this.#state[fd]!;
    if ((state & CLOSING) !== 0) {
      // `close` in onReceive has found nothing under way, and has closed it: then the state is 0.
      if (isClosing) this.#closeIfIdle(fd);
    } else if (result > 0 || result === -ECANCELED) {
      if ((state & (WANTED | RECEIVING)) === WANTED) this.#receive(fd);
    } else if (result === -ENOBUFS) this.#starved.push(fd);
    else this.#events.onEnd(fd, -result);
  }

  #sent(fd: number, result: number): void {
    const isClosing = (this.#state[fd]! & CLOSING) !== 0;
    if (!isClosing && (result >= 0 || result === -EINTR || result === -EAGAIN)) {
      this.#sendAt[fd]! += Math.max(0, result);
      if (this.#sendAt[fd]! < this.#sendEnd[fd]!) {
        this.#send(fd);
        return;
      }
    }
    this.#state[fd]! &= ~SENDING;
    // Cut short by a close, it may be told as sent in part.
    const isWhole = result >= 0 && (!isClosing || this.#sendAt[fd]! + result === this.#sendEnd[fd]);
    this.#events.onSent(fd, isWhole ? 0 : result < 0 ? -result : ECANCELED);
    if (isClosing) this.#closeIfIdle(fd);
  }

  #accepted(listener: number, result: number, flags: number): void {
    const isLast = (flags & CQE_MORE) === 0;
    if (isLast) {
      this.#state[listener]! &= ~ACCEPTING;
      this.accepting--;
    }
    const isClosing = (this.#state[listener]! & CLOSING) !== 0;
    if (result >= 0) {
      if (result >= MOST_FDS) libc.close(result);
      else {
        this.#state[result] = 0;
        this.#events.onAccept(listener, result);
      }
    }
    if (!isLast) return;
    if (isClosing) this.#closeIfIdle(listener);
    // Without fds (EMFILE) it is tried again a little later: until then connections wait in the backlog.
    else if (result === -EMFILE || result === -ENFILE) this.#deaf.push(listener);
    else if ((this.#state[listener]! & ACCEPTING) === 0) this.accept(listener);
  }

  end(): void {
    this.#ring.enter(0, 0);
    this.#ring.close();
  }
}
