/** Both kinds of socket loop against sockets of Node: one suite. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { EventFd } from '../../../src/engine-vm/kernel/event-fd.ts';
import {
  listenTcp,
  localPort,
  peerAddress,
  socketAddress,
} from '../../../src/engine-vm/kernel/socket-address.ts';
import { SocketBuffers } from '../../../src/engine-vm/kernel/socket-buffers.ts';
import {
  openSocketLoop,
  type SocketEvents,
  type SocketLoop,
} from '../../../src/engine-vm/kernel/socket-loop.ts';
import { loopKinds } from '../http/proxy-site.ts';

for (const kind of loopKinds()) {
  describe(`TCP by ${kind}`, () => {
    let buffers: SocketBuffers;
    let loop: SocketLoop;
    let wake: EventFd;
    let listener: number;
    /** What the loop told, as lines. */
    let told: string[];
    let received: string;
    let accepted: number[];

    const events: SocketEvents = {
      onTurn: () => undefined,
      onAccept(_listener, fd) {
        accepted.push(fd);
        told.push('accept');
      },
      onConnect: (_fd, error) => void told.push(`connect ${error}`),
      onReceive(_fd, buffer, offset, length) {
        received += Buffer.from(buffers.bytes.buffer, offset, length).toString('latin1');
        buffers.give(buffer);
      },
      onEnd: (_fd, error) => void told.push(`end ${error}`),
      onSent: (_fd, error) => void told.push(error === 0 ? 'sent' : 'not sent'),
      onWake: () => void told.push('wake'),
    };

    /** Turns the loop, and Node's, until that holds. */
    async function until(holds: () => boolean): Promise<void> {
      while (!holds()) {
        loop.turn(1);
        await new Promise(setImmediate);
      }
    }

    async function pair(): Promise<[number, Socket]> {
      const count = accepted.length;
      const socket = connect({ port: localPort(listener), host: '127.0.0.1', allowHalfOpen: true });
      socket.on('error', () => undefined);
      await until(() => accepted.length > count);
      return [accepted.at(-1)!, socket];
    }

    beforeEach(() => {
      told = [];
      received = '';
      accepted = [];
      buffers = new SocketBuffers(1024);
      wake = new EventFd();
      loop = openSocketLoop(buffers, events, wake.fd, kind);
      listener = listenTcp('127.0.0.1', 0, 16);
      loop.accept(listener);
    });
    afterEach(() => {
      loop.stopAccepting(listener);
      for (let n = 0; n < 3; n++) loop.turn(0);
      loop.end();
      wake.close();
      buffers.close();
    });

    it('accepts, receives, and tells of the end', async () => {
      const [fd, socket] = await pair();
      assert.equal(peerAddress(fd), '127.0.0.1');
      loop.receive(fd);
      const text = 'x'.repeat(300_000);
      socket.end(text);
      await until(() => told.includes('end 0'));
      assert.equal(received, text);
      loop.close(fd);
      await until(() => socket.destroyed);
    });

    it('receives nothing while it is paused, and goes on where it was', async () => {
      const [fd, socket] = await pair();
      loop.receive(fd);
      socket.write('one');
      await until(() => received === 'one');
      loop.pause(fd);
      for (let n = 0; n < 3; n++) loop.turn(1);
      socket.write('two');
      for (let n = 0; n < 10; n++) {
        loop.turn(1);
        await new Promise(setImmediate);
      }
      assert.equal(received, 'one');
      loop.receive(fd);
      await until(() => received === 'onetwo');
      loop.close(fd);
      socket.destroy();
    });

    it('sends more than the kernel takes at once, whole', async () => {
      const [fd, socket] = await pair();
      const at = buffers.start(0);
      const length = 12_000_000;
      buffers.bytes.fill(65, at, at + length);
      loop.send(fd, at, length);
      for (let n = 0; n < 5; n++) loop.turn(1);
      assert.ok(!told.includes('sent'));
      let got = 0;
      socket.on('data', (bytes) => {
        got += bytes.length;
      });
      await until(() => got === length && told.includes('sent'));
      loop.shutdown(fd);
      await until(() => socket.readableEnded);
      loop.close(fd);
      socket.destroy();
    });

    it('cuts a send short when it is closed, and says so', async () => {
      const [fd, socket] = await pair();
      socket.pause();
      loop.receive(fd);
      loop.send(fd, buffers.start(0), 12_000_000);
      for (let n = 0; n < 3; n++) loop.turn(1);
      loop.close(fd);
      await until(() => told.includes('not sent'));
      socket.resume();
      await until(() => socket.readableEnded || socket.destroyed);
      assert.deepEqual(
        told.filter((one) => one.startsWith('end')),
        [],
      );
      socket.destroy();
    });

    it('connects, and says why it cannot', async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      const bytes = socketAddress('127.0.0.1', (server.address() as AddressInfo).port);
      const at = buffers.reserve(28);
      buffers.bytes.set(bytes, at);
      const fd = loop.socket(bytes);
      loop.connect(fd, at, bytes.length);
      await until(() => told.includes('connect 0'));
      loop.close(fd);
      for (let n = 0; n < 3; n++) loop.turn(1);
      server.close();
      await once(server, 'close');
      const second = loop.socket(bytes);
      loop.connect(second, at, bytes.length);
      await until(() => told.includes('connect 111'));
      loop.close(second);
    });

    it('wakes when another thread signals', async () => {
      for (let n = 1; n <= 3; n++) {
        wake.signal();
        await until(() => told.filter((one) => one === 'wake').length === n);
      }
    });
  });
}

describe('a socket address', () => {
  it('is written as the kernel does', () => {
    assert.deepEqual([...socketAddress('10.1.2.3', 258)].slice(0, 8), [2, 0, 1, 2, 10, 1, 2, 3]);
    assert.deepEqual(
      [...socketAddress('fd00::1:2', 80)].slice(8, 24),
      [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2],
    );
    assert.deepEqual([...socketAddress('::', 80)].slice(8, 24), new Array(16).fill(0));
  });
});
