/**
 * The hub's end of one engine's WebSocket: bounds what comes in, paces what goes out.
 *
 * Snapshots are sent part by part as the peer takes them; changes are sent at once, and an engine that does not keep
 * up with them is cut off: it comes back for a fresh snapshot, and nobody waits for it.
 */
import type { X509Certificate } from 'node:crypto';
import type { RawData, WebSocket } from 'ws';
import type { HubEntry } from './hub-entries.ts';
import { TokenBucket } from './token-bucket.ts';
import {
  BATCH_CHARACTERS,
  CLOSE,
  type EngineMessage,
  type HubMessage,
  PING_INTERVAL_MS,
  parseEngineMessage,
  SILENCE_MS,
} from './wire.ts';

/** Who is at the other end, as its certificate and its first request say. */
export interface EnginePeer {
  engine: string;
  epoch: number;
  /** Random name of the boot, which tells two boots of one epoch apart. */
  boot: string;
  certificate: X509Certificate;
}

export interface EngineLinkEvents {
  onMessage(message: EngineMessage): void;
  onClose(reason: string): void;
}

interface Snapshot {
  id: number;
  version: number;
  part: number;
  entries: Iterator<HubEntry>;
}

const MAX_BACKLOG_BYTES = 8 << 20;
/** Snapshots wait while this much is still to be taken. */
const SNAPSHOT_BACKLOG_BYTES = 512 << 10;
const MAX_SUBSCRIPTIONS = 256;
const MESSAGES = { rate: 2000, burst: 6000 };
const BYTES = { rate: 8 << 20, burst: 64 << 20 };
const CLOSE_TIMEOUT_MS = 1000;
const PACE_MS = 10;

export class EngineLink {
  readonly peer: EnginePeer;
  /** Prefixes that the engine wants, as it wrote them. */
  readonly prefixes = new Set<string>();
  readonly #socket: WebSocket;
  readonly #events: EngineLinkEvents;
  readonly #now: () => number;
  readonly #messages: TokenBucket;
  readonly #bytes: TokenBucket;
  readonly #expiresAt: number;
  #snapshots: Snapshot[] = [];
  #isPumping = false;
  #isOpen = true;
  #reason = 'the connection was lost';
  #lastSeenAt: number;
  #lastPingAt: number;

  constructor(socket: WebSocket, peer: EnginePeer, now: () => number, events: EngineLinkEvents) {
    this.peer = peer;
    this.#socket = socket;
    this.#events = events;
    this.#now = now;
    this.#lastSeenAt = now();
    this.#lastPingAt = now();
    this.#messages = new TokenBucket(MESSAGES.rate, MESSAGES.burst, now());
    this.#bytes = new TokenBucket(BYTES.rate, BYTES.burst, now());
    this.#expiresAt = peer.certificate.validToDate.getTime();
    socket.on('message', (data, isBinary) => this.#receive(data, isBinary));
    socket.on('pong', () => {
      this.#lastSeenAt = now();
    });
    socket.on('ping', () => this.#admit(0));
    socket.on('error', (error) => {
      this.#reason = error.message;
    });
    socket.on('close', () => {
      this.#isOpen = false;
      this.#snapshots = [];
      events.onClose(this.#reason);
    });
  }

  send(message: HubMessage): void {
    this.sendText(JSON.stringify(message));
  }

  sendText(text: string | Buffer): void {
    if (!this.#isOpen) return;
    if (this.#socket.bufferedAmount > MAX_BACKLOG_BYTES) {
      // Not `close`: the close frame would wait behind the backlog.
      this.terminate('it did not take what was sent fast enough');
      return;
    }
    this.#socket.send(text, { binary: false });
  }

  /** True where the engine may have one more subscription. */
  get canSubscribe(): boolean {
    return this.prefixes.size < MAX_SUBSCRIPTIONS;
  }

  /** Sends the entries, each as it is when its turn comes, as the answer to the subscription `id`. */
  sendSnapshot(id: number, version: number, entries: Iterator<HubEntry>): void {
    this.#snapshots.push({ id, version, part: 0, entries });
    this.#pump();
  }

  /** Ends the link with a close code and a reason for the peer's log. */
  close(code: number, reason: string): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#reason = reason;
    // A close reason has at most 123 bytes.
    this.#socket.close(
      code,
      Buffer.from(reason)
        .subarray(0, 120)
        .toString('utf8')
        .replace(/\uFFFD$/, ''),
    );
    setTimeout(() => this.#socket.terminate(), CLOSE_TIMEOUT_MS).unref();
  }

  /** Ends the link without a word. */
  terminate(reason: string): void {
    this.#reason = reason;
    this.#isOpen = false;
    this.#socket.terminate();
  }

  /** Called several times a second. `wallClock` judges the certificate. */
  tick(wallClock: number): void {
    const now = this.#now();
    if (now - this.#lastSeenAt > SILENCE_MS) this.terminate(`it was silent for ${SILENCE_MS} ms`);
    if (wallClock > this.#expiresAt) this.close(CLOSE.expired, 'the certificate has expired');
    if (now - this.#lastPingAt < PING_INTERVAL_MS || !this.#isOpen) return;
    this.#lastPingAt = now;
    this.#socket.ping();
  }

  /** Gives the peer a fresh time to answer: it was this process that stood still. */
  excuse(): void {
    this.#lastSeenAt = this.#now();
  }

  #receive(data: RawData, isBinary: boolean): void {
    const bytes = data as Buffer;
    if (!this.#isOpen || !this.#admit(bytes.length)) return;
    let message: EngineMessage;
    try {
      if (isBinary) throw new Error('it is binary');
      message = parseEngineMessage(bytes.toString('utf8'));
    } catch (error) {
      this.close(CLOSE.malformed, `malformed message: ${(error as Error).message}`);
      return;
    }
    this.#events.onMessage(message);
  }

  #admit(bytes: number): boolean {
    const now = this.#now();
    this.#lastSeenAt = now;
    if (this.#messages.take(1, now) && this.#bytes.take(bytes, now)) return true;
    this.close(CLOSE.tooFast, 'messages come faster than the hub allows');
    return false;
  }

  #pump(): void {
    if (this.#isPumping || !this.#isOpen || this.#snapshots.length === 0) return;
    this.#isPumping = true;
    const goOn = () => {
      this.#isPumping = false;
      this.#pump();
    };
    if (this.#socket.bufferedAmount > SNAPSHOT_BACKLOG_BYTES) {
      setTimeout(goOn, PACE_MS).unref();
      return;
    }
    const { text, isLast } = nextPart(this.#snapshots[0]!);
    if (isLast) this.#snapshots.shift();
    this.#socket.send(text, { binary: false }, goOn);
  }
}

function nextPart(snapshot: Snapshot): { text: string; isLast: boolean } {
  const entries: string[] = [];
  let characters = 0;
  let isLast = false;
  while (characters < BATCH_CHARACTERS) {
    const next = snapshot.entries.next();
    if (next.done) {
      isLast = true;
      break;
    }
    entries.push(next.value.json);
    characters += next.value.json.length;
  }
  const { id, version, part } = snapshot;
  snapshot.part++;
  const head = JSON.stringify({ type: 'snapshot', id, part, isLast, version }).slice(0, -1);
  return { text: `${head},"entries":[${entries.join(',')}]}`, isLast };
}
