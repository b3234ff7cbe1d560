/** Policies compiled for one engine. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { allocateAddress, isInRange } from '../../src/controller/address-range.ts';
import { announcersOf } from '../../src/controller/announce.ts';
import { engineId } from '../../src/controller/desired.ts';
import { patternMatcher } from '../../src/policy/name-pattern.ts';
import { datacenterOf } from '../hypervisor/memory-platform.ts';
import { applyShop, Harness } from './harness.ts';

const anywhere = () => true;

describe('announcers', () => {
  it('are the engines in the network of the address, where there are any', () => {
    const isIn = (address: string, engine: string) => address.startsWith(engine);
    const orders = announcersOf(['a1', 'a2', 'b1', 'c1'], ['a', 'b'], isIn);
    assert.deepEqual(
      [...orders].map(([address, order]) => [address, order.length === 2 ? 'any' : order.join()]),
      [
        ['a1', 'a'],
        ['a2', 'a'],
        ['b1', 'b'],
        ['c1', 'any'],
      ],
    );
  });

  it('make each of three engines first for one of three addresses', () => {
    const orders = announcersOf(['10.0.0.1', '10.0.0.2', '10.0.0.3'], ['a', 'b', 'c'], anywhere);
    assert.deepEqual([...orders.values()].map(([first]) => first).sort(), ['a', 'b', 'c']);
    for (const order of orders.values()) assert.deepEqual([...order].sort(), ['a', 'b', 'c']);
  });

  it('spread any addresses evenly, the same way each time', () => {
    const names = fc.uniqueArray(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(names, names, (addresses, engines) => {
        const orders = announcersOf(addresses, engines, anywhere);
        const firsts = engines.map(
          (engine) => [...orders.values()].filter(([first]) => first === engine).length,
        );
        assert.ok(Math.max(...firsts) - Math.min(...firsts) <= 1);
        assert.deepEqual(announcersOf(addresses, [...engines].reverse(), anywhere), orders);
      }),
    );
  });
});

describe('data addresses', () => {
  const range = { prefix: 'fd77::/64', first: 'fd77::fffe', last: 'fd77::1:1' };

  it('are the lowest that are free, in canonical text with the prefix length', () => {
    assert.equal(
      allocateAddress(range, () => false),
      'fd77::fffe/64',
    );
    assert.equal(
      allocateAddress(range, (address) => address !== 'fd77::1:1'),
      'fd77::1:1/64',
    );
    assert.equal(
      allocateAddress(range, () => true),
      null,
    );
    const v4 = { prefix: '10.1.0.0/16', first: '10.1.0.255', last: '10.1.1.0' };
    assert.equal(
      allocateAddress(v4, (address) => address === '10.1.0.255'),
      '10.1.1.0/16',
    );
  });

  it('end the search in a range without end', () => {
    assert.equal(
      allocateAddress(
        { prefix: 'fd77::/64', first: 'fd77::', last: 'fd77::ffff:ffff:ffff:ffff' },
        () => true,
      ),
      null,
    );
  });

  it('are given up when the range moves', () => {
    assert.ok(isInRange('fd77::1:0/64', range));
    assert.ok(!isInRange('fd77::1/64', range));
    assert.ok(!isInRange('fd77::1:0/48', range));
    assert.ok(!isInRange('10.0.0.1/8', range));
  });
});

describe('engine ids', () => {
  it('are DNS labels, and differ for what would read alike', () => {
    assert.equal(
      engineId('edge', 'lab', 'h1', () => false),
      'edge-h1',
    );
    const odd = engineId('edge', 'lab', 'ESX 01.example.com', () => false);
    assert.match(odd, /^edge-esx-01-example-com-[0-9a-f]{8}$/);
    assert.notEqual(
      engineId('a', 'lab', 'b-c', (id) => id === 'a-b-c'),
      'a-b-c',
    );
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 90 }), (host) => {
        assert.match(
          engineId('edge', 'lab', host, () => false),
          /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
        );
      }),
    );
  });
});

describe('patterns', () => {
  it('match stars in time that does not explode', () => {
    assert.ok(patternMatcher('a*b*c')('axxbxxc'));
    assert.ok(!patternMatcher('a*a')('a'));
    assert.ok(patternMatcher('*')(''));
    assert.ok(!patternMatcher('a.c')('abc'));
    const started = performance.now();
    assert.ok(!patternMatcher(`${'a*'.repeat(50)}b`)('a'.repeat(2000)));
    assert.ok(performance.now() - started < 100);
  });
});

describe('service graph', () => {
  let harness: Harness;
  const begin = async (hosts: Record<string, string[]>): Promise<void> => {
    harness = new Harness(datacenterOf(hosts));
    await harness.start();
    await applyShop(harness);
    await harness.until('web serves', async () => (await harness.service('web')) === 'serving');
  };
  afterEach(async () => {
    await harness.stop();
  });

  it('counts hops from each engine, 0 on its own host', async () => {
    await begin({ h1: ['app1'], h2: ['app2'], h3: ['app3'] });
    const hops = (engine: string) => harness.graphOf(engine)?.members.map((member) => member.hops);
    assert.deepEqual(hops('edge-h1'), [0, 1, 3]);
    assert.deepEqual(hops('edge-h3'), [3, 3, 0]);
  });

  it('gives the engines of a group one key and each other as peers', async () => {
    await begin({ h1: ['app1'], h2: ['app2'] });
    const [one, two] = [harness.graphOf('edge-h1'), harness.graphOf('edge-h2')];
    assert.equal(one?.engine.groupKey, two?.engine.groupKey);
    assert.equal(Buffer.from(one?.engine.groupKey ?? '', 'base64').length, 32);
    assert.deepEqual(one?.peers, [
      {
        id: 'edge-h2',
        host: 'h2',
        mac: harness.vm('edge-h2').nics[1]?.mac,
        dataAddresses: ['10.77.0.202/24'],
      },
    ]);
  });

  it('names announcers only for addresses that no VM owns', async () => {
    await begin({ h1: ['app1'], h2: ['app2'] });
    await harness.apply('virtual-service', 'inline', {
      engineGroup: 'edge',
      tiers: [{ name: 'shop', addresses: ['10.77.0.11', '10.77.0.120'], port: 81, pool: 'shop' }],
    });
    await harness.run(500);
    const tier = harness.graphOf('edge-h1')?.services.find((service) => service.name === 'inline')?.tiers[0];
    assert.deepEqual(tier?.addresses[0], { address: '10.77.0.11', announcers: [] });
    assert.deepEqual([...(tier?.addresses[1]?.announcers ?? [])].sort(), ['edge-h1', 'edge-h2']);
  });

  it('tells an engine only of services with members on its host, and of all members of those', async () => {
    await begin({ h1: ['app1'], h2: ['app2'], h3: ['app3'] });
    await harness.apply('pool', 'one', { cloud: 'lab', members: { names: ['app1'] }, port: 90 });
    await harness.apply('virtual-service', 'small', {
      engineGroup: 'edge',
      tiers: [{ name: 'one', addresses: ['10.77.0.130'], port: 82, pool: 'one' }],
    });
    await harness.run(500);
    const services = (engine: string) => harness.graphOf(engine)?.services.map((service) => service.name);
    assert.deepEqual(services('edge-h1'), ['small', 'web']);
    assert.deepEqual(services('edge-h2'), ['web']);
    assert.equal(harness.graphOf('edge-h2')?.members.length, 3);
  });

  it('carries weights, drains and firewall rules', async () => {
    await begin({ h1: ['app1', 'app2'] });
    await harness.apply('firewall-policy', 'lan', {
      rules: [{ name: 'lan', action: 'allow', from: ['10.0.0.0/8'] }],
    });
    await harness.apply('pool', 'shop', {
      cloud: 'lab',
      members: { tags: ['app=shop'] },
      port: 8080,
      weights: [{ names: '*1', weight: 7 }],
      drain: ['app2'],
    });
    await harness.apply('virtual-service', 'web', {
      engineGroup: 'edge',
      tiers: [{ name: 'shop', addresses: ['10.77.0.101'], port: 80, pool: 'shop' }],
      components: [
        { type: 'firewall', policy: 'lan' },
        { type: 'load-balancer', method: 'maglev' },
      ],
    });
    await harness.run(500);
    const graph = harness.graphOf('edge-h1');
    assert.deepEqual(graph?.pools[0]?.members, [
      { member: 0, weight: 7, isDraining: false },
      { member: 1, weight: 1, isDraining: true },
    ]);
    assert.deepEqual(graph?.services[0]?.components, [
      {
        type: 'firewall',
        policy: 'lan',
        rules: [{ name: 'lan', action: 'allow', from: ['10.0.0.0/8'], protocol: 'any' }],
        defaultAction: 'deny',
      },
      { type: 'load-balancer', method: 'maglev', persistence: { type: 'none' } },
    ]);
  });

  it('never lets two groups bridge one segment of a host', async () => {
    await begin({ h1: ['app1'] });
    await harness.apply('engine-group', 'also', {
      cloud: 'lab',
      dataAddresses: [{ prefix: '10.77.0.0/24', first: '10.77.0.231', last: '10.77.0.239' }],
    });
    await harness.apply('virtual-service', 'other', {
      engineGroup: 'also',
      tiers: [{ name: 'shop', addresses: ['10.77.0.140'], port: 80, pool: 'shop' }],
    });
    await harness.run(3000);
    assert.deepEqual(
      harness.datacenter.state.vms.filter((vm) => vm.engine !== null).map((vm) => vm.engine),
      ['edge-h1'],
    );
    const status = await harness.stored<{ message: string }>('status/virtual-service/other');
    assert.match(status?.message ?? '', /carried by engine group edge/);
    await harness.remove('virtual-service', 'web');
    await harness.until('the other takes over', async () => (await harness.service('other')) === 'serving');
    assert.deepEqual(
      harness.datacenter.state.vms.filter((vm) => vm.engine !== null).map((vm) => vm.engine),
      ['also-h1'],
    );
    assert.deepEqual(harness.violations, []);
  });

  it('says which tiers hand packets on, and which VM is in two of them', async () => {
    await begin({ h1: ['app1', 'app2'] });
    await harness.apply('pool', 'filters', { cloud: 'lab', members: { names: ['app1'] }, port: 80 });
    await harness.apply('pool', 'pages', { cloud: 'lab', members: { names: ['app2'] }, port: 8080 });
    const tiers = [
      {
        name: 'filter',
        addresses: ['10.77.0.140'],
        port: 80,
        pool: 'filters',
        handsOn: { failMode: 'open' },
      },
      { name: 'page', port: 80, pool: 'pages' },
    ];
    await harness.apply('virtual-service', 'filtered', { engineGroup: 'edge', tiers });
    await harness.until('it serves', async () => (await harness.service('filtered')) === 'serving');
    const service = harness.graphOf('edge-h1')?.services.find(({ name }) => name === 'filtered');
    assert.deepEqual(
      service?.tiers.map(({ handsOn, addresses }) => [handsOn, addresses.length]),
      [
        [{ failMode: 'open' }, 1],
        [undefined, 0],
      ],
    );
    await harness.apply('pool', 'pages', { cloud: 'lab', members: { names: ['app*'] }, port: 8080 });
    const message = async () =>
      (await harness.stored<{ message: string }>('status/virtual-service/filtered'))?.message ?? '';
    await harness.until('it warns', async () => (await message()).includes('app1 is a member of tiers'));
    assert.match(await message(), /of tiers filter and page: .*take it out of pool filters or pages/);
  });
});
