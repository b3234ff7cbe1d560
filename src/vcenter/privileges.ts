/** The pre-flight: which privileges the user lacks, and what cannot be done without each. */
import type { Lack, PlannedCall } from '../hypervisor/platform.ts';
import { WeftError } from '../policy/errors.ts';
import type { VcenterInventory } from './inventory.ts';
import { listOf, type MirroredObject } from './inventory-objects.ts';
import { readOne } from './objects.ts';
import type { VcenterSession } from './session.ts';
import type { MoRef, Vim } from './vim/schema.ts';

/** What Weft does, and what vCenter asks for it. */
export const PRIVILEGES = {
  'read the inventory': ['System.View', 'System.Read'],
  'make and remove shadow segments': [
    'DVPortgroup.Create',
    'DVPortgroup.Delete',
    'DVPortgroup.Modify',
    'DVPortgroup.PolicyOp',
    'DVPortgroup.ScopeOp',
  ],
  'bend and release the path of members': [
    'DVSwitch.PortSetting',
    'DVSwitch.PortConfig',
    'DVSwitch.PolicyOp',
  ],
  'mirror ports to engines that only observe': ['DVSwitch.Vspan'],
  'deploy engines': [
    'VApp.Import',
    'VirtualMachine.Inventory.Create',
    'VirtualMachine.Config.AddNewDisk',
    'VirtualMachine.Config.AdvancedConfig',
    'VirtualMachine.Config.Annotation',
    'VirtualMachine.Config.Settings',
    'Resource.AssignVMToPool',
    'Datastore.AllocateSpace',
    'Network.Assign',
  ],
  'keep the appliance in a content library': [
    'ContentLibrary.AddLibraryItem',
    'ContentLibrary.UpdateSession',
  ],
  'switch engines on, off and through a reset': [
    'VirtualMachine.Interact.PowerOn',
    'VirtualMachine.Interact.PowerOff',
    'VirtualMachine.Interact.Reset',
  ],
  'remove engines': ['VirtualMachine.Inventory.Delete'],
  'clone members': [
    'VirtualMachine.Provisioning.Clone',
    'VirtualMachine.Provisioning.DeployTemplate',
    'VirtualMachine.Provisioning.MarkAsVM',
    'VirtualMachine.Provisioning.ReadCustSpecs',
    'VirtualMachine.Inventory.CreateFromExisting',
    'VirtualMachine.Config.EditDevice',
    'VirtualMachine.Provisioning.Customize',
  ],
  'give clones their tags': [
    'InventoryService.Tagging.AttachTag',
    'InventoryService.Tagging.ObjectAttachable',
  ],
  'move VMs to other hosts': ['Resource.HotMigrate', 'Resource.ColdMigrate'],
  'shadow segments of standard switches': ['Host.Config.Network', 'VirtualMachine.Config.EditDevice'],
  'keep engines on their hosts': ['Host.Inventory.EditCluster'],
} as const satisfies Record<string, readonly string[]>;

export type PrivilegedOperation = keyof typeof PRIVILEGES;

/** The privileges that the session's user lacks on each of the objects, by id. */
async function readWithheld(
  session: VcenterSession,
  entity: MoRef[],
  privId: string[],
  signal: AbortSignal,
): Promise<Map<string, Set<string>>> {
  const { authorizationManager } = await session.connect(signal);
  if (!authorizationManager) {
    throw new WeftError('ERR_HYPERVISOR_UNSUPPORTED', 'this vCenter does not tell privileges');
  }
  const args = { entity, sessionId: session.key, privId };
  const answer = await session.call(authorizationManager, 'HasPrivilegeOnEntities', args, signal);
  return new Map(
    (answer ?? []).map(({ entity: of, privAvailability }) => [
      of.value,
      new Set(privAvailability.filter(({ isGranted }) => !isGranted).map(({ privId: id }) => id)),
    ]),
  );
}

/** The calls of the platform contract that need each. */
const CALLS: Partial<Record<PrivilegedOperation, readonly PlannedCall['call'][]>> = {
  'make and remove shadow segments': ['ensureSegment', 'removeSegment'],
  'bend and release the path of members': ['attach'],
  'mirror ports to engines that only observe': ['mirror'],
  'deploy engines': ['deployEngine'],
  'keep the appliance in a content library': ['deployEngine'],
  'switch engines on, off and through a reset': ['power', 'deployEngine', 'removeVm'],
  'remove engines': ['removeVm'],
  'clone members': ['cloneVm'],
  'give clones their tags': ['cloneVm'],
  'shadow segments of standard switches': ['ensureSegment', 'removeSegment', 'attach'],
};

/**
 * Where a privilege is asked for: on the distributed switches of a host, on its cluster, or on its datacenter. A role
 * that is given on the datacenter or above it, propagating, answers for all of them. Libraries and tags stand in no
 * datacenter: their privileges come from global permissions, which the root folder inherits.
 */
function scopeOf(privilege: string): 'switches' | 'cluster' | 'datacenter' | 'root' {
  if (/^ContentLibrary\.|\.AttachTag$/.test(privilege)) return 'root';
  if (/^DV(Switch|Portgroup)\./.test(privilege)) return 'switches';
  return /^(Host|Resource|VApp)\./.test(privilege) ? 'cluster' : 'datacenter';
}

export interface LackOptions {
  /** Whether the appliance is in its content library already; left out where engines do not come from one. */
  isApplianceKept?(signal: AbortSignal): Promise<boolean>;
}

/**
 * What the session's user lacks, by what it is for and the hosts where. Privileges that this version of vCenter does not
 * know are not asked for. Nothing is changed.
 */
export async function readLacks(
  session: VcenterSession,
  inventory: VcenterInventory,
  { isApplianceKept }: LackOptions,
  signal: AbortSignal,
): Promise<Lack[]> {
  const hosts = inventory.objects('HostSystem').map((host) => placeOf(host, inventory));
  const entities = new Map<string, MoRef>();
  for (const { cluster, datacenter, switches } of hosts) {
    for (const ref of [cluster, datacenter, ...switches]) if (ref) entities.set(ref.value, ref);
  }
  if (entities.size === 0) return [];
  const { rootFolder } = await session.connect(signal);
  entities.set(rootFolder.value, rootFolder);
  const there = await knownPrivileges(session, signal);
  const privId = [...new Set(Object.values(PRIVILEGES).flat())].filter((id) => !there || there.has(id));
  const withheld = await readWithheld(session, [...entities.values()], privId, signal);
  const models = inventory.taggedVms();
  const lacks: Lack[] = [];
  for (const [purpose, calls] of Object.entries(CALLS)) {
    if (purpose === LIBRARY && !isApplianceKept) continue;
    const isStandard = purpose === 'shadow segments of standard switches';
    for (const privilege of PRIVILEGES[purpose as PrivilegedOperation]) {
      const scope = scopeOf(privilege);
      const where = hosts.filter((host) => {
        // A host without a distributed switch has standard ones, and needs nothing for the others.
        if (isStandard !== (host.switches.length === 0) && (isStandard || scope === 'switches')) return false;
        const refs = scope === 'switches' ? host.switches : [scope === 'root' ? rootFolder : host[scope]];
        return refs.some((ref) => ref !== undefined && withheld.get(ref.value)?.has(privilege));
      });
      if (where.length === 0 || (purpose === TAGS && models.length === 0)) continue;
      const lack = { privilege, purpose, calls, hosts: where.map(({ id }) => id) };
      lacks.push(purpose === TAGS ? { ...lack, models } : lack);
    }
  }
  // Who finds the appliance there needs no right to put it there. Asked only where it matters.
  const isPut = lacks.some(({ purpose }) => purpose === LIBRARY) && !(await isApplianceKept?.(signal));
  return lacks.filter(({ purpose }) => purpose !== LIBRARY || isPut);
}

const LIBRARY: PrivilegedOperation = 'keep the appliance in a content library';
const TAGS: PrivilegedOperation = 'give clones their tags';

const known = new WeakMap<VcenterSession, ReadonlySet<string>>();

/** The ids of all privileges that there are here; null where vCenter does not list them. They do not change while it runs. */
async function knownPrivileges(
  session: VcenterSession,
  signal: AbortSignal,
): Promise<ReadonlySet<string> | null> {
  const before = known.get(session);
  if (before) return before;
  const { authorizationManager } = await session.connect(signal);
  if (!authorizationManager) return null;
  const { privilegeList } = await readOne(session, authorizationManager, ['privilegeList'], signal);
  const ids = new Set(listOf<Vim<'AuthorizationPrivilege'>>(privilegeList).map(({ privId }) => privId));
  if (ids.size === 0) return null;
  known.set(session, ids);
  return ids;
}

interface Place {
  id: string;
  cluster: MoRef | undefined;
  datacenter: MoRef | undefined;
  switches: MoRef[];
}

function placeOf({ ref, properties }: MirroredObject, inventory: VcenterInventory): Place {
  const switches = new Map<string, MoRef>();
  for (const network of listOf<MoRef>(properties.network)) {
    const dvs = inventory.object(network.value)?.properties['config.distributedVirtualSwitch'] as
      | MoRef
      | undefined;
    if (dvs) switches.set(dvs.value, dvs);
  }
  const cluster = properties.parent as MoRef | undefined;
  let at = cluster;
  // Bounded: a peer could tell of a circle.
  for (let depth = 0; at && at.type !== 'Datacenter' && depth < 64; depth++) {
    at = inventory.object(at.value)?.properties.parent as MoRef | undefined;
  }
  return {
    id: ref.value,
    cluster,
    datacenter: at?.type === 'Datacenter' ? at : undefined,
    switches: [...switches.values()],
  };
}
