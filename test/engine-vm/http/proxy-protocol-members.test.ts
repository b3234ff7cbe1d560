/** The PROXY protocol to members: whose connection each one is, and HAProxy as the judge, before and behind. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ProxyVersion, readProxyHeader } from '../../../src/engine-vm/http/proxy-header.ts';
import { freePort, ProxySite, request, settingsOf } from './proxy-site.ts';

/** A member that answers with what the header of the connection said, or with `none`, and counts connections. */
class HeaderMember {
  connections = 0;
  readonly #server: Server = createServer((socket) => this.#serve(socket));

  async listen(): Promise<number> {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    this.#server.close();
  }

  #serve(socket: Socket): void {
    this.connections++;
    let source: string | null = null;
    let bytes = new Uint8Array(0);
    socket.on('error', () => undefined);
    socket.on('data', (more: Uint8Array) => {
      bytes = Uint8Array.from([...bytes, ...more]);
      if (source === null) {
        const header = readProxyHeader(bytes);
        if (header.state === 'cut') return;
        if (header.state === 'whole') {
          source = header.ends === null ? 'local' : `${header.ends.sourceAddress}:${header.ends.sourcePort}`;
          bytes = bytes.slice(header.length);
        } else source = 'none';
      }
      const text = new TextDecoder().decode(bytes);
      const count = text.split('\r\n\r\n').length - 1;
      if (count === 0 || !text.endsWith('\r\n\r\n')) return;
      bytes = new Uint8Array(0);
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${source.length}\r\n\r\n${source}`.repeat(count));
    });
  }
}

/** Sends a request on a connection that stays open, and returns the body of the answer. */
async function ask(socket: Socket): Promise<string> {
  socket.write('GET / HTTP/1.1\r\nHost: test\r\n\r\n');
  const [bytes] = (await once(socket, 'data')) as [Uint8Array];
  return new TextDecoder().decode(bytes).split('\r\n\r\n')[1]!;
}

describe('PROXY protocol to members', () => {
  for (const version of ['v1', 'v2'] satisfies ProxyVersion[]) {
    it(`tells by ${version} whose connection it is, and gives it to no other client`, async () => {
      const member = new HeaderMember();
      const site = await ProxySite.start([await member.listen()], { proxyProtocol: { toMembers: version } });
      const sockets = [await site.connect(), await site.connect(), await site.connect()];
      for (let round = 0; round < 3; round++) {
        for (const socket of sockets) assert.equal(await ask(socket), `127.0.0.1:${socket.localPort}`);
      }
      assert.equal(member.connections, 3);
      for (const socket of sockets) socket.destroy();
      await site.stop();
      member.close();
    });
  }

  it('closes the oldest where more would be kept than may be, and keeps within the most', async () => {
    const member = new HeaderMember();
    const memberConnections = { idle: 1, max: 2 };
    const site = await ProxySite.start([await member.listen()], {
      proxyProtocol: { toMembers: 'v2' },
      memberConnections,
    });
    const sockets = [await site.connect(), await site.connect(), await site.connect()];
    for (let round = 0; round < 2; round++) {
      for (const socket of sockets) assert.equal(await ask(socket), `127.0.0.1:${socket.localPort}`);
    }
    assert.equal(member.connections, 6);
    assert.equal(await ask(sockets[2]!), `127.0.0.1:${sockets[2]!.localPort}`);
    assert.equal(member.connections, 6);
    for (const socket of sockets) socket.destroy();
    await site.stop();
    member.close();
  });

  it('begins and ends with a reload, also for connections that are kept', async () => {
    const member = new HeaderMember();
    const port = await member.listen();
    const site = await ProxySite.start([port]);
    const socket = await site.connect();
    const said: string[] = [];
    for (const toMembers of ['none', 'v1', 'none']) {
      await site.workers.reload(settingsOf(site.port, [port], { proxyProtocol: { toMembers } }));
      said.push(await ask(socket));
    }
    assert.deepEqual(said, ['none', `127.0.0.1:${socket.localPort}`, 'none']);
    socket.destroy();
    await site.stop();
    member.close();
  });

  it('is understood by HAProxy behind, and understands HAProxy in front', async function () {
    if (spawnSync('haproxy', ['-v']).status !== 0) this.skip();
    const [front, back] = [await freePort(), await freePort()];
    const directory = mkdtempSync(join(tmpdir(), 'proxy-protocol-'));
    for (const version of ['v1', 'v2'] satisfies ProxyVersion[]) {
      const site = await ProxySite.start([back], {
        proxyProtocol: { from: ['127.0.0.1'], toMembers: version },
      });
      const file = join(directory, 'haproxy.cfg');
      writeFileSync(
        file,
        `defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 5s
listen front
  mode tcp
  bind 127.0.0.1:${front}
  server weft 127.0.0.1:${site.port} ${version === 'v1' ? 'send-proxy' : 'send-proxy-v2'}
frontend back
  bind 127.0.0.1:${back} accept-proxy
  http-request return status 200 content-type text/plain lf-string "%[src]:%[src_port]"
`,
      );
      const haproxy = spawn('haproxy', ['-db', '-f', file], { stdio: 'ignore' });
      try {
        const socket = await connected(front, haproxy);
        const from = `127.0.0.1:${socket.localPort}`;
        let answer = '';
        socket.on('data', (bytes) => {
          answer += bytes.toString();
        });
        socket.write(request('GET /'));
        await once(socket, 'close');
        assert.match(answer, /^HTTP\/1\.1 200/);
        assert.equal(answer.split('\r\n\r\n')[1], from);
      } finally {
        haproxy.kill();
        await once(haproxy, 'exit');
        await site.stop();
      }
    }
    rmSync(directory, { recursive: true });
  });
});

/** Connects as soon as that process listens. */
async function connected(port: number, server: ChildProcess): Promise<Socket> {
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    const isThere = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    if (isThere) return socket;
    assert.equal(server.exitCode, null, 'HAProxy ended');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
