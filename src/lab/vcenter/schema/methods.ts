/** Methods: the managed object, the name, the parameters in order, the result. */

export const METHODS = `
ServiceInstance.CurrentTime() -> dateTime
ServiceInstance.RetrieveServiceContent() -> ServiceContent
SessionManager.Login(userName string, password string, locale? string) -> UserSession
SessionManager.Logout() -> void
SessionManager.SessionIsActive(sessionID string, userName string) -> boolean
SessionManager.AcquireCloneTicket() -> string
SessionManager.CloneSession(cloneTicket string) -> UserSession
SessionManager.TerminateSession(sessionId string[]) -> void
PropertyCollector.CreateFilter(spec PropertyFilterSpec, partialUpdates boolean) -> &PropertyFilter
PropertyCollector.RetrieveProperties(specSet PropertyFilterSpec[]) -> ObjectContent[]?
PropertyCollector.RetrievePropertiesEx(specSet PropertyFilterSpec[], options RetrieveOptions) -> RetrieveResult?
PropertyCollector.ContinueRetrievePropertiesEx(token string) -> RetrieveResult
PropertyCollector.CancelRetrievePropertiesEx(token string) -> void
PropertyCollector.WaitForUpdates(version? string) -> UpdateSet
PropertyCollector.WaitForUpdatesEx(version? string, options? WaitOptions) -> UpdateSet?
PropertyCollector.CancelWaitForUpdates() -> void
PropertyCollector.CreatePropertyCollector() -> &PropertyCollector
PropertyCollector.DestroyPropertyCollector() -> void
PropertyFilter.DestroyPropertyFilter() -> void
View.DestroyView() -> void
ViewManager.CreateContainerView(container &ManagedEntity, type? TypeName[], recursive boolean) -> &ContainerView
ViewManager.CreateListView(obj? &ManagedObject[]) -> &ListView
SearchIndex.FindByInventoryPath(inventoryPath string) -> &ManagedEntity?
SearchIndex.FindByUuid(datacenter? &Datacenter, uuid string, vmSearch boolean, instanceUuid? boolean) -> &ManagedEntity?
SearchIndex.FindByIp(datacenter? &Datacenter, ip string, vmSearch boolean) -> &ManagedEntity?
SearchIndex.FindByDnsName(datacenter? &Datacenter, dnsName string, vmSearch boolean) -> &ManagedEntity?
SearchIndex.FindChild(entity &ManagedEntity, name string) -> &ManagedEntity?
ExtensibleManagedObject.setCustomValue(key string, value string) -> void
ManagedEntity.Destroy_Task() -> &Task
ManagedEntity.Rename_Task(newName string) -> &Task
Folder.CreateFolder(name string) -> &Folder
Folder.MoveIntoFolder_Task(list &ManagedEntity[]) -> &Task
ComputeResource.ReconfigureComputeResource_Task(spec ComputeResourceConfigSpec, modify boolean) -> &Task
HostSystem.EnterMaintenanceMode_Task(timeout int, evacuatePoweredOffVms? boolean, maintenanceSpec?
  HostMaintenanceSpec) -> &Task
HostSystem.ExitMaintenanceMode_Task(timeout int) -> &Task
HostNetworkSystem.AddPortGroup(portgrp HostPortGroupSpec) -> void
HostNetworkSystem.UpdatePortGroup(pgName string, portgrp HostPortGroupSpec) -> void
HostNetworkSystem.RemovePortGroup(pgName string) -> void
HostNetworkSystem.QueryNetworkHint(device? string[]) -> PhysicalNicHintInfo[]?
ResourcePool.ImportVApp(spec ImportSpec, folder? &Folder, host? &HostSystem) -> &HttpNfcLease
Network.DestroyNetwork() -> void
DistributedVirtualPortgroup.ReconfigureDVPortgroup_Task(spec DVPortgroupConfigSpec) -> &Task
DistributedVirtualSwitch.AddDVPortgroup_Task(spec DVPortgroupConfigSpec[]) -> &Task
DistributedVirtualSwitch.ReconfigureDvs_Task(spec DVSConfigSpec) -> &Task
DistributedVirtualSwitch.FetchDVPorts(criteria? DistributedVirtualSwitchPortCriteria) -> DistributedVirtualPort[]?
DistributedVirtualSwitch.FetchDVPortKeys(criteria? DistributedVirtualSwitchPortCriteria) -> string[]?
DistributedVirtualSwitch.ReconfigureDVPort_Task(port DVPortConfigSpec[]) -> &Task
DistributedVirtualSwitch.QueryUsedVlanIdInDvs() -> int[]?
DistributedVirtualSwitchManager.QueryDvsByUuid(uuid string) -> &DistributedVirtualSwitch?
VirtualMachine.PowerOnVM_Task(host? &HostSystem) -> &Task
VirtualMachine.PowerOffVM_Task() -> &Task
VirtualMachine.ResetVM_Task() -> &Task
VirtualMachine.ShutdownGuest() -> void
VirtualMachine.RebootGuest() -> void
VirtualMachine.ReconfigVM_Task(spec VirtualMachineConfigSpec) -> &Task
VirtualMachine.CloneVM_Task(folder &Folder, name string, spec VirtualMachineCloneSpec) -> &Task
VirtualMachine.RelocateVM_Task(spec VirtualMachineRelocateSpec, priority? VirtualMachineMovePriority) -> &Task
VirtualMachine.MigrateVM_Task(pool? &ResourcePool, host? &HostSystem, priority VirtualMachineMovePriority,
  state? VirtualMachinePowerState) -> &Task
VirtualMachine.CustomizeVM_Task(spec CustomizationSpec) -> &Task
VirtualMachine.CreateSnapshot_Task(name string, description? string, memory boolean, quiesce boolean) -> &Task
VirtualMachine.MarkAsTemplate() -> void
VirtualMachine.MarkAsVirtualMachine(pool &ResourcePool, host? &HostSystem) -> void
VirtualMachineSnapshot.RemoveSnapshot_Task(removeChildren boolean, consolidate? boolean) -> &Task
CustomizationSpecManager.DoesCustomizationSpecExist(name string) -> boolean
CustomizationSpecManager.GetCustomizationSpec(name string) -> CustomizationSpecItem
CustomizationSpecManager.CreateCustomizationSpec(item CustomizationSpecItem) -> void
CustomizationSpecManager.DeleteCustomizationSpec(name string) -> void
VirtualMachine.UnregisterVM() -> void
OvfManager.CreateImportSpec(ovfDescriptor string, resourcePool &ResourcePool, datastore &Datastore, cisp
  OvfCreateImportSpecParams) -> OvfCreateImportSpecResult
OvfManager.ParseDescriptor(ovfDescriptor string, pdp OvfParseDescriptorParams) -> OvfParseDescriptorResult
HttpNfcLease.HttpNfcLeaseComplete() -> void
HttpNfcLease.HttpNfcLeaseAbort(fault? LocalizedMethodFault) -> void
HttpNfcLease.HttpNfcLeaseProgress(percent int) -> void
HttpNfcLease.HttpNfcLeaseGetManifest() -> HttpNfcLeaseManifestEntry[]?
Task.CancelTask() -> void
Task.SetTaskState(state TaskInfoState, result? anyType, fault? LocalizedMethodFault) -> void
Task.UpdateProgress(percentDone int) -> void
TaskManager.CreateTask(obj &ManagedObject, taskTypeId string, initiatedBy? string, cancelable boolean, parentTaskKey? string,
  activationId? string) -> TaskInfo
EventManager.QueryEvents(filter EventFilterSpec) -> Event[]?
EventManager.CreateCollectorForEvents(filter EventFilterSpec) -> &EventHistoryCollector
HistoryCollector.SetCollectorPageSize(maxCount int) -> void
HistoryCollector.RewindCollector() -> void
HistoryCollector.ResetCollector() -> void
HistoryCollector.DestroyCollector() -> void
EventHistoryCollector.ReadNextEvents(maxCount int) -> Event[]?
EventHistoryCollector.ReadPreviousEvents(maxCount int) -> Event[]?
EventManager.PostEvent(eventToPost Event, taskInfo? TaskInfo) -> void
EventManager.LogUserEvent(entity &ManagedEntity, msg string) -> void
PerformanceManager.QueryPerf(querySpec PerfQuerySpec[]) -> PerfEntityMetricBase[]?
PerformanceManager.QueryAvailablePerfMetric(entity &ManagedObject, beginTime? dateTime, endTime? dateTime,
  intervalId? int) -> PerfMetricId[]?
PerformanceManager.QueryPerfCounter(counterId int[]) -> PerfCounterInfo[]?
PerformanceManager.QueryPerfProviderSummary(entity &ManagedObject) -> PerfProviderSummary
CustomFieldsManager.AddCustomFieldDef(name string, moType? TypeName, fieldDefPolicy? PrivilegePolicyDef,
  fieldPolicy? PrivilegePolicyDef) -> CustomFieldDef
CustomFieldsManager.RemoveCustomFieldDef(key int) -> void
CustomFieldsManager.RenameCustomFieldDef(key int, name string) -> void
CustomFieldsManager.SetField(entity &ManagedEntity, key int, value string) -> void
ExtensionManager.FindExtension(extensionKey string) -> Extension?
ExtensionManager.RegisterExtension(extension Extension) -> void
ExtensionManager.UpdateExtension(extension Extension) -> void
ExtensionManager.UnregisterExtension(extensionKey string) -> void
AuthorizationManager.HasPrivilegeOnEntities(entity &ManagedEntity[], sessionId string, privId? string[]) -> EntityPrivilege[]?
AuthorizationManager.FetchUserPrivilegeOnEntities(entities &ManagedEntity[], userName string) -> UserPrivilegeResult[]?
AuthorizationManager.HasUserPrivilegeOnEntities(entities &ManagedObject[], userName string, privId?
  string[]) -> EntityPrivilege[]?
`;
