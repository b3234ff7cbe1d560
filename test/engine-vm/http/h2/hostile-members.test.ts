/** Members of HTTP/2 that answer as no server may: the client is told, nothing of it reaches anybody, others are served. */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { loopKinds, ProxySite, request } from '../proxy-site.ts';
import { Origin } from '../recording-origin.ts';
import { block, frame, number } from './raw-client.ts';

type Fields = readonly (readonly [string, string])[];

const DATA = 0;
const HEADERS = 1;
const RST_STREAM = 3;
const SETTINGS = 4;
const PUSH_PROMISE = 5;
const WINDOW_UPDATE = 8;
const CONTINUATION = 9;
const END_STREAM = 1;
const END_HEADERS = 4;

const head = (stream: number, fields: Fields, flags = END_HEADERS): Buffer =>
  frame(HEADERS, flags, stream, block(fields));
const data = (stream: number, text: string, flags = END_STREAM): Buffer =>
  frame(DATA, flags, stream, Buffer.from(text));
const OK: Fields = [[':status', '200']];
const answer = (stream: number, text: string): Buffer[] => [
  head(stream, [...OK, ['content-length', String(text.length)]]),
  data(stream, text),
];
/** A whole response with these fields. */
const withFields =
  (fields: Fields) =>
  (stream: number): Buffer[] => [head(stream, fields), data(stream, 'evil')];

/** By path: what is wrong, and what a member writes. Nothing of it may be taken for a response. */
const REFUSED: Record<string, (stream: number) => Buffer[]> = {
  '/upper-case': withFields([...OK, ['X-Evil', '1']]),
  '/line-end': withFields([...OK, ['x-a', 'b\r\nx-evil: 1']]),
  '/nul': withFields([...OK, ['x-evil', 'a\0b']]),
  '/name-with-colon': withFields([...OK, ['x-evil: 1', 'a']]),
  '/name-with-line-end': withFields([...OK, ['a\r\nx-evil', '1']]),
  '/empty-name': withFields([...OK, ['', 'x-evil']]),
  '/connection': withFields([...OK, ['connection', 'x-evil']]),
  '/transfer-encoding': withFields([...OK, ['transfer-encoding', 'chunked']]),
  '/keep-alive': withFields([...OK, ['keep-alive', 'x-evil']]),
  '/no-status': withFields([['x-evil', '1']]),
  '/two-statuses': withFields([...OK, ...OK]),
  '/late-status': withFields([['x-evil', '1'], ...OK]),
  '/short-status': withFields([[':status', '20']]),
  '/long-status': withFields([[':status', '2000']]),
  '/no-number': withFields([[':status', '2x0']]),
  '/low-status': withFields([[':status', '099']]),
  '/path-in-response': withFields([...OK, [':path', '/x-evil']]),
  '/unknown-pseudo': withFields([...OK, [':evil', '1']]),
  '/two-lengths': withFields([...OK, ['content-length', '4'], ['content-length', '5']]),
  '/odd-length': withFields([...OK, ['content-length', '+4']]),
  '/switching': withFields([[':status', '101']]),
  '/interim-that-ends': (stream) => [head(stream, [[':status', '103']], END_HEADERS | END_STREAM)],
  '/interim-flood': (stream) => new Array<Buffer>(60).fill(head(stream, [[':status', '103']])),
  '/data-first': (stream) => [data(stream, 'evil', 0), ...answer(stream, 'evil')],
  '/push': (stream) => [
    frame(
      PUSH_PROMISE,
      END_HEADERS,
      stream,
      Buffer.concat([
        number(2),
        block([
          [':method', 'GET'],
          [':path', '/evil'],
        ]),
      ]),
    ),
    ...answer(2, 'evil'),
  ],
  '/head-without-end': (stream) => [
    frame(HEADERS, 0, stream, block(OK)),
    ...new Array<Buffer>(300).fill(frame(CONTINUATION, 0, stream, block([['x-evil', 'y'.repeat(120)]]))),
  ],
  '/other-frame-within': (stream) => [frame(HEADERS, 0, stream, block(OK)), data(stream, 'evil')],
  '/continuation-alone': (stream) => [frame(CONTINUATION, END_HEADERS, stream, block(OK))],
  // One large entry of the table, named again and again.
  '/unfolding': (stream) => [
    frame(
      HEADERS,
      END_HEADERS,
      stream,
      Buffer.concat([
        Buffer.from([0x88, 0x40, 6]),
        Buffer.from('x-evil'),
        Buffer.from([0x7f, 0x81, 0x1e]),
        Buffer.alloc(4000, 97),
        Buffer.alloc(8000, 0xbe),
      ]),
    ),
  ],
  '/too-large': (stream) => [frame(DATA, END_STREAM, stream, Buffer.alloc(20_000, 97))],
  '/stream-of-nobody': (stream) => [...answer(stream + 2, 'evil')],
  '/even-stream': () => [...answer(2, 'evil')],
  '/table-too-large': () => [frame(SETTINGS, 0, 0, Buffer.from([0, 5, 0, 0, 0, 1]))],
  '/window': (stream) => [frame(WINDOW_UPDATE, 0, stream, number(0x7fff_ffff))],
  '/window-of-none': () => [frame(WINDOW_UPDATE, 0, 0, number(0))],
};

/** What begins well: the client notices that it does not end well. */
const CUT: Record<string, (stream: number) => Buffer[]> = {
  '/too-much': (stream) => [head(stream, [...OK, ['content-length', '2']]), data(stream, 'evil')],
  '/too-little': (stream) => [head(stream, [...OK, ['content-length', '20']]), data(stream, 'evi')],
  '/pseudo-in-trailers': (stream) => [
    head(stream, OK),
    data(stream, 'evi', 0),
    head(stream, [[':status', '200']], END_HEADERS | END_STREAM),
  ],
  '/trailers-that-go-on': (stream) => [
    head(stream, OK),
    data(stream, 'evi', 0),
    head(stream, [['x-a', '1']]),
    data(stream, 'l'),
  ],
  '/forbidden-trailers': (stream) => [
    head(stream, OK),
    data(stream, 'evi', 0),
    head(stream, [['set-cookie', 'x-evil=1']], END_HEADERS | END_STREAM),
  ],
  '/reset': (stream) => [
    head(stream, [...OK, ['content-length', '20']]),
    data(stream, 'evi', 0),
    frame(RST_STREAM, 0, stream, number(2)),
  ],
};

class HostileMember extends Origin {
  protected serve(socket: Socket): void {
    let bytes = Buffer.alloc(0);
    let isBegun = false;
    socket.write(frame(SETTINGS, 0, 0));
    socket.on('data', (more: Buffer) => {
      bytes = Buffer.concat([bytes, more]);
      if (!isBegun) {
        if (bytes.length < 24) return;
        bytes = bytes.subarray(24);
        isBegun = true;
      }
      while (bytes.length >= 9) {
        const length = bytes.readUIntBE(0, 3);
        if (bytes.length < 9 + length) return;
        const [type, flags, stream] = [bytes[3]!, bytes[4]!, bytes.readUInt32BE(5)];
        const payload = bytes.subarray(9, 9 + length);
        bytes = bytes.subarray(9 + length);
        if (type === SETTINGS && (flags & 1) === 0) socket.write(frame(SETTINGS, 1, 0));
        if (type !== HEADERS) continue;
        // Our own blocks are text.
        const path = /\/[a-z0-9-]+/.exec(payload.toString('latin1'))![0];
        const wrong = REFUSED[path] ?? CUT[path];
        socket.write(Buffer.concat(wrong === undefined ? answer(stream, path) : wrong(stream)));
      }
    });
  }
}

for (const loop of loopKinds()) {
  describe(`hostile members of HTTP/2 by ${loop}`, () => {
    const origin = new HostileMember();
    let site: ProxySite;
    before(async () => {
      site = await ProxySite.start(
        [await origin.listen()],
        { memberProtocol: 'http/2', responseTimeoutMs: 1000, retries: 0 },
        loop,
      );
    });
    after(async () => {
      await site.stop();
      await origin.close();
    });

    const served = async (): Promise<void> => {
      const all = await Promise.all([1, 2, 3].map((n) => site.talk(request(`GET /good${n}`))));
      for (const [n, text] of all.entries())
        assert.match(text, new RegExp(`^HTTP/1.1 200 [^]*/good${n + 1}$`));
    };

    for (const path of Object.keys(REFUSED)) {
      it(`refuse ${path.slice(1)}`, async () => {
        const text = await site.talk(request(`GET ${path}`));
        const final = text.slice(text.lastIndexOf('HTTP/1.1 '));
        assert.match(final, /^HTTP\/1\.1 50[24] [\s\S]*\nContent-Type: text\/plain\r\n/, text);
        assert.doesNotMatch(text, /evil/i);
        await served();
      });
    }

    for (const path of Object.keys(CUT)) {
      it(`show that a response is not whole: ${path.slice(1)}`, async () => {
        const text = await site.talk(request(`GET ${path}`));
        if (!/^HTTP\/1\.1 50/.test(text)) {
          const [first, body = ''] = text.split('\r\n\r\n');
          const length = /content-length: (\d+)/i.exec(first!)?.[1];
          const isWhole = length === undefined ? text.endsWith('0\r\n\r\n') : body.length >= Number(length);
          assert.ok(!isWhole || path === '/too-much', text);
          assert.ok(!text.includes('evil'), text);
        }
        await served();
      });
    }

    it('go on serving others on a connection on which one response is wrong', async () => {
      for (let round = 0; round < 5; round++) {
        const [wrong, ...right] = await Promise.all([
          site.talk(request('GET /line-end')),
          ...[1, 2, 3, 4].map((n) => site.talk(request(`GET /good${n}`))),
        ]);
        assert.match(wrong!, /^HTTP\/1\.1 502 /);
        for (const [n, text] of right.entries()) assert.ok(text.endsWith(`/good${n + 1}`), text);
      }
      await delay(20);
      await served();
    });
  });
}
