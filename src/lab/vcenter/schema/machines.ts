/** Data types of virtual machines: configuration, devices, guest, clone and relocation. The notation is that of notation.ts. */

export const MACHINE_TYPES = `
VirtualMachineCapability < DynamicData: snapshotOperationsSupported boolean, multipleSnapshotsSupported
  boolean, snapshotConfigSupported boolean, poweredOffSnapshotsSupported boolean, memorySnapshotsSupported
  boolean, revertToSnapshotSupported boolean, quiescedSnapshotsSupported boolean, disableSnapshotsSupported
  boolean, lockSnapshotsSupported boolean, consolePreferencesSupported boolean, cpuFeatureMaskSupported
  boolean, s1AcpiManagementSupported boolean, settingScreenResolutionSupported boolean,
  toolsAutoUpdateSupported boolean, vmNpivWwnSupported boolean, npivWwnOnNonRdmVmSupported boolean,
  vmNpivWwnDisableSupported boolean, vmNpivWwnUpdateSupported boolean, swapPlacementSupported boolean,
  toolsSyncTimeSupported boolean, virtualMmuUsageSupported boolean, diskSharesSupported boolean,
  bootOptionsSupported boolean, bootRetryOptionsSupported boolean, settingVideoRamSizeSupported boolean,
  settingDisplayTopologySupported boolean, recordReplaySupported boolean, changeTrackingSupported boolean,
  multipleCoresPerSocketSupported boolean, hostBasedReplicationSupported boolean, guestAutoLockSupported
  boolean, memoryReservationLockSupported boolean, featureRequirementSupported boolean,
  poweredOnMonitorTypeChangeSupported boolean, seSparseDiskSupported boolean, nestedHVSupported boolean,
  vPMCSupported boolean, secureBootSupported? boolean, perVmEvcSupported? boolean, virtualMmuUsageIgnored?
  boolean, virtualExecUsageIgnored? boolean, diskOnlySnapshotOnSuspendedVMSupported? boolean,
  suspendToMemorySupported? boolean, toolsSyncTimeAllowSupported? boolean, sevSupported? boolean,
  pmemFailoverSupported? boolean, requireSgxAttestationSupported? boolean, changeModeDisksSupported?
  boolean, vendorDeviceGroupSupported? boolean
VirtualMachineConfigInfo < DynamicData: changeVersion string, modified dateTime, name string, guestFullName
  string, version string, uuid string, createDate? dateTime, instanceUuid? string, npivNodeWorldWideName?
  long[], npivPortWorldWideName? long[], npivWorldWideNameType? string, npivDesiredNodeWwns? short,
  npivDesiredPortWwns? short, npivTemporaryDisabled? boolean, npivOnNonRdmDisks? boolean, locationId?
  string, template boolean, guestId string, alternateGuestName string, annotation? string, files
  VirtualMachineFileInfo, tools? ToolsConfigInfo, flags VirtualMachineFlagInfo, consolePreferences?
  VirtualMachineConsolePreferences, defaultPowerOps VirtualMachineDefaultPowerOpInfo, rebootPowerOff?
  boolean, hardware VirtualHardware, cpuAllocation? ResourceAllocationInfo, memoryAllocation?
  ResourceAllocationInfo, latencySensitivity? LatencySensitivity, memoryHotAddEnabled? boolean,
  cpuHotAddEnabled? boolean, cpuHotRemoveEnabled? boolean, hotPlugMemoryLimit? long,
  hotPlugMemoryIncrementSize? long, cpuAffinity? VirtualMachineAffinityInfo, memoryAffinity?
  VirtualMachineAffinityInfo, networkShaper? VirtualMachineNetworkShaperInfo, extraConfig? OptionValue[],
  cpuFeatureMask? HostCpuIdInfo[], datastoreUrl? VirtualMachineConfigInfoDatastoreUrlPair[], swapPlacement?
  string, bootOptions? VirtualMachineBootOptions, ftInfo? FaultToleranceConfigInfo, repConfig?
  ReplicationConfigSpec, vAppConfig? VmConfigInfo, vAssertsEnabled? boolean, changeTrackingEnabled? boolean,
  firmware? string, maxMksConnections? int, guestAutoLockEnabled? boolean, managedBy? ManagedByInfo,
  memoryReservationLockedToMax? boolean, initialOverhead? VirtualMachineConfigInfoOverheadInfo,
  nestedHVEnabled? boolean, vPMCEnabled? boolean, scheduledHardwareUpgradeInfo?
  ScheduledHardwareUpgradeInfo, forkConfigInfo? VirtualMachineForkConfigInfo, vFlashCacheReservation? long,
  vmxConfigChecksum? base64Binary, messageBusTunnelEnabled? boolean, vmStorageObjectId? string,
  swapStorageObjectId? string, keyId? CryptoKeyId, guestIntegrityInfo? VirtualMachineGuestIntegrityInfo,
  migrateEncryption? string, ftEncryptionMode? string, sevEnabled? boolean, numaInfo?
  VirtualMachineVirtualNumaInfo, pmemFailoverEnabled? boolean, vmxStatsCollectionEnabled? boolean,
  vmOpNotificationToAppEnabled? boolean, vmOpNotificationTimeout? long, deviceSwap?
  VirtualMachineVirtualDeviceSwap, pmem? VirtualMachineVirtualPMem, deviceGroups?
  VirtualMachineVirtualDeviceGroups, fixedPassthruHotPlugEnabled? boolean
VirtualMachineConfigSpec < DynamicData: changeVersion? string, name? string, version? string, createDate?
  dateTime, uuid? string, instanceUuid? string, npivNodeWorldWideName? long[], npivPortWorldWideName?
  long[], npivWorldWideNameType? string, npivDesiredNodeWwns? short, npivDesiredPortWwns? short,
  npivTemporaryDisabled? boolean, npivOnNonRdmDisks? boolean, npivWorldWideNameOp? string, locationId?
  string, guestId? string, alternateGuestName? string, annotation? string, files? VirtualMachineFileInfo,
  tools? ToolsConfigInfo, flags? VirtualMachineFlagInfo, consolePreferences?
  VirtualMachineConsolePreferences, powerOpInfo? VirtualMachineDefaultPowerOpInfo, rebootPowerOff? boolean,
  numCPUs? int, numCoresPerSocket? int, memoryMB? long, memoryHotAddEnabled? boolean, cpuHotAddEnabled?
  boolean, cpuHotRemoveEnabled? boolean, virtualICH7MPresent? boolean, virtualSMCPresent? boolean,
  deviceChange? VirtualDeviceConfigSpec[], cpuAllocation? ResourceAllocationInfo, memoryAllocation?
  ResourceAllocationInfo, latencySensitivity? LatencySensitivity, cpuAffinity? VirtualMachineAffinityInfo,
  memoryAffinity? VirtualMachineAffinityInfo, networkShaper? VirtualMachineNetworkShaperInfo,
  cpuFeatureMask? VirtualMachineCpuIdInfoSpec[], extraConfig? OptionValue[], swapPlacement? string,
  bootOptions? VirtualMachineBootOptions, vAppConfig? VmConfigSpec, ftInfo? FaultToleranceConfigInfo,
  repConfig? ReplicationConfigSpec, vAppConfigRemoved? boolean, vAssertsEnabled? boolean,
  changeTrackingEnabled? boolean, firmware? string, maxMksConnections? int, guestAutoLockEnabled? boolean,
  managedBy? ManagedByInfo, memoryReservationLockedToMax? boolean, nestedHVEnabled? boolean, vPMCEnabled?
  boolean, scheduledHardwareUpgradeInfo? ScheduledHardwareUpgradeInfo, vmProfile?
  VirtualMachineProfileSpec[], messageBusTunnelEnabled? boolean, crypto? CryptoSpec, migrateEncryption?
  string, ftEncryptionMode? string, sevEnabled? boolean, virtualNuma? VirtualMachineVirtualNuma,
  motherboardLayout? string, pmemFailoverEnabled? boolean, vmxStatsCollectionEnabled? boolean,
  vmOpNotificationToAppEnabled? boolean, vmOpNotificationTimeout? long, deviceSwap?
  VirtualMachineVirtualDeviceSwap, simultaneousThreads? int, pmem? VirtualMachineVirtualPMem, deviceGroups?
  VirtualMachineVirtualDeviceGroups, fixedPassthruHotPlugEnabled? boolean
VirtualMachineFileInfo < DynamicData: vmPathName? string, snapshotDirectory? string, suspendDirectory?
  string, logDirectory? string, ftMetadataDirectory? string
VirtualHardware < DynamicData: numCPU int, numCoresPerSocket? int, autoCoresPerSocket? boolean, memoryMB
  int, virtualICH7MPresent? boolean, virtualSMCPresent? boolean, device? VirtualDevice[], motherboardLayout?
  string, simultaneousThreads? int
VirtualMachineFlagInfo < DynamicData: disableAcceleration? boolean, enableLogging? boolean, useToe? boolean,
  runWithDebugInfo? boolean, monitorType? string, htSharing? string, snapshotDisabled? boolean,
  snapshotLocked? boolean, diskUuidEnabled? boolean, virtualMmuUsage? string, virtualExecUsage? string,
  snapshotPowerOffBehavior? string, recordReplayEnabled? boolean, faultToleranceType? string,
  cbrcCacheEnabled? boolean, vvtdEnabled? boolean, vbsEnabled? boolean
VirtualMachineDefaultPowerOpInfo < DynamicData: powerOffType? string, suspendType? string, resetType?
  string, defaultPowerOffType? string, defaultSuspendType? string, defaultResetType? string, standbyAction?
  string
ManagedByInfo < DynamicData: extensionKey string, type string
VirtualMachineConfigSummary < DynamicData: name string, template boolean, vmPathName string, memorySizeMB?
  int, cpuReservation? int, memoryReservation? int, numCpu? int, numEthernetCards? int, numVirtualDisks?
  int, uuid? string, instanceUuid? string, guestId? string, guestFullName? string, annotation? string,
  product? VAppProductInfo, installBootRequired? boolean, ftInfo? FaultToleranceConfigInfo, managedBy?
  ManagedByInfo, tpmPresent? boolean, numVmiopBackings? int, hwVersion? string
VirtualMachineRuntimeInfo < DynamicData: device? VirtualMachineDeviceRuntimeInfo[], host? &HostSystem,
  connectionState VirtualMachineConnectionState, powerState VirtualMachinePowerState, vmFailoverInProgress?
  boolean, faultToleranceState VirtualMachineFaultToleranceState, dasVmProtection?
  VirtualMachineRuntimeInfoDasProtectionState, toolsInstallerMounted boolean, suspendTime? dateTime,
  bootTime? dateTime, suspendInterval? long, question? VirtualMachineQuestionInfo, memoryOverhead? long,
  maxCpuUsage? int, maxMemoryUsage? int, numMksConnections int, recordReplayState
  VirtualMachineRecordReplayState, cleanPowerOff? boolean, needSecondaryReason? string, onlineStandby
  boolean, minRequiredEVCModeKey? string, consolidationNeeded boolean, offlineFeatureRequirement?
  VirtualMachineFeatureRequirement[], featureRequirement? VirtualMachineFeatureRequirement[], featureMask?
  HostFeatureMask[], vFlashCacheAllocation? long, paused? boolean, snapshotInBackground? boolean,
  quiescedForkParent? boolean, instantCloneFrozen? boolean, cryptoState? string, suspendedToMemory? boolean,
  opNotificationTimeout? long, iommuActive? boolean
VirtualMachineSummary < DynamicData: vm? &VirtualMachine, runtime VirtualMachineRuntimeInfo, guest?
  VirtualMachineGuestSummary, config VirtualMachineConfigSummary, storage? VirtualMachineStorageSummary,
  quickStats VirtualMachineQuickStats, overallStatus ManagedEntityStatus, customValue? CustomFieldValue[]
VirtualMachineGuestSummary < DynamicData: guestId? string, guestFullName? string, toolsStatus?
  VirtualMachineToolsStatus, toolsVersionStatus? string, toolsVersionStatus2? string, toolsRunningStatus?
  string, hostName? string, ipAddress? string, hwVersion? string
VirtualMachineQuickStats < DynamicData: overallCpuUsage? int, overallCpuDemand? int, guestMemoryUsage? int,
  hostMemoryUsage? int, guestHeartbeatStatus ManagedEntityStatus, distributedCpuEntitlement? int,
  distributedMemoryEntitlement? int, staticCpuEntitlement? int, staticMemoryEntitlement? int, privateMemory?
  int, sharedMemory? int, swappedMemory? int, balloonedMemory? int, consumedOverheadMemory? int,
  ftLogBandwidth? int, ftSecondaryLatency? int, ftLatencyStatus? ManagedEntityStatus, compressedMemory?
  long, uptimeSeconds? int, ssdSwappedMemory? long, activeMemory? int, memoryTierStats?
  VirtualMachineQuickStatsMemoryTierStats[]
VirtualMachineStorageSummary < DynamicData: committed long, uncommitted long, unshared long, timestamp
  dateTime
VirtualMachineDeviceRuntimeInfo < DynamicData: runtimeState
  VirtualMachineDeviceRuntimeInfoDeviceRuntimeState, key int
VirtualMachineConfigInfoDatastoreUrlPair < DynamicData: name string, url string
ToolsConfigInfo < DynamicData: toolsVersion? int, toolsInstallType? string, afterPowerOn? boolean,
  afterResume? boolean, beforeGuestStandby? boolean, beforeGuestShutdown? boolean, beforeGuestReboot?
  boolean, toolsUpgradePolicy? string, pendingCustomization? string, customizationKeyId? CryptoKeyId,
  syncTimeWithHostAllowed? boolean, syncTimeWithHost? boolean, lastInstallInfo?
  ToolsConfigInfoToolsLastInstallInfo
GuestInfo < DynamicData: toolsStatus? VirtualMachineToolsStatus, toolsVersionStatus? string,
  toolsVersionStatus2? string, toolsRunningStatus? string, toolsVersion? string, toolsInstallType? string,
  guestId? string, guestFamily? string, guestFullName? string, guestDetailedData? string, hostName? string,
  ipAddress? string, net? GuestNicInfo[], ipStack? GuestStackInfo[], disk? GuestDiskInfo[], screen?
  GuestScreenInfo, guestState string, appHeartbeatStatus? string, guestKernelCrashed? boolean, appState?
  string, guestOperationsReady? boolean, interactiveGuestOperationsReady? boolean,
  guestStateChangeSupported? boolean, generationInfo? GuestInfoNamespaceGenerationInfo[], hwVersion? string,
  customizationInfo? GuestInfoCustomizationInfo
GuestNicInfo < DynamicData: network? string, ipAddress? string[], macAddress? string, connected boolean,
  deviceConfigId int, dnsConfig? NetDnsConfigInfo, ipConfig? NetIpConfigInfo, netBIOSConfig?
  NetBIOSConfigInfo
NetIpConfigInfo < DynamicData: ipAddress? NetIpConfigInfoIpAddress[], dhcp? NetDhcpConfigInfo,
  autoConfigurationEnabled? boolean
NetIpConfigInfoIpAddress < DynamicData: ipAddress string, prefixLength int, origin? string, state? string,
  lifetime? dateTime
GuestStackInfo < DynamicData: dnsConfig? NetDnsConfigInfo, ipRouteConfig? NetIpRouteConfigInfo,
  ipStackConfig? KeyValue[], dhcpConfig? NetDhcpConfigInfo
GuestDiskInfo < DynamicData: diskPath? string, capacity? long, freeSpace? long
VirtualDevice < DynamicData: key int, deviceInfo? Description, backing? VirtualDeviceBackingInfo,
  connectable? VirtualDeviceConnectInfo, slotInfo? VirtualDeviceBusSlotInfo, controllerKey? int, unitNumber?
  int, numaNode? int, deviceGroupInfo? VirtualDeviceDeviceGroupInfo
VirtualDeviceConfigSpec < DynamicData: operation? VirtualDeviceConfigSpecOperation, fileOperation?
  VirtualDeviceConfigSpecFileOperation, device VirtualDevice, profile? VirtualMachineProfileSpec[], backing?
  VirtualDeviceConfigSpecBackingSpec, filterSpec? VirtualMachineBaseIndependentFilterSpec[], changeMode?
  string
VirtualDeviceConnectInfo < DynamicData: migrateConnect? string, startConnected boolean, allowGuestControl
  boolean, connected boolean, status? string
VirtualDeviceBackingInfo < DynamicData
VirtualDeviceFileBackingInfo < VirtualDeviceBackingInfo: fileName string, datastore? &Datastore,
  backingObjectId? string
VirtualDeviceDeviceBackingInfo < VirtualDeviceBackingInfo: deviceName string, useAutoDetect? boolean
VirtualDeviceRemoteDeviceBackingInfo < VirtualDeviceBackingInfo: deviceName string, useAutoDetect? boolean
VirtualController < VirtualDevice: busNumber int, device? int[]
VirtualSCSIController < VirtualController: hotAddRemove? boolean, sharedBus VirtualSCSISharing,
  scsiCtlrUnitNumber? int
ParaVirtualSCSIController < VirtualSCSIController
VirtualLsiLogicController < VirtualSCSIController
VirtualIDEController < VirtualController
VirtualPCIController < VirtualController
VirtualAHCIController < VirtualSATAController
VirtualSATAController < VirtualController
VirtualEthernetCard < VirtualDevice: addressType? string, macAddress? string, wakeOnLanEnabled? boolean,
  resourceAllocation? VirtualEthernetCardResourceAllocation, externalId? string, uptCompatibilityEnabled?
  boolean
VirtualE1000 < VirtualEthernetCard
VirtualE1000e < VirtualEthernetCard
VirtualVmxnet < VirtualEthernetCard
VirtualVmxnet3 < VirtualVmxnet: uptv2Enabled? boolean
VirtualEthernetCardNetworkBackingInfo < VirtualDeviceDeviceBackingInfo: network? &Network,
  inPassthroughMode? boolean
VirtualEthernetCardDistributedVirtualPortBackingInfo < VirtualDeviceBackingInfo: port
  DistributedVirtualSwitchPortConnection
VirtualEthernetCardResourceAllocation < DynamicData: reservation? long, share SharesInfo, limit? long
VirtualDisk < VirtualDevice: capacityInKB long, capacityInBytes? long, shares? SharesInfo,
  storageIOAllocation? StorageIOAllocationInfo, diskObjectId? string, vFlashCacheConfigInfo?
  VirtualDiskVFlashCacheConfigInfo, iofilter? string[], vDiskId? ID, vDiskVersion? int,
  nativeUnmanagedLinkedClone? boolean, independentFilters? VirtualMachineBaseIndependentFilterSpec[],
  guestReadOnly? boolean
VirtualDiskFlatVer2BackingInfo < VirtualDeviceFileBackingInfo: diskMode string, split? boolean,
  writeThrough? boolean, thinProvisioned? boolean, eagerlyScrub? boolean, uuid? string, contentId? string,
  changeId? string, parent? VirtualDiskFlatVer2BackingInfo, deltaDiskFormat? string, digestEnabled? boolean,
  deltaGrainSize? int, deltaDiskFormatVariant? string, sharing? string, keyId? CryptoKeyId
VirtualDiskSparseVer2BackingInfo < VirtualDeviceFileBackingInfo: diskMode string, split? boolean,
  writeThrough? boolean, spaceUsedInKB? long, uuid? string, contentId? string, changeId? string, parent?
  VirtualDiskSparseVer2BackingInfo, keyId? CryptoKeyId
StorageIOAllocationInfo < DynamicData: limit? long, shares? SharesInfo, reservation? int
VirtualCdrom < VirtualDevice
VirtualCdromRemotePassthroughBackingInfo < VirtualDeviceRemoteDeviceBackingInfo: exclusive boolean
VirtualCdromIsoBackingInfo < VirtualDeviceFileBackingInfo
VirtualCdromAtapiBackingInfo < VirtualDeviceDeviceBackingInfo
VirtualFloppy < VirtualDevice
VirtualFloppyRemoteDeviceBackingInfo < VirtualDeviceRemoteDeviceBackingInfo
VirtualMachineVideoCard < VirtualDevice: videoRamSizeInKB? long, numDisplays? int, useAutoDetect? boolean,
  enable3DSupport? boolean, use3dRenderer? string, graphicsMemorySizeInKB? long
VmConfigInfo < DynamicData: product? VAppProductInfo[], property? VAppPropertyInfo[], ipAssignment
  VAppIPAssignmentInfo, eula? string[], ovfSection? VAppOvfSectionInfo[], ovfEnvironmentTransport? string[],
  installBootRequired boolean, installBootStopDelay int
VmConfigSpec < DynamicData: product? VAppProductSpec[], property? VAppPropertySpec[], ipAssignment?
  VAppIPAssignmentInfo, eula? string[], ovfSection? VAppOvfSectionSpec[], ovfEnvironmentTransport? string[],
  installBootRequired? boolean, installBootStopDelay? int
VAppProductInfo < DynamicData: key int, classId? string, instanceId? string, name? string, vendor? string,
  version? string, fullVersion? string, vendorUrl? string, productUrl? string, appUrl? string
VAppProductSpec < ArrayUpdateSpec: info? VAppProductInfo
VAppPropertyInfo < DynamicData: key int, classId? string, instanceId? string, id? string, category? string,
  label? string, type? string, typeReference? string, userConfigurable? boolean, defaultValue? string,
  value? string, description? string
VAppPropertySpec < ArrayUpdateSpec: info? VAppPropertyInfo
VAppIPAssignmentInfo < DynamicData: supportedAllocationScheme? string[], ipAllocationPolicy? string,
  supportedIpProtocol? string[], ipProtocol? string
VAppOvfSectionInfo < DynamicData: key? int, namespace? string, type? string, atEnvelopeLevel? boolean,
  contents? string
VAppOvfSectionSpec < ArrayUpdateSpec: info? VAppOvfSectionInfo
VAppEntityConfigInfo < DynamicData: key? &ManagedEntity, tag? string, startOrder? int, startDelay? int,
  waitingForGuest? boolean, startAction? string, stopDelay? int, stopAction? string, destroyWithParent?
  boolean
VirtualMachineCloneSpec < DynamicData: location VirtualMachineRelocateSpec, template boolean, config?
  VirtualMachineConfigSpec, customization? CustomizationSpec, powerOn boolean, snapshot?
  &VirtualMachineSnapshot, memory? boolean, tpmProvisionPolicy? string
VirtualMachineRelocateSpec < DynamicData: service? ServiceLocator, folder? &Folder, datastore? &Datastore,
  diskMoveType? string, pool? &ResourcePool, host? &HostSystem, disk?
  VirtualMachineRelocateSpecDiskLocator[], transform? VirtualMachineRelocateTransformation, deviceChange?
  VirtualDeviceConfigSpec[], profile? VirtualMachineProfileSpec[]
VirtualMachineRelocateSpecDiskLocator < DynamicData: diskId int, datastore &Datastore, diskMoveType? string,
  diskBackingInfo? VirtualDeviceBackingInfo, profile? VirtualMachineProfileSpec[], filterSpec?
  VirtualMachineBaseIndependentFilterSpec[]
ServiceLocator < DynamicData: instanceUuid string, url string, credential ServiceLocatorCredential,
  sslThumbprint? string
VirtualMachineProfileSpec < DynamicData
VirtualMachineDefinedProfileSpec < VirtualMachineProfileSpec: profileId string, replicationSpec?
  ReplicationSpec, profileData? VirtualMachineProfileRawData, profileParams? KeyValue[]
VirtualMachineAffinityInfo < DynamicData: affinitySet? int[]
LatencySensitivity < DynamicData: level LatencySensitivitySensitivityLevel, sensitivity? int
`;
