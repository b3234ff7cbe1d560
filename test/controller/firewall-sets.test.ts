/** Sets of firewall rules on their way to engines: named once, sent once, and followed while VMs change. */
import assert from 'node:assert/strict';
import { firewallView } from '../../src/controller/firewall-view.ts';
import { packPrefixes, unpackPrefixes } from '../../src/packet/packed-prefixes.ts';
import type { AddressSetEntry, ServiceGraph } from '../../src/policy/graph.ts';
import { datacenterOf } from '../hypervisor/memory-platform.ts';
import { applyShop, Harness } from './harness.ts';

describe('the sets of firewall rules', () => {
  let harness: Harness;

  afterEach(async () => {
    await harness.stop();
  });

  async function begin(rules: object[], order: 'before' | 'behind' = 'before'): Promise<void> {
    harness = new Harness(datacenterOf({ h1: ['app1', 'app2'] }));
    await harness.start();
    await applyShop(harness);
    for (const [name, prefixes] of [
      ['known', ['10.9.0.0/16', '10.9.1.0/24', 'fd00::/8']],
      ['unused', ['192.0.2.0/24']],
    ] as const) {
      await harness.apply('address-set', name, { prefixes });
    }
    await harness.apply('firewall-policy', 'lan', { rules });
    const firewall = { type: 'firewall', policy: 'lan' };
    const balancer = { type: 'load-balancer' };
    await harness.apply('virtual-service', 'web', {
      engineGroup: 'edge',
      tiers: [{ name: 'shop', addresses: ['10.77.0.101'], port: 80, pool: 'shop' }],
      components: order === 'before' ? [firewall, balancer] : [balancer, firewall],
    });
    await harness.run(3000);
  }

  const graph = (): ServiceGraph => {
    const found = harness.graphOf('edge-h1');
    assert.ok(found);
    return found;
  };
  const rulesOf = ({ services }: ServiceGraph) => {
    const firewall = services[0]?.components.find(({ type }) => type === 'firewall');
    assert.ok(firewall?.type === 'firewall');
    return firewall.rules;
  };
  const entries = () => harness.hub.list('address-set/').map(({ key }) => key);

  it('go to engines once, named by hash in the graph, and only while a rule names them', async () => {
    await begin([
      { name: 'one', action: 'allow', fromSets: ['known'], from: ['10.1.0.0/16'] },
      { name: 'two', action: 'deny', toSets: ['known'] },
    ]);
    assert.deepEqual(entries(), ['address-set/known']);
    const entry = harness.hub.get('address-set/known')?.value as AddressSetEntry;
    assert.deepEqual(graph().addressSets, [{ name: 'known', hash: entry.hash }]);
    assert.deepEqual(
      rulesOf(graph()).map(({ fromSets, toSets }) => [fromSets, toSets]),
      [
        [[0], undefined],
        [undefined, [0]],
      ],
    );
    // 10.9.1.0/24 lies within the /16.
    assert.equal(unpackPrefixes(entry.prefixes).ipv4.length, 2);
    await harness.apply('address-set', 'known', { prefixes: ['10.9.0.0/16'] });
    await harness.run(500);
    const changed = harness.hub.get('address-set/known')?.value as AddressSetEntry;
    assert.notEqual(changed.hash, entry.hash);
    assert.equal(graph().addressSets?.[0]?.hash, changed.hash);
    await harness.apply('firewall-policy', 'lan', { rules: [] });
    await harness.run(500);
    assert.deepEqual(entries(), []);
    assert.equal(graph().addressSets, undefined);
  });

  it('go to engines for access rules, too, which know them by name', async () => {
    await begin([]);
    await harness.apply('virtual-service', 'web', {
      engineGroup: 'edge',
      tiers: [{ name: 'shop', addresses: ['10.77.0.101'], port: 80, pool: 'shop' }],
      http: { accessRules: { rules: [{ name: 'one', action: 'deny', fromSets: ['known'] }] } },
    });
    await harness.run(500);
    assert.deepEqual(entries(), ['address-set/known']);
    assert.equal(graph().addressSets?.[0]?.name, 'known');
  });

  it('made of tags follow the VMs that carry them', async () => {
    await begin([{ name: 'one', action: 'allow', fromTags: ['app=shop'] }]);
    const count = () => unpackPrefixes(graph().addressSets?.[0]?.prefixes ?? '').ipv4.length / 2;
    assert.equal(count(), 2);
    assert.equal(graph().addressSets?.[0]?.name, 'tags app=shop');
    harness.datacenter.change(() => {
      harness.vm('app2').tags = [];
    });
    await harness.run(3000);
    assert.equal(count(), 1);
  });

  it('of members are indices of the graph', async () => {
    await begin([{ name: 'one', action: 'deny', memberTags: ['zone=test'] }], 'behind');
    assert.deepEqual(graph().memberSets, [[]]);
    harness.datacenter.change(() => {
      harness.vm('app2').tags = [...harness.vm('app2').tags, 'zone=test'];
    });
    await harness.run(3000);
    const place = graph().members.findIndex(({ vm }) => vm === 'app2');
    assert.deepEqual(graph().memberSets, [[place]]);
    assert.equal(rulesOf(graph())[0]?.memberSet, 0);
  });

  it('leave nothing out and nothing double when they are packed', () => {
    const ranges = unpackPrefixes(
      packPrefixes(['10.0.0.1', '10.0.0.0/31', '10.0.0.1', '0.0.0.0/0', '::1', '::/64', '1::/16']),
    );
    assert.deepEqual([...ranges.ipv4], [0, 0xffff_ffff]);
    assert.deepEqual(
      [...ranges.ipv6],
      [
        0,
        0,
        0,
        0,
        0,
        0,
        0xffff_ffff,
        0xffff_ffff,
        0x10000,
        0,
        0,
        0,
        0x1ffff,
        ...[0, 0, 0].map(() => 0xffff_ffff),
      ],
    );
  });
});

describe('the view of a firewall policy', () => {
  it('adds up what engines say, and names those that say nothing', async () => {
    const rule = { name: 'default', action: 'deny', protocol: 'any' };
    const service = { isEnabled: true, components: [{ type: 'firewall', policy: 'lan' }] };
    const desired = {
      policies: {
        firewalls: new Map([['lan', { rules: [rule], defaultAction: 'allow' }]]),
        services: new Map([['web', service]]),
      },
      engines: new Map(
        ['e1', 'e2', 'e3', 'e4'].map((id) => [id, { id, services: id === 'e4' ? [] : ['web'] }]),
      ),
    } as unknown as Parameters<typeof firewallView>[2];
    const view = await firewallView('lan', 2, desired, async (engine) => {
      if (engine === 'e3') throw new Error('no link');
      const at = engine === 'e1' ? ['3', '1'] : ['2', '0'];
      return { packets: { default: 2, '': 5 }, limited: {}, log: at.map((time) => ({ time })) };
    });
    assert.deepEqual(view.services, ['web']);
    assert.deepEqual(view.rules, [
      { rule: 'default', action: 'deny', packets: 4, limited: 0 },
      { rule: 'default', action: 'allow', packets: 10, limited: 0 },
    ]);
    assert.deepEqual(
      view.log.map(({ time, engine }) => [time, engine]),
      [
        ['3', 'e1'],
        ['2', 'e2'],
      ],
    );
    assert.deepEqual(view.silent, [{ engine: 'e3', reason: 'no link' }]);
    await assert.rejects(
      firewallView('gone', 2, desired, async () => ({})),
      { code: 'ERR_NOT_FOUND' },
    );
  });
});
