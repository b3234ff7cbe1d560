import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { HEALTH_LEASE_MS } from '../../../src/engine-vm/health/election.ts';
import { packPrefixes } from '../../../src/packet/packed-prefixes.ts';
import type { EngineFirewall } from '../../../src/policy/answers.ts';
import type { ServiceGraph } from '../../../src/policy/graph.ts';
import type { ConnectionReport, EngineReport } from '../../../src/state/shared.ts';
import { requireRoot } from '../../root.ts';
import { line, Namespaces } from '../kernel/namespaces.ts';

const program = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const ENGINE = 'engine-h1';
const HUB = '10.98.0.1';
const PORT = 7443;
const CONNECT = `
  const socket = require('node:net').connect(Number(process.argv[2]), process.argv[1]);
  socket.setTimeout(1500, () => { console.log('silence'); process.exit(); });
  socket.on('data', (data) => console.log(String(data))).on('error', (error) => console.log(error.code));
`;
const SERVE = `
  require('node:net').createServer((socket) => socket.on('error', () => undefined).end('hello')).listen(80, '::', () => console.log('ready'));
`;
const ECHO = `
  require('node:net').createServer((socket) => socket.on('error', () => undefined).pipe(socket)).listen(80, '::', () => console.log('ready'));
`;
const TALK = `
  const socket = require('node:net').connect(80, process.argv[1]);
  let said = 0;
  socket.on('data', () => { if (++said === 20) console.log('talks'); setTimeout(() => socket.writable && socket.write('x'), 5); });
  socket.on('connect', () => socket.write('x'));
  process.stdin.once('data', () => { console.log('ended ' + Date.now()); socket.end(); });
  socket.on('close', () => process.exit());
`;
/** Talks for ever; says how many answers it has when it is asked, and that it was cut. */
const HOLD = `
  const socket = require('node:net').connect(80, process.argv[1]);
  let answers = 0;
  socket.on('data', () => { answers++; setTimeout(() => socket.writable && socket.write('x'), 5); });
  socket.on('connect', () => { console.log('open'); socket.write('x'); });
  process.stdin.on('data', () => console.log('answers ' + answers));
  socket.on('error', (error) => console.log('cut ' + error.code)).on('close', () => console.log('cut'));
`;

interface Entry {
  key: string;
  value: EngineReport;
}

describe('engine', () => {
  let spaces: Namespaces;
  let client: string;
  let engineSpace: string;
  let server: string;
  let controller: string;
  let directory: string;
  let hub: ChildProcess;
  let engine: ChildProcess;
  let isRoot = true;
  /** What the engine logged; shown when a test fails. */
  let log: string;

  beforeEach(async function () {
    this.timeout(30_000);
    isRoot = process.getuid?.() === 0;
    requireRoot(this, 'tests of the agent');
    log = '';
    directory = mkdtempSync(join(tmpdir(), 'weft-engine-'));
    spaces = new Namespaces();
    client = spaces.add('client');
    engineSpace = spaces.add('engine');
    server = spaces.add('server');
    controller = spaces.add('controller');
    spaces.link(client, 'eth0', engineSpace, 'out');
    spaces.link(server, 'eth0', engineSpace, 'in');
    spaces.link(controller, 'eth0', engineSpace, 'mgmt');
    spaces.ip(client, 'addr add 10.99.0.1/24 dev eth0');
    spaces.ip(server, 'addr add 10.99.0.2/24 dev eth0');
    spaces.ip(controller, `addr add ${HUB}/24 dev eth0`);
    spaces.ip(engineSpace, 'addr add 10.98.0.2/24 dev mgmt');
  });
  afterEach(async function () {
    if (!isRoot) return;
    if (this.currentTest?.state === 'failed') process.stdout.write(log);
    await spaces?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  async function startHub(lifeMs = 3_600_000): Promise<void> {
    hub = spaces.start(controller, program('hub-program.ts'), [
      join(directory, 'controller'),
      String(PORT),
      ENGINE,
      String(lifeMs),
    ]);
    const { ca, token } = JSON.parse(await line(hub)) as { ca: string; token: string };
    const properties = { engine: ENGINE, controller: `https://${HUB}:${PORT}`, ca, token };
    writeFileSync(join(directory, 'engine.json'), JSON.stringify(properties), { mode: 0o600 });
  }

  function startEngine(): void {
    const args = ['--config', join(directory, 'engine.json'), '--state', join(directory, 'state')];
    engine = spaces.start(engineSpace, program('engine-program.ts'), args, 'pipe');
    engine.stderr!.on('data', (data: Buffer) => {
      log += data.toString();
    });
  }

  async function stop(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    child.kill(signal);
    return ended;
  }

  function tell(command: unknown): void {
    hub.stdin!.write(`${JSON.stringify(command)}\n`);
  }

  /** The next report of the engine that `accept` takes. */
  async function report(accept: (report: EngineReport) => boolean): Promise<EngineReport> {
    const text = await line(hub, (one) => {
      const { key, value } = JSON.parse(one) as Entry;
      return key === `engine/${ENGINE}` && value !== undefined && accept(value);
    });
    return (JSON.parse(text) as Entry).value;
  }

  function macOf(space: string, nic: string): string {
    return (JSON.parse(spaces.ip(space, `-json link show ${nic}`)) as { address: string }[])[0]!.address;
  }

  /** One TCP service on 10.99.0.2:80, owned by the one member, which is the server behind the engine. */
  function graph(revision: number): ServiceGraph {
    return {
      revision,
      engine: {
        id: ENGINE,
        host: 'h1',
        mac: macOf(engineSpace, 'out'),
        failMode: 'open',
        dataAddresses: ['10.99.0.9/24'],
        probeIntervalMs: 100,
        deadAfterMs: 400,
        maxFlows: 1024,
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
      pools: [
        {
          name: 'web',
          port: 80,
          healthMonitors: [{ type: 'tcp', intervalMs: 100, timeoutMs: 500, rise: 1, fall: 1 }],
          members: [{ member: 0, weight: 1, isDraining: false }],
        },
      ],
      services: [
        {
          name: 'web',
          protocol: 'tcp',
          components: [{ type: 'load-balancer', method: 'topological', persistence: { type: 'none' } }],
          tiers: [{ name: 'web', port: 80, pool: 0, addresses: [{ address: '10.99.0.2', announcers: [] }] }],
        },
      ],
    };
  }

  const connect = (port = 80): string =>
    spaces.run(client, process.execPath, ['-e', CONNECT, '10.99.0.2', String(port)]).trim();

  async function serve(): Promise<ChildProcess> {
    const child = spaces.start(server, '-e', [SERVE]);
    await line(child);
    return child;
  }

  it('enrols, takes a graph, carries traffic, and reports and answers', async () => {
    await startHub();
    startEngine();
    await report(({ isReady }) => isReady);
    tell({ put: `graph/${ENGINE}`, value: graph(5) });
    await report(({ graphRevision }) => graphRevision === 5);
    await serve();
    assert.equal(connect(), 'hello');
    const after = await report(({ newFlows }) => newFlows >= 1);
    assert.equal(after.host, 'h1');
    assert.ok(after.ports.out.receivedPackets > 0 && after.heartbeat > 0);
    tell({ ask: 'explain', params: { service: 'web', from: null } });
    const { answer } = JSON.parse(await line(hub, (text) => text.startsWith('{"answer"'))) as {
      answer: { error?: string }[];
    };
    assert.equal(answer.length, 1, JSON.stringify(answer));
    for (const file of readdirSync(join(directory, 'state'))) {
      assert.equal(statSync(join(directory, 'state', file)).mode & 0o077, 0, file);
    }
  });

  it('probes members from its own address on the production network', async () => {
    await startHub();
    startEngine();
    await serve();
    tell({ put: `graph/${ENGINE}`, value: graph(1) });
    const isVerdict = (text: string): boolean => {
      const { key, value } = JSON.parse(text) as {
        key: string;
        value?: { members: Record<string, { isUp: boolean }> };
      };
      return key === 'health/web' && value?.members['lab/server/eth0']?.isUp === true;
    };
    await line(hub, isVerdict);
  });

  it('goes on alone when the controller dies, and is back when it is', async () => {
    await startHub();
    startEngine();
    tell({ put: `graph/${ENGINE}`, value: graph(2) });
    await report(({ graphRevision, isReady }) => graphRevision === 2 && isReady);
    await serve();
    await stop(hub, 'SIGKILL');
    await delay(1000);
    assert.equal(connect(), 'hello');
    await startHub();
    const again = await report(({ isReady }) => isReady);
    assert.equal(again.graphRevision, 2);
  });

  it('sees by itself that a member dies and comes back while the controller is dead', async function () {
    this.timeout(30_000);
    await startHub();
    startEngine();
    tell({ put: `graph/${ENGINE}`, value: graph(2) });
    await report(({ graphRevision, isReady }) => graphRevision === 2 && isReady);
    const member = await serve();
    assert.equal(connect(), 'hello');
    await stop(hub, 'SIGKILL');
    // By then no lease can be held any more: what is found later is found without a controller.
    await delay(HEALTH_LEASE_MS + 200);
    assert.equal(connect(), 'hello');
    await stop(member, 'SIGKILL');
    const until = async (wanted: string): Promise<void> => {
      const deadline = Date.now() + 10_000;
      for (let got = connect(); got !== wanted; got = connect()) {
        assert.ok(Date.now() < deadline, `${got}, not ${wanted}`);
        await delay(100);
      }
    };
    await until('silence');
    await serve();
    await until('hello');
  });

  it('begins with the last good graph when it starts again without a controller', async () => {
    await startHub();
    startEngine();
    tell({ put: `graph/${ENGINE}`, value: graph(3) });
    await report(({ graphRevision }) => graphRevision === 3);
    const kept = join(directory, 'state', 'graph.json');
    for (
      let tries = 0;
      tries < 50 && !readdirSync(join(directory, 'state')).includes('graph.json');
      tries++
    ) {
      await delay(20);
    }
    assert.equal((JSON.parse(readFileSync(kept, 'utf8')) as ServiceGraph).revision, 3);
    await stop(hub, 'SIGKILL');
    await stop(engine, 'SIGKILL');
    await serve();
    startEngine();
    let got = '';
    for (let tries = 0; tries < 5 && got !== 'hello'; tries++) got = connect();
    assert.equal(got, 'hello');
    await startHub();
    const back = await report(({ isReady }) => isReady);
    assert.equal(back.graphRevision, 3);
  });

  it('waits for an address set that a graph names, judges by it, and keeps it with the graph', async () => {
    await startHub();
    startEngine();
    tell({ put: `graph/${ENGINE}`, value: graph(1) });
    await report(({ graphRevision, isReady }) => graphRevision === 1 && isReady);
    await serve();
    assert.equal(connect(), 'hello');
    const guarded = graph(2);
    guarded.addressSets = [{ name: 'banned', hash: 'h2' }];
    guarded.services[0]!.components.unshift({
      type: 'firewall',
      policy: 'edge',
      rules: [
        {
          name: 'banned',
          action: 'reject',
          fromSets: [0],
          protocol: 'any',
          log: { every: 1, perSecond: 10 },
        },
      ],
      defaultAction: 'allow',
    });
    tell({ put: 'address-set/banned', value: { hash: 'h1', prefixes: packPrefixes(['10.0.0.0/8']) } });
    tell({ put: `graph/${ENGINE}`, value: guarded });
    const waiting = await report(({ graphError }) => graphError !== null);
    assert.match(waiting.graphError ?? '', /revision 2 waits for address set banned/);
    assert.equal(connect(), 'hello');
    tell({ put: 'address-set/banned', value: { hash: 'h2', prefixes: packPrefixes(['10.99.0.1']) } });
    const taken = await report(({ graphRevision }) => graphRevision === 2);
    assert.equal(taken.graphError, null);
    assert.equal(connect(), 'ECONNREFUSED');
    tell({ ask: 'firewall', params: { policy: 'edge', limit: 5 } });
    const { answer } = JSON.parse(await line(hub, (text) => text.startsWith('{"answer"'))) as {
      answer: EngineFirewall;
    };
    assert.equal(answer.packets.banned, answer.log.length);
    assert.deepEqual(
      [answer.log[0]?.from, answer.log[0]?.toPort, answer.log[0]?.verdict],
      ['10.99.0.1', 80, 'rejected'],
    );
    while (!log.includes('a firewall rule logs')) await delay(20);
    await stop(hub, 'SIGKILL');
    await stop(engine, 'SIGKILL');
    startEngine();
    let got = '';
    for (let tries = 0; tries < 5 && got !== 'ECONNREFUSED'; tries++) got = connect();
    assert.equal(got, 'ECONNREFUSED');
  });

  it('counts a connection off when it ends, also where the kernel forwarded it', async function () {
    this.timeout(30_000);
    await startHub();
    startEngine();
    tell({ put: `graph/${ENGINE}`, value: graph(1) });
    await report(({ graphRevision, isReady }) => graphRevision === 1 && isReady);
    const echo = spaces.start(server, '-e', [ECHO]);
    await line(echo);
    const talker = spaces.start(client, '-e', [TALK, '10.99.0.2']);
    await line(talker);
    const fast = await report(
      ({ path, datapath }) => !datapath.includes('program') || (path?.kernelPackets ?? 0) > 10,
    );
    if (!fast.datapath.includes('program')) return this.skip();
    const count = (text: string): number | undefined => {
      const { key, value } = JSON.parse(text) as { key: string; value?: unknown };
      if (key !== `connections/${ENGINE}`) return undefined;
      return (value as ConnectionReport).local['lab/server/eth0'] ?? 0;
    };
    talker.stdin!.write('end\n');
    const endedAt = Number(
      await line(talker, (text) => text.startsWith('ended')).then((text) => text.slice(6)),
    );
    await line(hub, (text) => count(text) === 0);
    const tookMs = Date.now() - endedAt;
    if (process.env.WEFT_TEST_LOG) console.log(`      C followed after ${tookMs} ms`);
    // 100 ms are promised; an hour of silence is what would end it otherwise.
    assert.ok(tookMs < 2000, `${tookMs} ms`);
  });

  it('refuses a graph that it cannot execute, says why, and keeps the one in force', async () => {
    await startHub();
    startEngine();
    tell({ put: `graph/${ENGINE}`, value: graph(1) });
    await report(({ graphRevision }) => graphRevision === 1);
    const wrong = graph(2);
    wrong.services[0]!.tiers[0]!.pool = 99;
    tell({ put: `graph/${ENGINE}`, value: wrong });
    const refused = await report(({ graphError }) => graphError !== null);
    assert.equal(refused.graphRevision, 1);
    tell({ put: `graph/${ENGINE}`, value: graph(3) });
    const taken = await report(({ graphRevision }) => graphRevision === 3);
    assert.equal(taken.graphError, null);
  });

  it('says what is missing while it has no interface, and is ready once it has', async () => {
    spaces.ip(engineSpace, 'link del in');
    await startHub();
    startEngine();
    const { datapath } = await report(({ isReady }) => !isReady);
    assert.match(datapath, /no interface in/);
    spaces.link(server, 'eth0', engineSpace, 'in');
    await report(({ isReady }) => isReady);
  });

  it('renews its certificate before it ends, and stays in force throughout', async function () {
    this.timeout(30_000);
    await startHub(6000);
    startEngine();
    tell({ put: `graph/${ENGINE}`, value: graph(1) });
    await report(({ graphRevision }) => graphRevision === 1);
    const certificate = (): string =>
      (JSON.parse(readFileSync(join(directory, 'state', 'identity.json'), 'utf8')) as { certificate: string })
        .certificate;
    const first = certificate();
    const end = Date.now() + 7000;
    let beats = 0;
    while (Date.now() < end) {
      const { heartbeat } = await report(() => true);
      assert.ok(heartbeat >= beats);
      beats = heartbeat;
    }
    assert.notEqual(certificate(), first);
  });

  it('goes over to another controller that it is told of, and cuts no connection for it', async function () {
    this.timeout(30_000);
    await startHub();
    startEngine();
    tell({ put: `graph/${ENGINE}`, value: graph(3) });
    await report(({ graphRevision, isReady }) => graphRevision === 3 && isReady);
    await line(spaces.start(server, '-e', [ECHO]));
    const held = spaces.start(client, '-e', [HOLD, '10.99.0.2']);
    await line(held);
    const answers = async (): Promise<number> => {
      held.stdin!.write('?');
      const said = await line(held);
      assert.match(said, /^answers /);
      return Number(said.slice('answers '.length));
    };
    const authority = (): string =>
      (JSON.parse(readFileSync(join(directory, 'state', 'identity.json'), 'utf8')) as { ca: string }).ca;
    const first = authority();
    await stop(hub, 'SIGKILL');
    rmSync(join(directory, 'controller'), { recursive: true });
    // It has lost what the engine trusts, and tells it what to trust now.
    await startHub();
    const taken = await report(({ isReady }) => isReady);
    assert.equal(taken.graphRevision, 3, 'what it did it goes on doing');
    assert.deepEqual(taken.dataAddresses, graph(3).engine.dataAddresses);
    assert.notEqual(authority(), first);
    tell({ put: `graph/${ENGINE}`, value: graph(4) });
    await report(({ graphRevision }) => graphRevision === 4);
    const before = await answers();
    // Ends with the test's own limit where nothing is answered any more.
    while ((await answers()) === before) await delay(50);
  });

  it('stops cleanly when it is told to, and ignores a hang-up', async () => {
    await startHub();
    startEngine();
    await report(({ isReady }) => isReady);
    engine.kill('SIGHUP');
    await report(({ isReady }) => isReady);
    assert.equal(await stop(engine, 'SIGTERM'), 0);
  });
});
