/** Managed objects: base type and own properties. The notation is that of notation.ts. */

export const MANAGED_OBJECTS = `
ServiceInstance < ManagedObject: serverClock dateTime, capability Capability, content ServiceContent
SessionManager < ManagedObject: sessionList? UserSession[], currentSession? UserSession, message? string,
  messageLocaleList? string[], supportedLocaleList? string[], defaultLocale string
PropertyCollector < ManagedObject: filter? &PropertyFilter[]
PropertyFilter < ManagedObject: spec PropertyFilterSpec, partialUpdates boolean
View < ManagedObject
ManagedObjectView < View: view? &ManagedObject[]
ContainerView < ManagedObjectView: container &ManagedEntity, type? TypeName[], recursive boolean
ListView < ManagedObjectView
ViewManager < ManagedObject: viewList? &View[]
SearchIndex < ManagedObject
ExtensibleManagedObject < ManagedObject: value? CustomFieldValue[], availableField? CustomFieldDef[]
ManagedEntity < ExtensibleManagedObject: parent? &ManagedEntity, customValue? CustomFieldValue[],
  overallStatus ManagedEntityStatus, configStatus ManagedEntityStatus, configIssue? Event[], effectiveRole?
  int[], permission? Permission[], name string, disabledMethod? MethodName[], recentTask? &Task[],
  declaredAlarmState? AlarmState[], triggeredAlarmState? AlarmState[], alarmActionsEnabled? boolean, tag?
  Tag[]
Folder < ManagedEntity: childType? TypeName[], childEntity? &ManagedEntity[]
Datacenter < ManagedEntity: vmFolder &Folder, hostFolder &Folder, datastoreFolder &Folder, networkFolder
  &Folder, datastore? &Datastore[], network? &Network[], configuration DatacenterConfigInfo
ComputeResource < ManagedEntity: resourcePool? &ResourcePool, host? &HostSystem[], datastore? &Datastore[],
  network? &Network[], summary ComputeResourceSummary, environmentBrowser? &EnvironmentBrowser,
  configurationEx ComputeResourceConfigInfo, lifecycleManaged? boolean, configManagerEnabled? boolean
ClusterComputeResource < ComputeResource: configuration ClusterConfigInfo, recommendation?
  ClusterRecommendation[], drsRecommendation? ClusterDrsRecommendation[], summaryEx
  ClusterComputeResourceSummary, hciConfig? ClusterComputeResourceHCIConfigInfo, migrationHistory?
  ClusterDrsMigration[], actionHistory? ClusterActionHistory[], drsFault? ClusterDrsFaults[]
HostSystem < ManagedEntity: runtime HostRuntimeInfo, summary HostListSummary, hardware? HostHardwareInfo,
  capability? HostCapability, licensableResource HostLicensableResourceInfo, remediationState?
  HostSystemRemediationState, precheckRemediationResult? ApplyHostProfileConfigurationSpec,
  remediationResult? ApplyHostProfileConfigurationResult, complianceCheckState?
  HostSystemComplianceCheckState, complianceCheckResult? ComplianceResult, configManager HostConfigManager,
  config? HostConfigInfo, vm? &VirtualMachine[], datastore? &Datastore[], network? &Network[],
  datastoreBrowser &HostDatastoreBrowser, systemResources? HostSystemResourceInfo,
  answerFileValidationState? AnswerFileStatusResult, answerFileValidationResult? AnswerFileStatusResult
HostNetworkSystem < ExtensibleManagedObject: capabilities? HostNetCapabilities, networkInfo?
  HostNetworkInfo, offloadCapabilities? HostNetOffloadCapabilities, networkConfig? HostNetworkConfig,
  dnsConfig? HostDnsConfig, ipRouteConfig? HostIpRouteConfig, consoleIpRouteConfig? HostIpRouteConfig
ResourcePool < ManagedEntity: summary ResourcePoolSummary, runtime ResourcePoolRuntimeInfo, owner
  &ComputeResource, resourcePool? &ResourcePool[], vm? &VirtualMachine[], config ResourceConfigSpec,
  childConfiguration? ResourceConfigSpec[]
VirtualApp < ResourcePool: parentFolder? &Folder, datastore? &Datastore[], network? &Network[]
StoragePod < Folder
OpaqueNetwork < Network
EnvironmentBrowser < ManagedObject
HostDatastoreBrowser < ManagedObject
Datastore < ManagedEntity: info DatastoreInfo, summary DatastoreSummary, host? DatastoreHostMount[], vm?
  &VirtualMachine[], browser &HostDatastoreBrowser, capability DatastoreCapability, iormConfiguration?
  StorageIORMInfo
Network < ManagedEntity: summary NetworkSummary, host? &HostSystem[], vm? &VirtualMachine[]
DistributedVirtualPortgroup < Network: key string, config DVPortgroupConfigInfo, portKeys? string[]
DistributedVirtualSwitch < ManagedEntity: uuid string, capability DVSCapability, summary DVSSummary, config
  DVSConfigInfo, networkResourcePool? DVSNetworkResourcePool[], portgroup? &DistributedVirtualPortgroup[],
  runtime? DVSRuntimeInfo
VmwareDistributedVirtualSwitch < DistributedVirtualSwitch
DistributedVirtualSwitchManager < ManagedObject
VirtualMachine < ManagedEntity: capability VirtualMachineCapability, config? VirtualMachineConfigInfo,
  layout? VirtualMachineFileLayout, layoutEx? VirtualMachineFileLayoutEx, storage?
  VirtualMachineStorageInfo, environmentBrowser &EnvironmentBrowser, resourcePool? &ResourcePool,
  parentVApp? &ManagedEntity, resourceConfig? ResourceConfigSpec, runtime VirtualMachineRuntimeInfo, guest?
  GuestInfo, summary VirtualMachineSummary, datastore? &Datastore[], network? &Network[], snapshot?
  VirtualMachineSnapshotInfo, rootSnapshot? &VirtualMachineSnapshot[], guestHeartbeatStatus
  ManagedEntityStatus
VirtualMachineSnapshot < ExtensibleManagedObject: config VirtualMachineConfigInfo, childSnapshot?
  &VirtualMachineSnapshot[], vm &VirtualMachine
CustomizationSpecManager < ManagedObject: info? CustomizationSpecInfo[], encryptionKey? base64Binary
OvfManager < ManagedObject: ovfImportOption? OvfOptionInfo[], ovfExportOption? OvfOptionInfo[]
HttpNfcLease < ManagedObject: initializeProgress int, transferProgress int, mode string, capabilities
  HttpNfcLeaseCapabilities, info? HttpNfcLeaseInfo, state HttpNfcLeaseState, error? LocalizedMethodFault
Task < ExtensibleManagedObject: info TaskInfo
TaskManager < ManagedObject: recentTask? &Task[], description TaskDescription, maxCollector int
EventManager < ManagedObject: description EventDescription, latestEvent? Event, maxCollector int
HistoryCollector < ManagedObject: filter anyType
EventHistoryCollector < HistoryCollector: latestPage? Event[], initialized? boolean
PerformanceManager < ManagedObject: description PerformanceDescription, historicalInterval? PerfInterval[],
  perfCounter? PerfCounterInfo[]
CustomFieldsManager < ManagedObject: field? CustomFieldDef[]
ExtensionManager < ManagedObject: extensionList? Extension[]
AuthorizationManager < ManagedObject: privilegeList? AuthorizationPrivilege[], roleList?
  AuthorizationRole[], description AuthorizationDescription
`;
