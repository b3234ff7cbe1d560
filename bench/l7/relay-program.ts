/**
 * The floor of bench/l7.ts: bytes from clients to members and back by the same system calls, without a look at them.
 *
 *   relay-program.ts PORT MEMBER_PORT MEMBERS
 */
import { tcpSocket } from '../../src/engine-vm/kernel/socket-address.ts';
import { SocketBuffers } from '../../src/engine-vm/kernel/socket-buffers.ts';
import type { SocketEvents } from '../../src/engine-vm/kernel/socket-loop.ts';
import { memberAddresses, openFloor, serveForever } from './floor.ts';

const [port, memberPort, members] = process.argv.slice(2, 5).map(Number) as [number, number, number];
const buffers = new SocketBuffers(8192);
const addresses = memberAddresses(buffers, memberPort, members);
const other = new Int32Array(1 << 17);
const sending = new Int32Array(1 << 17).fill(-1);
/** Received before its member was connected. */
const early = new Map<number, [number, number, number]>();
const isConnecting = new Uint8Array(1 << 17);
const isClosing = new Uint8Array(1 << 17);
let turn = 0;

function send(fd: number, buffer: number, offset: number, length: number): void {
  sending[fd] = buffer;
  loop.send(fd, offset, length);
}

function end(fd: number): void {
  if (isClosing[fd] === 1) return;
  for (const one of [fd, other[fd]!]) {
    isClosing[one] = 1;
    loop.close(one);
  }
}

const events: SocketEvents = {
  onTurn: () => undefined,
  onAccept(_listener, fd) {
    const { bytes, at } = addresses[turn++ % members]!;
    const member = tcpSocket(bytes);
    other[fd] = member;
    other[member] = fd;
    isClosing[fd] = 0;
    isClosing[member] = 0;
    isConnecting[member] = 1;
    loop.receive(fd);
    loop.connect(member, at, bytes.length);
  },
  onConnect(fd, error) {
    isConnecting[fd] = 0;
    if (error !== 0) {
      end(fd);
      return;
    }
    loop.receive(fd);
    const held = early.get(fd);
    early.delete(fd);
    if (held !== undefined) send(fd, ...held);
  },
  onReceive(fd, buffer, offset, length) {
    const to = other[fd]!;
    if (isConnecting[to] === 1) early.set(to, [buffer, offset, length]);
    else if (sending[to]! >= 0 || isClosing[to] === 1) buffers.give(buffer);
    else send(to, buffer, offset, length);
  },
  onEnd: end,
  onSent(fd) {
    buffers.give(sending[fd]!);
    sending[fd] = -1;
  },
  onWake: () => undefined,
};
const loop = openFloor(buffers, events);
serveForever(loop, port);
