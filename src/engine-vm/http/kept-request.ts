/** The head of a request, kept beyond its call: for a request that waits, and for one that is made of it again. */
import type { SocketBuffers } from '../kernel/socket-buffers.ts';
import { Head } from './head.ts';

export class KeptRequest {
  /** Its bytes are its own. */
  readonly head = new Head();

  /** Copies it. */
  keep(head: Head): void {
    copyHead(head, this.head, head.bytes.slice(head.start, head.end), 0);
  }

  /** Puts it into a buffer, and says so in `head`. Returns the buffer; -1 where there is none. */
  put(buffers: SocketBuffers, head: Head): number {
    const buffer = buffers.take();
    if (buffer < 0) return -1;
    const start = buffers.start(buffer);
    buffers.bytes.set(this.head.bytes, start);
    copyHead(this.head, head, buffers.bytes, start);
    return buffer;
  }
}

/** All of a head, whose bytes begin at `start` of `bytes` now. */
export function copyHead(from: Head, to: Head, bytes: Uint8Array, start: number): void {
  const moved = start - from.start;
  to.bytes = bytes;
  to.start = start;
  to.end = from.end + moved;
  to.fieldsAt = from.fieldsAt + moved;
  to.version = from.version;
  to.method = from.method;
  to.methodAt = from.methodAt + moved;
  to.methodEnd = from.methodEnd + moved;
  to.targetAt = from.targetAt + moved;
  to.targetEnd = from.targetEnd + moved;
  to.isPathUnusual = from.isPathUnusual;
  to.authorityAt = from.authorityAt < 0 ? -1 : from.authorityAt + moved;
  to.authorityEnd = from.authorityEnd < 0 ? -1 : from.authorityEnd + moved;
  to.count = from.count;
  for (let n = 0; n < from.count; n++) {
    to.ids[n] = from.ids[n]!;
    to.isDropped[n] = from.isDropped[n]!;
    to.nameAt[n] = from.nameAt[n]! + moved;
    to.nameEnd[n] = from.nameEnd[n]! + moved;
    to.valueAt[n] = from.valueAt[n]! + moved;
    to.valueEnd[n] = from.valueEnd[n]! + moved;
    to.lineEnd[n] = from.lineEnd[n]! + moved;
  }
  to.contentLength = from.contentLength;
  to.isChunked = from.isChunked;
  to.connection = from.connection;
  to.expectsContinue = from.expectsContinue;
  to.hostIndex = from.hostIndex;
  to.upgradeIndex = from.upgradeIndex;
}
