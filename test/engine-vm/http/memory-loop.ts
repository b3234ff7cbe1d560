/** A SocketLoop without sockets: what is sent is kept as text, what is received is put in by hand. For fuzzing. */
import type { SocketBuffers } from '../../../src/engine-vm/kernel/socket-buffers.ts';
import type { SocketEvents, SocketLoop } from '../../../src/engine-vm/kernel/socket-loop.ts';

export class MemoryLoop implements SocketLoop {
  readonly kind = 'epoll';
  readonly accepting = 0;
  readonly buffers: SocketBuffers;
  /** Text that was sent by fd; of open ones, and of closed ones until they are forgotten. */
  readonly sent = new Map<number, string>();
  /** Connections to members. */
  readonly members = new Set<number>();
  readonly #events: SocketEvents;
  readonly #free: number[] = [];
  #highest = 10;
  #tasks: (() => void)[] = [];
  readonly #open = new Set<number>();
  readonly #paused = new Set<number>();
  /** What came while nothing was to be received. */
  readonly #waiting = new Map<number, (string | null)[]>();

  constructor(buffers: SocketBuffers, events: SocketEvents) {
    this.buffers = buffers;
    this.#events = events;
  }

  #take(): number {
    const fd = this.#free.pop() ?? this.#highest++;
    this.sent.set(fd, '');
    this.#open.add(fd);
    this.#paused.add(fd);
    this.#waiting.delete(fd);
    return fd;
  }

  /** A client connects; returns its fd. */
  connectClient(listener: number): number {
    const fd = this.#take();
    this.#events.onAccept(listener, fd);
    return fd;
  }

  /** Bytes come, or with null the end. */
  arrive(fd: number, text: string | null): void {
    if (!this.#open.has(fd)) return;
    if (this.#paused.has(fd)) {
      this.#waiting.set(fd, [...(this.#waiting.get(fd) ?? []), text]);
      return;
    }
    if (text === null) {
      this.#paused.add(fd);
      this.#events.onEnd(fd, 0);
      return;
    }
    const buffer = this.buffers.take();
    const at = this.buffers.start(buffer);
    for (let n = 0; n < text.length; n++) this.buffers.bytes[at + n] = text.charCodeAt(n);
    this.#events.onReceive(fd, buffer, at, text.length);
  }

  isOpen(fd: number): boolean {
    return this.#open.has(fd);
  }

  accept(): void {}

  stopAccepting(): void {}

  socket(): number {
    const fd = this.#take();
    this.members.add(fd);
    return fd;
  }

  connect(fd: number): void {
    this.#tasks.push(() => {
      if (this.#open.has(fd)) this.#events.onConnect(fd, 0);
    });
  }

  receive(fd: number): void {
    this.#paused.delete(fd);
    const waiting = this.#waiting.get(fd);
    this.#waiting.delete(fd);
    for (const text of waiting ?? []) this.#tasks.push(() => this.arrive(fd, text));
  }

  pause(fd: number): void {
    this.#paused.add(fd);
  }

  send(fd: number, offset: number, length: number): void {
    const text = Buffer.from(this.buffers.bytes.buffer, offset, length).toString('latin1');
    this.#tasks.push(() => {
      // Cut short by a close: then nobody got it.
      if (this.#open.has(fd)) this.sent.set(fd, this.sent.get(fd)! + text);
      this.#events.onSent(fd, this.#open.has(fd) ? 0 : 125);
    });
  }

  shutdown(): void {}

  close(fd: number): void {
    this.#open.delete(fd);
    this.members.delete(fd);
    // The number comes back once all that was under way is told.
    this.#tasks.push(() => this.#free.push(fd));
  }

  turn(): void {
    this.#events.onTurn();
    while (this.#tasks.length > 0) {
      const tasks = this.#tasks;
      this.#tasks = [];
      for (const task of tasks) task();
    }
  }

  end(): void {}
}
