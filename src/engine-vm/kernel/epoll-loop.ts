/**
 * TCP sockets by epoll, where io_uring is forbidden: one epoll_wait a turn, then one system call for each receive and
 * send. Behaves as uring-loop.ts does: completions are told in `turn` only.
 */
import ffi from 'node:ffi';
import { constants } from 'node:os';
import { errno, kernelError, libc } from './libc.ts';
import { setWaiting, tcpSocket } from './socket-address.ts';
import { BUFFER_BYTES, HEADROOM, RECEIVE_BYTES, type SocketBuffers } from './socket-buffers.ts';
import { MOST_FDS, type SocketEvents, type SocketLoop } from './socket-loop.ts';

const EPOLL_CLOEXEC = 0x80000;
const [ADD, DELETE, MODIFY] = [1, 2, 3];
const EPOLLIN = 1;
const EPOLLOUT = 4;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const SOCK_NONBLOCK_CLOEXEC = 0x80800;
const SOL_SOCKET = 1;
const SO_ERROR = 4;
const { EAGAIN, EINTR, EINPROGRESS, ECANCELED, ECONNABORTED } = constants.errno;

/** Events of one epoll_wait. */
const BATCH = 512;
/** Connections that are accepted before others get their turn. */
const ACCEPTS = 64;

const WANTED = 1;
const SENDING = 2;
const CONNECTING = 4;
const LISTENING = 8;
const CLOSED = 16;

// With lengths of 32 bits, which are numbers: those of 64 are bigints, allocated at every call.
const { recv, send } = ffi.dlopen('libc.so.6', {
  recv: { arguments: ['i32', 'pointer', 'u32', 'i32'], return: 'i32' },
  send: { arguments: ['i32', 'pointer', 'u32', 'i32'], return: 'i32' },
}).functions;

export class EpollLoop implements SocketLoop {
  readonly kind = 'epoll';
  readonly buffers: SocketBuffers;
  readonly #events: SocketEvents;
  readonly #fd: number;
  readonly #wakeFd: number;
  readonly #state = new Uint8Array(MOST_FDS);
  /** What epoll watches a fd for. */
  readonly #watched = new Uint8Array(MOST_FDS);
  readonly #sendAt = new Int32Array(MOST_FDS);
  readonly #sendEnd = new Int32Array(MOST_FDS);
  /** struct epoll_event is packed: 12 bytes. */
  readonly #ready = new DataView(new ArrayBuffer(BATCH * 12));
  readonly #event = new Uint32Array(3);
  readonly #word = new Int32Array(1);
  readonly #wordLength = new Uint32Array(1);
  readonly #wake = new BigUint64Array(1);
  /** Sends to be tried, sends of closed fds whose end is to be told, and fds to be closed. */
  #toSend: number[] = [];
  #sent: number[] = [];
  #closing: number[] = [];

  constructor(buffers: SocketBuffers, events: SocketEvents, wakeFd: number) {
    this.buffers = buffers;
    this.#events = events;
    this.#wakeFd = wakeFd;
    this.#fd = libc.epoll_create1(EPOLL_CLOEXEC);
    if (this.#fd < 0) throw kernelError('epoll_create1', 'the sockets of a thread');
    this.#watch(wakeFd, EPOLLIN);
  }

  #watch(fd: number, interest: number): void {
    const before = this.#watched[fd]!;
    if (before === interest) return;
    this.#event[0] = interest;
    this.#event[1] = fd;
    const operation = interest === 0 ? DELETE : before === 0 ? ADD : MODIFY;
    libc.epoll_ctl(this.#fd, operation!, fd, this.#event);
    this.#watched[fd] = interest;
  }

  #update(fd: number): void {
    const state = this.#state[fd]!;
    const isBlocked = (state & SENDING) !== 0 && this.#isBlocked(fd);
    const reads = (state & (WANTED | LISTENING)) !== 0 && (state & CONNECTING) === 0;
    this.#watch(fd, (reads ? EPOLLIN : 0) | (isBlocked || (state & CONNECTING) !== 0 ? EPOLLOUT : 0));
  }

  #isBlocked(fd: number): boolean {
    return (this.#watched[fd]! & EPOLLOUT) !== 0;
  }

  accepting = 0;

  accept(listener: number): void {
    setWaiting(listener, false);
    this.accepting++;
    this.#state[listener] = LISTENING;
    this.#update(listener);
  }

  stopAccepting(listener: number): void {
    this.accepting--;
    this.close(listener);
  }

  socket(address: Uint8Array): number {
    return tcpSocket(address);
  }

  connect(fd: number, address: number, length: number): void {
    setWaiting(fd, false);
    this.#state[fd] = (this.#state[fd]! | CONNECTING) & ~CLOSED;
    // How it went is told by the fd becoming writable, also where it failed at once.
    if (libc.connect(fd, this.buffers.address(address), length) < 0 && errno() !== EINPROGRESS) {
      this.#failed.set(fd, errno());
    }
    this.#update(fd);
  }

  /** Connects that failed before the fd could become writable. */
  readonly #failed = new Map<number, number>();

  receive(fd: number): void {
    this.#state[fd] = (this.#state[fd]! | WANTED) & ~CLOSED;
    this.#update(fd);
  }

  pause(fd: number): void {
    this.#state[fd]! &= ~WANTED;
    this.#update(fd);
  }

  send(fd: number, offset: number, length: number): void {
    this.#sendAt[fd] = offset;
    this.#sendEnd[fd] = offset + length;
    this.#state[fd]! |= SENDING;
    this.#toSend.push(fd);
  }

  #send(fd: number): void {
    if ((this.#state[fd]! & SENDING) === 0) return;
    for (;;) {
      const at = this.#sendAt[fd]!;
      const left = this.#sendEnd[fd]! - at;
      const done = send(fd, this.buffers.address(at), left, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (done === left) this.#tellSent(fd, 0);
      else if (done >= 0) {
        this.#sendAt[fd]! += done;
        continue;
      } else if (errno() === EAGAIN) {
        this.#watch(fd, this.#watched[fd]! | EPOLLOUT);
        return;
      } else if (errno() === EINTR) continue;
      else this.#tellSent(fd, errno());
      return;
    }
  }

  #tellSent(fd: number, error: number): void {
    this.#state[fd]! &= ~SENDING;
    if (this.#isBlocked(fd)) this.#watch(fd, this.#watched[fd]! & ~EPOLLOUT);
    this.#events.onSent(fd, error);
  }

  shutdown(fd: number): void {
    libc.shutdown(fd, 1);
  }

  close(fd: number): void {
    const state = this.#state[fd]!;
    if ((state & CLOSED) !== 0) return;
    this.#watch(fd, 0);
    this.#failed.delete(fd);
    this.#state[fd] = CLOSED;
    if ((state & SENDING) !== 0) this.#sent.push(fd);
    // Closed at the next turn, so that the number does not come back while events of this turn are still to be told.
    this.#closing.push(fd);
  }

  turn(timeoutMs: number): void {
    this.#events.onTurn();
    this.#sendAll();
    const [sent, closing] = [this.#sent, this.#closing];
    this.#sent = [];
    this.#closing = [];
    for (const fd of sent) this.#events.onSent(fd, ECANCELED);
    for (const fd of closing) libc.close(fd);
    for (const [fd, error] of this.#failed) {
      this.#failed.delete(fd);
      this.#connected(fd, error);
    }
    const hasWork = this.#toSend.length + this.#sent.length + this.#closing.length > 0;
    const count = libc.epoll_wait(this.#fd, this.#ready, BATCH, hasWork ? 0 : timeoutMs);
    if (count < 0 && errno() !== EINTR) throw kernelError('epoll_wait', 'the sockets of a thread');
    this.#events.onTurn();
    for (let n = 0; n < count; n++) {
      const events = this.#ready.getUint32(n * 12, true);
      const fd = this.#ready.getUint32(n * 12 + 4, true);
      if (fd === this.#wakeFd) {
        libc.read(fd, this.#wake, 8n);
        this.#events.onWake();
        continue;
      }
      const state = this.#state[fd]!;
      if ((state & CLOSED) !== 0) continue;
      if ((state & LISTENING) !== 0) this.#accept(fd);
      else if ((state & CONNECTING) !== 0) this.#connected(fd, this.#errorOf(fd));
      else {
        if ((state & SENDING) !== 0 && (events & ~EPOLLIN) !== 0) this.#send(fd);
        if ((this.#state[fd]! & (WANTED | CLOSED)) === WANTED && (events & ~EPOLLOUT) !== 0)
          this.#receive(fd);
      }
    }
    // What was asked for in this turn goes out with it.
    this.#sendAll();
  }

  #sendAll(): void {
    const list = this.#toSend;
    this.#toSend = [];
    for (const fd of list) this.#send(fd);
  }

  #errorOf(fd: number): number {
    this.#wordLength[0] = 4;
    libc.getsockopt(fd, SOL_SOCKET, SO_ERROR, this.#word, this.#wordLength);
    return this.#word[0]!;
  }

  #connected(fd: number, error: number): void {
    if ((this.#state[fd]! & CONNECTING) === 0) return;
    this.#state[fd]! &= ~CONNECTING;
    this.#update(fd);
    this.#events.onConnect(fd, error);
  }

  #accept(listener: number): void {
    for (let n = 0; n < ACCEPTS && this.#state[listener] === LISTENING; n++) {
      const fd = libc.accept4(listener, null, null, SOCK_NONBLOCK_CLOEXEC);
      if (fd < 0) {
        if (errno() === ECONNABORTED || errno() === EINTR) continue;
        return;
      }
      if (fd >= MOST_FDS) {
        libc.close(fd);
        continue;
      }
      this.#state[fd] = 0;
      this.#watched[fd] = 0;
      this.#events.onAccept(listener, fd);
    }
  }

  #receive(fd: number): void {
    const buffer = this.buffers.take();
    // Readable it stays, so the next turn tries again.
    if (buffer < 0) return;
    const at = buffer * BUFFER_BYTES + HEADROOM;
    const length = recv(fd, this.buffers.address(at), RECEIVE_BYTES, MSG_DONTWAIT);
    if (length > 0) {
      this.#events.onReceive(fd, buffer, at, length);
      return;
    }
    const error = length < 0 ? errno() : 0;
    this.buffers.give(buffer);
    if (error === EAGAIN || error === EINTR) return;
    this.#state[fd]! &= ~WANTED;
    this.#update(fd);
    this.#events.onEnd(fd, error);
  }

  end(): void {
    for (const fd of this.#closing.splice(0)) libc.close(fd);
    libc.close(this.#fd);
  }
}
