/** Requests that wait while members are at their limit: in order, bounded in number and time, whole, and free to leave. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { ALL_BUSY, type Availability } from '../../../src/engine-vm/http/availability.ts';
import type { Exchange } from '../../../src/engine-vm/http/exchange.ts';
import { Head } from '../../../src/engine-vm/http/head.ts';
import type { Member } from '../../../src/engine-vm/http/member.ts';
import { RequestQueue, type WaitingRequest } from '../../../src/engine-vm/http/request-queue.ts';
import type { SocketBuffers } from '../../../src/engine-vm/kernel/socket-buffers.ts';
import { HttpService } from '../../../src/policy/http-service.ts';
import { loopKinds, ProxySite, request, settingsOf } from './proxy-site.ts';

/** A member that answers when the test says so, with the body that it got. */
class HeldMember {
  readonly got: string[] = [];
  readonly #held: { response: ServerResponse; body: string }[] = [];
  #answered = 0;
  readonly #server = createServer((message: IncomingMessage, response) => {
    this.got.push(message.url!);
    let body = '';
    message.on('data', (bytes) => {
      body += bytes;
    });
    message.on('end', () => this.#held.push({ response, body }));
  });

  async listen(): Promise<number> {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  async until(count: number): Promise<void> {
    for (let n = 0; this.got.length < count || this.#held.length === 0; n++) {
      assert.ok(n < 500, `got ${this.got.join()}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Answers the oldest that it holds. */
  answer(): void {
    const { response, body } = this.#held.shift()!;
    response.end(body);
    this.#answered++;
  }

  /** Answers all, those that come then, too, until so many were answered since the start. */
  async answerAll(count: number): Promise<void> {
    for (let n = 0; this.#answered < count; n++) {
      assert.ok(n < 1000, `got ${this.got.join()}`);
      while (this.#held.length > 0) this.answer();
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

for (const kind of loopKinds()) {
  describe(`requests that wait, by ${kind}`, () => {
    let members: HeldMember[];
    let site: ProxySite;

    async function begin(count: number, http: Record<string, unknown> = {}): Promise<void> {
      members = Array.from({ length: count }, () => new HeldMember());
      const ports = await Promise.all(members.map((member) => member.listen()));
      const memberConnections = { max: 1, queue: { length: 3, waitMs: 2000 } };
      site = await ProxySite.start(ports, { memberConnections, ...http }, kind);
    }
    afterEach(async () => {
      for (const member of members) member.close();
      await site.stop();
    });

    /** Sends requests one after the other, so that their order is known. */
    async function send(...paths: string[]): Promise<Promise<string>[]> {
      const answers = [];
      for (const path of paths) {
        answers.push(site.talk(request(`GET ${path}`)));
        await new Promise((resolve) => setTimeout(resolve, 15));
      }
      return answers;
    }
    const waited = async (): Promise<number> => (await site.workers.figures())[0]!.waited;

    it('are served in order; one too many gets 503 with Retry-After', async () => {
      await begin(1);
      const answers = await send('/1', '/2', '/3', '/4', '/5');
      const refused = await answers[4]!;
      assert.match(refused, /^HTTP\/1.1 503 /);
      assert.match(refused, /\r\nRetry-After: 2\r\n/);
      assert.match(refused, /queue-full/);
      const [member] = members as [HeldMember];
      assert.deepEqual(member.got, ['/1']);
      await member.answerAll(4);
      for (const answer of answers.slice(0, 4)) assert.match(await answer, /^HTTP\/1.1 200 /);
      assert.deepEqual(member.got, ['/1', '/2', '/3', '/4']);
      assert.equal(await waited(), 3);
    });

    it('get 503 where that takes too long, and the member hears nothing of them', async () => {
      await begin(1, { memberConnections: { max: 1, queue: { waitMs: 200 } } });
      const [first, second] = await send('/1', '/2');
      const begun = performance.now();
      const late = await second!;
      assert.ok(performance.now() - begun > 100);
      assert.match(late, /^HTTP\/1.1 503 [\s\S]*\r\nRetry-After: 1\r\n[\s\S]*queue-timeout/);
      const [member] = members as [HeldMember];
      await member.answerAll(1);
      assert.match(await first!, /^HTTP\/1.1 200 /);
      assert.deepEqual(member.got, ['/1']);
    });

    it('leave with their client', async () => {
      await begin(1);
      const [first] = await send('/1');
      const leaving = await site.connect();
      leaving.write(request('GET /2'));
      await new Promise((resolve) => setTimeout(resolve, 20));
      const [third] = await send('/3');
      leaving.destroy();
      await new Promise((resolve) => setTimeout(resolve, 20));
      const [member] = members as [HeldMember];
      await member.answerAll(2);
      assert.match(await first!, /^HTTP\/1.1 200 /);
      assert.match(await third!, /^HTTP\/1.1 200 /);
      assert.deepEqual(member.got, ['/1', '/3']);
    });

    it('keep their bodies, of known length and chunked, however long', async () => {
      await begin(1);
      const [first] = await send('/1');
      const body = 'x'.repeat(300_000);
      const post = (path: string, isChunked: boolean): Promise<string> =>
        new Promise((resolve, reject) => {
          const headers: Record<string, string | number> = isChunked
            ? { 'Transfer-Encoding': 'chunked' }
            : { 'Content-Length': body.length };
          const asked = httpRequest(
            { port: site.port, method: 'POST', path, headers, agent: false },
            (response) => {
              let text = '';
              response.on('data', (bytes) => {
                text += bytes;
              });
              response.on('end', () => resolve(text));
            },
          );
          asked.on('error', reject);
          for (let at = 0; at < body.length; at += 50_000) asked.write(body.slice(at, at + 50_000));
          asked.end();
        });
      const answers = [post('/2', false), post('/3', true)];
      await new Promise((resolve) => setTimeout(resolve, 50));
      const [member] = members as [HeldMember];
      await member.answerAll(3);
      await first;
      for (const answer of answers) assert.equal(await answer, body);
    });

    it('are streams of one connection of HTTP/2, too', async () => {
      await begin(1);
      const session = connectHttp2(`http://127.0.0.1:${site.port}`);
      const answers = [1, 2, 3, 4, 5].map(async (n) => {
        const stream = session.request({ ':path': `/${n}`, ':method': 'POST' });
        stream.end(`body ${n}`);
        const [headers] = (await once(stream, 'response')) as [{ ':status': number }];
        let text = '';
        for await (const bytes of stream) text += bytes;
        return headers[':status'] === 200 ? text : headers[':status'];
      });
      const [member] = members as [HeldMember];
      await member.answerAll(4);
      assert.deepEqual(await Promise.all(answers), ['body 1', 'body 2', 'body 3', 'body 4', 503]);
      session.close();
    });

    it('of a client that is bound to a member wait for that one, and hold up nobody else', async () => {
      await begin(2, { sessionCookie: {} });
      const [one, two] = members as [HeldMember, HeldMember];
      const asked = site.talk(request('GET /first'));
      await Promise.race([one.until(1), two.until(1)]);
      const [mine, other] = one.got.length > 0 ? [one, two] : [two, one];
      mine!.answer();
      const cookie = /Set-Cookie: ([^;]+);/.exec(await asked)![1]!;
      const bound = (path: string): Promise<string> =>
        site.talk(request(`GET ${path}`, [`Cookie: ${cookie}`]));
      const first = bound('/a');
      await mine!.until(2);
      const second = bound('/b');
      await new Promise((resolve) => setTimeout(resolve, 20));
      const free = site.talk(request('GET /free'));
      await other!.until(1);
      other!.answer();
      assert.match(await free, /^HTTP\/1.1 200 /);
      assert.deepEqual(other!.got, ['/free']);
      await mine!.answerAll(3);
      for (const answer of [await first, await second]) assert.match(answer, /^HTTP\/1.1 200 /);
      assert.deepEqual(mine!.got, ['/first', '/a', '/b']);
    });

    it('go to a member that comes, and are refused where the last one goes', async () => {
      await begin(2);
      const { settings } = site;
      const members1 = settings.members.slice(0, 1);
      await site.workers.reload({ ...settings, members: members1 });
      const answers = await send('/1', '/2', '/3');
      await site.workers.reload(settings);
      const [one, two] = members as [HeldMember, HeldMember];
      await two.until(1);
      assert.deepEqual([one.got, two.got], [['/1'], ['/2']]);
      await site.workers.reload({
        ...settings,
        members: settings.members.map((m) => ({ ...m, isDown: true })),
      });
      assert.match(await answers[2]!, /^HTTP\/1.1 503 [\s\S]*member-none/);
      one.answer();
      two.answer();
      for (const answer of answers.slice(0, 2)) assert.match(await answer, /^HTTP\/1.1 200 /);
    });
  });
}

describe('the queue', () => {
  it('is one in order, with a bound for each member and one for the others', () => {
    const event = fc.record({
      kind: fc.constantFrom('add', 'leave', 'serve', 'free', 'busy', 'out'),
      member: fc.nat(2),
      isBound: fc.boolean(),
      pick: fc.nat(20),
    });
    const buffers = {} as SocketBuffers;
    fc.assert(
      fc.property(fc.array(event, { maxLength: 80 }), (events) => {
        const members = [0, 1, 2].map(
          (position) =>
            ({ position, waiting: 0, isFull: true, room: 0 }) as unknown as Member & { room: number },
        );
        const availability = {
          takes: (member: Member & { room: number }) => member.room > 0,
          choose: () => {
            const free = members.findIndex(({ room }) => room > 0);
            return free >= 0 ? free : members.some(({ isFull }) => isFull) ? ALL_BUSY : -1;
          },
        } as unknown as Availability;
        const queue = new RequestQueue(availability);
        const most = 4;
        let model: { id: number; wanted: number | null; one: WaitingRequest; untilMs: number }[] = [];
        const served: number[] = [];
        let nowMs = 0;
        const settle = (member: (typeof members)[number], room: number): void => {
          member.room = room;
          member.isFull = room === 0;
        };
        for (const [id, { kind, member: index, isBound, pick }] of events.entries()) {
          const member = members[index]!;
          nowMs += 1;
          if (kind === 'free') settle(member, member.room + 1);
          else if (kind === 'busy') settle(member, 0);
          else if (kind === 'out') {
            member.room = 0;
            member.isFull = false;
          } else if (kind === 'leave' && model.length > 0) {
            const [left] = model.splice(pick % model.length, 1);
            queue.remove(left!.one);
            queue.recycle(left!.one, buffers);
          } else if (kind === 'add') {
            const wanted = isBound ? index : null;
            const forget = (): void => {
              model = model.filter((other) => other.id !== id);
              queue.recycle(one!, buffers);
            };
            const exchange = {
              request: new Head(),
              sourceHash: 0,
              admit: (position: number) => {
                served.push(id);
                if (position >= 0) settle(members[position]!, members[position]!.room - 1);
                forget();
              },
              waitedTooLong: () => {
                served.push(-id);
                forget();
              },
            } as unknown as Exchange;
            const alike = model.filter((other) => other.wanted === wanted).length;
            const one = queue.add(exchange, 0, wanted === null ? null : member, nowMs + 30, most);
            assert.equal(one !== null, alike < most);
            if (one !== null) model.push({ id, wanted, one, untilMs: nowMs + 30 });
          } else if (kind === 'serve') {
            // The same by a walk over a copy.
            const rooms = members.map(({ room }) => room);
            const full = members.map(({ isFull }) => isFull);
            const expected: number[] = [];
            for (const waiting of model) {
              if (waiting.untilMs <= nowMs) {
                expected.push(-waiting.id);
                continue;
              }
              if (waiting.wanted !== null && rooms[waiting.wanted] === 0 && !full[waiting.wanted])
                waiting.wanted = null;
              let at = waiting.wanted ?? rooms.findIndex((room) => room > 0);
              if (at >= 0 && rooms[at] === 0) continue;
              if (at < 0 && full.includes(true)) continue;
              expected.push(waiting.id);
              if (at < 0) continue;
              rooms[at]!--;
              full[at] = rooms[at] === 0;
              at = -1;
            }
            served.length = 0;
            queue.serve(nowMs);
            assert.deepEqual(served, expected);
          }
          assert.equal(queue.count, model.length);
          assert.equal(
            queue.hasUnbound,
            model.some(({ wanted }) => wanted === null),
          );
        }
      }),
      { numRuns: 500 },
    );
  });

  it('needs a limit of connections', () => {
    const judged = HttpService.safeParse({ memberConnections: { queue: {} } });
    assert.match(judged.error?.issues[0]?.message ?? '', /needs max/);
    assert.equal(
      settingsOf(1, [], { memberConnections: { max: 1, queue: {} } }).http.memberConnections.queue?.length,
      100,
    );
  });
});
