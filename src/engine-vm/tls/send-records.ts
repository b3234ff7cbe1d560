/** Hands what OpenSSL has to send to the channel. */

import type { Channel } from '../http/channel.ts';
import type { SocketBuffers } from '../kernel/socket-buffers.ts';
import { HEADROOM } from '../kernel/socket-buffers.ts';
import type { TlsPipe } from '../kernel/tls-pipe.ts';

/** False where no buffer is left: the records are lost, and the connection with them. */
export function sendRecords(pipe: TlsPipe, buffers: SocketBuffers, channel: Channel): boolean {
  while (pipe.hasOutput) {
    const buffer = buffers.take();
    if (buffer < 0) {
      pipe.dropOutput();
      return false;
    }
    const at = buffers.start(buffer) - HEADROOM;
    channel.transmit(buffer, at, at + pipe.take(buffer));
  }
  return true;
}
