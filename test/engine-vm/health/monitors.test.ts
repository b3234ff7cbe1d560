/** Each monitor against real servers on loopback, over IPv4 and IPv6. */
import assert from 'node:assert/strict';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { HttpMonitor } from '../../../src/engine-vm/health/http.ts';
import type { Monitor } from '../../../src/engine-vm/health/monitor.ts';
import { EchoExchange, PingMonitor } from '../../../src/engine-vm/health/ping.ts';
import { createMonitor } from '../../../src/engine-vm/health/registry.ts';
import { TcpMonitor } from '../../../src/engine-vm/health/tcp.ts';
import { type EchoReply, openEchoSocket } from '../../../src/engine-vm/kernel/echo-socket.ts';
import { HealthMonitor as Spec } from '../../../src/policy/pool.ts';

const LOOPBACKS = ['127.0.0.1', '::1'];

function within(ms: number): AbortSignal {
  const controller = new AbortController();
  setTimeout(() => controller.abort(new Error(`no answer in ${ms} ms`)), ms).unref();
  return controller.signal;
}

async function listening(server: Server, host: string): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, host, resolve);
  });
  return (server.address() as AddressInfo).port;
}

/** Runs `body` beside a server that treats each connection so. */
async function beside(
  onConnection: (socket: Socket) => void,
  body: (port: number) => Promise<void>,
): Promise<void> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    onConnection(socket);
  });
  try {
    await body(await listening(server, '127.0.0.1'));
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}

async function besideHttp(
  handler: RequestListener,
  body: (port: number) => Promise<void>,
  host = '127.0.0.1',
): Promise<void> {
  const server = createHttpServer(handler);
  try {
    await body(await listening(server, host));
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

function http(parts: object = {}): HttpMonitor {
  return new HttpMonitor(Spec.parse({ type: 'http', ...parts }) as Extract<Spec, { type: 'http' }>);
}

describe('tcp monitor', () => {
  for (const host of LOOPBACKS) {
    it(`finds a listener on ${host} up, and a closed port down`, async () => {
      const server = createServer();
      const port = await listening(server, host);
      const up = await new TcpMonitor().check(host, port, within(1000));
      assert.deepEqual([up.isUp, /^connected in \d+ ms$/.test(up.reason)], [true, true]);
      await new Promise((resolve) => server.close(resolve));
      const down = await new TcpMonitor().check(host, port, within(1000));
      assert.deepEqual(down, { isUp: false, reason: 'connection refused' });
    });
  }

  it('ends with its signal', async () => {
    const aborted = AbortSignal.abort(new Error('no longer wanted'));
    assert.deepEqual(await new TcpMonitor().check('127.0.0.1', 9, aborted), {
      isUp: false,
      reason: 'no longer wanted',
    });
  });

  it('blames itself where it has no route', async () => {
    // Connecting to the broadcast address is refused by this kernel: ENETUNREACH.
    const result = await new TcpMonitor().check('255.255.255.255', 9, within(1000));
    assert.equal(result.isUp, false);
    assert.equal(result.isInconclusive, true);
  });
});

describe('http monitor', () => {
  for (const host of LOOPBACKS) {
    it(`asks for its path with a Host header on ${host}`, async () => {
      const seen: unknown[] = [];
      await besideHttp(
        (request, response) => {
          seen.push(request.method, request.url, request.headers.host, request.headers.connection);
          response.end('fine');
        },
        async (port) => {
          const result = await http({ path: '/health?full=1' }).check(host, port, within(1000));
          assert.match(result.reason, /^status 200 in \d+ ms$/);
          assert.equal(result.isUp, true);
          const name = host === '::1' ? '[::1]' : host;
          assert.deepEqual(seen, ['GET', '/health?full=1', `${name}:${port}`, 'close']);
        },
        host,
      );
    });
  }

  it('sends the Host that the policy names, and takes the statuses that it lists', async () => {
    let host: string | undefined;
    await besideHttp(
      (request, response) => {
        host = request.headers.host;
        response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end();
      },
      async (port) => {
        const monitor = http({ host: 'shop.example', expectStatus: [200, 302] });
        assert.equal((await monitor.check('127.0.0.1', port, within(1000))).isUp, true);
        assert.equal(host, 'shop.example');
        const strict = await http({ expectStatus: [200, 204] }).check('127.0.0.1', port, within(1000));
        assert.deepEqual(strict, { isUp: false, reason: 'status 302, expected 200 or 204' });
      },
    );
  });

  it('reads no more than a bounded part of an endless body', async () => {
    await besideHttp(
      (_request, response) => {
        const pour = (): void => {
          while (!response.destroyed && response.write(Buffer.alloc(64 * 1024)));
        };
        response.on('drain', pour);
        pour();
      },
      async (port) => {
        const result = await http().check('127.0.0.1', port, within(2000));
        assert.equal(result.isUp, true);
      },
    );
  });

  it('is down for a body that never ends', async () => {
    await besideHttp(
      (_request, response) => void response.write('so'),
      async (port) => {
        const result = await http().check('127.0.0.1', port, within(200));
        assert.deepEqual(result, { isUp: false, reason: 'no answer in 200 ms' });
      },
    );
  });

  const hostile: [string, (socket: Socket) => void][] = [
    ['closes at once', (socket) => void socket.end()],
    ['resets', (socket) => void socket.resetAndDestroy()],
    ['talks something else', (socket) => void socket.end('SSH-2.0-OpenSSH_9.6\r\n')],
    [
      'sends endless headers',
      (socket) => {
        socket.write('HTTP/1.1 200 OK\r\n');
        const timer = setInterval(() => socket.write(`x: ${'y'.repeat(8000)}\r\n`), 1);
        socket.on('close', () => clearInterval(timer));
      },
    ],
    [
      'floods 1xx responses',
      (socket) => {
        const timer = setInterval(() => socket.write('HTTP/1.1 100 Continue\r\n\r\n'.repeat(100)), 1);
        socket.on('close', () => clearInterval(timer));
      },
    ],
    [
      'breaks off inside the body',
      (socket) => {
        socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort'));
      },
    ],
    ['says nothing', () => {}],
  ];
  for (const [what, onConnection] of hostile) {
    it(`finds a server down that ${what}`, async () => {
      await beside(onConnection, async (port) => {
        const result = await http().check('127.0.0.1', port, within(400));
        assert.equal(result.isUp, false);
        assert.ok(result.reason.length > 0 && result.reason.length < 200, result.reason);
        assert.equal(result.isInconclusive, undefined);
      });
    });
  }
});

describe('ping monitor', () => {
  for (const host of LOOPBACKS) {
    it(`is answered from ${host}`, async () => {
      const echo = new EchoExchange();
      try {
        const results = await Promise.all(
          Array.from({ length: 20 }, () => new PingMonitor(echo).check(host, 0, within(1000))),
        );
        for (const { isUp, reason } of results) {
          assert.equal(isUp, true, reason);
          assert.match(reason, /^answered in \d+ ms$/);
        }
      } finally {
        echo.close();
      }
    });
  }

  it('gives up with its signal', async () => {
    const echo = new EchoExchange(() => ({ send: () => null, receive: () => null, close() {} }));
    const result = await new PingMonitor(echo).check('192.0.2.1', 0, within(50));
    assert.deepEqual(result, { isUp: false, reason: 'no answer in 50 ms' });
    echo.close();
  });

  it('takes no answer from another address, and none that it did not ask for', async () => {
    let token = 0n;
    const replies: EchoReply[] = [];
    const echo = new EchoExchange(() => ({
      send(_address, sent) {
        token = sent;
        replies.push({ from: '0 0 65535 1', token }, { from: '0 0 65535 -1073741311', token: token + 1n });
        return null;
      },
      receive: () => replies.shift() ?? null,
      close() {},
    }));
    const result = await new PingMonitor(echo).check('192.0.2.1', 0, within(60));
    assert.equal(result.isUp, false);
    echo.close();
  });

  it('blames itself when it may not open a socket, or has no route', async () => {
    const forbidden = new EchoExchange(() => {
      throw new Error('socket on the ICMP socket for IPv4: EPERM: run this as root');
    });
    assert.equal((await forbidden.ask('192.0.2.1', within(50))).isInconclusive, true);
    const routeless = new EchoExchange(() => ({
      send: () => 'ENETUNREACH',
      receive: () => null,
      close() {},
    }));
    assert.equal((await routeless.ask('192.0.2.1', within(50))).isInconclusive, true);
    const silent = new EchoExchange(() => ({ send: () => 'EHOSTUNREACH', receive: () => null, close() {} }));
    assert.equal((await silent.ask('192.0.2.1', within(50))).isInconclusive, undefined);
  });

  it('refuses what is no address', () => {
    const socket = openEchoSocket(4);
    assert.equal(socket.send('web.example', 1n), 'EINVAL');
    socket.close();
    assert.equal(socket.send('127.0.0.1', 1n), 'EINVAL');
    assert.equal(socket.receive(), null);
  });
});

describe('health monitor registry', () => {
  it('makes every type that a policy can name', () => {
    const echo = new EchoExchange();
    const labels = ['ping', 'tcp', 'http'].map((type): Monitor => createMonitor(Spec.parse({ type }), echo));
    assert.deepEqual(
      labels.map(({ label }) => label),
      ['ping', 'tcp connection', 'http GET /'],
    );
    echo.close();
  });
});
