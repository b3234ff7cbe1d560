/**
 * TCP sockets of one thread, by completion: the thread asks for what it wants, and hears in `turn` what was done.
 *
 * Two implementations with one suite of tests: io_uring (uring-loop.ts; one system call a turn, whatever was asked for
 * in between) and epoll (epoll-loop.ts), where io_uring is forbidden. Nothing here knows about HTTP.
 *
 * Who owns what: a fd belongs to the loop from `accept`, `connect` or `receive` until `close`. Received buffers belong
 * to whom `onReceive` hands them. Bytes that are being sent must stay until `onSent`.
 */
import { EpollLoop } from './epoll-loop.ts';
import type { SocketBuffers } from './socket-buffers.ts';
import { UringLoop } from './uring-loop.ts';

/** What a loop tells. No event comes from within a call of the loop other than `turn`. */
export interface SocketEvents {
  /** Events follow: the first of a turn. */
  onTurn(): void;
  onAccept(listener: number, fd: number): void;
  /** `error` is 0 or an errno. */
  onConnect(fd: number, error: number): void;
  /** Bytes `offset` to `offset + length` of `buffers.bytes`; the buffer is the receiver's now, to give back. */
  onReceive(fd: number, buffer: number, offset: number, length: number): void;
  /** Nothing more will be received: the other side ended (0), or an errno. */
  onEnd(fd: number, error: number): void;
  /** What `send` was given is sent (0) or never will be (an errno). The only event that still comes after `close`. */
  onSent(fd: number, error: number): void;
  /** Another thread signalled the event fd. */
  onWake(): void;
}

export interface SocketLoop {
  readonly kind: LoopKind;
  readonly buffers: SocketBuffers;
  /** Goes on accepting until `stopAccepting`. */
  accept(listener: number): void;
  /** Ends accepting, and closes the listener. Connections that the kernel has accepted by then still come. */
  stopAccepting(listener: number): void;
  /** Listeners of which connections may still come. */
  readonly accepting: number;
  /** A fresh TCP socket for an address (socket-address.ts); -1 where none can be had. */
  socket(address: Uint8Array): number;
  /** Connects a socket; `length` bytes at `address` of `buffers.bytes` say where to. */
  connect(fd: number, address: number, length: number): void;
  /** Goes on receiving until `pause`. */
  receive(fd: number): void;
  /** What is on its way comes all the same. */
  pause(fd: number): void;
  /** One at a time for each fd. */
  send(fd: number, offset: number, length: number): void;
  /** Sends the end of the stream; receiving goes on. */
  shutdown(fd: number): void;
  /** Cuts short what is under way. Of this fd only `onSent` still comes, where something was being sent. */
  close(fd: number): void;
  /** Submits what was asked for, waits at most `timeoutMs` for the first event, and tells all there are. */
  turn(timeoutMs: number): void;
  /** Ends the loop itself; sockets must be closed before. */
  end(): void;
}

export type LoopKind = 'io_uring' | 'epoll';

/** The highest fd that a loop takes, plus one. */
export const MOST_FDS = 1 << 17;

/**
 * A loop: of the kind that is named, else io_uring, else epoll where the kernel refuses that. `wakeFd` is an event fd.
 * Throws ERR_KERNEL.
 */
export function openSocketLoop(
  buffers: SocketBuffers,
  events: SocketEvents,
  wakeFd: number,
  kind?: LoopKind,
): SocketLoop {
  if (kind === 'epoll') return new EpollLoop(buffers, events, wakeFd);
  try {
    return new UringLoop(buffers, events, wakeFd);
  } catch (error) {
    if (kind === 'io_uring') throw error;
    return new EpollLoop(buffers, events, wakeFd);
  }
}
