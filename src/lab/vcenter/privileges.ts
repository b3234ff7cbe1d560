/**
 * Privileges that the simulated vCenter knows by name. Its one user has them all, unless a fault withholds some: then
 * it says so when asked, and refuses the methods that need them.
 */
import type { Fault } from '../world/faults.ts';
import { VimFault } from './wire/fault.ts';
import type { MoRef, Struct } from './wire/values.ts';

export const PRIVILEGES: readonly string[] = [
  'System.Anonymous',
  'System.Read',
  'System.View',
  'ContentLibrary.AddLibraryItem',
  'ContentLibrary.CreateLocalLibrary',
  'ContentLibrary.DeleteLibraryItem',
  'ContentLibrary.DeleteLocalLibrary',
  'ContentLibrary.UpdateSession',
  'Datastore.AllocateSpace',
  'Datastore.Browse',
  'DVPortgroup.Create',
  'DVPortgroup.Delete',
  'DVPortgroup.Modify',
  'DVPortgroup.PolicyOp',
  'DVPortgroup.ScopeOp',
  'DVSwitch.Modify',
  'DVSwitch.PolicyOp',
  'DVSwitch.PortConfig',
  'DVSwitch.PortSetting',
  'DVSwitch.Vspan',
  'Extension.Register',
  'Extension.Unregister',
  'Extension.Update',
  'Folder.Create',
  'Folder.Delete',
  'Folder.Move',
  'Global.CancelTask',
  'Global.LogEvent',
  'Global.ManageCustomFields',
  'Global.SetCustomField',
  'Host.Config.Maintenance',
  'Host.Config.Network',
  'Host.Inventory.EditCluster',
  'InventoryService.Tagging.AttachTag',
  'InventoryService.Tagging.CreateCategory',
  'InventoryService.Tagging.CreateTag',
  'InventoryService.Tagging.DeleteCategory',
  'InventoryService.Tagging.DeleteTag',
  'InventoryService.Tagging.EditCategory',
  'InventoryService.Tagging.EditTag',
  'InventoryService.Tagging.ObjectAttachable',
  'Network.Assign',
  'Network.Delete',
  'Resource.AssignVMToPool',
  'Resource.ColdMigrate',
  'Resource.HotMigrate',
  'Resource.QueryVMotion',
  'Sessions.ValidateSession',
  'Task.Create',
  'Task.Update',
  'VApp.ApplicationConfig',
  'VApp.Import',
  'VirtualMachine.Config.AddExistingDisk',
  'VirtualMachine.Config.AddNewDisk',
  'VirtualMachine.Config.AddRemoveDevice',
  'VirtualMachine.Config.AdvancedConfig',
  'VirtualMachine.Config.Annotation',
  'VirtualMachine.Config.CPUCount',
  'VirtualMachine.Config.EditDevice',
  'VirtualMachine.Config.ManagedBy',
  'VirtualMachine.Config.Memory',
  'VirtualMachine.Config.Rename',
  'VirtualMachine.Config.Settings',
  'VirtualMachine.Interact.PowerOff',
  'VirtualMachine.Interact.PowerOn',
  'VirtualMachine.Interact.Reset',
  'VirtualMachine.Inventory.Create',
  'VirtualMachine.Inventory.CreateFromExisting',
  'VirtualMachine.Inventory.Delete',
  'VirtualMachine.Inventory.Move',
  'VirtualMachine.Provisioning.Clone',
  'VirtualMachine.Provisioning.Customize',
  'VirtualMachine.Provisioning.DeployTemplate',
  'VirtualMachine.Provisioning.MarkAsVM',
  'VirtualMachine.Provisioning.ReadCustSpecs',
];

/** What methods need, as far as Weft calls them. */
const NEEDS: Record<string, readonly string[]> = {
  AddDVPortgroup_Task: ['DVPortgroup.Create'],
  ReconfigureDVPortgroup_Task: ['DVPortgroup.Modify', 'DVPortgroup.PolicyOp', 'DVPortgroup.ScopeOp'],
  ReconfigureDVPort_Task: ['DVSwitch.PortConfig', 'DVSwitch.PortSetting', 'DVSwitch.PolicyOp'],
  AddPortGroup: ['Host.Config.Network'],
  RemovePortGroup: ['Host.Config.Network'],
  UpdatePortGroup: ['Host.Config.Network'],
  ImportVApp: ['VApp.Import', 'Resource.AssignVMToPool'],
  CloneVM_Task: ['VirtualMachine.Provisioning.Clone', 'VirtualMachine.Inventory.CreateFromExisting'],
  PowerOnVM_Task: ['VirtualMachine.Interact.PowerOn'],
  PowerOffVM_Task: ['VirtualMachine.Interact.PowerOff'],
  ResetVM_Task: ['VirtualMachine.Interact.Reset'],
  RelocateVM_Task: ['Resource.HotMigrate'],
  MigrateVM_Task: ['Resource.HotMigrate'],
  ReconfigureComputeResource_Task: ['Host.Inventory.EditCluster'],
  EnterMaintenanceMode_Task: ['Host.Config.Maintenance'],
  ExitMaintenanceMode_Task: ['Host.Config.Maintenance'],
  AddCustomFieldDef: ['Global.ManageCustomFields'],
  SetField: ['Global.SetCustomField'],
  LogUserEvent: ['Global.LogEvent'],
  PostEvent: ['Global.LogEvent'],
  CreateTask: ['Task.Create'],
  SetTaskState: ['Task.Update'],
  UpdateProgress: ['Task.Update'],
  RegisterExtension: ['Extension.Register'],
  UpdateExtension: ['Extension.Update'],
  UnregisterExtension: ['Extension.Unregister'],
};

/** Whether a fault withholds the privilege. */
export function isWithheld(faults: readonly Fault[], privilege: string): boolean {
  return faults.some((fault) => fault.kind === 'privilege' && fault.privilege === privilege);
}

const DESTROYS: Record<string, string> = {
  VirtualMachine: 'VirtualMachine.Inventory.Delete',
  DistributedVirtualPortgroup: 'DVPortgroup.Delete',
};

/** What a call needs: of some methods it depends on the object, or on what is to be changed of it. */
function needsOf(method: string, object: MoRef, args: Struct): readonly string[] {
  if (method === 'Destroy_Task') return [DESTROYS[object.$ref] ?? ''];
  if (method !== 'ReconfigureDvs_Task') return NEEDS[method] ?? [];
  const { $type: _, configVersion: __, vspanConfigSpec: mirrors, ...others } = args.spec as Struct;
  const changesMore = Object.values(others).some((value) => value !== undefined);
  return [...(changesMore ? ['DVSwitch.Modify'] : []), ...(mirrors === undefined ? [] : ['DVSwitch.Vspan'])];
}

/** The first of these privileges that is withheld, or undefined. */
export function missingOf(faults: readonly Fault[], needs: readonly string[]): string | undefined {
  return needs.find((privilege) => isWithheld(faults, privilege));
}

/** Throws NoPermission where a privilege that the call needs is withheld. */
export function requirePrivileges(
  faults: readonly Fault[],
  method: string,
  object: MoRef,
  args: Struct,
): void {
  const needs = needsOf(method, object, args);
  const privilegeId = missingOf(faults, needs);
  if (privilegeId === undefined) return;
  throw new VimFault('NoPermission', `Permission to perform this operation was denied.`, {
    object,
    privilegeId,
  });
}
