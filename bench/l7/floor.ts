/** What the floors of bench/l7.ts share: the members, and a loop that never ends. */
import { EventFd } from '../../src/engine-vm/kernel/event-fd.ts';
import { listenTcp, socketAddress } from '../../src/engine-vm/kernel/socket-address.ts';
import type { SocketBuffers } from '../../src/engine-vm/kernel/socket-buffers.ts';
import {
  openSocketLoop,
  type SocketEvents,
  type SocketLoop,
} from '../../src/engine-vm/kernel/socket-loop.ts';

/** The members' socket addresses, beside the buffers. */
export function memberAddresses(
  buffers: SocketBuffers,
  memberPort: number,
  members: number,
): { bytes: Uint8Array; at: number }[] {
  return Array.from({ length: members }, (_, n) => {
    const bytes = socketAddress('127.0.0.1', memberPort + n);
    const at = buffers.reserve(28);
    buffers.bytes.set(bytes, at);
    return { bytes, at };
  });
}

export function openFloor(buffers: SocketBuffers, events: SocketEvents): SocketLoop {
  return openSocketLoop(buffers, events, new EventFd().fd);
}

export function serveForever(loop: SocketLoop, port: number): never {
  loop.accept(listenTcp('127.0.0.1', port, 4096));
  for (;;) loop.turn(100);
}
