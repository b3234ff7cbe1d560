/** A client of TLS that holds bytes in its hands: what it would send is text, so that tests may change it. */
import { readFileSync } from 'node:fs';
import { HEADROOM, RECEIVE_BYTES, SocketBuffers } from '../../../src/engine-vm/kernel/socket-buffers.ts';
import { TlsMemberContext } from '../../../src/engine-vm/kernel/tls-member-context.ts';
import { BROKEN, ENDED, TlsPipe, WANTS } from '../../../src/engine-vm/kernel/tls-pipe.ts';

/** What clients of one test share. */
export class MemoryClients {
  readonly buffers = new SocketBuffers(8);
  readonly pipe = new TlsPipe(this.buffers);
  readonly context: TlsMemberContext;

  constructor(certificateFile: string) {
    this.context = new TlsMemberContext({
      authorities: readFileSync(certificateFile, 'utf8'),
      isLatestOnly: false,
    });
  }
}

export class MemoryClient {
  /** What was decrypted. */
  text = '';
  isSecured = false;
  state = WANTS;
  readonly #clients: MemoryClients;
  readonly #ssl: bigint;

  constructor(clients: MemoryClients, ticket = 0n) {
    this.#clients = clients;
    this.#ssl = clients.pipe.open(clients.context, false);
    if (ticket !== 0n) clients.context.resume(this.#ssl, ticket);
  }

  get hasEnded(): boolean {
    return this.state === ENDED;
  }

  /** Takes records, the first time none; returns those to be sent. */
  step(records: string): string {
    const { buffers, pipe } = this.#clients;
    for (let begin = 0; begin === 0 || begin < records.length; begin += RECEIVE_BYTES) {
      const piece = Buffer.from(records.slice(begin, begin + RECEIVE_BYTES), 'latin1');
      const buffer = buffers.take();
      const into = buffers.take();
      let at = buffers.start(buffer);
      const end = at + piece.length;
      buffers.bytes.set(piece, at);
      if (!this.isSecured && this.state === WANTS) {
        const result = pipe.handshake(this.#ssl, at, end, null);
        this.isSecured = result === 1;
        if (result === BROKEN) this.state = BROKEN;
        at = pipe.taken;
      }
      while (this.isSecured && at < end && this.state === WANTS) {
        const length = pipe.read(this.#ssl, at, end, into, RECEIVE_BYTES);
        at = pipe.taken;
        if (length < 0) this.state = length;
        const start = buffers.start(into);
        for (let n = start; n < start + length; n++) this.text += String.fromCharCode(buffers.bytes[n]!);
      }
      buffers.give(buffer);
      buffers.give(into);
    }
    return this.#output();
  }

  /** Records of that text. */
  write(text: string): string {
    const { buffers, pipe } = this.#clients;
    const buffer = buffers.take();
    const at = buffers.start(buffer);
    buffers.bytes.set(Buffer.from(text, 'latin1'), at);
    pipe.write(this.#ssl, at, at + text.length);
    buffers.give(buffer);
    return this.#output();
  }

  /** The record that says that nothing more comes. */
  end(): string {
    this.#clients.pipe.shutdown(this.#ssl);
    return this.#output();
  }

  /** A ticket where the handshake was a whole one and the ticket has come, else 0n. The caller's. */
  ticket(): bigint {
    return this.#clients.context.ticketOf(this.#ssl);
  }

  close(): void {
    this.#clients.pipe.close(this.#ssl);
  }

  #output(): string {
    const { buffers, pipe } = this.#clients;
    let text = '';
    while (pipe.hasOutput) {
      const buffer = buffers.take();
      const length = pipe.take(buffer);
      const at = buffers.start(buffer) - HEADROOM;
      text += Buffer.from(buffers.bytes.buffer, at, length).toString('latin1');
      buffers.give(buffer);
    }
    return text;
  }
}
