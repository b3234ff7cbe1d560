/** Data types of sessions, property collection, tasks, events, statistics and the managers around the inventory. The notation is that of notation.ts. */

export const CORE_TYPES = `
AboutInfo < DynamicData: name string, fullName string, vendor string, version string, patchLevel? string,
  build string, localeVersion? string, localeBuild? string, osType string, productLineId string, apiType
  string, apiVersion string, instanceUuid? string, licenseProductName? string, licenseProductVersion? string
ServiceContent < DynamicData: rootFolder &Folder, propertyCollector &PropertyCollector, viewManager?
  &ViewManager, about AboutInfo, setting? &OptionManager, userDirectory? &UserDirectory, sessionManager?
  &SessionManager, authorizationManager? &AuthorizationManager, serviceManager? &ServiceManager,
  perfManager? &PerformanceManager, scheduledTaskManager? &ScheduledTaskManager, alarmManager?
  &AlarmManager, eventManager? &EventManager, taskManager? &TaskManager, extensionManager?
  &ExtensionManager, customizationSpecManager? &CustomizationSpecManager, guestCustomizationManager?
  &VirtualMachineGuestCustomizationManager, customFieldsManager? &CustomFieldsManager, accountManager?
  &HostLocalAccountManager, diagnosticManager? &DiagnosticManager, licenseManager? &LicenseManager,
  searchIndex? &SearchIndex, fileManager? &FileManager, datastoreNamespaceManager?
  &DatastoreNamespaceManager, virtualDiskManager? &VirtualDiskManager, virtualizationManager?
  &VirtualizationManager, snmpSystem? &HostSnmpSystem, vmProvisioningChecker?
  &VirtualMachineProvisioningChecker, vmCompatibilityChecker? &VirtualMachineCompatibilityChecker,
  ovfManager? &OvfManager, ipPoolManager? &IpPoolManager, dvSwitchManager? &DistributedVirtualSwitchManager,
  hostProfileManager? &HostProfileManager, clusterProfileManager? &ClusterProfileManager, complianceManager?
  &ProfileComplianceManager, localizationManager? &LocalizationManager, storageResourceManager?
  &StorageResourceManager, guestOperationsManager? &GuestOperationsManager, overheadMemoryManager?
  &OverheadMemoryManager, certificateManager? &CertificateManager, ioFilterManager? &IoFilterManager,
  vStorageObjectManager? &VStorageObjectManagerBase, hostSpecManager? &HostSpecificationManager,
  cryptoManager? &CryptoManager, healthUpdateManager? &HealthUpdateManager, failoverClusterConfigurator?
  &FailoverClusterConfigurator, failoverClusterManager? &FailoverClusterManager, tenantManager?
  &TenantTenantManager, storageQueryManager? &StorageQueryManager
UserSession < DynamicData: key string, userName string, fullName string, loginTime dateTime, lastActiveTime
  dateTime, locale string, messageLocale string, extensionSession boolean, ipAddress string, userAgent
  string, callCount long
SessionManagerLocalTicket < DynamicData: userName string, passwordFilePath string
PropertySpec < DynamicData: type TypeName, all? boolean, pathSet? PropertyPath[]
SelectionSpec < DynamicData: name? string
TraversalSpec < SelectionSpec: type TypeName, path PropertyPath, skip? boolean, selectSet? SelectionSpec[]
ObjectSpec < DynamicData: obj &ManagedObject, skip? boolean, selectSet? SelectionSpec[]
PropertyFilterSpec < DynamicData: propSet PropertySpec[], objectSet ObjectSpec[],
  reportMissingObjectsInResults? boolean
RetrieveOptions < DynamicData: maxObjects? int
RetrieveResult < DynamicData: token? string, objects ObjectContent[]
ObjectContent < DynamicData: obj &ManagedObject, propSet? DynamicProperty[], missingSet? MissingProperty[]
MissingProperty < DynamicData: path PropertyPath, fault LocalizedMethodFault
WaitOptions < DynamicData: maxWaitSeconds? int, maxObjectUpdates? int
PropertyFilterUpdate < DynamicData: filter &PropertyFilter, objectSet? ObjectUpdate[], missingSet?
  MissingObject[]
UpdateSet < DynamicData: version string, filterSet? PropertyFilterUpdate[], truncated? boolean
ObjectUpdate < DynamicData: kind ObjectUpdateKind, obj &ManagedObject, changeSet? PropertyChange[],
  missingSet? MissingProperty[]
PropertyChange < DynamicData: name PropertyPath, op PropertyChangeOp, val? anyType
MissingObject < DynamicData: obj &ManagedObject, fault LocalizedMethodFault
LocalizedMethodFault < DynamicData: fault MethodFault, localizedMessage? string
LocalizableMessage < DynamicData: key string, arg? KeyAnyValue[], message? string
KeyAnyValue < DynamicData: key string, value anyType
Description < DynamicData: label string, summary string
ElementDescription < Description: key string
ExtendedElementDescription < ElementDescription: messageCatalogKeyPrefix string, messageArg? KeyAnyValue[]
TypeDescription < Description: key TypeName
OptionValue < DynamicData: key string, value? anyType
KeyValue < DynamicData: key string, value string
TaskInfo < DynamicData: key string, task &Task, description? LocalizableMessage, name? MethodName,
  descriptionId string, entity? &ManagedEntity, entityName? string, locked? &ManagedEntity[], state
  TaskInfoState, cancelled boolean, cancelable boolean, error? LocalizedMethodFault, result? anyType, progress? int,
  progressDetails? KeyAnyValue[], reason TaskReason, queueTime dateTime, startTime? dateTime, completeTime?
  dateTime, eventChainId int, changeTag? string, parentTaskKey? string, rootTaskKey? string, activationId?
  string
TaskReason < DynamicData
TaskReasonUser < TaskReason: userName string
TaskDescription < DynamicData: methodInfo ElementDescription[], state ElementDescription[], reason
  TypeDescription[]
Event < DynamicData: key int, chainId int, createdTime dateTime, userName string, datacenter?
  DatacenterEventArgument, computeResource? ComputeResourceEventArgument, host? HostEventArgument, vm?
  VmEventArgument, ds? DatastoreEventArgument, net? NetworkEventArgument, dvs? DvsEventArgument,
  fullFormattedMessage? string, changeTag? string
EntityEventArgument < EventArgument: name string
DatacenterEventArgument < EntityEventArgument: datacenter &Datacenter
ComputeResourceEventArgument < EntityEventArgument: computeResource &ComputeResource
HostEventArgument < EntityEventArgument: host &HostSystem
VmEventArgument < EntityEventArgument: vm &VirtualMachine
DatastoreEventArgument < EntityEventArgument: datastore &Datastore
NetworkEventArgument < EntityEventArgument: network &Network
DvsEventArgument < EntityEventArgument: dvs &DistributedVirtualSwitch
EventArgument < DynamicData
GeneralEvent < Event: message string
GeneralUserEvent < GeneralEvent: entity? ManagedEntityEventArgument
EventEx < Event: eventTypeId string, severity? string, message? string, arguments? KeyAnyValue[], objectId?
  string, objectType? TypeName, objectName? string, fault? LocalizedMethodFault
EventFilterSpec < DynamicData: entity? EventFilterSpecByEntity, time? EventFilterSpecByTime, userName?
  EventFilterSpecByUsername, eventChainId? int, alarm? &Alarm, scheduledTask? &ScheduledTask,
  disableFullMessage? boolean, category? string[], type? TypeName[], tag? string[], eventTypeId? string[],
  maxCount? int
EventFilterSpecByEntity < DynamicData: entity &ManagedEntity, recursion EventFilterSpecRecursionOption
EventFilterSpecByTime < DynamicData: beginTime? dateTime, endTime? dateTime
EventFilterSpecByUsername < DynamicData: systemUser boolean, userList? string[]
HostEvent < Event
EnteringMaintenanceModeEvent < HostEvent
EnteredMaintenanceModeEvent < HostEvent
ExitMaintenanceModeEvent < HostEvent
CanceledHostOperationEvent < HostEvent
EventDescription < DynamicData: category ElementDescription[], eventInfo EventDescriptionEventDetail[],
  enumeratedTypes? EnumDescription[]
EventDescriptionEventDetail < DynamicData: key TypeName, description? string, category string,
  formatOnDatacenter string, formatOnComputeResource string, formatOnHost string, formatOnVm string,
  fullFormat string, longDescription? string
VmEvent < Event: template boolean
VmPoweredOnEvent < VmEvent
VmPoweredOffEvent < VmEvent
VmMigratedEvent < VmEvent: sourceHost HostEventArgument, sourceDatacenter? DatacenterEventArgument,
  sourceDatastore? DatastoreEventArgument
DrsVmMigratedEvent < VmMigratedEvent
VmRestartedOnAlternateHostEvent < VmPoweredOnEvent: sourceHost HostEventArgument
HostConnectionLostEvent < HostEvent
HostConnectedEvent < HostEvent
ClusterEvent < Event
DasHostFailedEvent < ClusterEvent: failedHost HostEventArgument
VmRemovedEvent < VmEvent
VmCreatedEvent < VmEvent
VmReconfiguredEvent < VmEvent: configSpec VirtualMachineConfigSpec, configChanges? ChangesInfoEventArgument
VmClonedEvent < VmCloneEvent: sourceVm VmEventArgument
VmCloneEvent < VmEvent
VmDeployedEvent < VmEvent: srcTemplate VmEventArgument
VmResettingEvent < VmEvent
PerfCounterInfo < DynamicData: key int, nameInfo ElementDescription, groupInfo ElementDescription, unitInfo
  ElementDescription, rollupType PerfSummaryType, statsType PerfStatsType, level? int, perDeviceLevel? int,
  associatedCounterId? int[]
PerfMetricId < DynamicData: counterId int, instance string
PerfQuerySpec < DynamicData: entity &ManagedObject, startTime? dateTime, endTime? dateTime, maxSample? int,
  metricId? PerfMetricId[], intervalId? int, format? string
PerfEntityMetricBase < DynamicData: entity &ManagedObject
PerfEntityMetric < PerfEntityMetricBase: sampleInfo? PerfSampleInfo[], value? PerfMetricSeries[]
PerfSampleInfo < DynamicData: timestamp dateTime, interval int
PerfMetricSeries < DynamicData: id PerfMetricId
PerfMetricIntSeries < PerfMetricSeries: value? long[]
PerfProviderSummary < DynamicData: entity &ManagedObject, currentSupported boolean, summarySupported
  boolean, refreshRate? int
PerfInterval < DynamicData: key int, samplingPeriod int, name string, length int, level? int, enabled
  boolean
PerfEntityMetricCSV < PerfEntityMetricBase: sampleInfoCSV string, value? PerfMetricSeriesCSV[]
PerfMetricSeriesCSV < PerfMetricSeries: value? string
PerformanceDescription < DynamicData: counterType ElementDescription[], statsType ElementDescription[]
CustomFieldDef < DynamicData: key int, name string, type TypeName, managedObjectType? TypeName,
  fieldDefPrivileges? PrivilegePolicyDef, fieldInstancePrivileges? PrivilegePolicyDef
CustomFieldValue < DynamicData: key int
CustomFieldStringValue < CustomFieldValue: value string
PrivilegePolicyDef < DynamicData: createPrivilege string, readPrivilege string, updatePrivilege string,
  deletePrivilege string
Extension < DynamicData: description Description, key string, company? string, type? string, version string,
  subjectName? string, server? ExtensionServerInfo[], client? ExtensionClientInfo[], taskList?
  ExtensionTaskTypeInfo[], eventList? ExtensionEventTypeInfo[], faultList? ExtensionFaultTypeInfo[],
  privilegeList? ExtensionPrivilegeInfo[], resourceList? ExtensionResourceInfo[], lastHeartbeatTime
  dateTime, healthInfo? ExtensionHealthInfo, ovfConsumerInfo? ExtensionOvfConsumerInfo, extendedProductInfo?
  ExtExtendedProductInfo, managedEntityInfo? ExtManagedEntityInfo[], shownInSolutionManager? boolean,
  solutionManagerInfo? ExtSolutionManagerInfo
ExtensionServerInfo < DynamicData: url string, description Description, company string, type string,
  adminEmail string[], serverThumbprint? string, serverCertificate? string
ExtensionClientInfo < DynamicData: version string, description Description, company string, type string, url
  string
ExtensionTaskTypeInfo < DynamicData: taskID string
ExtensionEventTypeInfo < DynamicData: eventID string, eventTypeSchema? string
ExtensionFaultTypeInfo < DynamicData: faultID string
ExtensionPrivilegeInfo < DynamicData: privID string, privGroupName string
ExtensionResourceInfo < DynamicData: locale string, module string, data KeyValue[]
ExtensionHealthInfo < DynamicData: url string
ExtensionOvfConsumerInfo < DynamicData: callbackUrl string, sectionType string[]
AuthorizationPrivilege < DynamicData: privId string, onParent boolean, name string, privGroupName string
AuthorizationRole < DynamicData: roleId int, system boolean, name string, info Description, privilege?
  string[]
AuthorizationDescription < DynamicData: privilege ElementDescription[], privilegeGroup ElementDescription[]
EntityPrivilege < DynamicData: entity &ManagedEntity, privAvailability PrivilegeAvailability[]
PrivilegeAvailability < DynamicData: privId string, isGranted boolean
UserPrivilegeResult < DynamicData: entity &ManagedEntity, privileges? string[]
Permission < DynamicData: entity? &ManagedEntity, principal string, group boolean, roleId int, propagate
  boolean
Tag < DynamicData: key string
ManagedEntityEventArgument < EntityEventArgument: entity &ManagedEntity
Capability < DynamicData: provisioningSupported boolean, multiHostSupported boolean,
  userShellAccessSupported boolean, supportedEVCMode? EVCMode[], supportedEVCGraphicsMode? FeatureEVCMode[],
  networkBackupAndRestoreSupported? boolean, ftDrsWithoutEvcSupported? boolean, hciWorkflowSupported?
  boolean, computePolicyVersion? int, hostSeedingSupported? boolean, hadcsSupported? boolean,
  configMgmtSupported? boolean
VirtualMachineBootOptions < DynamicData: bootDelay? long, enterBIOSSetup? boolean, efiSecureBootEnabled?
  boolean, bootRetryEnabled? boolean, bootRetryDelay? long, bootOrder?
  VirtualMachineBootOptionsBootableDevice[], networkBootProtocol? string
`;
