/**
 * What keeps an engine on its host and away from its peers: per engine a VM group, a host group and a mandatory rule
 * that joins them, DRS off and the highest restart priority for the VM; per production segment a rule that no two of
 * its engines share a host. All of it bears names that begin with `weft-`; nothing else of a cluster is touched.
 */
import { createHash } from 'node:crypto';
import { nicsOf, plugOf } from './nic.ts';
import { readOne, readThere } from './objects.ts';
import { untilFree } from './retry.ts';
import type { VcenterSession } from './session.ts';
import type { MoRef, Vim } from './vim/schema.ts';

export interface Pin {
  engine: string;
  vm: MoRef;
  host: MoRef;
  /** The production segment of its `out` NIC. */
  segment: string;
  /** VMs of the other engines on that segment. */
  peers: readonly MoRef[];
}

type Cluster = Vim<'ClusterConfigInfoEx'>;
type Spec = Vim<'ClusterConfigSpecEx'> & { $type: 'ClusterConfigSpecEx' };

const vmGroupOf = (engine: string): string => `weft-vm-${engine}`;
const hostGroupOf = (engine: string): string => `weft-host-${engine}`;
const pinOf = (engine: string): string => `weft-pin-${engine}`;

/** What is to be changed for the engine to be pinned; pure. In the order in which it has to be; empty where it is so already. */
export function planPin(cluster: Cluster, pin: Pin): Spec[] {
  const { engine, vm, host } = pin;
  const groups = new Map<string, Vim<'ClusterGroupInfo'>>([
    [vmGroupOf(engine), { $type: 'ClusterVmGroup', name: vmGroupOf(engine), vm: [vm] }],
    [hostGroupOf(engine), { $type: 'ClusterHostGroup', name: hostGroupOf(engine), host: [host] }],
  ]);
  const rules = new Map<string, Vim<'ClusterRuleInfo'>>([
    [
      pinOf(engine),
      {
        $type: 'ClusterVmHostRuleInfo',
        name: pinOf(engine),
        enabled: true,
        mandatory: true,
        vmGroupName: vmGroupOf(engine),
        affineHostGroupName: hostGroupOf(engine),
      },
    ],
  ]);
  const apart = apartOf(pin.segment);
  const together = [vm, ...pin.peers.filter((peer) => peer.value !== vm.value)].sort((a, b) =>
    a.value < b.value ? -1 : 1,
  );
  if (together.length > 1) {
    rules.set(apart, {
      $type: 'ClusterAntiAffinityRuleSpec',
      name: apart,
      enabled: true,
      mandatory: false,
      vm: together,
    });
  }
  const gone = orphansOf(cluster).filter((one) => one !== engine);
  const lonely = (cluster.rule ?? []).flatMap((rule) =>
    isApart(rule) && vmsOf(rule).length < 2 && !rules.has(rule.name ?? '') ? [rule.name ?? ''] : [],
  );
  return specsOf(cluster, {
    groups,
    rules,
    dropped: new Set([...lonely, ...gone.flatMap((one) => [vmGroupOf(one), hostGroupOf(one), pinOf(one)])]),
    drs: { key: vm, enabled: false },
    das: { key: vm, dasSettings: { restartPriority: 'highest' } },
    gone: [],
  });
}

/** What is to be changed for nothing to remain of an engine's pin; pure. */
export function planUnpin(cluster: Cluster, engine: string, vm: MoRef): Spec[] {
  const dropped = new Set(
    [engine, ...orphansOf(cluster)].flatMap((one) => [vmGroupOf(one), hostGroupOf(one), pinOf(one)]),
  );
  const rules = new Map<string, Vim<'ClusterRuleInfo'>>();
  for (const rule of cluster.rule ?? []) {
    if (!isApart(rule) || rule.name === undefined) continue;
    const rest = vmsOf(rule).filter((one) => one.value !== vm.value);
    if (rest.length < 2) dropped.add(rule.name);
    else rules.set(rule.name, { ...rule, vm: rest });
  }
  return specsOf(cluster, { groups: new Map(), rules, dropped, drs: null, das: null, gone: [vm] });
}

/** What is to be changed for nothing to remain of engines whose VMs somebody else deleted; pure. */
export function planSweep(cluster: Cluster): Spec[] {
  const lonely = (cluster.rule ?? []).flatMap((rule) =>
    isApart(rule) && vmsOf(rule).length < 2 ? [rule.name ?? ''] : [],
  );
  const pins = orphansOf(cluster).flatMap((one) => [vmGroupOf(one), hostGroupOf(one), pinOf(one)]);
  const dropped = new Set([...lonely, ...pins]);
  return specsOf(cluster, { groups: new Map(), rules: new Map(), dropped, drs: null, das: null, gone: [] });
}

/**
 * Pins an engine's VM to its host. Answers null, or in a sentence why there is nothing to pin it with: then it stays
 * where it is for as long as nobody moves it.
 */
export async function pinEngine(
  session: VcenterSession,
  engine: { engine: string; vm: MoRef; host: MoRef; segment: string },
  signal: AbortSignal,
): Promise<string | null> {
  const found = await clusterOf(session, engine.host, signal);
  if (found.cluster === null) return `host ${found.hostName} stands in no cluster`;
  const { cluster } = found;
  return inTurn(session, cluster, async () => {
    let isDrsOn = true;
    await change(session, cluster, signal, async (config) => {
      isDrsOn = config.drsConfig.enabled === true;
      return planPin(config, { ...engine, peers: await peersOf(session, config, engine.vm, signal) });
    });
    return isDrsOn ? null : `cluster ${found.name} has DRS off, so its rules are written and not enforced`;
  });
}

/** Removes what pinned engines of a host's cluster that are no more. A host without a cluster: succeeds. */
export async function sweepPins(session: VcenterSession, host: MoRef, signal: AbortSignal): Promise<void> {
  const { cluster } = await clusterOf(session, host, signal);
  if (cluster === null) return;
  await inTurn(session, cluster, () => change(session, cluster, signal, async (config) => planSweep(config)));
}

/** Removes what pins an engine's VM. Done already, or a host without a cluster: succeeds. */
export async function unpinEngine(
  session: VcenterSession,
  engine: { engine: string; vm: MoRef; host: MoRef },
  signal: AbortSignal,
): Promise<void> {
  const { cluster } = await clusterOf(session, engine.host, signal);
  if (cluster === null) return;
  await inTurn(session, cluster, () =>
    change(session, cluster, signal, async (config) => planUnpin(config, engine.engine, engine.vm)),
  );
}

const APART = 'weft-apart-';
const MAX_NAME = 80;

function isApart(
  rule: Vim<'ClusterRuleInfo'>,
): rule is Vim<'ClusterAntiAffinityRuleSpec'> & { $type: 'ClusterAntiAffinityRuleSpec' } {
  return rule.$type === 'ClusterAntiAffinityRuleSpec' && rule.name?.startsWith(APART) === true;
}

/** Where every VM of a rule is gone, its list is not on the wire at all. */
function vmsOf(rule: Vim<'ClusterAntiAffinityRuleSpec'>): MoRef[] {
  return (rule.vm as MoRef[] | undefined) ?? [];
}

/** vCenter's names are at most 80 characters long, also those of segments. */
function apartOf(segment: string): string {
  const name = APART + segment;
  if (name.length <= MAX_NAME) return name;
  const hash = createHash('sha256').update(segment).digest('hex').slice(0, 8);
  return `${name.slice(0, MAX_NAME - 9)}-${hash}`;
}

/** Engines whose VM somebody else removed: vCenter empties the group and leaves the rest. */
function orphansOf(cluster: Cluster): string[] {
  const prefix = vmGroupOf('');
  return (cluster.group ?? []).flatMap((group) =>
    group.$type === 'ClusterVmGroup' && group.name.startsWith(prefix) && (group.vm ?? []).length === 0
      ? [group.name.slice(prefix.length)]
      : [],
  );
}

interface Wanted {
  groups: ReadonlyMap<string, Vim<'ClusterGroupInfo'>>;
  rules: ReadonlyMap<string, Vim<'ClusterRuleInfo'>>;
  /** Names of groups and rules. */
  dropped: ReadonlySet<string>;
  drs: Vim<'ClusterDrsVmConfigInfo'> | null;
  das: Vim<'ClusterDasVmConfigInfo'> | null;
  /** VMs without overrides. */
  gone: readonly MoRef[];
}

/** A rule never names a group that is not there: groups are made in the first change and removed in the second. */
function specsOf(cluster: Cluster, wanted: Wanted): Spec[] {
  const groups = cluster.group ?? [];
  const rules = cluster.rule ?? [];
  const first: Spec = {
    $type: 'ClusterConfigSpecEx',
    rulesSpec: rules.flatMap(({ name, key }) =>
      wanted.dropped.has(name ?? '') && key !== undefined ? [{ operation: 'remove', removeKey: key }] : [],
    ),
    groupSpec: [...wanted.groups.values()].flatMap((info) => {
      const present = groups.find(({ name }) => name === info.name);
      if (present && sameRefs(membersOf(present), membersOf(info))) return [];
      return [{ operation: present ? 'edit' : 'add', info }];
    }),
  };
  const drs = (cluster.drsVmConfig ?? []).map(({ key, enabled }) => ({ key, is: enabled === false }));
  const das = (cluster.dasVmConfig ?? []).map(({ key, dasSettings }) => ({
    key,
    is: dasSettings?.restartPriority === 'highest',
  }));
  const operationOn = (list: readonly { key: MoRef; is: boolean }[], vm: MoRef): string | null => {
    const present = list.find(({ key }) => key.value === vm.value);
    return present ? (present.is ? null : 'edit') : 'add';
  };
  const onDrs = wanted.drs && operationOn(drs, wanted.drs.key);
  const onDas = wanted.das && operationOn(das, wanted.das.key);
  const overridden = (list: readonly { key: MoRef }[]) =>
    wanted.gone
      .filter((vm) => list.some(({ key }) => key.value === vm.value))
      .map((removeKey) => ({ operation: 'remove', removeKey }));
  const second: Spec = {
    $type: 'ClusterConfigSpecEx',
    dasVmConfigSpec: [
      ...(wanted.das && onDas ? [{ operation: onDas, info: wanted.das }] : []),
      ...overridden(das),
    ],
    drsVmConfigSpec: [
      ...(wanted.drs && onDrs ? [{ operation: onDrs, info: wanted.drs }] : []),
      ...overridden(drs),
    ],
    rulesSpec: [...wanted.rules.values()].flatMap((info) => {
      const present = rules.find(({ name }) => name === info.name);
      if (present && sameRule(present, info)) return [];
      if (!present) return [{ operation: 'add', info }];
      return [{ operation: 'edit', info: { ...info, key: present.key } as Vim<'ClusterRuleInfo'> }];
    }),
    groupSpec: groups.flatMap(({ name }) =>
      wanted.dropped.has(name) ? [{ operation: 'remove', removeKey: name }] : [],
    ),
  };
  return [first, second].filter((spec) =>
    Object.values(spec).some((list) => Array.isArray(list) && list.length > 0),
  );
}

function membersOf(group: Vim<'ClusterGroupInfo'>): MoRef[] {
  if (group.$type === 'ClusterVmGroup') return group.vm ?? [];
  return group.$type === 'ClusterHostGroup' ? (group.host ?? []) : [];
}

function sameRefs(a: readonly MoRef[], b: readonly MoRef[]): boolean {
  const text = (refs: readonly MoRef[]): string =>
    refs
      .map(({ value }) => value)
      .sort()
      .join();
  return text(a) === text(b);
}

function sameRule(present: Vim<'ClusterRuleInfo'>, wanted: Vim<'ClusterRuleInfo'>): boolean {
  if (present.$type !== wanted.$type || present.enabled !== true) return false;
  if (wanted.$type === 'ClusterAntiAffinityRuleSpec') {
    return sameRefs(vmsOf(present as typeof wanted), wanted.vm);
  }
  const { mandatory, vmGroupName, affineHostGroupName } = present as Vim<'ClusterVmHostRuleInfo'>;
  const to = wanted as Vim<'ClusterVmHostRuleInfo'>;
  return (
    mandatory === true && vmGroupName === to.vmGroupName && affineHostGroupName === to.affineHostGroupName
  );
}

async function clusterOf(
  session: VcenterSession,
  host: MoRef,
  signal: AbortSignal,
): Promise<{ hostName: string; name: string; cluster: MoRef | null }> {
  const read = await readOne(session, host, ['name', 'parent'], signal);
  const parent = read.parent as MoRef | undefined;
  if (parent?.type !== 'ClusterComputeResource') return { hostName: `${read.name}`, name: '', cluster: null };
  const { name } = await readOne(session, parent, ['name'], signal);
  return { hostName: `${read.name}`, name: `${name}`, cluster: parent };
}

/** Reads, plans and changes, again from reading on where somebody else was at the cluster. */
async function change(
  session: VcenterSession,
  cluster: MoRef,
  signal: AbortSignal,
  planned: (config: Cluster) => Promise<Spec[]>,
): Promise<void> {
  await untilFree(async () => {
    const { configurationEx } = await readOne(session, cluster, ['configurationEx'], signal);
    for (const spec of await planned(configurationEx as Cluster)) {
      await session.task(cluster, 'ReconfigureComputeResource_Task', { spec, modify: true }, signal);
    }
  }, signal);
}

/** The pinned VMs of the cluster whose `out` NIC is on the same port group as that of the VM. */
async function peersOf(
  session: VcenterSession,
  config: Cluster,
  vm: MoRef,
  signal: AbortSignal,
): Promise<MoRef[]> {
  const pinned = (config.group ?? []).flatMap((group) =>
    group.$type === 'ClusterVmGroup' && group.name.startsWith(vmGroupOf('')) ? (group.vm ?? []) : [],
  );
  const others = pinned.filter((one) => one.value !== vm.value);
  const read = await readThere(session, [vm, ...others], ['config.hardware.device'], signal);
  const outOf = (one: MoRef): string | null => {
    const devices = (read.get(one.value)?.['config.hardware.device'] ?? []) as Vim<'VirtualDevice'>[];
    const out = nicsOf(devices, true).find(({ id }) => id === 'out');
    const plug = out && plugOf(out.card);
    if (plug?.kind === 'distributed') return plug.portGroup;
    return plug?.kind === 'standard' ? plug.name : null;
  };
  const own = outOf(vm);
  return own === null ? [] : others.filter((one) => outOf(one) === own);
}

const turns = new WeakMap<VcenterSession, Map<string, Promise<unknown>>>();

/** One of ours at a time on a cluster: a rule that names many VMs is read, changed and written. */
async function inTurn<T>(session: VcenterSession, cluster: MoRef, work: () => Promise<T>): Promise<T> {
  const ours = turns.get(session) ?? new Map<string, Promise<unknown>>();
  turns.set(session, ours);
  const mine = (ours.get(cluster.value) ?? Promise.resolve()).then(work);
  ours.set(
    cluster.value,
    mine.catch(() => undefined),
  );
  return mine;
}
