/** The TLS of the clients of load-program.ts: handshakes, and records around requests and responses. */
import { readFileSync } from 'node:fs';
import { HEADROOM, RECEIVE_BYTES, type SocketBuffers } from '../../src/engine-vm/kernel/socket-buffers.ts';
import type { SocketLoop } from '../../src/engine-vm/kernel/socket-loop.ts';
import { TlsMemberContext } from '../../src/engine-vm/kernel/tls-member-context.ts';
import { TlsPipe, WANTS } from '../../src/engine-vm/kernel/tls-pipe.ts';

export interface TlsClientEvents {
  secured(fd: number): void;
  received(fd: number, offset: number, length: number): void;
  failed(fd: number): void;
}

export class TlsClients {
  readonly #loop: SocketLoop;
  readonly #buffers: SocketBuffers;
  readonly #events: TlsClientEvents;
  readonly #pipe: TlsPipe;
  readonly #context: TlsMemberContext;
  readonly #sessions = new Map<
    number,
    { ssl: bigint; isSecured: boolean; queue: number[]; lengths: number[] }
  >();

  /** Believes the certificate in that file. */
  constructor(loop: SocketLoop, certificateFile: string, events: TlsClientEvents) {
    this.#loop = loop;
    this.#buffers = loop.buffers;
    this.#events = events;
    this.#pipe = new TlsPipe(loop.buffers);
    this.#context = new TlsMemberContext({
      authorities: readFileSync(certificateFile, 'utf8'),
      isLatestOnly: true,
    });
  }

  begin(fd: number): void {
    this.#sessions.set(fd, {
      ssl: this.#pipe.open(this.#context, false),
      isSecured: false,
      queue: [],
      lengths: [],
    });
    this.received(fd, 0, 0);
  }

  received(fd: number, at: number, length: number): void {
    const session = this.#sessions.get(fd)!;
    const end = at + length;
    let from = at;
    if (!session.isSecured) {
      const result = this.#pipe.handshake(session.ssl, at, end, null);
      from = this.#pipe.taken;
      session.isSecured = result === 1;
      if (result === 1) this.#events.secured(fd);
      else if (result !== WANTS) {
        this.#events.failed(fd);
        return;
      }
      this.#flush(fd);
    }
    while (from < end) {
      const buffer = this.#buffers.take();
      const got = this.#pipe.read(session.ssl, from, end, buffer, RECEIVE_BYTES);
      from = this.#pipe.taken;
      if (got > 0) this.#events.received(fd, this.#buffers.start(buffer), got);
      this.#buffers.give(buffer);
      if (got < 0) {
        this.#events.failed(fd);
        return;
      }
    }
  }

  send(fd: number, at: number, length: number): void {
    const session = this.#sessions.get(fd);
    // It has failed while it waited for its turn.
    if (session === undefined) return;
    this.#pipe.write(session.ssl, at, at + length);
    this.#flush(fd);
  }

  #flush(fd: number): void {
    const { queue, lengths } = this.#sessions.get(fd)!;
    while (this.#pipe.hasOutput) {
      const buffer = this.#buffers.take();
      queue.push(buffer);
      lengths.push(this.#pipe.take(buffer));
      if (queue.length === 1) this.#loop.send(fd, this.#buffers.start(buffer) - HEADROOM, lengths[0]!);
    }
  }

  /** A send is over: the next one may begin. */
  sent(fd: number): void {
    const { queue, lengths } = this.#sessions.get(fd)!;
    this.#buffers.give(queue.shift()!);
    lengths.shift();
    if (queue.length > 0) this.#loop.send(fd, this.#buffers.start(queue[0]!) - HEADROOM, lengths[0]!);
  }

  end(fd: number): void {
    const session = this.#sessions.get(fd);
    if (session === undefined) return;
    for (const buffer of session.queue) this.#buffers.give(buffer);
    this.#pipe.close(session.ssl);
    this.#sessions.delete(fd);
  }
}
