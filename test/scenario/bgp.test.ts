/**
 * A real router (BIRD, in the lab's router namespace) learns a service address from the engines and spreads flows over
 * them; one engine is upgraded, and one dies.
 */

import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { readLabStatus } from '../../src/lab/control.ts';
import { labPaths, namespaceFile, namespaceOf } from '../../src/lab/world/names.ts';
import { parseDocuments } from '../../src/policy/parse.ts';
import { requireBird } from '../attract/bird.ts';
import { INSTALL_TIMEOUT_MS } from '../debian-package.ts';
import { requireRoot } from '../root.ts';
import { type ScenarioLab, startScenarioLab } from './running-lab.ts';
import { sleep } from './traffic.ts';

const SERVICE = '10.99.0.10';
const SERVICE6 = 'fd99::10';

const POLICY = `
kind: engine-group
name: edge
spec:
  cloud: lab
  failMode: open
  dataAddresses:
    - { prefix: 10.77.0.0/24, first: 10.77.0.201, last: 10.77.0.230, gateway: 10.77.0.1, hosts: [h1, h2] }
    - { prefix: "fd77::/64", first: "fd77::201", last: "fd77::230", gateway: "fd77::1", hosts: [h1, h2] }
    - { prefix: 10.78.0.0/24, first: 10.78.0.201, last: 10.78.0.230, gateway: 10.78.0.1, hosts: [h3] }
    - { prefix: "fd78::/64", first: "fd78::201", last: "fd78::230", gateway: "fd78::1", hosts: [h3] }
  bgp:
    localAs: 64512
    peers:
      - { address: 10.77.0.1, as: 64513 }
      - { address: "fd77::1", as: 64513 }
---
kind: pool
name: near
spec: { cloud: lab, members: { names: [app1, app2, app3, app4] }, port: 8080 }
---
kind: virtual-service
name: anycast
spec:
  engineGroup: edge
  attraction: bgp
  tiers:
    - { name: near, addresses: [${SERVICE}, "${SERVICE6}"], port: 80, pool: near }
  components:
    - { type: load-balancer, method: round-robin }
`;

const ROUTER = `
log stderr { warning, error };
router id 10.77.0.1;
protocol device { scan time 1; }
protocol kernel { merge paths on; ipv4 { import none; export all; }; }
protocol kernel { merge paths on; ipv6 { import none; export all; }; }
protocol bfd { interface "site-a" { interval 100 ms; multiplier 5; }; }
template bgp engines { local as 64513; hold time 3; bfd on; passive; error wait time 1, 2; }
protocol bgp v4 from engines { local 10.77.0.1 as 64513; neighbor range 10.77.0.0/24 as 64512; dynamic name "e4_"; ipv4 { import all; export none; }; }
protocol bgp v6 from engines { local fd77::1 as 64513; neighbor range fd77::/64 as 64512; dynamic name "e6_"; ipv6 { import all; export none; }; }
`;

describe('a service whose address routers learn by BGP', function () {
  this.timeout(90_000);
  let lab: ScenarioLab;
  let folder: string;
  let router: ChildProcess | undefined;

  before(async function () {
    this.timeout(INSTALL_TIMEOUT_MS);
    requireRoot(this, 'scenarios in the lab');
    const bird = requireBird(this);
    folder = mkdtempSync(join(tmpdir(), 'weft-bgp-'));
    writeFileSync(join(folder, 'router.conf'), ROUTER);
    lab = await startScenarioLab('b', 'lab', 'routed');
    const files = ['-c', join(folder, 'router.conf'), '-s', join(folder, 'router.ctl')];
    router = spawn('nsenter', [`--net=${where('router')}`, bird, '-f', ...files], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    await lab.controller.apply(parseDocuments(POLICY, 'bgp'));
    await lab.until('the service serves', ({ services }) =>
      services.some(({ name, state }) => name === 'anycast' && state === 'serving'),
    );
  });
  after(async () => {
    router?.kill();
    await lab?.close();
    if (folder !== undefined) rmSync(folder, { recursive: true });
  });

  const where = (place: string): string => namespaceFile(namespaceOf(lab.name, place));
  /** By which engines the router reaches an address. */
  const ways = async (address = SERVICE): Promise<string[]> => {
    const family = address.includes(':') ? '-6' : '-4';
    const { stdout } = await promisify(execFile)('ip', [
      ...['-n', namespaceOf(lab.name, 'router'), family, '-json', 'route', 'show', address],
    ]);
    type Way = { gateway?: string };
    const routes = JSON.parse(stdout || '[]') as (Way & { nexthops?: Way[] })[];
    return routes
      .flatMap((route) => route.nexthops ?? [route])
      .flatMap(({ gateway }) => (gateway === undefined ? [] : [gateway]))
      .sort();
  };
  /** The router's sessions that are established, and since when. */
  const sessions = async (): Promise<string[]> => {
    const { stdout } = await promisify(execFile)('birdc', [
      ...['-s', join(folder, 'router.ctl'), 'show', 'protocols'],
    ]);
    return stdout
      .split('\n')
      .filter((line) => line.includes('BGP') && line.includes('Established'))
      .map((line) => line.split(/\s+/).slice(0, 5).join(' '))
      .sort();
  };
  const until = async (what: string, holds: () => Promise<boolean>, timeoutMs = 20_000): Promise<void> => {
    const deadline = performance.now() + timeoutMs;
    while (!(await holds())) {
      assert.ok(performance.now() < deadline, `after ${timeoutMs} ms still not: ${what}`);
      await sleep(50);
    }
  };
  const get = (address = SERVICE) => lab.client.get({ address, port: 80 });

  it('is learned from two engines, in both families, and requests are spread over them', async () => {
    await until('two ways', async () => (await ways()).length === 2 && (await ways(SERVICE6)).length === 2);
    const held = await lab.client.hold('spread', { address: SERVICE, port: 80 }, 40);
    assert.deepEqual(held, { open: 40, errors: [] });
    assert.equal((await get(SERVICE6)).error, null);
    const { flows } = await lab.controller.flows({ service: 'anycast', limit: '1000' });
    const entries = new Map<string, number>();
    for (const { engine, kind } of flows) {
      if (kind === 'remote') entries.set(engine, (entries.get(engine) ?? 0) + 1);
    }
    assert.deepEqual([...entries.keys()].sort(), ['edge-h1', 'edge-h2'], JSON.stringify([...entries]));
    await lab.client.release('spread');
    await lab.until('both engines say so', ({ engines }) =>
      ['edge-h1', 'edge-h2'].every((id) =>
        /^tells 10\.77\.0\.1, fd77::1 of 2 addresses by BGP/.test(
          engines.find((engine) => engine.id === id)?.message ?? '',
        ),
      ),
    );
  });

  it('is told by the same BIRD over an upgrade of an engine', async () => {
    const speaker = async (): Promise<string> => {
      const { vms } = await readLabStatus(lab.session, AbortSignal.timeout(10_000));
      const { id } = vms.find(({ name }) => name === 'edge-h1')!;
      return readFileSync(join(labPaths(lab.name).vms, id, 'state/bgp/bird.pid'), 'utf8');
    };
    const before = await speaker();
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [
        '--disable-warning=ExperimentalWarning',
        join(import.meta.dirname, '../../src/main.ts'),
        ...['lab', 'upgrade', 'edge-h1', '--lab', lab.name],
      ],
      { timeout: 60_000 },
    );
    assert.match(stdout, /edge-h1/);
    for (let n = 0; n < 20; n++) assert.equal((await get()).error, null);
    assert.equal(await speaker(), before);
    assert.doesNotThrow(() => process.kill(Number(before), 0), 'it runs');
    await until('two ways', async () => (await ways()).length === 2);
  });

  it('is reached by the other engine when one hangs or dies, and by both when it is back', async () => {
    const answered = async (): Promise<boolean> => {
      for (let n = 0; n < 10; n++) if ((await get()).error !== null) return false;
      return true;
    };
    await lab.context.fault('hang', 'edge-h2');
    try {
      await until('one way is left', async () => (await ways()).length === 1);
      await until('requests are answered', answered);
    } finally {
      await lab.context.fault('resume', 'edge-h2');
    }
    await until('two ways again', async () => (await ways()).length === 2, 40_000);
    const before = await sessions();
    // Its VM is started again, perhaps before anybody looks at the routes: but by a session of its own.
    await lab.context.fault('kill', 'edge-h2');
    const isAnew = async (): Promise<boolean> => {
      const now = await sessions();
      // The other engine's may be new as well: BFD ends them where a loaded machine pauses for long.
      return now.length === 4 && now.filter((one) => !before.includes(one)).length >= 2;
    };
    await until('it has come back', isAnew, 40_000);
    await until('two ways again', async () => (await ways()).length === 2, 40_000);
    await until('requests are answered', answered);
  });

  it('is proxied by the engine that the router chooses, where it has http', async () => {
    await lab.controller.apply(parseDocuments(POLICY.replace(/\s*$/, '\n  http: {}\n'), 'bgp-http'));
    const url = `http://${SERVICE}/json`;
    const ask = async (): Promise<string> =>
      (await promisify(execFile)('nsenter', [`--net=${where('client')}`, 'curl', '-sS', '-m', '5', url]))
        .stdout;
    await until('proxied', async () => (await ask().catch(() => '')).includes('"forwardedFor":"1'));
    const members = new Set<string>();
    for (let n = 0; n < 40; n++) members.add((JSON.parse(await ask()) as { vm: string }).vm);
    assert.deepEqual([...members].sort(), ['app1', 'app2', 'app3', 'app4']);
    const { flows } = await lab.controller.flows({ service: 'anycast', limit: '1000' });
    const engines = new Set(flows.filter(({ kind }) => kind === 'proxied').map(({ engine }) => engine));
    assert.deepEqual([...engines].sort(), ['edge-h1', 'edge-h2']);
  });

  it('is taken away from routers when no service asks for it any more', async () => {
    await lab.controller.apply([{ kind: 'virtual-service', name: 'anycast', delete: true }]);
    await until('no way', async () => (await ways()).length === 0);
  });
});
