/** The controller brings a datacenter to what policy says, and back. */
import assert from 'node:assert/strict';
import type { Placement } from '../../src/controller/actual.ts';
import { Journal } from '../../src/controller/journal.ts';
import { datacenterOf, MemoryPlatform } from '../hypervisor/memory-platform.ts';
import { applyShop, Harness } from './harness.ts';

describe('reconciling', () => {
  let harness: Harness;
  const serving = () => harness.until('web serves', async () => (await harness.service('web')) === 'serving');
  const begin = async (
    hosts: Record<string, string[]>,
    ...rest: Parameters<typeof applyShop> extends [unknown, ...infer R] ? R : never
  ) => {
    harness = new Harness(datacenterOf(hosts));
    await harness.start();
    await applyShop(harness, ...rest);
  };
  afterEach(async () => {
    await harness.stop();
    assert.deepEqual(harness.violations, []);
  });

  it('puts an engine on each host with members, and every member in line', async () => {
    await begin({ h1: ['app1', 'app2'], h2: ['app3'], h3: [] });
    await serving();
    const engines = harness.datacenter.state.vms.filter((vm) => vm.engine !== null);
    assert.deepEqual(engines.map((vm) => [vm.engine, vm.host]).sort(), [
      ['edge-h1', 'h1'],
      ['edge-h2', 'h2'],
    ]);
    for (const app of ['app1', 'app2', 'app3']) assert.equal(harness.segmentOf(app), 'prod-weft');
    assert.deepEqual(await harness.plan(), []);
    assert.deepEqual((await harness.status()).operations, []);
    assert.deepEqual(await harness.stored('interception/lab/id-app1/eth0'), { segment: 'prod' });
  });

  it('holds a cloud that policy has given up until what is left there is gone, also after a restart', async () => {
    harness = new Harness(datacenterOf({ h1: ['app1'] }));
    // All that a controller had left to do when it was killed, and all that it had kept.
    harness.datacenter.host('h1').segments.push({ name: 'prod-weft', role: 'shadow' });
    const cloud = { platform: 'lab', address: '/nowhere', pollIntervalMs: 5000 };
    await harness.store.write([
      { key: 'placement/cloud/lab', value: cloud },
      { key: 'adoption/lab', value: { address: cloud.address } },
    ]);
    await harness.start();
    await harness.until('the cloud is forgotten', async () => !(await harness.stored('placement/cloud/lab')));
    assert.deepEqual(harness.calls(), ['removeSegment h1/prod-weft']);
  });

  it('lists a cloud anew soon after its watch broke, for nobody told what changed meanwhile', async () => {
    harness = new Harness(datacenterOf({ h1: ['app1', 'app2'] }));
    const open = harness.datacenter.open.bind(harness.datacenter);
    let isBroken = false;
    harness.datacenter.open = () => {
      const platform = open();
      const watch = platform.watch.bind(platform);
      platform.watch = (cursor, signal) =>
        isBroken ? Promise.reject(new Error('the session is gone')) : watch(cursor, signal);
      return platform;
    };
    await harness.start();
    await applyShop(harness);
    await serving();
    const switchOff = (name: string) =>
      harness.datacenter.change(() => {
        harness.vm(name).power = 'off';
      });
    const members = async (count: number) =>
      harness.until(`${count} members`, async () => (await harness.status()).members.length === count, 1000);
    isBroken = true;
    switchOff('app1');
    await members(1);
    switchOff('app2');
    await members(0);
  });

  it('does nothing more once it is there', async () => {
    await begin({ h1: ['app1', 'app2'], h2: ['app3'] });
    await serving();
    // Load is known after the second reading, and then stays the same here.
    await harness.run(15_000);
    const { revision } = harness.store;
    assert.deepEqual(await harness.during(() => harness.run(30_000)), []);
    assert.equal(harness.store.revision, revision);
  });

  it('sends one canary per host first', async () => {
    await begin({ h1: ['app1', 'app2', 'app3'] });
    await serving();
    const attached = harness.calls().filter((call) => call.startsWith('attach'));
    assert.equal(attached[0], 'attach id-app1/eth0>prod-weft');
    assert.equal(attached.length, 3);
  });

  it('tells peers of an engine in line only when the NIC is there', async () => {
    await begin({ h1: ['app1'], h2: ['app2'] });
    let isEarly = false;
    const check = () => {
      const graph = harness.graphOf('edge-h2');
      const named = graph?.members.find((member) => member.vm === 'app1')?.engine;
      if (named === 'edge-h1' && harness.segmentOf('app1') !== 'prod-weft') isEarly = true;
    };
    await harness.until('web serves', async () => {
      check();
      return (await harness.service('web')) === 'serving';
    });
    assert.equal(isEarly, false);
    const graph = harness.graphOf('edge-h2');
    assert.equal(graph?.members.find((member) => member.vm === 'app1')?.engine, 'edge-h1');
  });

  it('releases NICs before it removes engines, and leaves nothing behind', async () => {
    await begin({ h1: ['app1', 'app2'], h2: ['app3'] });
    await serving();
    const calls = await harness.during(async () => {
      await harness.remove('virtual-service', 'web');
      await harness.run(3000);
    });
    assert.ok(
      calls.findLastIndex((call) => call.startsWith('attach')) <
        calls.findIndex((c) => c.startsWith('removeVm')),
    );
    assert.deepEqual(
      harness.datacenter.state.vms.filter((vm) => vm.engine !== null),
      [],
    );
    assert.deepEqual(
      harness.datacenter.state.hosts.flatMap((host) => host.segments.filter((s) => s.role === 'shadow')),
      [],
    );
    for (const app of ['app1', 'app2', 'app3']) assert.equal(harness.segmentOf(app), 'prod');
    assert.deepEqual(await harness.store.list('interception/'), []);
    const placements = (await harness.store.list('placement/')).map(({ key }) => key);
    assert.deepEqual(placements, ['placement/cloud/lab']);
    assert.deepEqual(harness.revoked.sort(), ['edge-h1', 'edge-h2']);
    assert.equal(await harness.stored('status/virtual-service/web'), undefined);
  });

  it('cleans up even when service, pool, group and cloud go at once', async () => {
    await begin({ h1: ['app1'], h2: ['app2'] });
    await serving();
    for (const [kind, name] of [
      ['virtual-service', 'web'],
      ['pool', 'shop'],
      ['engine-group', 'edge'],
      ['cloud', 'lab'],
    ] as const) {
      await harness.remove(kind, name);
    }
    await harness.run(4000);
    assert.deepEqual(
      harness.datacenter.state.vms.map((vm) => [vm.name, vm.nics[0]?.segment]),
      [
        ['app1', 'prod'],
        ['app2', 'prod'],
      ],
    );
    assert.deepEqual(await harness.store.list('placement/'), []);
  });

  it('tells peers of a release before it happens', async () => {
    await begin({ h1: ['app1'], h2: ['app2'] });
    await serving();
    let isLate = false;
    harness.datacenter.onMutation = (method, phase, subject) => {
      if (phase !== 'before' || method !== 'attach' || subject !== 'id-app1/eth0>prod') return;
      const graph = harness.engines.engines.get('edge-h2')?.graph;
      isLate = graph?.members.some((member) => member.vm === 'app1' && member.engine !== null) ?? true;
    };
    await harness.apply('virtual-service', 'web', {
      engineGroup: 'edge',
      hosts: ['h2'],
      tiers: [{ name: 'shop', addresses: ['10.77.0.101'], port: 80, pool: 'shop' }],
    });
    await harness.until('app1 is released', () => harness.segmentOf('app1') === 'prod');
    assert.equal(isLate, false);
  });

  it('follows a VM that migrates', async () => {
    await begin({ h1: ['app1', 'app2'], h2: ['app3'] });
    await serving();
    harness.datacenter.change(() => {
      harness.vm('app2').host = 'h2';
    });
    await harness.run(300);
    await serving();
    const graph = harness.graphOf('edge-h1');
    const member = graph?.members.find((candidate) => candidate.vm === 'app2');
    assert.deepEqual([member?.host, member?.hops, member?.engine], ['h2', 1, 'edge-h2']);
  });

  it('puts a VM that migrates to a host without an engine on production first, then in line', async () => {
    await begin({ h1: ['app1', 'app2'], h2: [] });
    await serving();
    harness.datacenter.change((state) => {
      state.hosts[1]?.segments.push({ name: 'prod-weft', role: 'shadow' });
      harness.vm('app2').host = 'h2';
    });
    const took = await harness.until('app2 is on production', () => harness.segmentOf('app2') === 'prod');
    assert.ok(took <= 200, `${took} ms`);
    await serving();
    assert.equal(harness.segmentOf('app2'), 'prod-weft');
    assert.equal(harness.vm('edge-h2').host, 'h2');
  });

  it('takes VMs that are powered on or cloned as members, and lets those go that are off', async () => {
    await begin({ h1: ['app1'], h2: [] });
    await serving();
    const platform = harness.datacenter.open();
    await platform.cloneVm('id-app1', { name: 'app9', host: 'h2' }, () => {}, new AbortController().signal);
    await harness.until('app9 in line', () => harness.segmentOf('app9') === 'prod-weft');
    const { id } = harness.vm('app9');
    await platform.power(id, 'off', new AbortController().signal);
    await harness.run(500);
    assert.deepEqual(
      (await harness.status()).members.map((member) => member.vm),
      ['app1'],
    );
    assert.equal(
      harness.vm('edge-h2').power,
      'on',
      'a reboot of the last member must not cost its host the engine',
    );
  });

  it('never gives two engines the same data address, and frees those of engines that are gone', async () => {
    await begin({ h1: ['app1'], h2: ['app2'], h3: ['app3'] }, { last: '10.77.0.202' });
    await harness.run(3000);
    const placements = (await harness.store.list<Placement>('placement/')).filter(
      ({ key }) => key.split('/').length === 2,
    );
    assert.deepEqual(placements.flatMap(({ value }) => value.addresses).sort(), [
      '10.77.0.201/24',
      '10.77.0.202/24',
    ]);
    const status = await harness.stored<{ message: string; state: string }>('status/virtual-service/web');
    assert.match(status?.message ?? '', /ERR_NO_CAPACITY/);
    assert.equal(status?.state, 'degraded');
    harness.datacenter.change(() => {
      harness.vm('app1').host = 'h2';
      harness.vm('app1').nics[0]!.segment = 'prod';
    });
    await serving();
    assert.deepEqual(
      (await harness.status()).engines.map((engine) => engine.host),
      ['h2', 'h3'],
    );
  });

  it('takes an engine away that was moved beside another one, at once, and makes it where it belongs', async () => {
    await begin({ h1: ['app1'], h2: ['app2', 'app3'] });
    await serving();
    harness.datacenter.change(({ vms }) => {
      vms.find((vm) => vm.engine === 'edge-h1')!.host = 'h2';
    });
    const calls = await harness.during(() =>
      harness.until('edge-h1 is back', () =>
        harness.datacenter.state.vms.some((vm) => vm.engine === 'edge-h1' && vm.host === 'h1'),
      ),
    );
    assert.ok(!calls.some((call) => /^attach id-app[23]/.test(call)), 'the members of h2 stay in line');
    await serving();
    assert.deepEqual(await harness.plan(), []);
  });

  it('does not put a new engine on a host in maintenance', async () => {
    harness = new Harness(datacenterOf({ h1: ['app1'], h2: ['app2'] }));
    harness.datacenter.change((state) => {
      state.hosts[1]!.isInMaintenance = true;
    });
    await harness.start();
    await applyShop(harness);
    await harness.run(3000);
    assert.deepEqual(
      (await harness.status()).engines.map((engine) => engine.id),
      ['edge-h1'],
    );
    assert.equal(harness.segmentOf('app2'), 'prod');
    harness.datacenter.change((state) => {
      state.hosts[1]!.isInMaintenance = false;
    });
    await serving();
  });

  it('keeps graph revisions while nothing changes, over a restart too', async () => {
    await begin({ h1: ['app1'], h2: ['app2'] });
    await serving();
    const before = harness.graphOf('edge-h1')?.revision;
    const calls = await harness.during(async () => {
      await harness.restart();
      await harness.run(8000);
    });
    assert.deepEqual(calls, []);
    assert.equal(harness.graphOf('edge-h1')?.revision, before);
    assert.equal(await harness.service('web'), 'serving');
  });

  it('repairs what was changed by hand', async () => {
    await begin({ h1: ['app1', 'app2'] });
    await serving();
    harness.datacenter.change(() => {
      harness.vm('app2').nics[0]!.segment = 'prod';
    });
    await harness.until('app2 is in line again', () => harness.segmentOf('app2') === 'prod-weft', 1000);
    harness.datacenter.change((state) => {
      state.vms = state.vms.filter((vm) => vm.name !== 'edge-h1');
    });
    await harness.until('released', () => harness.segmentOf('app1') === 'prod', 500);
    await serving();
  });

  it('gets over refusals and lost replies, and shows them meanwhile', async () => {
    harness = new Harness(datacenterOf({ h1: ['app1', 'app2'] }));
    await harness.start();
    harness.datacenter.refuse('deployEngine');
    await applyShop(harness);
    await harness.run(2000);
    const failed = (await harness.status()).operations.find(
      (operation) => operation.step === 'deploy-engine',
    );
    assert.ok(failed && failed.attempts > 1);
    assert.match(failed.message, /is refused/);
    harness.datacenter.heal();
    for (const method of ['deployEngine', 'attach', 'ensureSegment'])
      harness.datacenter.failNext(method, 'reply-lost');
    await serving();
    assert.deepEqual(harness.datacenter.state.vms.filter((vm) => vm.engine !== null).length, 1);
    await harness.run(8000);
    assert.deepEqual((await harness.status()).operations, []);
  });

  it('tells how far a long step is, and after a crash how far it was', async () => {
    harness = new Harness(datacenterOf({ h1: ['app1'] }));
    await harness.start();
    harness.datacenter.slow('deployEngine', 60_000);
    await applyShop(harness);
    const deploying = async () =>
      (await harness.status()).operations.find((one) => one.step === 'deploy-engine');
    await harness.until('it is deployed', async () => (await deploying())?.state === 'performing');
    const operation = (await deploying())!;
    assert.deepEqual([operation.progress, operation.message], [0.435, 'uploading engine edge-h1: 43%']);
    const [engine] = (await harness.status()).engines;
    assert.equal(engine?.message, operation.message);
    harness.datacenter.heal();
    await serving();
    assert.deepEqual((await harness.status()).operations, []);

    const id = 'operation/deploy-engine:edge-h1';
    const progress = { fraction: 0.435, what: 'uploading engine edge-h1' };
    await harness.stop();
    await harness.store.write([
      { key: id, value: { ...(await harness.stored<object>(id)), state: 'started', progress } },
    ]);
    const journal = await Journal.load(harness.store, 0);
    const cut = journal.list().find((one) => one.id === 'deploy-engine:edge-h1');
    assert.match(cut?.message ?? '', /the controller ended meanwhile \(uploading engine edge-h1: 43%\)/);
    assert.equal(cut?.progress, undefined);
  });

  it('deploys engines in the size of their group, and leaves it to the cloud where it names none', async () => {
    const sizes: unknown[] = [];
    const deploy = MemoryPlatform.prototype.deployEngine;
    MemoryPlatform.prototype.deployEngine = function (engine, ...rest) {
      sizes.push(engine.size);
      return deploy.call(this, engine, ...rest);
    };
    try {
      await begin({ h1: ['app1'], h2: [] });
      await serving();
      const group = await harness.stored<object>('policy/engine-group/edge');
      await harness.apply('engine-group', 'edge', { ...group, size: 'large' });
      harness.datacenter.change((state) => {
        state.vms = state.vms.filter((vm) => vm.name !== 'edge-h1');
      });
      await harness.until('it is deployed again', () => sizes.length === 2);
      await serving();
      assert.deepEqual(sizes, [undefined, 'large']);
    } finally {
      MemoryPlatform.prototype.deployEngine = deploy;
    }
  });

  it('removes an engine that was left half made where nothing asks for it, and makes the wanted one anew', async () => {
    harness = new Harness(datacenterOf({ h1: ['app1'], h2: [] }));
    harness.datacenter.state.unfinished = [
      { id: 'half-1', name: 'edge-h1', host: 'h1', engine: 'edge-h1' },
      { id: 'half-2', name: 'edge-h2', host: 'h2', engine: 'edge-h2' },
      { id: 'half-3', name: 'shop-7', host: 'h2', engine: null },
    ];
    await harness.start();
    await applyShop(harness);
    await serving();
    await harness.run(8000);
    // A clone may be somebody else's who is still at it.
    assert.deepEqual(
      harness.datacenter.state.unfinished.map((vm) => vm.id),
      ['half-3'],
    );
    const removed = harness.calls().filter((call) => call.startsWith('removeVm'));
    assert.deepEqual(removed, ['removeVm half-2']);
    const [waiting, ...others] = (await harness.status()).operations;
    assert.deepEqual([waiting?.step, waiting?.object, others], ['remove-clone', 'vm shop-7', []]);
    assert.match(waiting?.message ?? '', /whoever makes it has \d+ s more to finish it/);
    await harness.run(600_000);
    assert.deepEqual(harness.datacenter.state.unfinished, []);
  });

  it('makes a segment whole that was left half made, and removes one that nothing asks for any more', async () => {
    const half = { name: 'prod-weft', role: 'shadow', isUnfinished: true } as const;
    harness = new Harness(datacenterOf({ h1: ['app1'], h2: [] }));
    for (const host of harness.datacenter.state.hosts) host.segments.push({ ...half });
    harness.datacenter.refuse('removeSegment');
    await harness.store.write([{ key: 'adoption/lab', value: { address: '/nowhere' } }]);
    await harness.start();
    await applyShop(harness);
    await serving();
    await harness.run(1000);
    const segments = (host: string) =>
      harness.datacenter.host(host).segments.filter(({ role }) => role === 'shadow');
    assert.deepEqual(segments('h1'), [{ name: 'prod-weft', role: 'shadow' }]);
    const [removal, ...others] = await harness.plan();
    assert.deepEqual(
      [removal?.step, removal?.object, others],
      ['remove-segment', 'segment prod-weft on host h2', []],
    );
    assert.equal(removal?.reason, 'its making was cut short, and no engine needs it any more');
    harness.datacenter.heal();
    await harness.until('it is removed', () => segments('h2').length === 0);
    assert.deepEqual(await harness.plan(), []);
  });

  it('does not let one bad NIC hold up the others on its host', async () => {
    await begin({ h1: ['app1', 'app2', 'app3'] });
    harness.datacenter.refuse('attach', 'id-app1/');
    await harness.until(
      'the others are in line',
      () => harness.segmentOf('app2') === 'prod-weft' && harness.segmentOf('app3') === 'prod-weft',
    );
    harness.datacenter.heal();
    await serving();
  });

  it('says in a dry run what it would do, for changes too', async () => {
    harness = new Harness(datacenterOf({ h1: ['app1'] }));
    await harness.start();
    await harness.apply('cloud', 'lab', { platform: 'lab', address: '/nowhere' });
    await harness.apply('engine-group', 'edge', {
      cloud: 'lab',
      dataAddresses: [{ prefix: '10.77.0.0/24', first: '10.77.0.201', last: '10.77.0.230' }],
    });
    await harness.run(200);
    const steps = await harness.controller.backend.plan(
      [
        { kind: 'pool', name: 'shop', spec: { cloud: 'lab', members: { tags: ['app=shop'] }, port: 8080 } },
        {
          kind: 'virtual-service',
          name: 'web',
          spec: {
            engineGroup: 'edge',
            tiers: [{ name: 'shop', addresses: ['10.77.0.101'], port: 80, pool: 'shop' }],
          },
        },
      ],
      new AbortController().signal,
    );
    assert.deepEqual(steps.map((step) => step.step).sort(), [
      'deploy-engine',
      'ensure-segment',
      'intercept-nic',
      'place-engine',
      'push-graph',
    ]);
    assert.deepEqual(harness.calls(), []);
    await assert.rejects(
      harness.controller.backend.plan(
        [{ kind: 'pool', name: 'bad', spec: {} }],
        new AbortController().signal,
      ),
      { code: 'ERR_POLICY_INVALID' },
    );
  });

  it('waits for a privilege instead of failing, names it in plan and status, and goes on when it is granted', async () => {
    harness = new Harness(datacenterOf({ h1: ['app1'], h2: ['app2'] }));
    harness.datacenter.lacks = [
      { privilege: 'DVSwitch.PortConfig', purpose: 'bend paths', calls: ['attach'], hosts: ['h1'] },
    ];
    await harness.start();
    await applyShop(harness);
    await harness.until('h2 is served', () => harness.segmentOf('app2') === 'prod-weft');
    await harness.run(3000);
    assert.equal(harness.segmentOf('app1'), 'prod');
    const [step] = (await harness.plan()).filter((one) => one.object === 'nic app1/eth0');
    assert.match(step?.reason ?? '', /the user of cloud lab lacks DVSwitch\.PortConfig/);
    assert.deepEqual(step?.missing, ['DVSwitch.PortConfig is missing, without which Weft cannot bend paths']);
    assert.deepEqual(step?.changes, ['port of id-app1 -> prod-weft']);
    const status = await harness.stored<{ message: string }>('status/cloud/lab');
    assert.equal(status?.message, 'its user lacks DVSwitch.PortConfig (bend paths)');
    assert.deepEqual(
      (await harness.status()).operations.map(({ state, attempts }) => [state, attempts]),
      [['waiting', 0]],
      'nothing was tried',
    );
    harness.datacenter.lacks = [];
    const took = await harness.until('h1 is served', () => harness.segmentOf('app1') === 'prod-weft');
    assert.ok(took <= 2000, `${took} ms`);
  });

  it('tries to put lost traffic back even where it seems to lack the privilege', async () => {
    await begin({ h1: ['app1'] });
    await serving();
    harness.datacenter.lacks = [
      { privilege: 'DVSwitch.PortConfig', purpose: 'bend paths', calls: ['attach'], hosts: ['h1'] },
    ];
    await harness.run(31_000);
    harness.engines.kill('edge-h1');
    await harness.until('app1 is bypassed', () => harness.segmentOf('app1') === 'prod', 3000);
  });
});
