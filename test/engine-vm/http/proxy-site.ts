/** A proxy in threads of this process, and clients that send it exactly the bytes they want. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { Channels } from '../../../src/engine-vm/http/channel.ts';
import { ProxyWorkers } from '../../../src/engine-vm/http/proxy-workers.ts';
import type { ServiceSettings } from '../../../src/engine-vm/http/service.ts';
import { EventFd } from '../../../src/engine-vm/kernel/event-fd.ts';
import { SocketBuffers } from '../../../src/engine-vm/kernel/socket-buffers.ts';
import type { LoopKind } from '../../../src/engine-vm/kernel/socket-loop.ts';
import { openSocketLoop } from '../../../src/engine-vm/kernel/socket-loop.ts';
import { loadTls } from '../../../src/engine-vm/tls/settings.ts';
import { HttpService } from '../../../src/policy/http-service.ts';

export interface LogLine {
  request: string;
  status: number;
  received: number;
  sent: number;
  member: string;
  reason?: string;
}

/** Settings of a service on 127.0.0.1 with members there. */
export function settingsOf(
  port: number,
  memberPorts: readonly number[],
  http: Record<string, unknown> = {},
): ServiceSettings {
  return {
    name: 'test',
    tier: 'web',
    listeners: [{ address: '127.0.0.1', port }],
    method: 'least-connections',
    members: memberPorts.map((memberPort) => ({
      name: `m${memberPort}`,
      address: '127.0.0.1',
      port: memberPort,
      weight: 1,
      isDraining: false,
    })),
    http: HttpService.parse(http),
  };
}

/** A port that nobody has just now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** The kinds of loop that this machine allows. */
export function loopKinds(): LoopKind[] {
  const wake = new EventFd();
  const channels = new Channels();
  const buffers = new SocketBuffers(1024);
  const loop = openSocketLoop(buffers, channels, wake.fd);
  const kinds: LoopKind[] = loop.kind === 'io_uring' ? ['io_uring', 'epoll'] : ['epoll'];
  loop.end();
  wake.close();
  buffers.close();
  return kinds;
}

export class ProxySite {
  readonly port: number;
  readonly workers: ProxyWorkers;
  readonly log: LogLine[];
  settings: ServiceSettings;

  private constructor(port: number, workers: ProxyWorkers, log: LogLine[], settings: ServiceSettings) {
    this.port = port;
    this.workers = workers;
    this.log = log;
    this.settings = settings;
  }

  static async start(
    memberPorts: readonly number[],
    http: Record<string, unknown> = {},
    loop?: LoopKind,
    workers = 1,
  ): Promise<ProxySite> {
    const port = await freePort();
    const made = settingsOf(port, memberPorts, http);
    const { tls, http2 } = made.http;
    const settings = tls === undefined ? made : { ...made, tls: loadTls(tls, http2) };
    const log: LogLine[] = [];
    const decoder = new TextDecoder();
    const started = await ProxyWorkers.start({
      settings,
      workers,
      ...(loop === undefined ? {} : { loop }),
      log: (lines) => {
        for (const one of decoder.decode(lines).trimEnd().split('\n')) log.push(JSON.parse(one) as LogLine);
      },
      onFailure: (error) => {
        throw error;
      },
    });
    return new ProxySite(port, started, log, settings);
  }

  async connect(): Promise<Socket> {
    const socket = connect({ port: this.port, host: '127.0.0.1', allowHalfOpen: true });
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    return socket;
  }

  /** Sends bytes (in pieces of a length, if one is named), and returns what comes until the proxy closes. */
  async talk(text: string, pieceLength = text.length): Promise<string> {
    const socket = await this.connect();
    socket.setNoDelay(true);
    let answer = '';
    socket.on('data', (bytes) => {
      answer += bytes.toString('latin1');
    });
    const ended = Promise.race([once(socket, 'end'), once(socket, 'close')]);
    for (let at = 0; at < text.length && !socket.destroyed; at += pieceLength) {
      socket.write(text.slice(at, at + pieceLength), 'latin1');
      if (pieceLength < text.length) await new Promise(setImmediate);
    }
    await ended;
    socket.destroy();
    return answer;
  }

  /** Ends the proxy; `log` is whole then. */
  async stop(withinMs = 100): Promise<void> {
    await this.workers.drain(withinMs);
  }
}

/** Bytes of a request that is the last one of its connection. */
export function request(line: string, fields: readonly string[] = [], body = ''): string {
  return [`${line} HTTP/1.1`, 'Host: test', 'Connection: close', ...fields, '', body].join('\r\n');
}
