import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { announceSuccessor } from '../../../src/engine-vm/fastpath/fast-path.ts';
import { LAYOUT } from '../../../src/engine-vm/fastpath/pins.ts';
import { openAuthority } from '../../../src/pki/authority.ts';
import type { ServiceGraph } from '../../../src/policy/graph.ts';
import { requireRoot } from '../../root.ts';
import { whyNoAfXdp } from '../kernel/af-xdp.ts';
import { line, Namespaces } from '../kernel/namespaces.ts';

const traffic = fileURLToPath(new URL('restart-traffic.ts', import.meta.url));
const program = fileURLToPath(new URL('../agent/engine-program.ts', import.meta.url));
const ENGINE = 'engine-h1';
const SERVICE = '10.99.0.50';
const DEAD_AFTER_MS = 400;
const RESTARTS = Number(process.env.WEFT_RESTARTS ?? 20);
const KILLS = 3;
const ECHO = `
  const socket = require('node:dgram').createSocket('udp4');
  const end = (text) => { console.log(text); process.exit(); };
  socket.on('message', () => end('true'));
  setTimeout(() => end('false'), 1000);
  socket.send('hello', 5000, '10.99.0.2');
`;

interface Outcome {
  sent: number;
  lost: number;
  twice: number;
  lines: number;
  isEchoWhole: boolean;
  broken: string | null;
  opened: number;
  failed: number;
  late: number;
  slowestMs: number;
}

describe('an engine that is restarted', () => {
  let spaces: Namespaces;
  let client: string;
  let engineSpace: string;
  let server: string;
  let directory: string;
  let engine: ChildProcess;
  let log: string;
  let isRoot = false;

  beforeEach(async function () {
    this.timeout(30_000);
    isRoot = process.getuid?.() === 0;
    requireRoot(this, 'tests of restarts');
    log = '';
    directory = mkdtempSync(join(tmpdir(), 'weft-restart-'));
    spaces = new Namespaces();
    client = spaces.add('client');
    engineSpace = spaces.add('engine');
    server = spaces.add('server');
    spaces.link(client, 'eth0', engineSpace, 'out');
    spaces.link(server, 'eth0', engineSpace, 'in');
    spaces.ip(client, 'addr add 10.99.0.1/24 dev eth0');
    spaces.ip(server, 'addr add 10.99.0.2/24 dev eth0');
    mkdirSync(join(directory, 'state'), { mode: 0o700 });
    // Nobody answers there: the engine works headless.
    const { ca } = await openAuthority(join(directory, 'controller'));
    const properties = { engine: ENGINE, controller: 'https://127.0.0.1:9', ca, token: 'of nobody' };
    writeFileSync(join(directory, 'engine.json'), JSON.stringify(properties));
  });
  afterEach(async function () {
    if (!isRoot) return;
    if (this.currentTest?.state === 'failed') process.stdout.write(log);
    await spaces?.close();
    unmount();
    rmSync(directory, { recursive: true, force: true });
  });

  function unmount(): void {
    try {
      execFileSync('umount', [join(directory, 'pins')], { stdio: 'ignore' });
    } catch {
      // The engine never came so far.
    }
  }

  function macOf(space: string, nic: string): string {
    return (JSON.parse(spaces.ip(space, `-json link show ${nic}`)) as { address: string }[])[0]!.address;
  }

  /** One UDP and one TCP service at an address that no VM owns, with the server behind the engine as their member. */
  function keepGraph(fastPath: 'tc' | 'xdp', failMode: 'open' | 'closed', maxFlows = 4096): void {
    const graph: ServiceGraph = {
      revision: 1,
      engine: {
        id: ENGINE,
        host: 'h1',
        mac: macOf(engineSpace, 'out'),
        failMode,
        fastPath,
        dataAddresses: ['10.99.0.9/24'],
        probeIntervalMs: 100,
        deadAfterMs: DEAD_AFTER_MS,
        maxFlows,
        groupKey: Buffer.alloc(32, 7).toString('base64'),
      },
      peers: [],
      members: [
        {
          id: 'lab/server/eth0',
          vm: 'server',
          host: 'h1',
          mac: macOf(server, 'eth0'),
          ipv4: '10.99.0.2',
          ipv6: null,
          hops: 0,
          engine: ENGINE,
        },
      ],
      pools: [5000, 5001].map((port) => ({
        name: `p${port}`,
        port,
        healthMonitors: [],
        members: [{ member: 0, weight: 1, isDraining: false }],
      })),
      services: (['udp', 'tcp'] as const).map((protocol, index) => ({
        name: protocol,
        protocol,
        components: [
          {
            type: 'load-balancer' as const,
            method: 'topological' as const,
            persistence: { type: 'none' as const },
          },
        ],
        tiers: [
          {
            name: protocol,
            port: 6000 + index,
            pool: index,
            addresses: [{ address: SERVICE, announcers: [ENGINE] }],
          },
        ],
      })),
    };
    writeFileSync(join(directory, 'state', 'graph.json'), JSON.stringify(graph));
  }

  /** Resolves when the engine forwards. */
  async function startEngine(replaces?: number): Promise<void> {
    const args = ['--config', join(directory, 'engine.json'), '--state', join(directory, 'state')];
    args.push('--pins', join(directory, 'pins'));
    if (replaces !== undefined) args.push('--replace', String(replaces));
    engine = spaces.start(engineSpace, program, args, 'pipe');
    let text = '';
    await new Promise<void>((resolve, reject) => {
      engine.once('exit', (code) => reject(new Error(`the engine ended with ${code}`)));
      engine.stderr!.on('data', (data: Buffer) => {
        log += data.toString();
        text += data.toString();
        if (text.includes('the data plane is ready') && text.includes('graph in force')) resolve();
      });
    });
  }

  async function stop(signal: NodeJS.Signals): Promise<void> {
    const ended = new Promise((resolve) => engine.once('exit', resolve));
    engine.kill(signal);
    await ended;
  }

  async function startTraffic(
    options: { onlyLasting?: boolean } = {},
  ): Promise<{ finish(): Promise<Outcome> }> {
    await line(spaces.start(server, traffic, ['serve']), (text) => text === 'ready');
    // The engine answers for its addresses once it has made sure that nobody else does.
    await delay(DEAD_AFTER_MS * 2);
    const sender = spaces.start(client, traffic, [
      'send',
      SERVICE,
      '6000',
      '6001',
      ...(options.onlyLasting ? ['lasting'] : []),
    ]);
    await line(sender, (text) => text === 'flowing');
    return {
      async finish() {
        const last = line(sender, (text) => text.startsWith('{'));
        sender.stdin!.end();
        return JSON.parse(await last) as Outcome;
      },
    };
  }

  function check(outcome: Outcome): void {
    console.log(`      ${JSON.stringify(outcome)}`);
    assert.equal(outcome.lost, 0);
    assert.equal(outcome.broken, null);
    assert.ok(outcome.isEchoWhole, 'the long connection lost or changed bytes');
    assert.equal(outcome.failed, 0);
    assert.ok(outcome.lines > 100 && outcome.sent > 1000);
  }

  for (const kind of ['tc', 'xdp'] as const) {
    it(`loses no packet of an established flow and fails no new connection in ${RESTARTS} upgrades, as ${kind}`, async function () {
      this.timeout(180_000);
      if (kind === 'xdp') wholeFrames();
      keepGraph(kind, 'open');
      await startEngine();
      const { finish } = await startTraffic();
      await delay(500);
      for (let restart = 0; restart < RESTARTS; restart++) {
        const before = engine;
        const gone = once(before, 'exit');
        await startEngine(before.pid);
        await gone;
        await delay(200);
      }
      check(await finish());
      if (kind === 'xdp' && whyNoAfXdp() === null) assert.match(log, /which come by AF_XDP/);
    });

    it(`loses none either where it is killed and started again, as ${kind}`, async function () {
      this.timeout(180_000);
      if (kind === 'xdp') wholeFrames();
      // Where unknown packets pass while it is dead, a connection that was being opened breaks on them.
      keepGraph(kind, 'closed');
      await startEngine();
      const { finish } = await startTraffic();
      for (let kill = 0; kill < KILLS; kill++) {
        await delay(1500);
        await stop('SIGKILL');
        await delay(DEAD_AFTER_MS * 2);
        await startEngine();
      }
      check(await finish());
    });
  }

  it('does not fail open while a process that takes over is awaited, and does afterwards', async function () {
    this.timeout(60_000);
    keepGraph('tc', 'open');
    await startEngine();
    await startTraffic({ onlyLasting: true });
    assert.ok(passes(), 'before');
    announceSuccessor(join(directory, 'pins'), 4000);
    engine.kill('SIGSTOP');
    await delay(DEAD_AFTER_MS * 2);
    assert.ok(!passes(), 'while it is awaited');
    await delay(4000 - DEAD_AFTER_MS);
    assert.ok(passes(), 'when nobody has come');
    engine.kill('SIGCONT');
  });

  for (const kind of ['tc', 'xdp'] as const) {
    for (const failMode of ['open', 'closed'] as const) {
      it(`goes on with known flows while its process is stopped, and fails ${failMode} for others, as ${kind}`, async function () {
        this.timeout(60_000);
        if (kind === 'xdp') wholeFrames();
        keepGraph(kind, failMode);
        await startEngine();
        const { finish } = await startTraffic({ onlyLasting: true });
        // No service of the engine's: it merely passes.
        assert.ok(passes(), 'before');
        engine.kill('SIGSTOP');
        await delay(DEAD_AFTER_MS * 2);
        assert.equal(passes(), failMode === 'open', 'while it is stopped');
        await delay(500);
        engine.kill('SIGCONT');
        await delay(200);
        assert.ok(passes(), 'afterwards');
        check(await finish());
      });
    }
  }

  /** Whether a datagram that is of no known flow and for no service comes through, and its echo. */
  function passes(): boolean {
    return spaces.run(client, process.execPath, ['-e', ECHO]).trim() === 'true';
  }

  /** XDP takes frames as from a wire: virtual cards must not leave checksums and segmentation to somebody else. */
  function wholeFrames(): void {
    for (const space of [client, server]) {
      spaces.run(space, 'ethtool', ['-K', 'eth0', 'tx', 'off', 'gro', 'on']);
    }
  }

  it('goes on with another size of the table by beginning anew, and leaves one set of maps', async function () {
    this.timeout(60_000);
    keepGraph('tc', 'open');
    await startEngine();
    await stop('SIGKILL');
    keepGraph('tc', 'open', 1024);
    await startEngine();
    await stop('SIGTERM');
    assert.deepEqual(
      readdirSync(join(directory, 'pins'))
        .filter((name) => !name.endsWith('.debug'))
        .sort(),
      ['link-0', 'link-1', 'link-2', `maps-tc-${LAYOUT}`],
    );
    unmount();
    assert.deepEqual(readdirSync(join(directory, 'pins')), []);
  });
});
