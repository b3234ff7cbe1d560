/**
 * Writes the responses of one client's HTTP/1.1 connection, one after the other: which head and which framing the client
 * gets for what came of the member, or of us.
 */
import { BUFFER_BYTES, type SocketBuffers } from '../kernel/socket-buffers.ts';
import type { Channel } from './channel.ts';
import type { Exchange } from './exchange.ts';
import { FIELD } from './field-names.ts';
import type { Head } from './head.ts';
import {
  chunk,
  frameChunk,
  type HeadWriter,
  roomBehind,
  SAY_CLOSE,
  SAY_KEEP_ALIVE,
  SAY_NOTHING,
  SAY_UPGRADE,
} from './head-writer.ts';

export class ClientResponse {
  /** Whether another request may follow this response. False, too, after what could not be written whole. */
  keepsAlive = true;
  /** Of the request: 10 or 11. */
  version = 11;
  readonly #channel: Channel;
  readonly #buffers: SocketBuffers;
  readonly #writer: HeadWriter;
  #isChunked = false;
  #isHeadBuilt = false;

  constructor(channel: Channel, buffers: SocketBuffers, writer: HeadWriter) {
    this.#channel = channel;
    this.#buffers = buffers;
    this.#writer = writer;
  }

  /** Sends an interim response, to clients that know such. */
  interim(received: Head): void {
    if (this.version === 10) return;
    this.#writer.response(received, false, true);
    this.#writer.finish();
    this.#writer.sendAlone(this.#channel);
  }

  /** Builds the head, to be sent with the next `body`. `length` -1: not known. */
  head(exchange: Exchange, length: number): void {
    const writer = this.#writer;
    const { response } = exchange;
    const { status } = response;
    const hasNoBody = exchange.isHead || status === 204 || status === 304 || status === 101;
    this.#isChunked = !hasNoBody && length < 0 && this.version === 11;
    if (!hasNoBody && length < 0 && !this.#isChunked) this.keepsAlive = false;
    // Chunks and filters write over it. What a HEAD would have had is told as it is.
    const mayStay = response.isWhole || !(this.#isChunked || exchange.hasFilters);
    writer.response(response, mayStay, this.#isChunked || status === 204 || status === 101);
    if (this.#isChunked) writer.chunked();
    if (!response.isWhole && response.find(FIELD.date) < 0) writer.date();
    writer.lines(exchange.responseLines);
    if (status === 101) {
      writer.field(response, response.upgradeIndex);
      writer.connection(SAY_UPGRADE);
    } else {
      const says = !this.keepsAlive ? SAY_CLOSE : this.version === 10 ? SAY_KEEP_ALIVE : SAY_NOTHING;
      writer.connection(says);
    }
    writer.finish();
    this.#isHeadBuilt = true;
  }

  /** Sends data of the body, behind the head where that is built. `trailers`: field lines and the empty line. */
  body(buffer: number, at: number, end: number, isLast: boolean, trailers: Uint8Array | null): void {
    if (!this.#isChunked) {
      this.#write(buffer, at, end);
      return;
    }
    const fits = end + roomBehind(trailers) <= (buffer + 1) * BUFFER_BYTES;
    frameChunk(this.#buffers.bytes, at, end, isLast && fits, trailers);
    this.#write(buffer, chunk.at, chunk.end);
    if (isLast && !fits && !this.#writer.sendLastChunk(this.#channel, trailers)) this.keepsAlive = false;
  }

  /** Sends a response of ours. */
  whole(status: number, reason: string, fields: readonly Uint8Array[], isHead: boolean): void {
    this.#writer.answer(status, reason, fields, isHead, !this.keepsAlive);
    this.#isHeadBuilt = false;
    if (!this.#writer.sendAlone(this.#channel)) this.keepsAlive = false;
  }

  #write(buffer: number, at: number, end: number): void {
    if (!this.#isHeadBuilt) this.#channel.write(buffer, at, end);
    else {
      this.#isHeadBuilt = false;
      if (!this.#writer.send(this.#channel, buffer, at, end)) this.keepsAlive = false;
    }
  }
}
