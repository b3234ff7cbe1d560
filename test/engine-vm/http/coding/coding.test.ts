/** Compression and decompression on sockets: what clients get for what a member sends in pieces. */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { promisify } from 'node:util';
import * as zlib from 'node:zlib';
import { loopKinds, ProxySite } from '../proxy-site.ts';
import { fetchRaw, type RawResponse } from '../raw-client.ts';

/** A member that sends what the test says, in pieces. */
class Member {
  /** The head without the empty line, and the pieces of the body. */
  head = '';
  pieces: (string | Buffer)[] = [];
  /** What was asked last. */
  request = '';
  readonly #server = createTcpServer((socket) => {
    socket.on('error', () => undefined);
    let text = '';
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1');
      if (!text.endsWith('\r\n\r\n')) return;
      this.request = text;
      text = '';
      void this.#answer(socket);
    });
  });

  async #answer(socket: Socket): Promise<void> {
    socket.setNoDelay(true);
    socket.write(`${this.head}\r\n\r\n`);
    for (const piece of this.pieces) {
      if (!socket.write(piece)) await Promise.race([once(socket, 'drain'), once(socket, 'close')]);
      else await new Promise(setImmediate);
    }
    if (!/content-length|chunked/i.test(this.head)) socket.end();
  }

  /** A body of that head, chunked, in pieces of so many bytes. */
  chunked(head: string, body: Buffer, piece: number): void {
    this.head = `${head}\r\nTransfer-Encoding: chunked`;
    this.pieces = [];
    for (let at = 0; at < body.length; at += piece) {
      const part = body.subarray(at, at + piece);
      this.pieces.push(
        Buffer.concat([Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n')]),
      );
    }
    this.pieces.push('0\r\n\r\n');
  }

  whole(head: string, body: Buffer | string): void {
    this.head = `${head}\r\nContent-Length: ${Buffer.byteLength(body)}`;
    this.pieces = [body];
  }

  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    this.#server.close();
  }
}

const DECODE: Record<string, (bytes: Buffer) => Buffer> = {
  gzip: zlib.gunzipSync,
  br: zlib.brotliDecompressSync,
  zstd: zlib.zstdDecompressSync,
};
const TEXT = Buffer.from(
  Array.from({ length: 20_000 }, (_, n) => `line ${n} of a text, ${(n * 7919) % 10_007}\n`).join(''),
);
const HTML = 'HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8';

for (const loop of loopKinds()) {
  describe(`compression by ${loop}`, () => {
    const member = new Member();
    let site: ProxySite;
    const get = (
      fields: string[] = ['Accept-Encoding: gzip, br, zstd'],
      line = 'GET /',
    ): Promise<RawResponse> => fetchRaw(site.port, line, fields);

    before(async () => {
      site = await ProxySite.start(
        [await member.listen()],
        { compression: { codings: ['gzip', 'br', 'zstd'] }, decompression: { maxBytes: 50_000_000 } },
        loop,
      );
    });
    after(async () => {
      await site.stop();
      member.close();
    });

    for (const coding of ['gzip', 'br', 'zstd']) {
      it(`compresses by ${coding}, whatever pieces the body comes in`, async () => {
        for (const piece of [700, 9000, 40_000, TEXT.length]) {
          member.chunked(`${HTML}\r\nETag: "a"\r\nAccept-Ranges: bytes\r\nContent-MD5: x`, TEXT, piece);
          const { fields, body } = await get([`Accept-Encoding: ${coding}`]);
          assert.equal(fields['content-encoding'], coding);
          assert.equal(fields.vary, 'Accept-Encoding');
          assert.equal(fields.etag, 'W/"a"');
          assert.equal(fields['content-length'], undefined);
          assert.equal(fields['accept-ranges'], undefined);
          assert.equal(fields['content-md5'], undefined);
          assert.ok(DECODE[coding]!(body).equals(TEXT));
          assert.ok(body.length < TEXT.length / 2);
        }
      });
    }

    it('compresses what has a length, and for clients of HTTP/1.0', async () => {
      member.whole(HTML, TEXT);
      const one = await get();
      assert.equal(one.fields['content-length'], undefined);
      assert.ok(zlib.gunzipSync(one.body).equals(TEXT));
      const old = await fetchRaw(site.port, 'GET /', ['Accept-Encoding: gzip'], '1.0');
      assert.equal(old.fields['content-length'], undefined);
      assert.ok(zlib.gunzipSync(old.body).equals(TEXT));
    });

    const LEFT: [name: string, head: string, fields: string[], body?: string][] = [
      ['nobody asks for it', HTML, []],
      ['the client refuses it', HTML, ['Accept-Encoding: gzip;q=0, identity']],
      ['the type is none of those', 'HTTP/1.1 200 OK\r\nContent-Type: image/png', ['Accept-Encoding: gzip']],
      ['there is no type', 'HTTP/1.1 200 OK', ['Accept-Encoding: gzip']],
      [
        'it must not be transformed',
        `${HTML}\r\nCache-Control: max-age=1, No-Transform`,
        ['Accept-Encoding: gzip'],
      ],
      ['it is coded', `${HTML}\r\nContent-Encoding: deflate`, ['Accept-Encoding: gzip']],
      [
        'it is a part',
        'HTTP/1.1 206 Partial\r\nContent-Type: text/html\r\nContent-Range: bytes 0-1/2',
        ['Accept-Encoding: gzip'],
      ],
      ['the client has a cookie', HTML, ['Accept-Encoding: gzip', 'Cookie: a=b']],
      ['the client has a password', HTML, ['Accept-Encoding: gzip', 'Authorization: Basic eDp5']],
      ['a cookie is set', `${HTML}\r\nSet-Cookie: a=b`, ['Accept-Encoding: gzip']],
      ['it is short', HTML, ['Accept-Encoding: gzip'], 'short'],
    ];
    for (const [name, head, fields, text = 'long enough '.repeat(200)] of LEFT) {
      it(`leaves a response as it is where ${name}`, async () => {
        member.whole(`${head}\r\nETag: "a"`, text);
        const answer = await get(fields);
        assert.equal(answer.body.toString(), text);
        assert.equal(answer.fields['content-length'], String(text.length));
        assert.equal(answer.fields.etag, '"a"');
        assert.equal(/Content-Encoding: (\S+)/.exec(head)?.[1], answer.fields['content-encoding']);
      });
    }

    it('says that the coding depends on the client also to those that get none', async () => {
      member.whole(`${HTML}\r\nVary: Cookie`, TEXT);
      assert.deepEqual(
        (await get([])).lines.filter((one) => one.startsWith('Vary')),
        ['Vary: Cookie', 'Vary: Accept-Encoding'],
      );
      member.whole(`${HTML}\r\nVary: Cookie, accept-encoding`, TEXT);
      assert.deepEqual(
        (await get([])).lines.filter((one) => one.startsWith('Vary')),
        ['Vary: Cookie, accept-encoding'],
      );
    });

    it('hands on at once what comes slowly', async () => {
      member.chunked(HTML, Buffer.alloc(0), 1);
      const first = Buffer.from('5\r\nfirst\r\n');
      member.pieces = [first];
      const { port } = site;
      const asked = request({ port, headers: { 'Accept-Encoding': 'gzip' } }).end();
      const [response] = (await once(asked, 'response')) as [IncomingMessage];
      const gunzip = response.pipe(zlib.createGunzip()).on('error', () => undefined);
      assert.equal(String((await once(gunzip, 'data'))[0]), 'first');
      asked.destroy();
    });

    for (const [coding, encode] of [
      ['gzip', zlib.gzipSync],
      [
        'br',
        (bytes) => zlib.brotliCompressSync(bytes, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 5 } }),
      ],
      ['zstd', zlib.zstdCompressSync],
    ] as [string, (bytes: Buffer) => Buffer][]) {
      it(`decompresses ${coding} for a client that does not take it`, async () => {
        for (const piece of [1000, 100_000]) {
          member.chunked(`${HTML}\r\nContent-Encoding: ${coding}\r\nETag: "a"`, encode(TEXT), piece);
          const { fields, body } = await get(['Accept-Encoding: identity']);
          assert.equal(fields['content-encoding'], undefined);
          assert.equal(fields.etag, 'W/"a"');
          assert.equal(fields.vary, 'Accept-Encoding');
          assert.ok(body.equals(TEXT));
        }
        const encoded = encode(TEXT);
        member.whole(`${HTML}\r\nContent-Encoding: ${coding}`, encoded);
        for (const fields of [[], [`Accept-Encoding: ${coding}`]]) {
          const answer = await get(fields);
          assert.equal(answer.fields['content-encoding'], coding);
          assert.ok(answer.body.equals(encoded));
        }
      });

      it(`cuts a bomb of ${coding}, and what is none of it`, async () => {
        member.whole(`${HTML}\r\nContent-Encoding: ${coding}`, encode(Buffer.alloc(40_000_000)));
        const bomb = await get(['Accept-Encoding: identity']);
        assert.ok(!bomb.isWhole);
        assert.ok(bomb.body.length < 3_000_000);
        member.whole(`${HTML}\r\nContent-Encoding: ${coding}`, 'this is of no coding at all, none');
        assert.equal((await get(['Accept-Encoding: identity'])).isWhole, false);
        member.whole(`${HTML}\r\nContent-Encoding: ${coding}`, encode(TEXT).subarray(0, -9));
        assert.equal((await get(['Accept-Encoding: identity'])).isWhole, false);
      });
    }

    it('cuts a bomb of many small parts', async () => {
      for (const [coding, part] of [
        ['gzip', zlib.gzipSync(Buffer.alloc(20_000))],
        ['zstd', zlib.zstdCompressSync(Buffer.alloc(20_000))],
      ] as const) {
        member.whole(
          `${HTML}\r\nContent-Encoding: ${coding}`,
          Buffer.concat(new Array<Buffer>(2000).fill(part)),
        );
        const answer = await get(['Accept-Encoding: identity']);
        assert.ok(!answer.isWhole && answer.body.length < 3_000_000, `${coding}: ${answer.body.length}`);
      }
    });

    it('makes no coder larger for what a member sends than HTTP allows', async () => {
      // RFC 9659: windows of zstd have up to 8 MB. A frame of one block as it is, for a window of so many bits.
      const frame = (bits: number): Buffer =>
        Buffer.from([
          0x28,
          0xb5,
          0x2f,
          0xfd,
          0,
          (bits - 10) << 3,
          (5 << 3) | 1,
          0,
          0,
          ...Buffer.from('hello'),
        ]);
      // RFC 7932 knows windows up to 16 MB; "large window" is no coding of HTTP.
      const brotli = (bits: number): Buffer =>
        zlib.brotliCompressSync(TEXT, {
          params: {
            [zlib.constants.BROTLI_PARAM_LARGE_WINDOW]: bits > 24 ? 1 : 0,
            [zlib.constants.BROTLI_PARAM_LGWIN]: bits,
          },
        });
      for (const [coding, bytes, expected] of [
        ['zstd', frame(23), 'hello'],
        ['zstd', frame(24), null],
        ['zstd', frame(31), null],
        ['br', brotli(24), TEXT.toString()],
        ['br', brotli(30), null],
      ] as const) {
        member.whole(`${HTML}\r\nContent-Encoding: ${coding}`, bytes);
        const { isWhole, body } = await get(['Accept-Encoding: identity']);
        assert.equal(isWhole ? body.toString() : null, expected, coding);
      }
    });

    it('makes no more of a bomb than its client reads', async () => {
      const body = Buffer.concat(
        Array.from({ length: 40 }, () => Buffer.alloc(1_000_000, TEXT.subarray(0, 90_000))),
      );
      member.whole(`${HTML}\r\nContent-Encoding: gzip`, zlib.gzipSync(body));
      const socket = await site.connect();
      socket.pause();
      socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAccept-Encoding: identity\r\n\r\n');
      await promisify(setTimeout)(300);
      let length = 0;
      socket.on('data', (bytes) => {
        length += bytes.length;
      });
      socket.resume();
      await once(socket, 'end');
      assert.ok(length > body.length);
      socket.destroy();
    });

    it('is understood by curl', async function () {
      try {
        execFileSync('curl', ['--version']);
      } catch {
        this.skip();
      }
      member.chunked(HTML, TEXT, 5000);
      const url = `http://127.0.0.1:${site.port}/`;
      const { stdout } = await promisify(execFile)('curl', ['-s', '--compressed', url], {
        encoding: 'buffer',
        maxBuffer: 1e8,
      });
      assert.ok(stdout.equals(TEXT));
      assert.match(member.request, /Accept-Encoding: .*gzip/);
    });
  });
}
