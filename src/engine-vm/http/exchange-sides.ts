/**
 * What an exchange stands between: the side that speaks to the client, the side that speaks to the member, and the thread
 * that both run in. How they call each other: exchange.ts.
 */
import type { ConnectionEnds } from '../kernel/socket-address.ts';
import type { SocketBuffers } from '../kernel/socket-buffers.ts';
import type { ServerSession } from '../tls/server-session.ts';
import type { Exchange } from './exchange.ts';
import type { Member } from './member.ts';
import type { Members } from './members.ts';
import type { Service } from './service.ts';
import type { TurnClock } from './turn-clock.ts';

/** The client's half of an exchange. */
export interface ClientSide {
  /** Text of the client's address; empty where it is gone. */
  readonly clientAddress: string;
  /** Both ends of its connection, the same object for all exchanges on it; null where there is none. */
  readonly ends: ConnectionEnds | null;
  /** Sends an interim response. */
  sendInterim(exchange: Exchange): void;
  /** Builds the head of the final response, to be sent with the next `sendBody`. `length` -1: not known. */
  sendHead(exchange: Exchange, length: number): void;
  /** Data of the body; with `isLast` the response is whole. `trailers`: field lines and the empty line. */
  sendBody(buffer: number, at: number, end: number, isLast: boolean, trailers: Uint8Array | null): void;
  /** Writes a response of ours, whole, and ends the exchange. Only while no head was sent. */
  answer(exchange: Exchange, status: number, reason: string, fields: readonly Uint8Array[]): void;
  /** The response cannot be finished: the client has to notice. */
  abort(reason: number): void;
  /** The head of a 101 is built: what comes from now on, both ways, is bytes. */
  beginTunnel(): void;
  /** The member ended the tunnel. */
  endTunnel(): void;
  /** The client's TLS, where it speaks that. */
  readonly tls?: ServerSession | null;
  /** Lines that tell members of this client. */
  forwardedLines(exchange: Exchange): Uint8Array;
  pauseRequest(): void;
  resumeRequest(): void;
  readonly isFull: boolean;
}

/** The member's half. */
export interface MemberSide {
  readonly member: Member;
  /** What it keeps for a second attempt is frames of HTTP/2. */
  readonly isHttp2: boolean;
  /** Has carried an exchange before: the member may have closed it meanwhile. */
  readonly isReused: boolean;
  /** Builds the head of the request, to be sent with the next `sendBody`. `length` -1: not known. */
  sendHead(exchange: Exchange, length: number): void;
  sendBody(buffer: number, at: number, end: number, isLast: boolean, trailers: Uint8Array | null): void;
  /** Sends a whole request that was built for another connection of the same kind. */
  resend(exchange: Exchange, buffer: number, at: number, end: number): void;
  /** The exchange ended before its time: the connection goes with it. */
  abort(): void;
  /** The client ended the tunnel. */
  endTunnel(): void;
  pauseResponse(): void;
  resumeResponse(): void;
  readonly isFull: boolean;
}

/** What the thread does for its exchanges. */
export interface ExchangeContext {
  readonly buffers: SocketBuffers;
  readonly members: Members;
  /** Members of the further pools, in the order of the settings. */
  readonly pools: readonly Members[];
  /** The service as it is now. */
  readonly service: Service;
  readonly nowMs: number;
  /** The thread's: where the time of requests goes. */
  readonly clock: TurnClock;
  /** A request begins, and can be read still. */
  began(exchange: Exchange): void;
  /** An exchange is over: counters, log. */
  ended(exchange: Exchange): void;
}
