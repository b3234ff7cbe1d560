/** Engines in two networks with a router between them: real traffic through the tunnel, of any size, and past it. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { namespaceFile, namespaceOf } from '../../src/lab/world/names.ts';
import { parseDocuments } from '../../src/policy/parse.ts';
import { requireRoot } from '../root.ts';
import { REQUESTS } from './requests-program.ts';
import { type ScenarioLab, startScenarioLab } from './running-lab.ts';
import { sleep } from './traffic.ts';

const POLICY = `
kind: pool
name: sink
spec: { cloud: lab, members: { names: [app1, app5] }, port: 9090, weights: [{ names: app1, weight: 0 }] }
---
kind: pool
name: echo
spec: { cloud: lab, members: { names: [app1, app5] }, port: 8080 }
---
kind: virtual-service
name: upload
spec:
  engineGroup: edge
  tiers:
    - { name: only, addresses: [10.77.0.110, "fd77::110"], port: 80, pool: sink }
---
kind: virtual-service
name: echo
spec:
  engineGroup: edge
  protocol: udp
  tiers:
    - { name: only, addresses: [10.77.0.110], port: 7, pool: echo }
  components:
    - { type: load-balancer, method: round-robin }
`;

/** Answers each connection with the hash of what it sent. */
const SINK = `
const { createHash } = require('node:crypto');
require('node:net').createServer({ allowHalfOpen: true }, (socket) => {
  const hash = createHash('sha256');
  socket.on('data', (data) => hash.update(data)).on('end', () => socket.end(hash.digest('hex'))).on('error', () => {});
}).listen(9090, '::', () => console.log('ready'));
`;

/** Sends so many bytes and prints their hash, and what the other side says of them. */
const UPLOAD = `
const { createHash, randomBytes } = require('node:crypto');
const data = randomBytes(+process.argv[2]);
const socket = require('node:net').connect(80, process.argv[1], () => socket.end(data));
let said = '';
socket.setTimeout(15000, () => socket.destroy(new Error('nothing moves')));
socket.on('data', (text) => (said += text)).on('close', () => {
  console.log(JSON.stringify([createHash('sha256').update(data).digest('hex'), said]));
}).on('error', (error) => (said = error.message));
`;

/** A datagram from a new port for each size, until it comes back; prints how many it took. */
const UDP = `
const dgram = require('node:dgram');
const [host, ...sizes] = process.argv.slice(1);
const one = (size) => new Promise((resolve) => {
  const socket = dgram.createSocket('udp4');
  const data = Buffer.alloc(size, 'x');
  let sent = 0;
  const send = () => { if (sent++ < 20) socket.send(data, 7, host); else done(); };
  const timer = setInterval(send, 500);
  const done = (back) => { clearInterval(timer); socket.close(); resolve(back?.equals(data) ? sent : -1); };
  socket.on('message', done);
  send();
});
(async () => { const all = []; for (const size of sizes) all.push(await one(+size)); console.log(JSON.stringify(all)); })();
`;

describe('engines with a router between them', function () {
  this.timeout(90_000);
  let lab: ScenarioLab;
  let sink: ChildProcess | undefined;

  before(async function () {
    requireRoot(this, 'scenarios in the lab');
    lab = await startScenarioLab('x', 'lab', 'routed');
    await lab.controller.apply(parseDocuments(POLICY, 'routed'));
    await lab.until('all is in line and serves', ({ services, members }) => {
      const isServing = services.every((service) => service.state === 'serving');
      return isServing && members.every(({ health, isIntercepted }) => health !== 'down' && isIntercepted);
    });
    sink = spawn('nsenter', [`--net=${where('app5')}`, process.execPath, '-e', SINK], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(createInterface({ input: sink.stdout! }), 'line');
  });
  after(async () => {
    sink?.kill();
    await lab?.close();
  });

  const where = (place: string): string => namespaceFile(namespaceOf(lab.name, place));
  const asClient = async (program: string, ...args: (string | number)[]): Promise<unknown> => {
    const { stdout } = await promisify(execFile)('nsenter', [
      `--net=${where('client')}`,
      ...[process.execPath, '-e', program, ...args.map(String)],
    ]);
    return JSON.parse(stdout);
  };
  /** Client addresses that members saw, by host. */
  const seenBy = async (address: string, count: number): Promise<Map<string, string[]>> => {
    const seen = new Map<string, Set<string>>();
    for (const [host, client] of (await asClient(REQUESTS, address, 80, count)) as [string, string][]) {
      seen.set(host, (seen.get(host) ?? new Set()).add(client));
    }
    return new Map([...seen].sort().map(([host, clients]) => [host, [...clients]]));
  };

  it('hand packets over in VXLAN: members in the other network see the client, and answer it directly', async () => {
    for (const [address, client] of [
      ['10.77.0.101', '10.77.0.9'],
      ['fd77::101', 'fd77::9'],
    ] as const) {
      assert.deepEqual(
        [...(await seenBy(address, 12))],
        ['h1', 'h2', 'h3'].map((host) => [host, [client]]),
      );
    }
    const { hops, outcome } = await lab.controller.trace({
      service: 'upload',
      from: '10.77.0.9',
      to: '10.77.0.110',
      engine: 'edge-h1',
    });
    assert.equal(outcome, 'delivered to app5');
    assert.deepEqual(
      hops.map(({ engine }) => engine),
      ['edge-h1', 'edge-h3'],
    );
    const step = hops[0]!.steps.find(({ component }) => component === 'vxlan');
    assert.match(
      step?.detail ?? '',
      /^10\.77\.0\.2\d\d to 10\.78\.0\.2\d\d, VNI \d+, by the router 10\.77\.0\.1;/,
    );
    const explanation = (await lab.controller.explain('web')).find(({ host }) => host === 'h1');
    for (const { host, path } of explanation!.candidates) {
      assert.equal(path, host === 'h3' ? 'VXLAN' : 'in line');
    }
  });

  it('announce an address only where its network is', async () => {
    const { engines } = await lab.controller.status();
    assert.deepEqual(engines.map(({ host }) => host).sort(), ['h1', 'h2', 'h3']);
    const alone = await lab.controller.trace({ service: 'upload', from: '10.77.0.9', to: '10.77.0.110' });
    assert.equal(alone.hops[0]!.engine, 'edge-h1');
  });

  it('carry streams and datagrams of any size through the tunnel', async () => {
    for (const address of ['10.77.0.110', 'fd77::110']) {
      const [sent, received] = (await asClient(UPLOAD, address, 3_000_000)) as [string, string];
      assert.equal(received, sent, 'what arrived is what was sent');
    }
    // Of each two, one goes to the other network. What does not fit is in fragments, or is sent again smaller.
    const tries = (await asClient(UDP, '10.77.0.110', 100, 100, 4000, 4000, 1472, 1472)) as number[];
    assert.ok(
      tries.every((count) => count > 0),
      `datagrams that came back after so many: ${tries.join(' ')}`,
    );
    assert.deepEqual(tries.slice(0, 2), [1, 1], 'small ones at once');
  });

  it('leave established flows in the tunnel to the kernel, at both ends', async () => {
    for (let n = 0; n < 9; n++) {
      lab.client.startSteady(`s${n}`, { address: '10.77.0.101', port: 80 }, 20);
    }
    // The flow of one connection at its entry engine and at that of its member in the other network.
    const find = async () => {
      const { flows } = await lab.controller.flows({ service: 'web', state: 'established', limit: '1000' });
      const inside = flows.filter(({ engine, kernel }) => engine === 'edge-h3' && kernel === 'both');
      const isEntry = (client: string, flow: (typeof flows)[number]): boolean =>
        flow.client === client && flow.engine !== 'edge-h3' && flow.kernel === 'forward';
      for (const flow of inside) {
        const entry = flows.find((other) => isEntry(flow.client, other));
        if (entry !== undefined) return { entry, flow };
      }
      return null;
    };
    const wait = async (holds: (found: NonNullable<Awaited<ReturnType<typeof find>>>) => boolean) => {
      const deadline = performance.now() + 20_000;
      for (;;) {
        const found = await find();
        if (found !== null && holds(found)) return found;
        assert.ok(performance.now() < deadline, `not within 20 s; last seen: ${JSON.stringify(found)}`);
        await sleep(100);
      }
    };
    try {
      const { entry } = await wait(() => true);
      assert.equal(entry.kind, 'remote');
      const { client, packets } = entry;
      await wait((now) => now.entry.client !== client || now.entry.packets > packets + 10);
      assert.equal(lab.client.steadyBroken.size, 0);
    } finally {
      lab.client.stopSteady();
    }
  });

  it('let answers return through the engine that chose, by the router alone', async () => {
    const seen = await seenBy('10.77.0.102', 12);
    assert.deepEqual([...seen.keys()], ['h1', 'h2', 'h3']);
    assert.match(seen.get('h3')!.join(), /^10\.77\.0\.2[0-3]\d$/);
  });

  it('reach members in the other network while no engine is beside them', async () => {
    await lab.context.fault('hang', 'edge-h3');
    try {
      await lab.until('the members of h3 are bypassed', ({ members }) =>
        members.every(({ host, isIntercepted }) => host !== 'h3' || !isIntercepted),
      );
      const seen = await seenBy('10.77.0.101', 12);
      assert.deepEqual([...seen.keys()], ['h1', 'h2', 'h3']);
      assert.match(seen.get('h3')!.join(), /^10\.77\.0\.2[0-3]\d$/, 'translated by the engine that chose');
    } finally {
      await lab.context.fault('resume', 'edge-h3');
    }
    await lab.until('they are in line again', ({ members }) =>
      members.every(({ isIntercepted }) => isIntercepted),
    );
  });
});
