/**
 * The floor of hits of bench/l7.ts: each receipt is answered with the same bytes, without a look at it.
 *
 *   answer-program.ts PORT MEMBER_PORT MEMBERS BODY_BYTES
 */
import { SocketBuffers } from '../../src/engine-vm/kernel/socket-buffers.ts';
import type { SocketEvents } from '../../src/engine-vm/kernel/socket-loop.ts';
import { openFloor, serveForever } from './floor.ts';

const port = Number(process.argv[2]);
const bodyBytes = Number(process.argv[5]);
const buffers = new SocketBuffers(8192);
const response = Buffer.from(
  `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${bodyBytes}\r\n\r\n${'x'.repeat(bodyBytes)}`,
  'latin1',
);
const at = buffers.reserve(response.length);
buffers.bytes.set(response, at);

const events: SocketEvents = {
  onTurn: () => undefined,
  onAccept: (_listener, fd) => loop.receive(fd),
  onConnect: () => undefined,
  onReceive(fd, buffer) {
    buffers.give(buffer);
    loop.send(fd, at, response.length);
  },
  onEnd: (fd) => loop.close(fd),
  onSent: () => undefined,
  onWake: () => undefined,
};
const loop = openFloor(buffers, events);
serveForever(loop, port);
