/** Which VMs a pool chooses, live, and why one is a member or is not. */
import assert from 'node:assert/strict';
import { criteriaOf, memberNic } from '../../src/controller/selector.ts';
import { indexWorld } from '../../src/controller/world.ts';
import type { Vm } from '../../src/hypervisor/platform.ts';
import type { MembershipExplanation } from '../../src/policy/answers.ts';
import { isWeftError } from '../../src/policy/errors.ts';
import { MemberSelector } from '../../src/policy/member-selector.ts';
import { datacenterOf } from '../hypervisor/memory-platform.ts';
import { applyShop, Harness } from './harness.ts';

const never = new AbortController().signal;

describe('selectors', () => {
  const vm = (over: Partial<Vm> = {}): Vm => ({
    id: 'v',
    name: 'web-01',
    host: 'h1',
    power: 'on',
    folder: '/prod/web',
    tags: ['app=shop', 'ring=1', 'shop'],
    attributes: { owner: 'web team', tier: '2' },
    engine: null,
    nics: [
      { id: 'eth0', mac: '', segment: 'prod-weft', isConnected: true, addresses: ['10.1.2.3', 'fd00::3'] },
      { id: 'eth1', mac: '', segment: 'other', isConnected: true, addresses: ['10.2.0.1'] },
    ],
    ...over,
  });
  /** The NIC on which a pool with that selector is served by the VM, or null. */
  const nicOf = (selector: unknown, over: Partial<Vm> = {}): string | null => {
    const state = datacenterOf({ h1: [] });
    state.hosts[0]!.segments.push(
      { name: 'prod-weft', role: 'shadow' },
      { name: 'other', role: 'production' },
    );
    state.vms.push(vm(over));
    const world = indexWorld(new Map([['lab', { cursor: '', hosts: state.hosts, vms: state.vms }]]));
    const nics = [...world.nics.values()].filter((nic) => nic.production !== null);
    return memberNic(criteriaOf(MemberSelector.parse(selector)), vm(over), nics)?.nic.id ?? null;
  };

  it('choose by tag, name, folder, segment, address and custom attribute', () => {
    assert.equal(nicOf({ tags: ['app=shop', 'ring=*'] }), 'eth0');
    assert.equal(nicOf({ tags: ['app=shop', 'ring=2'] }), null, 'every tag is needed');
    assert.equal(nicOf({ names: ['db-*', 'web-*'] }), 'eth0');
    assert.equal(nicOf({ folders: ['prod'] }), 'eth0');
    assert.equal(nicOf({ folders: ['/pro'] }), null, 'half the name of a folder is another folder');
    assert.equal(nicOf({ folders: ['*/web'] }), 'eth0');
    assert.equal(nicOf({ addresses: ['fd00::/8'] }), 'eth0');
    assert.equal(nicOf({ attributes: ['owner=web*', 'tier=2'] }), 'eth0');
    assert.equal(nicOf({ attributes: ['owner=*', 'stage=*'] }), null, 'every attribute is needed');
    assert.equal(nicOf({ names: ['*'] }, { engine: 'edge-h1' }), null, 'engines are never members');
    assert.equal(nicOf({ names: ['*'] }, { nics: [] }), null);
  });

  it('choose by the production segment, intercepted or not, and serve on that NIC', () => {
    assert.equal(nicOf({ segments: ['prod'] }), 'eth0', 'it stands on the shadow of prod');
    assert.equal(nicOf({ segments: ['prod-weft'] }), null);
    assert.equal(nicOf({ segments: ['oth*'] }), 'eth1');
    assert.equal(nicOf({ segments: ['prod', 'other'], addresses: ['10.2.0.0/16'] }), 'eth1');
    assert.equal(nicOf({ segments: ['prod'], addresses: ['10.2.0.0/16'] }), null, 'no one NIC is both');
  });

  it('leave out what fulfils any one entry of exclude', () => {
    const tags = ['app=shop'];
    assert.equal(nicOf({ tags, exclude: { names: ['web-01'] } }), null);
    assert.equal(nicOf({ tags, exclude: { tags: ['no', 'ring=1'] } }), null);
    assert.equal(nicOf({ tags, exclude: { attributes: ['owner=db*', 'tier=2'] } }), null);
    assert.equal(nicOf({ tags, exclude: { segments: ['other'] } }), null);
    assert.equal(
      nicOf({ tags, exclude: { names: ['web-02'], folders: ['/test'], addresses: ['10.9.0.0/16'] } }),
      'eth0',
    );
  });

  it('are refused when they would choose every VM', () => {
    for (const selector of [{}, { tags: [] }, { exclude: { names: ['x'] } }]) {
      assert.match(MemberSelector.safeParse(selector).error?.issues[0]?.message ?? '', /every VM/);
    }
    assert.equal(MemberSelector.safeParse({ attributes: ['owner'] }).success, false);
  });
});

describe('why a VM is a member', () => {
  let harness: Harness;
  beforeEach(async () => {
    harness = new Harness(datacenterOf({ h1: ['app1', 'app2'], h2: ['app3'] }));
    await harness.start();
    await applyShop(harness);
    await harness.until('web serves', async () => (await harness.service('web')) === 'serving');
  });
  afterEach(() => harness.stop());

  /** Asks while the clock goes on: the answer may wait for a listing. */
  const ask = async (pool: string, vm: string | null = null): Promise<MembershipExplanation> => {
    const asked = harness.controller.backend.explainPool(pool, vm, never);
    let isDone = false;
    asked
      .catch(() => undefined)
      .finally(() => {
        isDone = true;
      });
    while (!isDone) await harness.run(20);
    return asked;
  };
  const select = (members: unknown) => harness.apply('pool', 'shop', { cloud: 'lab', members, port: 8080 });

  it('lists members with the NIC they serve on', async () => {
    const { considered, members, vms, omitted } = await ask('shop');
    assert.deepEqual([members, omitted], [3, 0]);
    assert.equal(considered, harness.datacenter.state.vms.length, 'engines are listed, and are no members');
    assert.deepEqual(
      vms.map(({ vm, isMember, nic }) => [vm, isMember, nic]),
      ['app1', 'app2', 'app3'].map((name) => [name, true, 'eth0']),
    );
  });

  it('names, per criterion, what was wanted and what was found', async () => {
    await select({ tags: ['app=shop'], segments: ['dmz'], exclude: { attributes: ['owner=shop-*'] } });
    await harness.run(500);
    const [one] = (await ask('shop', 'id-app1')).vms;
    assert.ok(one && !one.isMember && one.nic === null);
    assert.deepEqual(
      one.criteria.map(({ criterion, fits, wanted, found }) => ({ criterion, fits, wanted, found })),
      [
        { criterion: 'tags', fits: true, wanted: ['app=shop'], found: ['app=shop'] },
        { criterion: 'segments', fits: false, wanted: ['dmz'], found: ['prod'] },
        {
          criterion: 'exclude.attributes',
          fits: false,
          wanted: ['owner=shop-*'],
          found: ['owner=shop-team'],
        },
      ],
    );
    assert.match(one.reason, /segments: wants dmz, has prod/);
    assert.match(one.reason, /left out by owner=shop-\*/);
  });

  it('shows VMs that nearly fit, the nearest first, with what was probably meant', async () => {
    harness.datacenter.change((state) => {
      state.vms.find(({ name }) => name === 'app1')!.tags = ['app=shpo'];
      state.vms.find(({ name }) => name === 'app2')!.tags = ['db'];
    });
    await harness.run(500);
    const { members, vms } = await ask('shop');
    assert.equal(members, 1);
    assert.deepEqual(
      vms.map(({ vm, isMember }) => [vm, isMember]),
      [
        ['app3', true],
        ['app1', false],
      ],
    );
    assert.match(vms[1]!.reason, /app=shpo is near, but not it/);
  });

  it('says what keeps a VM out that fulfils the selector: power, its network, being an engine', async () => {
    harness.datacenter.change((state) => {
      state.vms.find(({ name }) => name === 'app3')!.power = 'off';
      state.vms.find(({ name }) => name === 'app2')!.nics[0]!.segment = 'mgmt';
    });
    await harness.run(500);
    const failing = async (vm: string) =>
      (await ask('shop', vm)).vms[0]!.criteria.filter(({ fits }) => !fits).map(({ criterion }) => criterion);
    assert.deepEqual(await failing('app3'), ['power']);
    assert.deepEqual(await failing('app2'), ['network']);
    assert.deepEqual(await failing('edge-h1'), ['tags', 'engine']);
  });

  it('follows a change of the inventory within a second', async () => {
    await select({ attributes: ['owner=checkout'] });
    await harness.run(500);
    assert.equal((await ask('shop')).members, 0);
    harness.datacenter.change((state) => {
      state.vms[0]!.attributes = { owner: 'checkout' };
    });
    const tookMs = await harness.until(
      'app1 is a member',
      async () => (await ask('shop')).members === 1,
      1000,
    );
    assert.ok(tookMs <= 1000);
  });

  it('does not lose members to a listing that fails or comes back empty, and says so', async () => {
    harness.datacenter.disguise = (inventory) => ({ ...inventory, vms: [] });
    harness.datacenter.change(() => undefined);
    await harness.run(100);
    harness.datacenter.isReachable = false;
    await harness.run(5000);
    const answer = await ask('shop');
    assert.equal(answer.members, 3);
    assert.match(answer.cloudMessage, /nobody answers|vanished at once/);
  });

  it('names the nearest of what there is for an unknown pool or VM', async () => {
    await assert.rejects(
      ask('shpo'),
      (error) => isWeftError(error, 'ERR_NOT_FOUND') && /mean shop\?/.test(error.message),
    );
    await assert.rejects(
      ask('shop', 'ap1'),
      (error) => isWeftError(error, 'ERR_NOT_FOUND') && /mean app1\?/.test(error.message),
    );
  });

  it("explains a host's place, its hops, and where they are known from", async () => {
    const [host] = await harness.controller.backend.explainHost('h1', never);
    assert.deepEqual(host!.uplinkPath, ['spine', 'tor-a']);
    assert.deepEqual(
      host!.evidence.filter(({ isUsed }) => isUsed).map(({ source }) => source),
      ['platform'],
    );
    assert.deepEqual([host!.engine, host!.hops], ['edge-h1', [{ host: 'h2', hops: 1 }]]);
    await assert.rejects(harness.controller.backend.explainHost('hh1', never), /did you mean h1\?/);
  });
});
