/**
 * The floor of new connections of bench/l7.ts: a client's bytes go to a member by a connection that is kept, what comes
 * back goes to the client, and then its connection is closed. Requests and responses come in one piece each.
 *
 *   pooled-relay-program.ts PORT MEMBER_PORT MEMBERS
 */
import { tcpSocket } from '../../src/engine-vm/kernel/socket-address.ts';
import { SocketBuffers } from '../../src/engine-vm/kernel/socket-buffers.ts';
import { MOST_FDS, type SocketEvents } from '../../src/engine-vm/kernel/socket-loop.ts';
import { memberAddresses, openFloor, serveForever } from './floor.ts';

const [port, memberPort, members] = process.argv.slice(2, 5).map(Number) as [number, number, number];
const buffers = new SocketBuffers(8192);
const addresses = memberAddresses(buffers, memberPort, members);
const isMember = new Uint8Array(MOST_FDS);
/** The client that waits for a member's connection. */
const clientOf = new Int32Array(MOST_FDS);
/** Clients whose request is at a member, or its response on its way to them. */
const isServed = new Uint8Array(MOST_FDS);
/** The buffer that is being sent to a fd. */
const sending = new Int32Array(MOST_FDS).fill(-1);
const idle: number[] = [];
/** Received before the member's connection was made, by that. */
const early = new Map<number, [buffer: number, offset: number, length: number]>();
let turn = 0;

function send(fd: number, buffer: number, offset: number, length: number): void {
  sending[fd] = buffer;
  loop.send(fd, offset, length);
}

function fail(what: string): never {
  throw new Error(`the floor of new connections: ${what}`);
}

const events: SocketEvents = {
  onTurn: () => undefined,
  onAccept(_listener, fd) {
    isMember[fd] = 0;
    isServed[fd] = 0;
    loop.receive(fd);
  },
  onConnect(fd, error) {
    if (error !== 0) fail(`no member (errno ${error})`);
    loop.receive(fd);
    const held = early.get(fd)!;
    early.delete(fd);
    send(fd, ...held);
  },
  onReceive(fd, buffer, offset, length) {
    if (isMember[fd] === 1) {
      idle.push(fd);
      send(clientOf[fd]!, buffer, offset, length);
      return;
    }
    isServed[fd] = 1;
    const free = idle.pop();
    if (free !== undefined) {
      clientOf[free] = fd;
      send(free, buffer, offset, length);
      return;
    }
    const { bytes, at } = addresses[turn++ % members]!;
    const member = tcpSocket(bytes);
    if (member < 0) fail('no socket');
    isMember[member] = 1;
    clientOf[member] = fd;
    early.set(member, [buffer, offset, length]);
    loop.connect(member, at, bytes.length);
  },
  onEnd(fd) {
    // The load has ended, and this program is about to be.
    if (isMember[fd] === 1 || isServed[fd] === 0) loop.close(fd);
  },
  onSent(fd) {
    buffers.give(sending[fd]!);
    sending[fd] = -1;
    if (isMember[fd] === 0) loop.close(fd);
  },
  onWake: () => undefined,
};
const loop = openFloor(buffers, events);
serveForever(loop, port);
