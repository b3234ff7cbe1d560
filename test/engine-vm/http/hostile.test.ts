/** Members that answer as no server should, and clients that are slow on purpose: whoever else asks is served as ever. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, get, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { loopKinds, ProxySite, request } from './proxy-site.ts';
import { fetchRaw } from './raw-client.ts';
import { Origin, RecordingOrigin } from './recording-origin.ts';

/** A member of which the path chooses how it misbehaves. It writes on for as long as it is let. */
const MISDEEDS: Record<string, { first: string; again: string }> = {
  '/endless-fields': { first: 'HTTP/1.1 200 OK\r\n', again: 'X-More: and more\r\n'.repeat(200) },
  '/endless-field': { first: 'HTTP/1.1 200 OK\r\nX-Long: ', again: 'x'.repeat(4000) },
  '/interim-flood': { first: '', again: 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'.repeat(100) },
  '/too-much': {
    first: 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright',
    again: 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil'.repeat(50),
  },
  '/endless-body': {
    first: 'HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n',
    again: 'b'.repeat(16_000),
  },
  '/endless-chunks': {
    first: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
    again: '4\r\nmore\r\n'.repeat(500),
  },
  '/endless-size': {
    first: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
    again: '0'.repeat(4000),
  },
  '/endless-trailers': {
    first: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n',
    again: 'X-Late: x\r\n'.repeat(300),
  },
};
/** Refused before anything went to the client, which is told so. */
const TOLD = ['/endless-fields', '/endless-field', '/interim-flood'];

class HostileOrigin extends Origin {
  protected serve(socket: Socket): void {
    socket.on('data', (bytes: Buffer) => {
      const path = bytes.toString('latin1').split(' ')[1]!;
      const misdeed = MISDEEDS[path];
      if (misdeed === undefined) {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`);
        return;
      }
      socket.write(misdeed.first);
      const more = (): void => {
        while (!socket.destroyed && socket.write(misdeed.again));
      };
      socket.on('drain', more);
      more();
    });
  }
}

/** Asks so often, each in a connection of its own, and holds every answer to be right. */
async function served(port: number, times: number): Promise<void> {
  for (let n = 0; n < times; n++) {
    const { status, body, isWhole } = await fetchRaw(port, `GET /good${n}`);
    assert.equal(status, 200);
    assert.ok(isWhole);
    assert.ok(body.toString('latin1').includes(`/good${n}`), body.toString('latin1'));
  }
}

/** Waits until something is so, for five seconds at the most. */
async function soon(isSo: () => boolean, what: string): Promise<void> {
  for (let n = 0; n < 500 && !isSo(); n++) await delay(10);
  assert.ok(isSo(), what);
}

for (const loop of loopKinds()) {
  describe(`hostile members and slow clients by ${loop}`, () => {
    for (const path of Object.keys(MISDEEDS)) {
      it(`a member's ${path.slice(1)} hurts nobody else, and its connection is given up`, async () => {
        const origin = new HostileOrigin();
        const site = await ProxySite.start([await origin.listen()], {}, loop);
        const clients: Socket[] = [];
        try {
          for (let n = 0; n < 20; n++) {
            const socket = await site.connect();
            clients.push(socket);
            // Never read to the end: what is endless stays where it is.
            socket.write(request(`GET ${path}`));
          }
          await served(site.port, 30);
          if (TOLD.includes(path)) {
            const answer = await site.talk(request(`GET ${path}`));
            assert.match(answer.slice(answer.lastIndexOf('HTTP/1.1 ')), /^HTTP\/1\.1 502 /);
          }
          for (const socket of clients) socket.destroy();
          // Those of the requests that went well may be kept.
          await soon(() => origin.open <= 1, `${origin.open} connections to the member are left`);
          await served(site.port, 5);
        } finally {
          for (const socket of clients) socket.destroy();
          await site.stop();
          await origin.close();
        }
      });
    }

    it('what a member sends beyond a response reaches nobody', async () => {
      const origin = new HostileOrigin();
      const site = await ProxySite.start([await origin.listen()], {}, loop);
      try {
        for (let n = 0; n < 20; n++) {
          const { status, body } = await fetchRaw(site.port, 'GET /too-much');
          assert.deepEqual([status, body.toString('latin1')], [200, 'right']);
          await served(site.port, 2);
        }
      } finally {
        await site.stop();
        await origin.close();
      }
    });

    it('clients that do not read are given up in time, with their connections to the member', async () => {
      const origin = new HostileOrigin();
      const site = await ProxySite.start([await origin.listen()], { bodyTimeoutMs: 400 }, loop);
      const clients: Socket[] = [];
      try {
        for (let n = 0; n < 20; n++) {
          const socket = await site.connect();
          clients.push(socket);
          socket.write(request('GET /endless-body'));
        }
        await soon(() => origin.open >= 20, 'the requests did not reach the member');
        await served(site.port, 10);
        await soon(() => origin.open <= 1, `${origin.open} connections to the member are left`);
      } finally {
        for (const socket of clients) socket.destroy();
        await site.stop();
        await origin.close();
      }
    });

    it('twice as many slow clients as connections are allowed are cut off in time, and others served', async () => {
      const most = 40;
      const origin = new RecordingOrigin();
      const site = await ProxySite.start(
        [await origin.listen()],
        { maxConnections: most, headTimeoutMs: 1000, bodyTimeoutMs: 1000 },
        loop,
      );
      // Came before them, and asks all the while.
      const kept = new Agent({ keepAlive: true, maxSockets: 1 });
      const askKept = async (): Promise<void> => {
        const asked = get({ host: '127.0.0.1', port: site.port, agent: kept, path: '/kept' });
        const [response] = (await once(asked, 'response')) as [IncomingMessage];
        assert.equal(response.statusCode, 200);
        response.resume();
        await once(response, 'end');
      };
      await askKept();
      const slow: Socket[] = [];
      let ended = 0;
      try {
        for (let n = 0; n < 2 * most; n++) {
          const socket = connect(site.port, '127.0.0.1');
          slow.push(socket);
          socket.on('error', () => undefined).on('close', () => ended++);
          // Heads that never end, and bodies that never come.
          const isBody = n % 2 === 0;
          socket.write(
            `POST /slow HTTP/1.1\r\nHost: test\r\n${isBody ? 'Content-Length: 9\r\n\r\n1' : 'X-A'}`,
          );
          socket.resume();
        }
        const slowly = setInterval(() => {
          for (const [n, socket] of slow.entries()) if (n % 2 === 1 && socket.writable) socket.write('a');
        }, 50);
        try {
          for (let n = 0; n < 20; n++) await askKept();
          assert.ok(ended < slow.length, 'the slow clients were gone before others asked');
          await soon(() => ended >= most, `only ${ended} of those beyond the limit were closed`);
          await soon(
            () => ended === slow.length,
            `${slow.length - ended} slow clients still have a connection`,
          );
        } finally {
          clearInterval(slowly);
        }
        await served(site.port, 20);
        assert.ok(
          origin.take().every(({ line }) => !line.includes('/slow')),
          'a request that never ended was answered',
        );
      } finally {
        kept.destroy();
        for (const socket of slow) socket.destroy();
        await site.stop();
        await origin.close();
      }
    });
  });
}
