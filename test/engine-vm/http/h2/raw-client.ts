/** An HTTP/2 client that sends exactly the frames it is told, and parts what comes into frames. */
import type { Socket } from 'node:net';
import type { ProxySite } from '../proxy-site.ts';

export interface Frame {
  type: number;
  flags: number;
  stream: number;
  payload: Buffer;
}

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Buffer = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export const number = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

/** Fields as literals that enter no table. */
export function block(fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(
    fields.map(([name, value]) => {
      const [n, v] = [Buffer.from(name, 'latin1'), Buffer.from(value, 'latin1')];
      return Buffer.concat([Buffer.from([0, n.length]), n, Buffer.from([v.length]), v]);
    }),
  );
}

export const GET = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'test'],
] as const;

export class RawClient {
  readonly frames: Frame[] = [];
  isClosed = false;
  readonly #socket: Socket;
  #bytes = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (bytes: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, bytes]);
      while (this.#bytes.length >= 9) {
        const length = this.#bytes.readUIntBE(0, 3);
        if (this.#bytes.length < 9 + length) break;
        this.frames.push({
          type: this.#bytes[3]!,
          flags: this.#bytes[4]!,
          stream: this.#bytes.readUInt32BE(5),
          payload: this.#bytes.subarray(9, 9 + length),
        });
        this.#bytes = this.#bytes.subarray(9 + length);
      }
    });
    for (const event of ['end', 'close']) {
      socket.on(event, () => {
        this.isClosed = true;
      });
    }
  }

  static async open(site: ProxySite, settings: Buffer = Buffer.alloc(0)): Promise<RawClient> {
    const client = new RawClient(await site.connect());
    client.send(Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(4, 0, 0, settings));
    return client;
  }

  send(...frames: readonly Buffer[]): void {
    if (!this.#socket.destroyed) this.#socket.write(Buffer.concat(frames));
  }

  /** Waits for a frame of that type; throws where the connection ends before it, or none comes. */
  async take(type: number, withinMs = 5000): Promise<Frame> {
    const until = Date.now() + withinMs;
    for (;;) {
      const at = this.frames.findIndex((one) => one.type === type);
      if (at >= 0) return this.frames.splice(at, 1)[0]!;
      if (this.isClosed || Date.now() > until) throw new Error(`no frame of type ${type}`);
      await after(10);
    }
  }

  /** Reads nothing more, until `resume`. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Closes its half of the connection. */
  half(): void {
    this.#socket.end();
  }

  close(): void {
    this.#socket.destroy();
  }
}

const after = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));
