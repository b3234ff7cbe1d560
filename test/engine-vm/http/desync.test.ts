/**
 * Who is answered by what: members that give bodies where none may be, interim responses with framing, answers before the
 * request is whole, and refused upgrades. Nobody gets a piece of another's response, and members get no request that was
 * not judged.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { loopKinds, ProxySite, request } from './proxy-site.ts';
import { Origin, type Received, readRequest } from './recording-origin.ts';

const EVIL = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil';
/** What a member writes for a path, whatever was asked. */
const ANSWERS: Record<string, string> = {
  '/head-body': `HTTP/1.1 200 OK\r\nContent-Length: ${EVIL.length}\r\n\r\n${EVIL}`,
  '/204': `HTTP/1.1 204 No Content\r\nContent-Length: ${EVIL.length}\r\n\r\n${EVIL}`,
  '/204-chunked': `HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwrong\r\n0\r\n\r\n`,
  '/304': `HTTP/1.1 304 Not Modified\r\nContent-Length: ${EVIL.length}\r\n\r\n${EVIL}`,
  '/103-length': `HTTP/1.1 103 Early Hints\r\nContent-Length: ${EVIL.length}\r\n\r\n${EVIL}`,
  '/103-chunked':
    'HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate',
  '/103-both': 'HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n',
  '/100': `HTTP/1.1 100 Continue\r\nSet-Cookie: a=b\r\nConnection: close\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate`,
  '/101': `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n${EVIL}`,
  '/early': `HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno`,
  '/early-ok': 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
  '/426': `HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno`,
};
const ok = (text: string): string => `HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`;

/** Answers heads at once, the bodies of `/early` and `/early-ok` unread; what it would take for requests is written down. */
class HastyOrigin extends Origin {
  readonly received: Received[] = [];
  connections = 0;

  take(): string[] {
    return this.received.splice(0).map(({ line, connection }) => `${connection} ${line}`);
  }

  protected serve(socket: Socket): void {
    const connection = ++this.connections;
    let text = '';
    let isDeaf = false;
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1');
      while (!isDeaf) {
        const path = /^\S+ (\S+) /.exec(text)?.[1] ?? '';
        if (path.startsWith('/early') && text.includes('\r\n\r\n')) {
          isDeaf = true;
          this.received.push({ line: text.slice(0, text.indexOf('\r\n')), fields: [], body: '', connection });
          socket.write(ANSWERS[path]!);
          return;
        }
        const found = readRequest(text, connection);
        if (found === null) return;
        text = text.slice(found.length);
        this.received.push(found.request);
        socket.write(ANSWERS[path] ?? ok(path));
      }
    });
  }
}

for (const loop of loopKinds()) {
  describe(`whose response it is, by ${loop}`, () => {
    const origin = new HastyOrigin();
    let site: ProxySite;
    before(async () => {
      site = await ProxySite.start(
        [await origin.listen()],
        { accessRules: { rules: [{ name: 'no', action: 'deny', paths: ['/denied'] }] } },
        loop,
      );
    });
    after(async () => {
      await site.stop();
      await origin.close();
    });
    afterEach(() => origin.take());

    /** Statuses and bodies of what one connection is answered, as a client reads it that knows what it asked. */
    const read = (answer: string, methods: readonly string[]): [number, string][] => {
      const all: [number, string][] = [];
      let left = answer;
      let asked = 0;
      while (left !== '') {
        const end = left.indexOf('\r\n\r\n') + 4;
        assert.ok(end > 3, JSON.stringify(left));
        const status = Number(left.slice(9, 12));
        const head = left.slice(0, end);
        const isFinal = status >= 200;
        const hasNone = !isFinal || status === 204 || status === 304 || methods[asked] === 'HEAD';
        const length = hasNone ? 0 : Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 'NaN');
        assert.ok(length >= 0, head);
        all.push([status, left.slice(end, end + length)]);
        left = left.slice(end + length);
        if (isFinal) asked++;
      }
      return all;
    };
    const kept = (line: string, fields: readonly string[] = [], body = ''): string =>
      request(line, fields, body).replace('Connection: close\r\n', '');

    for (const [line, status] of [
      ['HEAD /head-body', 200],
      ['GET /204', 204],
      ['GET /204-chunked', 204],
      ['GET /304', 304],
    ] as const) {
      it(`a body that may not be is nobody's response: ${line}`, async () => {
        for (let n = 0; n < 5; n++) {
          const others = await Promise.all([
            site.talk(kept(line) + request('GET /mine')),
            site.talk(request('GET /other')),
          ]);
          assert.deepEqual(read(others[0]!, [line.split(' ')[0]!, 'GET']), [
            [status, ''],
            [200, '/mine'],
          ]);
          assert.deepEqual(read(others[1]!, ['GET']), [[200, '/other']]);
        }
      });
    }

    it('an interim response has no body, whatever it says, and no two lengths', async () => {
      // What follows it is the response, for that is what it is by RFC 9110.
      const withLength = await site.talk(kept('GET /103-length') + request('GET /mine'));
      assert.deepEqual(read(withLength, ['GET', 'GET']), [
        [103, ''],
        [200, 'evil'],
        [200, '/mine'],
      ]);
      assert.doesNotMatch(withLength.split('\r\n\r\n')[0]!, /content-length|transfer-encoding/i);
      const chunked = await site.talk(kept('GET /103-chunked') + request('GET /mine'));
      assert.deepEqual(read(chunked, ['GET', 'GET']), [
        [103, ''],
        [200, 'late'],
        [200, '/mine'],
      ]);
      assert.doesNotMatch(chunked.split('\r\n\r\n')[0]!, /content-length|transfer-encoding/i);
      assert.match(
        await site.talk(request('GET /103-both')),
        /^HTTP\/1\.1 502 [\s\S]*member-framing-invalid/,
      );
    });

    it('an interim response says nothing of the connection, and reaches no old client', async () => {
      const answer = await site.talk(kept('GET /100') + request('GET /mine'));
      assert.deepEqual(
        read(answer, ['GET', 'GET']).map(([status]) => status),
        [100, 200, 200],
      );
      assert.doesNotMatch(answer.split('\r\n\r\n')[0]!, /connection/i);
      const old = await site.talk('GET /100 HTTP/1.0\r\nHost: a\r\n\r\n');
      assert.match(old, /^HTTP\/1\.1 200 OK/);
    });

    it('an upgrade that nobody asked for is refused, and what follows it is no response', async () => {
      const answer = await site.talk(kept('GET /101') + request('GET /mine'));
      assert.match(answer, /^HTTP\/1\.1 502 [\s\S]*member-upgrade-unasked/);
      assert.doesNotMatch(answer, /evil/);
    });

    it('what follows an upgrade that the member refused is requests, and judged', async () => {
      const upgrade = (path: string): string =>
        `GET ${path} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777\r\n\r\n`;
      for (const path of ['/426', '/mine']) {
        const answer = await site.talk(upgrade(path) + request('GET /denied'));
        assert.match(answer, /HTTP\/1\.1 403 [\s\S]*access-denied/, path);
        assert.equal(answer.match(/HTTP\/1\.1 \d/g)?.length, 2);
      }
      assert.deepEqual(
        origin.take().map((line) => line.split(' ')[2]),
        ['/426', '/mine'],
      );
    });

    it('a member that answers before the request is whole is asked nothing else on that connection', async () => {
      const smuggled = 'GET /denied HTTP/1.1\r\nHost: test\r\n\r\n';
      for (const path of ['/early', '/early-ok']) {
        const socket = await site.connect();
        let answer = '';
        socket.on('data', (bytes) => {
          answer += bytes.toString('latin1');
        });
        socket.write(kept(`POST ${path}`, [`Content-Length: ${smuggled.length + 5}`], 'begin'));
        for (let n = 0; n < 200 && !answer.includes('\r\n\r\n'); n++) await delay(10);
        socket.write(smuggled + request('GET /behind'));
        socket.end();
        await once(socket, 'close');
        assert.equal(answer.match(/HTTP\/1\.1 \d/g)?.length, 1, answer);
        assert.match(answer, /^Connection: close\r$/m);
        for (let n = 0; n < 3; n++) assert.match(await site.talk(request(`GET /next${n}`)), /\/next/);
        const lines = origin.take();
        const [first] = lines;
        assert.equal(lines.length, 4, lines.join());
        for (const line of lines.slice(1)) {
          assert.match(line, /GET \/next/);
          assert.notEqual(line.split(' ')[0], first!.split(' ')[0], 'another connection');
        }
      }
    });

    it('what follows a last request is none', async () => {
      for (const last of [
        request('GET /last'),
        'GET /last HTTP/1.0\r\nHost: test\r\n\r\n',
        kept('GET /last', ['Connection: Keep-Alive, CLOSE']),
      ]) {
        const answer = await site.talk(last + request('GET /behind'));
        assert.equal(answer.match(/HTTP\/1\.1 \d/g)?.length, 1, last);
        assert.deepEqual(
          origin.take().map((line) => line.split(' ')[2]),
          ['/last'],
        );
      }
    });

    it('Connection takes nothing out that members or we go by, however it is spelled', async () => {
      for (const named of [
        'Transfer-Encoding',
        'Host',
        'close, transfer-encoding',
        'keep-alive , HOST',
        ',,x-forwarded-for',
        'Via',
        'Authorization',
        'X-Real-IP',
        'Forwarded',
        'Client-Cert',
        'Content-Encoding',
        'Range',
      ]) {
        const answer = await site.talk(request('GET /', [`Connection: ${named}`]));
        assert.match(answer, /^HTTP\/1\.1 400 [\s\S]*connection-names-end-to-end/, named);
      }
      assert.deepEqual(origin.take(), []);
      // Said in two fields, of which a careless reader sees one.
      await site.talk(request('GET /', ['Connection: X-One', 'X-One: 1', 'X-Two: 2', 'Connection: x-two']));
      assert.deepEqual(
        origin.received.map(({ fields }) => fields.filter(([name]) => /^x-(one|two)$/.test(name))),
        [[]],
      );
    });
  });
}
