/** Pinning engines: what is planned brings a cluster to what is wanted, from wherever it was left. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { planPin, planSweep, planUnpin } from '../../src/vcenter/cluster-rules.ts';
import type { MoRef, Vim } from '../../src/vcenter/vim/schema.ts';

type Cluster = Vim<'ClusterConfigInfoEx'>;
type Spec = Vim<'ClusterConfigSpecEx'>;
type Change = { operation: string; removeKey?: unknown; info?: unknown };

const vm = (id: number): MoRef => ({ type: 'VirtualMachine', value: `vm-${id}` });
const host = (id: number): MoRef => ({ type: 'HostSystem', value: `host-${id}` });

/** A cluster with rules of somebody else. */
function clusterOf(): Cluster {
  return {
    vmSwapPlacement: 'vmDirectory',
    dasConfig: { enabled: true },
    drsConfig: { enabled: true },
    group: [{ $type: 'ClusterVmGroup', name: 'databases', vm: [vm(900)] }],
    rule: [
      {
        $type: 'ClusterAntiAffinityRuleSpec',
        key: 1,
        name: 'db apart',
        enabled: true,
        vm: [vm(900), vm(901)],
      },
    ],
    drsVmConfig: [{ key: vm(900), behavior: 'manual' }],
    dasVmConfig: [],
  };
}

/** As vCenter applies a specification, with its refusals. */
function apply(cluster: Cluster, spec: Spec): Cluster {
  const list = <T>(
    present: T[] | undefined,
    changes: Change[] | undefined,
    keyOf: (one: T) => unknown,
  ): T[] => {
    let result = [...(present ?? [])];
    for (const { operation, removeKey, info } of changes ?? []) {
      const key = JSON.stringify(operation === 'remove' ? removeKey : keyOf(info as T));
      const isThere = result.some((one) => JSON.stringify(keyOf(one)) === key);
      assert.equal(isThere, operation !== 'add', `${operation} ${key}`);
      result = result.filter((one) => JSON.stringify(keyOf(one)) !== key);
      if (operation !== 'remove') result.push(info as T);
    }
    return result;
  };
  const group = list(cluster.group, spec.groupSpec, ({ name }) => name);
  let nextKey = Math.max(0, ...(cluster.rule ?? []).map(({ key }) => key ?? 0)) + 1;
  const rulesSpec = spec.rulesSpec?.map((change) =>
    change.operation === 'add' ? { ...change, info: { ...change.info!, key: nextKey++ } } : change,
  ) as Change[] | undefined;
  const rule = list(cluster.rule, rulesSpec, ({ key }) => key);
  const names = new Set(group.map(({ name }) => name));
  for (const one of rule) {
    if (one.$type !== 'ClusterVmHostRuleInfo') continue;
    assert.ok(names.has(one.vmGroupName!) && names.has(one.affineHostGroupName!), `groups of ${one.name}`);
  }
  return {
    ...cluster,
    group,
    rule,
    drsVmConfig: list(cluster.drsVmConfig, spec.drsVmConfigSpec, ({ key }) => key),
    dasVmConfig: list(cluster.dasVmConfig, spec.dasVmConfigSpec, ({ key }) => key),
  };
}

const pinOf = (id: number, peers: number[] = [], on = id) => ({
  engine: `edge-h${id}`,
  vm: vm(id),
  host: host(on),
  segment: 'prod',
  peers: peers.map(vm),
});

/** Somebody destroys the VM: vCenter drops it from all lists. */
function withoutVm(cluster: Cluster, gone: MoRef): Cluster {
  const isOther = (ref: MoRef): boolean => ref.value !== gone.value;
  const without = <T extends object>(one: T): T =>
    'vm' in one ? { ...one, vm: (one.vm as MoRef[]).filter(isOther) } : one;
  return {
    ...cluster,
    group: cluster.group!.map(without),
    rule: cluster.rule!.map(without),
    drsVmConfig: cluster.drsVmConfig!.filter(({ key }) => isOther(key)),
    dasVmConfig: cluster.dasVmConfig!.filter(({ key }) => isOther(key)),
  };
}

describe('rules that pin engines', () => {
  it('tie a VM to its host, exempt it from DRS, restart it first, and keep it from its peers', () => {
    let cluster = clusterOf();
    for (const spec of planPin(cluster, pinOf(1))) cluster = apply(cluster, spec);
    for (const spec of planPin(cluster, pinOf(2, [1]))) cluster = apply(cluster, spec);
    const ours = cluster.rule!.filter(({ name }) => name!.startsWith('weft-'));
    assert.deepEqual(ours.map(({ name }) => name).sort(), [
      'weft-apart-prod',
      'weft-pin-edge-h1',
      'weft-pin-edge-h2',
    ]);
    const pin = ours.find(({ name }) => name === 'weft-pin-edge-h2') as Vim<'ClusterVmHostRuleInfo'>;
    assert.ok(pin.mandatory && pin.enabled);
    assert.deepEqual([pin.vmGroupName, pin.affineHostGroupName], ['weft-vm-edge-h2', 'weft-host-edge-h2']);
    const apart = ours.find(
      ({ name }) => name === 'weft-apart-prod',
    ) as Vim<'ClusterAntiAffinityRuleSpec'> & {
      $type: 'ClusterAntiAffinityRuleSpec';
    };
    assert.deepEqual(apart.vm, [vm(1), vm(2)]);
    assert.deepEqual(cluster.drsVmConfig!.find(({ key }) => key.value === 'vm-2')?.enabled, false);
    assert.equal(
      cluster.dasVmConfig!.find(({ key }) => key.value === 'vm-2')?.dasSettings?.restartPriority,
      'highest',
    );
    assert.deepEqual(planPin(cluster, pinOf(2, [1])), []);
  });

  it('leave no trace, and touch nothing of others, in whatever order engines come, go and are cut short', () => {
    const step = fc.record({
      engine: fc.integer({ min: 1, max: 4 }),
      isPin: fc.boolean(),
      /** How many of the planned changes are carried out before the controller dies. */
      done: fc.integer({ min: 0, max: 2 }),
      isRepeated: fc.boolean(),
      /** Somebody else destroys the VM: vCenter drops it from all lists. */
      isDestroyed: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 24 }), (steps) => {
        let cluster = clusterOf();
        const peers = (but: number): number[] =>
          (cluster.group ?? [])
            .filter(({ name }) => name.startsWith('weft-vm-'))
            .flatMap((group) => (group as { vm?: MoRef[] }).vm ?? [])
            .map(({ value }) => Number(value.slice(3)))
            .filter((id) => id !== but);
        const planned = (engine: number, isPin: boolean): Spec[] =>
          isPin
            ? planPin(cluster, pinOf(engine, peers(engine)))
            : planUnpin(cluster, `edge-h${engine}`, vm(engine));
        for (const { engine, isPin, done, isRepeated, isDestroyed } of steps) {
          for (const spec of planned(engine, isPin).slice(0, done)) cluster = apply(cluster, spec);
          if (isRepeated) {
            for (const spec of planned(engine, isPin)) cluster = apply(cluster, spec);
            assert.deepEqual(planned(engine, isPin), []);
          }
          if (!isDestroyed) continue;
          cluster = withoutVm(cluster, vm(engine));
        }
        for (const engine of [1, 2, 3, 4]) {
          for (const spec of planned(engine, false)) cluster = apply(cluster, spec);
        }
        assert.deepEqual(cluster, clusterOf());
      }),
    );
  });

  it('go with engines that somebody else deleted, when their segment is swept', () => {
    const before = clusterOf();
    let cluster = before;
    for (const spec of planPin(cluster, pinOf(1))) cluster = apply(cluster, spec);
    assert.deepEqual(planSweep(cluster), [], 'an engine that is there keeps its rules');
    cluster = withoutVm(cluster, vm(1));
    for (const spec of planSweep(cluster)) cluster = apply(cluster, spec);
    assert.deepEqual([cluster.group, cluster.rule], [before.group, before.rule]);
    assert.deepEqual(planSweep(cluster), []);
  });

  it('name the rule of a long segment within the 80 characters that vCenter allows', () => {
    const names = ['a', 'b'].map((end) => {
      const specs = planPin(clusterOf(), { ...pinOf(1, [2]), segment: 'x'.repeat(79) + end });
      return specs.flatMap(({ rulesSpec }) => rulesSpec ?? []).map(({ info }) => info?.name ?? '')[1]!;
    });
    assert.ok(names.every((name) => name.length <= 80 && name.startsWith('weft-apart-')));
    assert.notEqual(names[0], names[1]);
  });
});
