/** The monitor `ping`: a member is up when it answers an ICMP or ICMPv6 echo request. */
import { randomBytes } from 'node:crypto';
import { addressKey, type EchoSocket, openEchoSocket } from '../kernel/echo-socket.ts';
import { aborted, type CheckResult, failure, type Monitor } from './monitor.ts';

/** How often the sockets are looked at while an answer is awaited. */
const LOOK_MS = 2;

export class PingMonitor implements Monitor {
  readonly label = 'ping';
  private readonly echo: EchoExchange;

  constructor(echo: EchoExchange) {
    this.echo = echo;
  }

  check(address: string, _port: number, signal: AbortSignal): Promise<CheckResult> {
    return this.echo.ask(address, signal);
  }
}

interface Awaited {
  from: string;
  sentAt: number;
  end: (result: CheckResult) => void;
}

/**
 * All echo requests of a process over one socket per family. Sockets open with the first request and are looked at
 * only while an answer is awaited.
 */
export class EchoExchange {
  private readonly open: (family: 4 | 6) => EchoSocket;
  private readonly sockets = new Map<4 | 6, EchoSocket>();
  private readonly awaited = new Map<bigint, Awaited>();
  private timer: NodeJS.Timeout | null = null;

  constructor(open: (family: 4 | 6) => EchoSocket = openEchoSocket) {
    this.open = open;
  }

  ask(address: string, signal: AbortSignal): Promise<CheckResult> {
    if (signal.aborted) return Promise.resolve(aborted(signal));
    let socket: EchoSocket;
    try {
      socket = this.socketOf(address.includes(':') ? 6 : 4);
    } catch (error) {
      const { message } = error as Error;
      return Promise.resolve({
        isUp: false,
        reason: `this engine could not ask: ${message}`,
        isInconclusive: true,
      });
    }
    return new Promise((resolve) => {
      const token = randomBytes(8).readBigUInt64BE();
      const end = (result: CheckResult): void => {
        this.awaited.delete(token);
        signal.removeEventListener('abort', onAbort);
        resolve(result);
      };
      const onAbort = (): void => end(aborted(signal));
      signal.addEventListener('abort', onAbort, { once: true });
      this.awaited.set(token, { from: addressKey(address), sentAt: performance.now(), end });
      const refusal = socket.send(address, token);
      if (refusal !== null) end(failure({ code: refusal, message: `sending failed: ${refusal}` }));
      else this.timer ??= setTimeout(() => this.look(), LOOK_MS);
    });
  }

  /** Closes the sockets; requests under way end with their signals. */
  close(): void {
    for (const socket of this.sockets.values()) socket.close();
    this.sockets.clear();
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }

  private socketOf(family: 4 | 6): EchoSocket {
    let socket = this.sockets.get(family);
    if (!socket) {
      socket = this.open(family);
      this.sockets.set(family, socket);
    }
    return socket;
  }

  private look(): void {
    for (const socket of this.sockets.values()) {
      for (let reply = socket.receive(); reply !== null; reply = socket.receive()) {
        const request = this.awaited.get(reply.token);
        // The token cannot be guessed, but the address must fit too: a member answers for itself only.
        if (request === undefined || request.from !== reply.from) continue;
        const tookMs = Math.ceil(performance.now() - request.sentAt);
        request.end({ isUp: true, reason: `answered in ${tookMs} ms` });
      }
    }
    this.timer = this.awaited.size === 0 ? null : setTimeout(() => this.look(), LOOK_MS);
  }
}
