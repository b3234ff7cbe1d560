/** Clients that others wrote, through `weft proxy` to a site of Node's: Chromium, curl, WebSocket clients. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Browser, Page } from 'playwright-core';
import WebSocketClient, { WebSocketServer } from 'ws';
import { requireChromium, startChromium } from '../console/chromium.ts';
import { INSTALL_TIMEOUT_MS, lackOf } from '../debian-package.ts';
import { makeCertificate } from '../engine-vm/tls/certificates.ts';
import { ProxyProcess } from './proxy-process.ts';

const ASSETS = 30;
const UPLOAD_BYTES = 3_000_000;
const DOWNLOAD_PIECES = 40;
const PIECE = 'p'.repeat(25_000);

const PAGE = `<!doctype html><title>site</title><link rel=stylesheet href=/style.css><h1>site</h1>
${Array.from({ length: ASSETS }, (_, n) => `<script src="/asset/${n}.js"></script>`).join('\n')}
<form method=post action=/form><input name=word value="a b"><button>send</button></form>`;

/** What it says of a body: its length and digest. */
async function digest(received: IncomingMessage): Promise<string> {
  const hash = createHash('sha256');
  let length = 0;
  for await (const piece of received as AsyncIterable<Buffer>) {
    hash.update(piece);
    length += piece.length;
  }
  return `${length} ${hash.digest('hex')}`;
}

/** A member with pages, uploads, a stream of events and a WebSocket that answers what it is told. */
class Site {
  /** Of each request: its target, and the field Via. */
  readonly seen: [string, string][] = [];
  readonly closes: [number, string][] = [];
  readonly #sockets = new WebSocketServer({ noServer: true, perMessageDeflate: true });
  readonly #server = createServer((received, response) => {
    const path = received.url!;
    this.seen.push([path, String(received.headers.via)]);
    if (path === '/') response.setHeader('Content-Type', 'text/html').end(PAGE);
    else if (path === '/style.css') {
      response.setHeader('Content-Type', 'text/css').end('h1 { color: rgb(1, 2, 3) }');
    } else if (path.startsWith('/asset/')) {
      response.setHeader('Content-Type', 'text/javascript');
      response.end(`window.count = (window.count ?? 0) + 1; //${PIECE}`);
    } else if (path === '/upload' || path === '/form') {
      void digest(received).then((text) => response.end(text));
    } else if (path === '/pieces') {
      let left = DOWNLOAD_PIECES;
      const next = (): void => {
        if (left-- === 0) response.end();
        else response.write(PIECE, () => void setTimeout(next, 5));
      };
      next();
    } else if (path === '/events') {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      let count = 0;
      const timer = setInterval(() => response.write(`data: ${count++}\n\n`), 10);
      response.on('close', () => clearInterval(timer));
    } else response.writeHead(404).end();
  });

  constructor() {
    this.#server.on('upgrade', (received, socket, head) => {
      this.seen.push([received.url!, String(received.headers.via)]);
      if (received.url !== '/socket') {
        socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno');
        return;
      }
      this.#sockets.handleUpgrade(received, socket, head, (client) => {
        client.on('message', (data, isBinary) => client.send(data, { binary: isBinary }));
        client.on('close', (code, reason) => this.closes.push([code, reason.toString()]));
      });
    });
  }

  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    for (const client of this.#sockets.clients) client.terminate();
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

describe('clients that others wrote', function () {
  this.timeout(30_000);
  const site = new Site();
  const folder = mkdtempSync(join(tmpdir(), 'weft-clients-test-'));
  let plain: ProxyProcess;
  let secure: ProxyProcess;
  let proxied: ProxyProcess;
  before(async () => {
    const memberPort = await site.listen();
    plain = await ProxyProcess.start(memberPort);
    const certificates = [makeCertificate(folder, 'site', ['localhost'])];
    secure = await ProxyProcess.start(memberPort, { tls: { certificates } });
    proxied = await ProxyProcess.start(memberPort, { proxyProtocol: { from: ['127.0.0.0/8'] } });
  });
  after(async () => {
    for (const proxy of [plain, secure, proxied]) await proxy?.stop();
    await site.close();
    rmSync(folder, { recursive: true, force: true });
  });
  beforeEach(() => {
    site.seen.length = 0;
    site.closes.length = 0;
  });
  const closed = async (): Promise<[number, string]> => {
    for (let n = 0; n < 250 && site.closes.length === 0; n++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return site.closes[0]!;
  };

  describe('Chromium over HTTP/2 and TLS', () => {
    let chromium: { browser: Browser; stop(): Promise<void> } | undefined;
    let page: Page;
    before(async function () {
      this.timeout(INSTALL_TIMEOUT_MS);
      chromium = await startChromium(requireChromium(this));
      const context = await chromium.browser.newContext({ ignoreHTTPSErrors: true });
      page = await context.newPage();
      page.setDefaultTimeout(15_000);
    });
    after(async () => {
      await chromium?.stop();
    });
    beforeEach(async () => {
      await page.goto(`https://localhost:${secure.port}/`);
    });

    it('loads a page and its assets, all over one kind of connection', async () => {
      assert.equal(await page.evaluate('window.count'), ASSETS);
      assert.equal(
        await page.evaluate("getComputedStyle(document.querySelector('h1')).color"),
        'rgb(1, 2, 3)',
      );
      const protocols = (await page.evaluate(
        "performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation')).map((one) => one.nextHopProtocol)",
      )) as string[];
      assert.equal(protocols.filter((one) => one === 'h2').length, protocols.length, protocols.join());
      assert.ok(protocols.length >= ASSETS + 2);
      assert.deepEqual(new Set(site.seen.map(([, via]) => via)), new Set(['2.0 weft']));
    });

    it('sends a form', async () => {
      await page.click('button');
      await page.waitForURL(/\/form$/);
      const sent = 'word=a+b';
      const wanted = `${sent.length} ${createHash('sha256').update(sent).digest('hex')}`;
      assert.equal(await page.textContent('body'), wanted);
    });

    it('uploads a blob, and a stream while it is made', async () => {
      const wanted = `${UPLOAD_BYTES} ${createHash('sha256').update(Buffer.alloc(UPLOAD_BYTES, 'u')).digest('hex')}`;
      const blob = `fetch('/upload', { method: 'POST', body: new Blob(['u'.repeat(${UPLOAD_BYTES})]) }).then((answer) => answer.text())`;
      assert.equal(await page.evaluate(blob), wanted);
      const stream = `(async () => {
        let left = 30;
        const body = new ReadableStream({
          async pull(controller) {
            await new Promise((resolve) => setTimeout(resolve, 5));
            if (left-- === 0) controller.close();
            else controller.enqueue(new TextEncoder().encode('u'.repeat(${UPLOAD_BYTES / 30})));
          },
        });
        return await (await fetch('/upload', { method: 'POST', body, duplex: 'half' })).text();
      })()`;
      assert.equal(await page.evaluate(stream), wanted);
    });

    it('reads a response piece by piece, and cancels one', async () => {
      const read = `(async () => {
        const reader = (await fetch('/pieces')).body.getReader();
        let length = 0, reads = 0;
        for (;;) {
          const { done, value } = await reader.read();
          if (done) return [length, reads];
          length += value.length;
          reads++;
        }
      })()`;
      const [length, reads] = (await page.evaluate(read)) as [number, number];
      assert.equal(length, DOWNLOAD_PIECES * PIECE.length);
      assert.ok(reads > 5, `${reads} reads`);
      const cancelled = `(async () => {
        const reader = (await fetch('/pieces')).body.getReader();
        await reader.read();
        await reader.cancel();
        return (await fetch('/style.css')).status;
      })()`;
      assert.equal(await page.evaluate(cancelled), 200);
    });

    it('gets events as they are sent', async () => {
      const events = `new Promise((resolve, reject) => {
        const source = new EventSource('/events');
        const got = [];
        source.onerror = () => reject(new Error('the stream broke off'));
        source.onmessage = ({ data }) => {
          got.push(data);
          if (got.length === 5) { source.close(); resolve(got); }
        };
      })`;
      assert.deepEqual(await page.evaluate(events), ['0', '1', '2', '3', '4']);
    });

    it('speaks WebSocket beside it, by a connection of HTTP/1.1', async () => {
      const socket = `new Promise((resolve, reject) => {
        const socket = new WebSocket('wss://localhost:${secure.port}/socket');
        socket.binaryType = 'arraybuffer';
        const got = [];
        socket.onerror = () => reject(new Error('the socket failed'));
        socket.onopen = () => { socket.send('hello'); socket.send(new Uint8Array(200000)); };
        socket.onmessage = ({ data }) => {
          got.push(typeof data === 'string' ? data : data.byteLength);
          if (got.length === 2) socket.close(4001, 'enough');
        };
        socket.onclose = ({ code }) => resolve([...got, socket.extensions, code]);
      })`;
      assert.deepEqual(await page.evaluate(socket), ['hello', 200_000, 'permessage-deflate', 4001]);
      assert.deepEqual(await closed(), [4001, 'enough']);
      assert.deepEqual(site.seen.at(-1), ['/socket', '1.1 weft']);
    });
  });

  describe('curl', () => {
    before(function () {
      this.timeout(INSTALL_TIMEOUT_MS);
      const lack = lackOf('curl');
      if (lack === null) return;
      console.log(`      skipped: ${lack}`);
      this.skip();
    });
    const WANTED = `100000 ${createHash('sha256').update('x'.repeat(100_000)).digest('hex')}`;
    const WAYS: [string, () => ProxyProcess, string[], string, string][] = [
      ['HTTP/1.1', () => plain, ['--http1.1'], '1.1', '1.1 weft'],
      ['HTTP/2 by prior knowledge', () => plain, ['--http2-prior-knowledge'], '2', '2.0 weft'],
      // The upgrade of h2c is gone since RFC 9113: what asks for it goes on in HTTP/1.1.
      ['HTTP/1.1 that offers h2c', () => plain, ['--http2'], '1.1', '1.1 weft'],
      ['HTTP/1.1 over TLS', () => secure, ['--http1.1', '-k'], '1.1', '1.1 weft'],
      ['HTTP/2 over TLS', () => secure, ['--http2', '-k'], '2', '2.0 weft'],
      ['HTTP/1.1 behind a PROXY header', () => proxied, ['--haproxy-protocol'], '1.1', '1.1 weft'],
      [
        'HTTP/2 behind a PROXY header',
        () => proxied,
        ['--haproxy-protocol', '--http2-prior-knowledge'],
        '2',
        '2.0 weft',
      ],
    ];
    for (const [name, proxy, options, version, via] of WAYS) {
      it(`posts and gets by ${name}`, async () => {
        const { port } = proxy();
        const url = `${proxy() === secure ? 'https' : 'http'}://localhost:${port}`;
        const curl = async (...more: string[]): Promise<string> =>
          (await promisify(execFile)('curl', ['-sS', '-m', '15', '-4', ...options, ...more])).stdout;
        const asked = ['-d', 'x'.repeat(100_000), '-w', '|%{http_version}', `${url}/upload`];
        assert.equal(await curl(...asked), `${WANTED}|${version}`);
        const rest = ['-o', '/dev/null', '-w', '%{num_connects} %{size_download},'];
        const pieces = DOWNLOAD_PIECES * PIECE.length;
        if (options.includes('--http2-prior-knowledge')) {
          // curl 7.88 fails at its second request of such a connection, with Node's server, too.
          assert.equal(await curl(...rest, `${url}/pieces`), `1 ${pieces},`);
        } else {
          const both = [...rest, `${url}/pieces`, '-o', '/dev/null', `${url}/style.css`];
          assert.equal(await curl(...both), `1 ${pieces},0 26,`);
        }
        assert.ok(site.seen.every(([, by]) => by === via));
      });
    }
  });

  describe('WebSocket clients', () => {
    it('of Node: text, bytes and the reason of its end', async () => {
      const socket = new WebSocket(`ws://127.0.0.1:${plain.port}/socket`);
      socket.binaryType = 'arraybuffer';
      await once(socket, 'open');
      const got: unknown[] = [];
      const all = new Promise<void>((resolve) => {
        socket.addEventListener('message', ({ data }) => {
          got.push(typeof data === 'string' ? data : (data as ArrayBuffer).byteLength);
          if (got.length === 3) resolve();
        });
      });
      socket.send('hello');
      socket.send(new Uint8Array(300_000));
      socket.send('bye');
      await all;
      assert.deepEqual(got, ['hello', 300_000, 'bye']);
      socket.close(4002, 'done');
      assert.deepEqual(await closed(), [4002, 'done']);
    });

    it('of the package ws, over TLS: pings, many messages in order', async () => {
      const socket = new WebSocketClient(`wss://127.0.0.1:${secure.port}/socket`, {
        rejectUnauthorized: false,
      });
      await once(socket, 'open');
      socket.ping('are you there');
      assert.equal(String((await once(socket, 'pong'))[0]), 'are you there');
      const got: string[] = [];
      const all = new Promise<void>((resolve) => {
        socket.on('message', (data) => {
          got.push(String(data));
          if (got.length === 2000) resolve();
        });
      });
      for (let n = 0; n < 2000; n++) socket.send(`message ${n}`);
      await all;
      assert.deepEqual(
        got,
        Array.from({ length: 2000 }, (_, n) => `message ${n}`),
      );
      socket.close(1000);
      assert.equal((await closed())[0], 1000);
    });

    it('whose upgrade the member refuses get its answer', async () => {
      const socket = new WebSocketClient(`ws://127.0.0.1:${plain.port}/nothing`);
      const [, answer] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage];
      assert.equal(answer.statusCode, 403);
      answer.destroy();
    });
  });
});
