import assert from 'node:assert/strict';
import { collectFlows } from '../../../src/engine-vm/flow-answers.ts';
import type { FlowListing, FlowQuestion } from '../../../src/policy/answers.ts';
import { ALL_FLOWS, BALANCER, engineMac, memberIp, settled, VIP, VIP6 } from './network.ts';

const never = new AbortController().signal;
const FIREWALL = {
  type: 'firewall' as const,
  policy: 'edge',
  defaultAction: 'deny' as const,
  rules: [{ name: 'all', action: 'allow' as const, protocol: 'any' as const }],
};

describe('list of flows', () => {
  const clients = (flows: readonly FlowListing[]) => flows.map(({ client }) => client);

  /** Four flows: two of the service `shop` over IPv4, one over IPv6, one of `dns`; each later, and larger. */
  function four(parts: Parameters<typeof settled>[0] = {}) {
    const network = settled(parts);
    const { network: net, client } = network;
    const send = (from: string, to: string, dport: number, times: number, protocol: 'tcp' | 'udp') => {
      for (let i = 0; i < times; i++) {
        net.emit(client, { from, to, sport: 5, dport, protocol, toMac: engineMac('A') });
      }
      net.pass(1000);
    };
    send('10.0.0.9', VIP, 8080, 1, 'tcp');
    send('10.0.7.9', VIP, 8080, 2, 'tcp');
    send('fd00::9', VIP6, 8080, 3, 'tcp');
    send('10.0.0.9', VIP, 53, 4, 'udp');
    return network;
  }

  it('puts the largest first, or the longest, and counts what it does not list', () => {
    const { dataplane } = four().engines.A!;
    const by = (sort: FlowQuestion['sort'], limit = 10) => dataplane.flows({ ...ALL_FLOWS, sort, limit });
    const order = ['10.0.0.9:5', '10.0.7.9:5', '[fd00::9]:5', '10.0.0.9:5'];
    assert.deepEqual(clients(by('age').flows), order);
    assert.deepEqual(clients(by('idle').flows), order);
    assert.deepEqual(clients(by('packets').flows), [...order].reverse());
    const [largest, ...others] = by('packets', 1).flows;
    assert.deepEqual([largest!.packets, others.length], [4, 0]);
    assert.deepEqual(
      clients(by('bytes', 1).flows),
      ['[fd00::9]:5'],
      'three long ones before four short ones',
    );
    assert.deepEqual([by('bytes', 1).matched, by('bytes', 1).total], [4, 4]);
    assert.deepEqual(
      by('age').flows.map(({ ageMs, idleMs }) => [ageMs, idleMs]),
      [4000, 3000, 2000, 1000].map((ms) => [ms, ms]),
    );
  });

  it('keeps those that fit: service, client, member, state, protocol', () => {
    const { dataplane } = four().engines.A!;
    const of = (some: Partial<FlowQuestion>) => clients(dataplane.flows({ ...ALL_FLOWS, ...some }).flows);
    assert.deepEqual(of({ service: 'dns' }), ['10.0.0.9:5']);
    assert.deepEqual(of({ service: 'nothing' }), []);
    assert.deepEqual(of({ client: '10.0.0.0/24' }), ['10.0.0.9:5', '10.0.0.9:5']);
    assert.deepEqual(of({ client: '10.0.0.0/8', protocol: 'tcp' }), ['10.0.0.9:5', '10.0.7.9:5']);
    assert.deepEqual(of({ client: 'fd00::/16' }), ['[fd00::9]:5']);
    assert.deepEqual(of({ client: 'fd00::9' }), ['[fd00::9]:5']);
    assert.equal(of({ client: '0.0.0.0/0' }).length, 3);
    assert.equal(of({ client: '::/0' }).length, 4, 'IPv4 is a part of the common form');
    assert.deepEqual(of({ state: 'established', client: '10.0.7.0/24' }), []);
    assert.deepEqual(of({ state: 'half-open', client: '10.0.7.0/24' }), ['10.0.7.9:5']);
    const [{ vm, member }] = dataplane.flows({ ...ALL_FLOWS, service: 'dns' }).flows as [FlowListing];
    assert.ok(of({ member: vm }).length > 0 && of({ member: vm }).length < 4);
    assert.deepEqual(of({ member: vm }), of({ member }));
    assert.throws(() => of({ client: 'nobody' }), /neither an address nor a prefix/);
  });

  it('names kind, rule and who forwards, and counts nothing by being asked', () => {
    const { dataplane } = four({ components: [FIREWALL, BALANCER] }).engines.A!;
    const before = JSON.stringify(dataplane.counters());
    const { flows } = dataplane.flows(ALL_FLOWS);
    assert.equal(flows.length, 4);
    for (const flow of flows) {
      assert.match(flow.rule, /policy edge, rule all \(1 of 1\): allow/);
      assert.equal(flow.kernel, 'none');
      assert.ok(['local', 'remote'].includes(flow.kind));
      assert.equal(flow.kind === 'local', flow.vm.startsWith('a'), `${flow.vm} ${flow.kind}`);
    }
    assert.equal(JSON.stringify(dataplane.counters()), before);
  });

  it('is nothing before the first graph, and knows connections past any service', () => {
    const { network, engines, hosts, client } = settled();
    network.emit(client, { from: '10.0.0.9', to: memberIp('a1'), sport: 5, dport: 80, toMac: hosts.a1!.mac });
    const { flows } = engines.A!.dataplane.flows(ALL_FLOWS);
    assert.deepEqual(
      flows.map(({ service, kind, vm }) => [service, kind, vm]),
      [['', 'direct', 'a1']],
    );
    network.restart(engines.A!);
    assert.deepEqual(engines.A!.dataplane.flows(ALL_FLOWS), { flows: [], matched: 0, total: 0, next: null });
  });

  it('is put together from slices of a large table, the greatest of all of them first', async () => {
    const { network, engines, client } = settled({ maxFlows: 131_072 });
    const count = 20_000;
    for (let n = 0; n < count; n++) {
      const from = `10.1.${n >> 8}.${n & 255}`;
      const spec = { from, to: VIP, sport: 5, dport: 53, protocol: 'udp' as const, toMac: engineMac('A') };
      network.emit(client, spec);
      if (n % 1999 === 0) for (let more = 0; more <= n / 1999; more++) network.emit(client, spec);
    }
    let slices = 0;
    const answer = await collectFlows(
      { ...ALL_FLOWS, sort: 'packets', limit: 4 },
      async (slice) => {
        slices++;
        return engines.A!.dataplane.flows(slice);
      },
      never,
    );
    assert.ok(slices > 1, `${slices} slices`);
    assert.deepEqual([answer.matched, answer.total], [count, count]);
    assert.deepEqual(
      answer.flows.map(({ packets }) => packets),
      [12, 11, 10, 9],
    );
  });
});
