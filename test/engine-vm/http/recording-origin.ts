/**
 * A member that writes down what it receives: an HTTP/1.1 server of a few lines, with a parser of its own, so that it
 * can be asked what the proxy let through. What it answers depends on the path.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';

export interface Received {
  line: string;
  fields: [string, string][];
  body: string;
  /** Which connection it came on, from 1. */
  connection: number;
}

/** Answers one request; `upgraded` hands the rest of the connection over. */
type Answer = (socket: Socket, request: Received) => void;

const reply = (body: string, more = ''): string =>
  `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${more}\r\n${body}`;

const ANSWERS: Record<string, Answer> = {
  '/chunked': (socket) =>
    socket.write(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3;q=1\r\nabc\r\n4\r\ndefg\r\n0\r\nX-Sum: 7\r\n\r\n',
    ),
  '/until-close': (socket) => socket.end('HTTP/1.1 200 OK\r\n\r\nall of it'),
  '/interim': (socket) =>
    socket.write(
      `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n${reply('late')}`,
    ),
  '/interim-flood': (socket) => socket.write('HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(50)),
  '/not-modified': (socket) =>
    socket.write('HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: "x"\r\n\r\n'),
  '/short': (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345'),
  '/garbage': (socket) => socket.write('this is no HTTP at all\r\n\r\n'),
  '/two-lengths': (socket) =>
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'),
  '/endless-head': (socket) => socket.write(`HTTP/1.1 200 OK\r\n${'A: b\r\n'.repeat(5000)}`),
  '/extra': (socket) => socket.write(`${reply('one')}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`),
  '/hang-up': (socket) => socket.destroy(),
  '/silent': () => undefined,
  '/close-after': (socket) => {
    socket.write(reply('closing soon'));
    setTimeout(() => socket.destroy(), 20);
  },
  '/say-close': (socket) => socket.write(reply('bye', 'Connection: close\r\n')),
  '/hop': (socket) =>
    socket.write(
      reply(
        'hop',
        'Connection: X-Own\r\nX-Own: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: x\r\nX-End: 2\r\n',
      ),
    ),
  '/large': (socket) => socket.write(reply('0123456789'.repeat(100_000))),
  '/socket': (socket, request) => {
    const key = request.fields.find(([name]) => name === 'sec-websocket-key')?.[1] ?? '';
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Key: ${key}\r\n\r\nhi!`,
    );
    socket.removeAllListeners('data');
    socket.on('data', (bytes) => void socket.write(`<${bytes}>`));
  },
};

/** A member on a port of its own; what it does with a connection is the subclass's. */
export abstract class Origin {
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((socket) => {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket)).on('error', () => undefined);
    this.serve(socket);
  });

  protected abstract serve(socket: Socket): void;

  /** Connections that are open. */
  get open(): number {
    return this.#sockets.size;
  }

  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.dropAll();
    this.#server.close();
    await once(this.#server, 'close');
  }

  /** Drops every connection, as a member does that restarts. */
  dropAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

export class RecordingOrigin extends Origin {
  readonly received: Received[] = [];
  /** Connections that were ever made. */
  connections = 0;

  /** What was received since the last time. */
  take(): Received[] {
    return this.received.splice(0);
  }

  protected serve(socket: Socket): void {
    const connection = ++this.connections;
    let text = '';
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1');
      for (;;) {
        const found = readRequest(text, connection);
        if (found === null) return;
        text = text.slice(found.length);
        this.received.push(found.request);
        const path = found.request.line.split(' ')[1]!.split('?')[0]!;
        const answer = ANSWERS[path];
        if (answer !== undefined) answer(socket, found.request);
        else if (found.request.line.startsWith('HEAD '))
          socket.write('HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n');
        else socket.write(reply(`${found.request.line}|${found.request.body.length}`));
      }
    });
  }
}

/** The first whole request of a text, read as simply as a careless server would: null while there is none. */
export function readRequest(text: string, connection: number): { request: Received; length: number } | null {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return null;
  const [line, ...rest] = text.slice(0, end).split('\r\n');
  const fields = rest.map((one): [string, string] => {
    const colon = one.indexOf(':');
    return [one.slice(0, colon).toLowerCase(), one.slice(colon + 1).trim()];
  });
  const value = (name: string): string | undefined => fields.find(([other]) => other === name)?.[1];
  let at = end + 4;
  let body = '';
  if (value('transfer-encoding') !== undefined) {
    for (;;) {
      const stop = text.indexOf('\r\n', at);
      if (stop < 0) return null;
      const size = Number.parseInt(text.slice(at, stop), 16);
      at = stop + 2;
      if (size === 0) break;
      if (text.length < at + size + 2) return null;
      body += text.slice(at, at + size);
      at += size + 2;
    }
    for (;;) {
      const stop = text.indexOf('\r\n', at);
      if (stop < 0) return null;
      const trailer = text.slice(at, stop);
      at = stop + 2;
      if (trailer === '') break;
      fields.push([`trailer ${trailer.split(':')[0]!.toLowerCase()}`, trailer.split(':')[1]!.trim()]);
    }
  } else {
    const length = Number(value('content-length') ?? 0);
    if (text.length < at + length) return null;
    body = text.slice(at, at + length);
    at += length;
  }
  return { request: { line: line!, fields, body, connection }, length: at };
}
