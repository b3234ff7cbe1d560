/** The pre-flight: which privileges the user lacks, and what cannot be done without each. */
import { WeftError } from '../policy/errors.ts';
import type { VcenterSession } from './session.ts';
import type { MoRef } from './vim/schema.ts';

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
  'move VMs to other hosts': ['Resource.HotMigrate', 'Resource.ColdMigrate'],
  'shadow segments of standard switches': ['Host.Config.Network', 'VirtualMachine.Config.EditDevice'],
  'keep engines on their hosts': ['Host.Inventory.EditCluster'],
} as const satisfies Record<string, readonly string[]>;

export type PrivilegedOperation = keyof typeof PRIVILEGES;

export interface MissingPrivilege {
  privilege: string;
  /** What cannot be done without it. */
  operations: PrivilegedOperation[];
}

/**
 * The privileges that the session's user lacks on an object, usually the root folder or a datacenter. Empty where
 * everything may be done. One call; nothing is changed.
 */
export async function missingPrivileges(
  session: VcenterSession,
  on: MoRef,
  operations: readonly PrivilegedOperation[],
  signal: AbortSignal,
): Promise<MissingPrivilege[]> {
  const { authorizationManager, sessionManager } = await session.connect(signal);
  if (!authorizationManager || !sessionManager) {
    throw new WeftError('ERR_HYPERVISOR_UNSUPPORTED', 'this vCenter does not tell privileges');
  }
  const needs = new Map<string, PrivilegedOperation[]>();
  for (const operation of operations) {
    for (const privilege of PRIVILEGES[operation]) {
      needs.set(privilege, [...(needs.get(privilege) ?? []), operation]);
    }
  }
  const read = await session.properties([sessionManager], ['currentSession'], signal);
  const current = read.get(sessionManager.value)?.currentSession as { key?: string } | undefined;
  if (!current?.key) throw new WeftError('ERR_HYPERVISOR_REFUSED', 'vCenter does not tell who is logged in');
  const answer = await session.call(
    authorizationManager,
    'HasPrivilegeOnEntities',
    { entity: [on], sessionId: current.key, privId: [...needs.keys()] },
    signal,
  );
  const granted = new Set(
    (answer ?? []).flatMap(({ privAvailability }) =>
      privAvailability.filter(({ isGranted }) => isGranted).map(({ privId }) => privId),
    ),
  );
  return [...needs]
    .filter(([privilege]) => !granted.has(privilege))
    .map(([privilege, needed]) => ({ privilege, operations: needed }));
}

/** One line for people for each missing privilege. */
export function describeMissing(missing: readonly MissingPrivilege[]): string[] {
  return missing.map(
    ({ privilege, operations }) =>
      `${privilege} is missing, without which Weft cannot ${operations.join(', ')}`,
  );
}
