/** Members that hand the same packet on, as routers do: real traffic through them, on one host and across hosts. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { namespaceFile, namespaceOf } from '../../src/lab/world/names.ts';
import { parseDocuments } from '../../src/policy/parse.ts';
import { requireRoot } from '../root.ts';
import { REQUESTS } from './requests-program.ts';
import { type ScenarioLab, startScenarioLab } from './running-lab.ts';

const FILTERS = ['app1', 'app3'];
const POLICY = `
kind: pool
name: filters
spec: { cloud: lab, members: { names: [app1, app3] }, port: 80, healthMonitors: [{ type: ping, intervalMs: 500 }] }
---
kind: pool
name: pages
spec: { cloud: lab, members: { names: [app2, app5] }, port: 8080 }
---
kind: virtual-service
name: filtered
spec:
  engineGroup: edge
  tiers:
    - { name: filter, addresses: [10.77.0.161, "fd77::161"], port: 80, pool: filters, handsOn: {} }
    - { name: page, port: 80, pool: pages }
  components:
    - { type: load-balancer, method: round-robin }
`;
/** Answers return through the member that handed the packet on. */
const RETURNING = `
kind: virtual-service
name: both-ways
spec:
  engineGroup: edge
  returnPath: engine
  tiers:
    - { name: filter, addresses: [10.77.0.162], port: 80, pool: filters, handsOn: {} }
    - { name: page, port: 80, pool: pages }
  components:
    - { type: load-balancer, method: round-robin }
`;
/** What makes a Linux VM hand packets on, and say nothing about it to their senders. */
const FORWARDING =
  'sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1; ' +
  'for one in /proc/sys/net/ipv4/conf/*; do echo 0 > $one/send_redirects; echo 0 > $one/rp_filter; done';
const REQUEST_COUNT = 12;
/** SYN, ACK, request, FIN: what a client sends at least for a request on a connection of its own. */
const LEAST_PACKETS = 4;

describe('a tier whose members hand packets on', function () {
  this.timeout(60_000);
  let lab: ScenarioLab;

  before(async function () {
    requireRoot(this, 'scenarios in the lab');
    lab = await startScenarioLab('n');
    for (const vm of FILTERS) await inside(vm, 'sh', '-c', FORWARDING);
    await lab.controller.apply(parseDocuments(POLICY, 'hand-on'));
    await lab.until('all is in line and serves', ({ services, members }) => {
      const isServing = services.every((service) => service.state === 'serving');
      return isServing && members.every(({ health, isIntercepted }) => health === 'up' && isIntercepted);
    });
  });
  after(async () => lab?.close());

  const inside = (place: string, ...command: string[]) =>
    promisify(execFile)('nsenter', [`--net=${namespaceFile(namespaceOf(lab.name, place))}`, ...command]);
  /** Packets that a VM's kernel has forwarded. */
  const forwarded = async (vm: string, version: 4 | 6): Promise<number> => {
    const { stdout } = await inside(vm, 'cat', version === 4 ? '/proc/net/snmp' : '/proc/net/snmp6');
    if (version === 6) return Number(/^Ip6OutForwDatagrams\s+(\d+)/m.exec(stdout)?.[1]);
    const [names, values] = stdout.split('\n').filter((line) => line.startsWith('Ip:'));
    return Number(values?.split(' ')[names?.split(' ').indexOf('ForwDatagrams') ?? -1]);
  };

  for (const version of [4, 6] as const) {
    it(`sees every IPv${version} packet of a client on its way to the next tier`, async () => {
      const before = new Map<string, number>();
      for (const vm of FILTERS) before.set(vm, await forwarded(vm, version));
      const address = version === 4 ? '10.77.0.161' : 'fd77::161';
      const { stdout } = await inside(
        'client',
        process.execPath,
        '-e',
        REQUESTS,
        address,
        '80',
        String(REQUEST_COUNT),
      );
      const seen = JSON.parse(stdout) as [string, string][];
      assert.equal(seen.length, REQUEST_COUNT);
      assert.deepEqual([...new Set(seen.map(([host]) => host))].sort(), ['h1', 'h3'], stdout);
      for (const [, client] of seen) assert.equal(client, version === 4 ? '10.77.0.9' : 'fd77::9');
      let sum = 0;
      for (const vm of FILTERS) {
        const count = (await forwarded(vm, version)) - before.get(vm)!;
        assert.ok(count >= LEAST_PACKETS, `${vm} forwarded ${count} packets`);
        sum += count;
      }
      assert.ok(sum >= REQUEST_COUNT * LEAST_PACKETS, `${sum} packets were handed on`);
    });
  }

  it('brings answers back through it, where the service wants them to return', async () => {
    await lab.controller.apply(parseDocuments(RETURNING, 'returning'));
    await lab.until('it serves', ({ services }) =>
      services.some(({ name, state }) => name === 'both-ways' && state === 'serving'),
    );
    const sum = async () => {
      const counts = await Promise.all(FILTERS.map((vm) => forwarded(vm, 4)));
      return counts.reduce((total, count) => total + count, 0);
    };
    const before = await sum();
    const { stdout } = await inside('client', process.execPath, '-e', REQUESTS, '10.77.0.162', '80', '12');
    const seen = JSON.parse(stdout) as [string, string][];
    assert.deepEqual([...new Set(seen.map(([host]) => host))].sort(), ['h1', 'h3'], stdout);
    for (const [, client] of seen) assert.match(client, /^10\.77\.0\.2[0-3]\d$/, 'the address of an engine');
    const count = (await sum()) - before;
    assert.ok(
      count >= 2 * REQUEST_COUNT * LEAST_PACKETS,
      `${count} packets were handed on, of both directions`,
    );
  });

  it('keeps a connection on its way, in the kernel where a flow has no twin, and shows each tier', async () => {
    lab.client.startSteady('s', { address: '10.77.0.161', port: 80 }, 20);
    const deadline = performance.now() + 15_000;
    while ((lab.client.steady.get('s')?.requests ?? 0) < 10) {
      assert.ok(performance.now() < deadline, 'the connection goes on');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const { flows } = await lab.controller.flows({ service: 'filtered', state: 'established' });
    const through = flows.filter(({ kind }) => kind === 'through');
    assert.ok(through.length >= 1, JSON.stringify(flows));
    for (const { tier, vm } of through) assert.deepEqual([tier, FILTERS.includes(vm)], ['filter', true]);
    assert.ok(
      flows.some(({ tier, kind }) => tier === 'page' && kind === 'local'),
      JSON.stringify(flows),
    );
    assert.equal(lab.client.steadyBroken.size, 0);
    await lab.until('the connection counts where it is handed on', ({ members }) =>
      members.some(({ vm, connections }) => FILTERS.includes(vm) && (connections ?? 0) > 0),
    );
  });

  it('traces a packet through each tier', async () => {
    const { hops, outcome } = await lab.controller.trace({ service: 'filtered', from: '10.77.0.9' });
    assert.match(outcome, /^delivered to app[25]$/);
    assert.match(JSON.stringify(hops), /hands the packet on to tier page/);
  });
});
