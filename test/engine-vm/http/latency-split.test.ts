/** Where the time of requests goes: by members and clients that are slow in one way each. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { quantile, type ServiceFigures, sumFigures } from '../../../src/policy/service-figures.ts';
import { loopKinds, ProxySite, request } from './proxy-site.ts';

const SLOW_MS = 200;
const LARGE = 8_000_000;

const ANSWERS: Record<string, (request: IncomingMessage, response: ServerResponse) => void> = {
  '/fast': (_, response) => void response.end('x'),
  '/slow-head': (_, response) => void setTimeout(() => response.end('x'), SLOW_MS),
  '/slow-body': (_, response) => {
    response.write('a');
    setTimeout(() => response.end('b'), SLOW_MS);
  },
  '/read': (request, response) => void request.resume().on('end', () => response.end('x')),
  '/large': (_, response) => void response.end(Buffer.alloc(LARGE, 120)),
};

/** The most of each share, in milliseconds, over all requests. */
function most({ times }: ServiceFigures): Record<'client' | 'engine' | 'member' | 'total', number> {
  const of = (counts: number[]): number => quantile(counts, 1);
  return {
    client: of(times.client),
    engine: of(times.engine),
    member: of(times.member),
    total: of(times.total),
  };
}

for (const loop of loopKinds()) {
  describe(`the latency split by ${loop}`, () => {
    const server = createServer((request, response) => ANSWERS[request.url!]!(request, response));
    let port = 0;

    before(async () => {
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      port = (server.address() as AddressInfo).port;
    });
    after(() => void server.close().closeAllConnections());

    async function shares(
      talk: (site: ProxySite) => Promise<void>,
      http: Record<string, unknown> = {},
    ): Promise<ServiceFigures> {
      const site = await ProxySite.start([port], http, loop);
      try {
        await talk(site);
        return sumFigures(await site.workers.figures());
      } finally {
        await site.stop();
      }
    }

    for (const path of ['/slow-head', '/slow-body']) {
      it(`gives the member what it takes: ${path}`, async () => {
        const figures = await shares(async (site) => void (await site.talk(request(`GET ${path}`))));
        const { client, engine, member, total } = most(figures);
        assert.ok(member >= SLOW_MS * 0.9 && total >= member * 0.8, JSON.stringify(most(figures)));
        assert.ok(client < SLOW_MS / 4 && engine < SLOW_MS / 4, JSON.stringify(most(figures)));
        assert.equal(figures.members.length, 1);
        const [{ requests, errors, active, waits, pool, name }] = figures.members as [
          ServiceFigures['members'][0],
        ];
        assert.deepEqual(
          { requests, errors, active, pool, name },
          { requests: 1, errors: 0, active: 0, pool: '', name: `m${port}` },
        );
        assert.equal(quantile(waits, 1), member);
      });
    }

    it('gives the client the time in which it sends', async () => {
      const figures = await shares(async (site) => {
        const socket = await site.connect();
        socket.write('POST /read HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 2\r\n\r\na');
        await delay(SLOW_MS);
        socket.write('b');
        await once(socket.resume(), 'end');
        socket.destroy();
      });
      const { client, engine, member } = most(figures);
      assert.ok(client >= SLOW_MS * 0.9, JSON.stringify(most(figures)));
      assert.ok(member < SLOW_MS / 2 && engine < SLOW_MS / 4, JSON.stringify(most(figures)));
    });

    it('gives the client the time in which it does not read', async () => {
      const figures = await shares(async (site) => {
        const socket = await site.connect();
        socket.write(request('GET /large'));
        socket.pause();
        await delay(2 * SLOW_MS);
        await once(socket.resume(), 'end');
        socket.destroy();
      });
      const { client, engine, member } = most(figures);
      assert.ok(client >= SLOW_MS, JSON.stringify(most(figures)));
      assert.ok(member + engine < client, JSON.stringify(most(figures)));
    });

    it('keeps for itself the time in which a request waits in its queue', async () => {
      const figures = await shares(
        async (site) => {
          const talks = ['/slow-head', '/fast'].map((path) => site.talk(request(`GET ${path}`)));
          for (const answer of await Promise.all(talks)) assert.match(answer, /^HTTP\/1.1 200 /);
        },
        { memberConnections: { max: 1, queue: { length: 10, waitMs: 5000 } } },
      );
      const { client, engine } = most(figures);
      assert.ok(engine >= SLOW_MS / 2 && client < SLOW_MS / 4, JSON.stringify(most(figures)));
    });

    it('counts tunnels, refusals and errors, and leaves tunnels out of the times', async () => {
      const figures = await shares(async (site) => {
        assert.match(await site.talk('GET / HTTP/1.1\r\n\r\n'), /^HTTP\/1.1 400 /);
        assert.match(await site.talk(request('GET /fast')), /^HTTP\/1.1 200 /);
      });
      assert.equal(figures.requests, 2);
      assert.equal(figures.tunnels, 0);
      assert.deepEqual(figures.statuses, [0, 0, 1, 0, 1, 0]);
      const counted = figures.times.total.reduce((sum, count) => sum + count, 0);
      assert.equal(counted, 2);
      assert.ok(figures.busyMs > 0);
    });
  });
}
