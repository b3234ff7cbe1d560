/** Members that a policy takes out, brings back and moves while requests, long responses and WebSockets are under way. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, get } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { MemberSettings } from '../../../src/engine-vm/http/service.ts';
import { HttpService } from '../../../src/policy/http-service.ts';
import { loopKinds, ProxySite, request } from './proxy-site.ts';
import { Origin, RecordingOrigin } from './recording-origin.ts';

const CHANGES = 50;

/** Answers with ten pieces, one each 30 ms. */
class SlowOrigin extends Origin {
  protected serve(socket: Socket): void {
    socket.on('data', async () => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n');
      for (let n = 0; n < 10; n++) {
        await delay(30);
        socket.write('0123456789');
      }
    });
  }
}

/** The status of a request, or what went wrong. */
function ask(port: number, path: string, agent: Agent | false): Promise<string> {
  return new Promise((resolve) => {
    const asked = get({ host: '127.0.0.1', port, path, agent, timeout: 10_000 }, (response) => {
      response
        .on('error', (error) => resolve(error.message))
        .resume()
        .on('end', () => resolve(String(response.statusCode)));
    });
    asked
      .on('timeout', () => asked.destroy(new Error('no answer')))
      .on('error', (error) => resolve(error.message));
  });
}

for (const kind of loopKinds()) {
  describe(`members that change, by ${kind}`, () => {
    const origins = [0, 1, 2, 3].map(() => new RecordingOrigin());
    const slow = new SlowOrigin();
    let members: MemberSettings[];
    let site: ProxySite;

    before(async () => {
      const ports = await Promise.all([...origins, slow].map((origin) => origin.listen()));
      site = await ProxySite.start(ports, {}, kind, 2);
      members = [...site.settings.members];
    });
    after(async () => {
      await site.stop();
      await Promise.all([...origins, slow].map((origin) => origin.close()));
    });

    const use = (some: readonly MemberSettings[], http: Record<string, unknown> = {}) =>
      site.workers.reload({ ...site.settings, members: some, http: HttpService.parse(http) });
    const forget = () => {
      for (const origin of origins) origin.take();
    };

    it(`lose no request in ${CHANGES} changes, on new connections or kept ones`, async () => {
      await use(members.slice(0, 4));
      forget();
      const agents = [false as const, new Agent({ keepAlive: true, maxSockets: 4 })];
      const answers: string[] = [];
      let isOver = false;
      const load = agents.flatMap((agent) =>
        [0, 1, 2, 3].map(async () => {
          while (!isOver) answers.push(await ask(site.port, '/load', agent));
        }),
      );
      for (let n = 1; n <= CHANGES; n++) {
        // Each of the fifteen choices that leave somebody, with other components and limits each time.
        const left = members.slice(0, 4).filter((_, at) => ((n % 15) + 1) & (1 << at));
        const http = [
          {},
          { sessionCookie: {} },
          { memberConnections: { max: 1, queue: { length: 100, waitMs: 5000 } } },
          { responseFields: { set: [{ name: 'X-N', value: String(n) }] } },
        ][n % 4]!;
        await use(left, http);
        await delay(20);
      }
      await use(members.slice(1, 2));
      // What was sent before has come.
      await delay(100);
      forget();
      await delay(100);
      isOver = true;
      await Promise.all(load);
      for (const agent of agents) if (agent !== false) agent.destroy();
      assert.ok(answers.length > CHANGES, `${answers.length} requests`);
      assert.deepEqual(
        answers.filter((answer) => answer !== '200'),
        [],
        JSON.stringify(site.log.filter(({ status }) => status !== 200)),
      );
      assert.deepEqual(
        origins.map((origin) => origin.take().length > 0),
        [false, true, false, false],
      );
    });

    it('end a response that has begun, and take no other request', async () => {
      await use(members.slice(4));
      const answer = site.talk(request('GET /slow'));
      await delay(100);
      await use(members.slice(0, 1));
      assert.match(await site.talk(request('GET /a')), /^HTTP\/1\.1 200 [\s\S]*GET \/a/);
      assert.match(await answer, /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\n(0123456789){10}$/);
      const deadline = performance.now() + 10_000;
      while (slow.open > 0) {
        assert.ok(performance.now() < deadline, 'the connection to a member that is gone is closed');
        await delay(20);
      }
    });

    it('keep a WebSocket until one of its ends closes it', async () => {
      await use(members.slice(0, 1));
      const socket = await site.connect();
      let text = '';
      socket.on('data', (bytes) => {
        text += bytes.toString('latin1');
      });
      const until = async (what: string) => {
        const deadline = performance.now() + 10_000;
        while (!text.endsWith(what)) {
          assert.ok(performance.now() < deadline, text);
          await delay(5);
        }
      };
      socket.write(
        'GET /socket HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n',
      );
      await until('hi!');
      for (const some of [members.slice(1, 2), members.slice(0, 2), members.slice(2, 3)]) {
        await use(some);
        socket.write('still');
        await until('<still>');
        text = '';
      }
      socket.end();
      await once(socket, 'close');
    });

    it('move to another address under their name', async () => {
      await use([members[0]!]);
      forget();
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      assert.equal(await ask(site.port, '/before', agent), '200');
      await use([{ ...members[0]!, port: members[1]!.port }]);
      assert.equal(await ask(site.port, '/behind', agent), '200');
      agent.destroy();
      assert.deepEqual(
        origins.map((origin) => origin.take().map(({ line }) => line.split(' ')[1])),
        [['/before'], ['/behind'], [], []],
      );
    });

    it('leave requests that wait for them to others', async () => {
      const limit = { memberConnections: { max: 1, queue: { length: 100, waitMs: 10_000 } } };
      await use(members.slice(4), limit);
      const first = [site.talk(request('GET /slow')), site.talk(request('GET /slow'))];
      await delay(60);
      // On each thread one at most is answered; the rest waits.
      const waiting = Array.from({ length: 6 }, () => site.talk(request('GET /waits')));
      await delay(60);
      await use(members.slice(0, 1), limit);
      for (const answer of [...first, ...waiting]) assert.match(await answer, /^HTTP\/1\.1 200 /);
    });
  });
}
