/** Answers that return through the engine which chose the member: real traffic, and what an administrator sees of it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { namespaceFile, namespaceOf } from '../../src/lab/world/names.ts';
import { parseDocuments } from '../../src/policy/parse.ts';
import { requireRoot } from '../root.ts';
import { REQUESTS } from './requests-program.ts';
import { type ScenarioLab, startScenarioLab } from './running-lab.ts';
import { sleep } from './traffic.ts';

const POLICY = `
kind: virtual-service
name: back
spec:
  engineGroup: edge
  returnPath: engine
  tiers:
    - { name: shop, addresses: [10.77.0.151, "fd77::151"], port: 80, pool: shop }
  components:
    - { type: load-balancer, method: round-robin }
---
kind: virtual-service
name: proven
spec:
  engineGroup: edge
  synCookies: always
  tiers:
    - { name: shop, addresses: [10.77.0.152, "fd77::152"], port: 80, pool: shop }
  components:
    - { type: load-balancer, method: round-robin }
`;
/** Members bear the address themselves and serve its port. */
const DSR = `
kind: virtual-service
name: straight
spec:
  engineGroup: edge
  delivery: dsr
  tiers:
    - { name: shop, addresses: [10.77.0.153], port: 8080, pool: shop }
  components:
    - { type: load-balancer, method: round-robin }
`;
const BACK = { address: '10.77.0.151', port: 80 };
const OWN = ['10.77.0.9', 'fd77::9'];

describe('the return path of a service', function () {
  this.timeout(60_000);
  let lab: ScenarioLab;
  let entryHost: string;

  before(async function () {
    requireRoot(this, 'scenarios in the lab');
    lab = await startScenarioLab('r');
    await lab.controller.apply(parseDocuments(POLICY, 'return-path'));
    await lab.until('all is in line and serves', ({ services, members }) => {
      const isServing = services.every((service) => service.state === 'serving');
      return isServing && members.every(({ health, isIntercepted }) => health === 'up' && isIntercepted);
    });
  });
  after(async () => lab?.close());

  const inside = (place: string, ...command: string[]) =>
    promisify(execFile)('nsenter', [`--net=${namespaceFile(namespaceOf(lab.name, place))}`, ...command]);
  /** Client addresses that members saw, by host. */
  const seenBy = async (address: string, port: number): Promise<Map<string, Set<string>>> => {
    const { stdout } = await inside('client', process.execPath, '-e', REQUESTS, address, String(port), '12');
    const seen = new Map<string, Set<string>>();
    for (const [host, client] of JSON.parse(stdout) as [string, string][]) {
      seen.set(host, (seen.get(host) ?? new Set()).add(client));
    }
    return seen;
  };

  it('shows members on other hosts the address of the engine that chose, in both families', async () => {
    const seen = await seenBy(BACK.address, 80);
    const said = JSON.stringify([...seen].map(([host, clients]) => [host, [...clients]]));
    assert.deepEqual([...seen.keys()].sort(), ['h1', 'h2', 'h3'], said);
    const direct = [...seen].filter(([, clients]) => OWN.some((own) => clients.has(own)));
    assert.equal(direct.length, 1, `only the host of the engine that chose saw the client: ${said}`);
    entryHost = direct[0]![0];
    for (const [host, clients] of seen) {
      assert.equal(clients.size, 1, said);
      if (host !== entryHost) assert.match([...clients][0]!, /^10\.77\.0\.2[0-3]\d$/);
    }
    const ipv6 = await lab.client.get({ address: 'fd77::151', port: 80 });
    assert.deepEqual([ipv6.error, ipv6.status], [null, 200]);
    const paths = (await lab.controller.explain('back')).find(({ host }) => host === entryHost);
    assert.equal(paths?.returnPath, 'engine');
    for (const { host, path } of paths.candidates) {
      assert.equal(path, host === entryHost ? 'in line' : 'translated');
    }
  });

  it('joins clients that bring back a SYN cookie to members on every host, which see them and answer them', async () => {
    const seen = await seenBy('10.77.0.152', 80);
    const said = JSON.stringify([...seen].map(([host, clients]) => [host, [...clients]]));
    assert.deepEqual([...seen.keys()].sort(), ['h1', 'h2', 'h3'], said);
    for (const clients of seen.values()) assert.deepEqual([...clients], ['10.77.0.9'], said);
    const ipv6 = await lab.client.get({ address: 'fd77::152', port: 80 });
    assert.deepEqual([ipv6.error, ipv6.status], [null, 200]);
    const { hops } = await lab.controller.trace({ service: 'proven', from: '10.77.0.9' });
    assert.match(JSON.stringify(hops), /synCookies is always/);
  });

  it('keeps connections while the engine beside their member is bypassed', async () => {
    for (let number = 0; number < 6; number++) lab.client.startSteady(`s${number}`, BACK, 20);
    const flowsOf = async () =>
      (await lab.controller.flows({ service: 'back', state: 'established' })).flows.filter(
        ({ kind }) => kind === 'translated both ways',
      );
    const until = async (what: string, holds: () => Promise<boolean> | boolean) => {
      const deadline = performance.now() + 15_000;
      while (!(await holds())) {
        assert.ok(performance.now() < deadline, what);
        await sleep(50);
      }
    };
    await until('four of six connections are translated', async () => (await flowsOf()).length >= 4);
    const host = entryHost === 'h3' ? 'h2' : 'h3';
    const { members } = await lab.controller.status();
    const vms = members.filter((member) => member.host === host).map(({ vm }) => vm);
    await lab.context.fault('hang', `edge-${host}`);
    try {
      await lab.until('the members beside it are bypassed', (status) =>
        status.members.every(({ vm, isIntercepted }) => !vms.includes(vm) || !isIntercepted),
      );
      const count = () =>
        [...lab.client.steady.values()].filter(({ vm }) => vms.includes(vm)).map(({ requests }) => requests);
      const before = count();
      assert.equal(before.length, 2, 'two connections go to that host');
      await until('both go on', () => count().every((requests, at) => requests > before[at]! + 3));
      assert.equal(lab.client.steadyBroken.size, 0, JSON.stringify([...lab.client.steadyBroken.values()]));
    } finally {
      await lab.context.fault('resume', `edge-${host}`);
    }
    await lab.until('they are in line again', (status) =>
      status.members.every(({ isIntercepted }) => isIntercepted),
    );
    const before = new Map([...lab.client.steady].map(([key, { requests }]) => [key, requests]));
    await until('all go on', () =>
      [...lab.client.steady].every(([key, { requests }]) => requests > before.get(key)! + 3),
    );
    assert.equal(lab.client.steadyBroken.size, 0, JSON.stringify([...lab.client.steadyBroken.values()]));
  });

  it('is no matter for members that bear the service address: they see and answer the client on every host', async () => {
    for (const vm of ['app1', 'app2', 'app3', 'app4', 'app5', 'app6']) {
      const quiet = ['arp_ignore=1', 'arp_announce=2'].map((one) => `net.ipv4.conf.all.${one}`);
      await inside(vm, 'sysctl', '-q', '-w', ...quiet);
      await inside(vm, 'ip', 'address', 'add', '10.77.0.153/32', 'dev', 'lo');
    }
    await lab.controller.apply(parseDocuments(DSR, 'dsr'));
    await lab.until('it serves', ({ services }) =>
      services.some(({ name, state }) => name === 'straight' && state === 'serving'),
    );
    const all = async () => {
      const seen = await seenBy('10.77.0.153', 8080);
      assert.deepEqual([...seen.keys()].sort(), ['h1', 'h2', 'h3']);
      for (const clients of seen.values()) assert.deepEqual([...clients], ['10.77.0.9']);
    };
    await all();
    const { hops, outcome } = await lab.controller.trace({ service: 'straight', from: '10.77.0.9' });
    assert.match(outcome, /^delivered to app\d$/);
    assert.match(JSON.stringify(hops), /bears the service address itself \(DSR\)/);
    const host = entryHost === 'h3' ? 'h2' : 'h3';
    await lab.context.fault('hang', `edge-${host}`);
    try {
      await lab.until('its members are bypassed', ({ members }) =>
        members.every((member) => member.host !== host || !member.isIntercepted),
      );
      await all();
    } finally {
      await lab.context.fault('resume', `edge-${host}`);
    }
  });
});
