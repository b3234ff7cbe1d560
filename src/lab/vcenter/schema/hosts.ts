/** Data types of hosts, clusters, resource pools and datastores. The notation is that of notation.ts. */

export const HOST_TYPES = `
ComputeResourceConfigInfo < DynamicData: vmSwapPlacement string, spbmEnabled? boolean,
  defaultHardwareVersionKey? string, maximumHardwareVersionKey? string
ComputeResourceConfigSpec < DynamicData: vmSwapPlacement? string, spbmEnabled? boolean,
  defaultHardwareVersionKey? string, maximumHardwareVersionKey? string, enableConfigManager? boolean
ComputeResourceSummary < DynamicData: totalCpu int, totalMemory long, numCpuCores short, numCpuThreads
  short, effectiveCpu int, effectiveMemory long, numHosts int, numEffectiveHosts int, overallStatus
  ManagedEntityStatus
ClusterComputeResourceSummary < ComputeResourceSummary: currentFailoverLevel int, admissionControlInfo?
  ClusterDasAdmissionControlInfo, numVmotions int, targetBalance? int, currentBalance? int, usageSummary?
  ClusterUsageSummary, currentEVCModeKey? string, currentEVCGraphicsModeKey? string, dasData?
  ClusterDasData, clusterMaintenanceModeStatus? string, vcsHealthStatus? string, vcsSlots?
  ClusterComputeResourceVcsSlots[]
ClusterConfigInfoEx < ComputeResourceConfigInfo: systemVMsConfig? ClusterSystemVMsConfigInfo, dasConfig
  ClusterDasConfigInfo, dasVmConfig? ClusterDasVmConfigInfo[], drsConfig ClusterDrsConfigInfo, drsVmConfig?
  ClusterDrsVmConfigInfo[], rule? ClusterRuleInfo[], orchestration? ClusterOrchestrationInfo,
  vmOrchestration? ClusterVmOrchestrationInfo[], dpmConfigInfo? ClusterDpmConfigInfo, dpmHostConfig?
  ClusterDpmHostConfigInfo[], vsanConfigInfo? VsanClusterConfigInfo, vsanHostConfig? VsanHostConfigInfo[],
  group? ClusterGroupInfo[], infraUpdateHaConfig? ClusterInfraUpdateHaConfigInfo, proactiveDrsConfig?
  ClusterProactiveDrsConfigInfo
ClusterConfigInfo < DynamicData: dasConfig ClusterDasConfigInfo, dasVmConfig? ClusterDasVmConfigInfo[],
  drsConfig ClusterDrsConfigInfo, drsVmConfig? ClusterDrsVmConfigInfo[], rule? ClusterRuleInfo[]
ClusterConfigSpecEx < ComputeResourceConfigSpec: systemVMsConfig? ClusterSystemVMsConfigSpec, dasConfig?
  ClusterDasConfigInfo, dasVmConfigSpec? ClusterDasVmConfigSpec[], drsConfig? ClusterDrsConfigInfo,
  drsVmConfigSpec? ClusterDrsVmConfigSpec[], rulesSpec? ClusterRuleSpec[], orchestration?
  ClusterOrchestrationInfo, vmOrchestrationSpec? ClusterVmOrchestrationSpec[], dpmConfig?
  ClusterDpmConfigInfo, dpmHostConfigSpec? ClusterDpmHostConfigSpec[], vsanConfig? VsanClusterConfigInfo,
  vsanHostConfigSpec? VsanHostConfigInfo[], groupSpec? ClusterGroupSpec[], infraUpdateHaConfig?
  ClusterInfraUpdateHaConfigInfo, proactiveDrsConfig? ClusterProactiveDrsConfigInfo, inHciWorkflow? boolean
ClusterDasConfigInfo < DynamicData: enabled? boolean, vmMonitoring? string, hostMonitoring? string,
  vmComponentProtecting? string, failoverLevel? int, admissionControlPolicy?
  ClusterDasAdmissionControlPolicy, admissionControlEnabled? boolean, defaultVmSettings?
  ClusterDasVmSettings, option? OptionValue[], heartbeatDatastore? &Datastore[], hBDatastoreCandidatePolicy?
  string
ClusterDrsConfigInfo < DynamicData: enabled? boolean, enableVmBehaviorOverrides? boolean, defaultVmBehavior?
  DrsBehavior, vmotionRate? int, option? OptionValue[]
ClusterDasVmConfigInfo < DynamicData: key &VirtualMachine, restartPriority? DasVmPriority,
  powerOffOnIsolation? boolean, dasSettings? ClusterDasVmSettings
ClusterDasVmSettings < DynamicData: restartPriority? string, restartPriorityTimeout? int, isolationResponse?
  string, vmToolsMonitoringSettings? ClusterVmToolsMonitoringSettings, vmComponentProtectionSettings?
  ClusterVmComponentProtectionSettings
ClusterDrsVmConfigInfo < DynamicData: key &VirtualMachine, enabled? boolean, behavior? DrsBehavior
ClusterDrsVmConfigSpec < ArrayUpdateSpec: info? ClusterDrsVmConfigInfo
ClusterDasVmConfigSpec < ArrayUpdateSpec: info? ClusterDasVmConfigInfo
ClusterRuleInfo < DynamicData: key? int, status? ManagedEntityStatus, enabled? boolean, name? string,
  mandatory? boolean, userCreated? boolean, inCompliance? boolean, ruleUuid? string
ClusterAffinityRuleSpec < ClusterRuleInfo: vm &VirtualMachine[]
ClusterAntiAffinityRuleSpec < ClusterRuleInfo: vm &VirtualMachine[]
ClusterVmHostRuleInfo < ClusterRuleInfo: vmGroupName? string, affineHostGroupName? string,
  antiAffineHostGroupName? string
ClusterGroupInfo < DynamicData: name string, userCreated? boolean, uniqueID? string
ClusterVmGroup < ClusterGroupInfo: vm? &VirtualMachine[]
ClusterHostGroup < ClusterGroupInfo: host? &HostSystem[]
ClusterGroupSpec < ArrayUpdateSpec: info? ClusterGroupInfo
ClusterRuleSpec < ArrayUpdateSpec: info? ClusterRuleInfo
ArrayUpdateSpec < DynamicData: operation ArrayUpdateOperation, removeKey? anyType
ResourceAllocationInfo < DynamicData: reservation? long, expandableReservation? boolean, limit? long,
  shares? SharesInfo, overheadLimit? long
SharesInfo < DynamicData: shares int, level SharesLevel
ResourceConfigSpec < DynamicData: entity? &ManagedEntity, changeVersion? string, lastModified? dateTime,
  cpuAllocation ResourceAllocationInfo, memoryAllocation ResourceAllocationInfo
ResourcePoolRuntimeInfo < DynamicData: memory ResourcePoolResourceUsage, cpu ResourcePoolResourceUsage,
  overallStatus ManagedEntityStatus
ResourcePoolResourceUsage < DynamicData: reservationUsed long, reservationUsedForVm long, unreservedForPool
  long, unreservedForVm long, overallUsage long, maxUsage long
ResourcePoolSummary < DynamicData: name string, config ResourceConfigSpec, runtime ResourcePoolRuntimeInfo,
  quickStats? ResourcePoolQuickStats, configuredMemoryMB? int
DatacenterConfigInfo < DynamicData: defaultHardwareVersionKey? string, maximumHardwareVersionKey? string
DatastoreSummary < DynamicData: datastore? &Datastore, name string, url string, capacity long, freeSpace
  long, uncommitted? long, accessible boolean, multipleHostAccess? boolean, type string, maintenanceMode?
  string
DatastoreInfo < DynamicData: name string, url string, freeSpace long, maxFileSize long,
  maxVirtualDiskCapacity? long, maxMemoryFileSize long, timestamp? dateTime, containerId? string, aliasOf?
  string
VmfsDatastoreInfo < DatastoreInfo: maxPhysicalRDMFileSize long, maxVirtualRDMFileSize long, vmfs?
  HostVmfsVolume
DatastoreCapability < DynamicData: directoryHierarchySupported boolean, rawDiskMappingsSupported boolean,
  perFileThinProvisioningSupported boolean, storageIORMSupported boolean, nativeSnapshotSupported boolean,
  topLevelDirectoryCreateSupported? boolean, seSparseSupported? boolean, vmfsSparseSupported? boolean,
  vsanSparseSupported? boolean, upitSupported? boolean, vmdkExpandSupported? boolean
DatastoreHostMount < DynamicData: key &HostSystem, mountInfo HostMountInfo
HostMountInfo < DynamicData: path? string, accessMode string, mounted? boolean, accessible? boolean,
  inaccessibleReason? string, vmknicName? string, vmknicActive? boolean, mountFailedReason? string,
  numTcpConnections? int
HostListSummary < DynamicData: host? &HostSystem, hardware? HostHardwareSummary, runtime? HostRuntimeInfo,
  config HostConfigSummary, quickStats HostListSummaryQuickStats, overallStatus ManagedEntityStatus,
  rebootRequired boolean, customValue? CustomFieldValue[], managementServerIp? string, maxEVCModeKey?
  string, currentEVCModeKey? string, currentEVCGraphicsModeKey? string, gateway?
  HostListSummaryGatewaySummary, tpmAttestation? HostTpmAttestationInfo, trustAuthorityAttestationInfos?
  HostTrustAuthorityAttestationInfo[]
HostHardwareSummary < DynamicData: vendor string, model string, uuid string, otherIdentifyingInfo?
  HostSystemIdentificationInfo[], memorySize long, cpuModel string, cpuMhz int, numCpuPkgs short,
  numCpuCores short, numCpuThreads short, numNics int, numHBAs int
HostRuntimeInfo < DynamicData: connectionState HostSystemConnectionState, powerState HostSystemPowerState,
  standbyMode? string, inMaintenanceMode boolean, inQuarantineMode? boolean, bootTime? dateTime,
  healthSystemRuntime? HealthSystemRuntime, dasHostState? ClusterDasFdmHostState, tpmPcrValues?
  HostTpmDigestInfo[], vsanRuntimeInfo? VsanHostRuntimeInfo, networkRuntimeInfo?
  HostRuntimeInfoNetworkRuntimeInfo, vFlashResourceRuntimeInfo? HostVFlashManagerVFlashResourceRunTimeInfo,
  hostMaxVirtualDiskCapacity? long, cryptoState? string, cryptoKeyId? CryptoKeyId,
  statelessNvdsMigrationReady? string, stateEncryption? HostRuntimeInfoStateEncryptionInfo
HostListSummaryQuickStats < DynamicData: overallCpuUsage? int, overallMemoryUsage? int,
  distributedCpuFairness? int, distributedMemoryFairness? int, availablePMemCapacity? int, uptime? int
HostConfigSummary < DynamicData: name string, port int, sslThumbprint? string, product? AboutInfo,
  vmotionEnabled boolean, faultToleranceEnabled boolean, featureVersion? HostFeatureVersionInfo[],
  agentVmDatastore? &Datastore, agentVmNetwork? &Network
HostConnectInfo < DynamicData: serverIp? string, inDasCluster? boolean, host HostListSummary, vm?
  VirtualMachineSummary[], vimAccountNameRequired? boolean, clusterSupported? boolean, network?
  HostConnectInfoNetworkInfo[], datastore? HostDatastoreConnectInfo[], license? HostLicenseConnectInfo,
  capability? HostCapability
HostCapability < DynamicData: recursiveResourcePoolsSupported boolean,
  cpuMemoryResourceConfigurationSupported boolean, rebootSupported boolean, shutdownSupported boolean,
  vmotionSupported boolean, standbySupported boolean, ipmiSupported? boolean, maxSupportedVMs? int,
  maxRunningVMs? int, maxSupportedVcpus? int, maxRegisteredVMs? int, datastorePrincipalSupported boolean,
  sanSupported boolean, nfsSupported boolean, iscsiSupported boolean, vlanTaggingSupported boolean,
  nicTeamingSupported boolean, highGuestMemSupported boolean, maintenanceModeSupported boolean,
  suspendedRelocateSupported boolean, restrictedSnapshotRelocateSupported boolean, perVmSwapFiles boolean,
  localSwapDatastoreSupported boolean, unsharedSwapVMotionSupported boolean, backgroundSnapshotsSupported
  boolean, preAssignedPCIUnitNumbersSupported boolean, screenshotSupported boolean,
  scaledScreenshotSupported boolean, storageVMotionSupported boolean, vmotionWithStorageVMotionSupported
  boolean, vmotionAcrossNetworkSupported? boolean, maxNumDisksSVMotion? int,
  maxVirtualDiskDescVersionSupported? int, hbrNicSelectionSupported boolean, vrNfcNicSelectionSupported
  boolean, recordReplaySupported boolean, ftSupported boolean, replayUnsupportedReason? string,
  replayCompatibilityIssues? string[], smpFtSupported boolean, ftCompatibilityIssues? string[],
  smpFtCompatibilityIssues? string[], maxVcpusPerFtVm? int, loginBySSLThumbprintSupported? boolean,
  cloneFromSnapshotSupported boolean, deltaDiskBackingsSupported boolean,
  perVMNetworkTrafficShapingSupported boolean, tpmSupported boolean, tpmVersion? string, txtEnabled?
  boolean, supportedCpuFeature? HostCpuIdInfo[], virtualExecUsageSupported boolean, storageIORMSupported
  boolean, vmDirectPathGen2Supported? boolean, vmDirectPathGen2UnsupportedReason? string[],
  vmDirectPathGen2UnsupportedReasonExtended? string, supportedVmfsMajorVersion? int[], vStorageCapable
  boolean, snapshotRelayoutSupported boolean, firewallIpRulesSupported? boolean,
  servicePackageInfoSupported? boolean, maxHostRunningVms? int, maxHostSupportedVcpus? int,
  vmfsDatastoreMountCapable boolean, eightPlusHostVmfsSharedAccessSupported boolean, nestedHVSupported
  boolean, vPMCSupported boolean, interVMCommunicationThroughVMCISupported boolean,
  scheduledHardwareUpgradeSupported? boolean, featureCapabilitiesSupported boolean,
  latencySensitivitySupported boolean, storagePolicySupported? boolean, accel3dSupported boolean,
  reliableMemoryAware? boolean, multipleNetworkStackInstanceSupported? boolean, messageBusProxySupported?
  boolean, vsanSupported? boolean, vFlashSupported? boolean, hostAccessManagerSupported? boolean,
  provisioningNicSelectionSupported boolean, nfs41Supported? boolean, nfs41Krb5iSupported? boolean,
  turnDiskLocatorLedSupported? boolean, virtualVolumeDatastoreSupported? boolean, markAsSsdSupported?
  boolean, markAsLocalSupported? boolean, smartCardAuthenticationSupported? boolean, pMemSupported? boolean,
  pMemSnapshotSupported? boolean, cryptoSupported? boolean, oneKVolumeAPIsSupported? boolean,
  gatewayOnNicSupported? boolean, upitSupported? boolean, cpuHwMmuSupported? boolean,
  encryptedVMotionSupported? boolean, encryptionChangeOnAddRemoveSupported? boolean,
  encryptionHotOperationSupported? boolean, encryptionWithSnapshotsSupported? boolean,
  encryptionFaultToleranceSupported? boolean, encryptionMemorySaveSupported? boolean,
  encryptionRDMSupported? boolean, encryptionVFlashSupported? boolean, encryptionCBRCSupported? boolean,
  encryptionHBRSupported? boolean, ftEfiSupported? boolean, unmapMethodSupported? string, maxMemMBPerFtVm?
  int, virtualMmuUsageIgnored? boolean, virtualExecUsageIgnored? boolean, vmCreateDateSupported? boolean,
  vmfs3EOLSupported? boolean, ftVmcpSupported? boolean, quickBootSupported? boolean, encryptedFtSupported?
  boolean, suspendToMemorySupported? boolean, useFeatureReqsForOldHWv? boolean,
  markPerenniallyReservedSupported? boolean, ahDeviceHintsSupported? boolean, nvmeOverTcpSupported? boolean,
  nvmeStorageFabricServicesSupported? boolean, assignHwPciConfigSupported? boolean, timeConfigSupported?
  boolean, nvmeBatchOperationsSupported? boolean, pMemFailoverSupported? boolean,
  hostConfigEncryptionSupported? boolean, maxSupportedSimultaneousThreads? int, ptpConfigSupported? boolean,
  maxSupportedPtpPorts? int, sgxRegistrationSupported? boolean, pMemIndependentSnapshotSupported? boolean,
  iommuSLDirtyCapable? boolean, vmknicBindingSupported? boolean, ultralowFixedUnmapSupported? boolean,
  nvmeVvolSupported? boolean, fptHotplugSupported? boolean, mconnectSupported? boolean,
  vsanNicMgmtSupported? boolean, vvolNQNSupported? boolean
HostHardwareInfo < DynamicData: systemInfo HostSystemInfo, cpuPowerManagementInfo?
  HostCpuPowerManagementInfo, cpuInfo HostCpuInfo, cpuPkg HostCpuPackage[], memorySize long, numaInfo?
  HostNumaInfo, smcPresent boolean, pciDevice? HostPciDevice[], dvxClasses? HostDvxClass[], cpuFeature?
  HostCpuIdInfo[], biosInfo? HostBIOSInfo, reliableMemoryInfo? HostReliableMemoryInfo, persistentMemoryInfo?
  HostPersistentMemoryInfo, sevInfo? HostSevInfo, memoryTieringType? string, memoryTierInfo?
  HostMemoryTierInfo[]
HostSystemInfo < DynamicData: vendor string, model string, uuid string, otherIdentifyingInfo?
  HostSystemIdentificationInfo[], serialNumber? string, qualifiedName? HostQualifiedName[], vvolHostNQN?
  HostQualifiedName, vvolHostId? string
HostCpuInfo < DynamicData: numCpuPackages short, numCpuCores short, numCpuThreads short, hz long
HostCpuPackage < DynamicData: index short, vendor string, hz long, busHz long, description string, threadId
  short[], cpuFeature? HostCpuIdInfo[]
HostConfigInfo < DynamicData: host &HostSystem, product AboutInfo, deploymentInfo? HostDeploymentInfo,
  hyperThread? HostHyperThreadScheduleInfo, consoleReservation? ServiceConsoleReservationInfo,
  virtualMachineReservation? VirtualMachineMemoryReservationInfo, storageDevice? HostStorageDeviceInfo,
  multipathState? HostMultipathStateInfo, fileSystemVolume? HostFileSystemVolumeInfo, systemFile? string[],
  network? HostNetworkInfo, vmotion? HostVMotionInfo, virtualNicManagerInfo? HostVirtualNicManagerInfo,
  capabilities? HostNetCapabilities, datastoreCapabilities? HostDatastoreSystemCapabilities,
  offloadCapabilities? HostNetOffloadCapabilities, service? HostServiceInfo, firewall? HostFirewallInfo,
  autoStart? HostAutoStartManagerConfig, activeDiagnosticPartition? HostDiagnosticPartition, option?
  OptionValue[], optionDef? OptionDef[], datastorePrincipal? string, localSwapDatastore? &Datastore,
  systemSwapConfiguration? HostSystemSwapConfiguration, systemResources? HostSystemResourceInfo,
  dateTimeInfo? HostDateTimeInfo, flags? HostFlagInfo, adminDisabled? boolean, lockdownMode?
  HostLockdownMode, ipmi? HostIpmiInfo, sslThumbprintInfo? HostSslThumbprintInfo, sslThumbprintData?
  HostSslThumbprintInfo[], certificate? byte[], pciPassthruInfo? HostPciPassthruInfo[],
  authenticationManagerInfo? HostAuthenticationManagerInfo, featureVersion? HostFeatureVersionInfo[],
  powerSystemCapability? PowerSystemCapability, powerSystemInfo? PowerSystemInfo, cacheConfigurationInfo?
  HostCacheConfigurationInfo[], wakeOnLanCapable? boolean, featureCapability? HostFeatureCapability[],
  maskedFeatureCapability? HostFeatureCapability[], vFlashConfigInfo? HostVFlashManagerVFlashConfigInfo,
  vsanHostConfig? VsanHostConfigInfo, domainList? string[], scriptCheckSum? base64Binary,
  hostConfigCheckSum? base64Binary, graphicsInfo? HostGraphicsInfo[], sharedPassthruGpuTypes? string[],
  graphicsConfig? HostGraphicsConfig, sharedGpuCapabilities? HostSharedGpuCapabilities[], ioFilterInfo?
  HostIoFilterInfo[], sriovDevicePool? HostSriovDevicePoolInfo[]
HostNetworkInfo < DynamicData: vswitch? HostVirtualSwitch[], proxySwitch? HostProxySwitch[], portgroup?
  HostPortGroup[], pnic? PhysicalNic[], vnic? HostVirtualNic[], consoleVnic? HostVirtualNic[], dnsConfig?
  HostDnsConfig, ipRouteConfig? HostIpRouteConfig, consoleIpRouteConfig? HostIpRouteConfig, routeTableInfo?
  HostIpRouteTableInfo, dhcp? HostDhcpService[], nat? HostNatService[], ipV6Enabled? boolean,
  atBootIpV6Enabled? boolean, netStackInstance? HostNetStackInstance[], opaqueSwitch? HostOpaqueSwitch[],
  opaqueNetwork? HostOpaqueNetworkInfo[], nvdsToVdsMigrationRequired? boolean, migrationStatus? string
HostVirtualSwitch < DynamicData: name string, key string, numPorts int, numPortsAvailable int, mtu? int,
  portgroup? Link[], pnic? Link[], spec HostVirtualSwitchSpec
HostVirtualSwitchSpec < DynamicData: numPorts int, bridge? HostVirtualSwitchBridge, policy?
  HostNetworkPolicy, mtu? int
HostPortGroup < DynamicData: key? string, port? HostPortGroupPort[], vswitch? Link, computedPolicy
  HostNetworkPolicy, spec HostPortGroupSpec
HostPortGroupSpec < DynamicData: name string, vlanId int, vswitchName string, policy HostNetworkPolicy
HostNetworkPolicy < DynamicData: security? HostNetworkSecurityPolicy, nicTeaming? HostNicTeamingPolicy,
  offloadPolicy? HostNetOffloadCapabilities, shapingPolicy? HostNetworkTrafficShapingPolicy
HostNetworkSecurityPolicy < DynamicData: allowPromiscuous? boolean, macChanges? boolean, forgedTransmits?
  boolean
HostNicTeamingPolicy < DynamicData: policy? string, reversePolicy? boolean, notifySwitches? boolean,
  rollingOrder? boolean, failureCriteria? HostNicFailureCriteria, nicOrder? HostNicOrderPolicy
HostNicFailureCriteria < DynamicData: checkSpeed? string, speed? int, checkDuplex? boolean, fullDuplex? boolean,
  checkErrorPercent? boolean, percentage? int, checkBeacon? boolean
HostNicOrderPolicy < DynamicData: activeNic? string[], standbyNic? string[]
HostNetOffloadCapabilities < DynamicData: csumOffload? boolean, tcpSegmentation? boolean, zeroCopyXmit? boolean
HostNetworkTrafficShapingPolicy < DynamicData: enabled? boolean, averageBandwidth? long, peakBandwidth? long,
  burstSize? long
HostVirtualSwitchBridge < DynamicData
HostVirtualSwitchBondBridge < HostVirtualSwitchBridge: nicDevice string[], beacon?
  HostVirtualSwitchBeaconConfig, linkDiscoveryProtocolConfig? LinkDiscoveryProtocolConfig
PhysicalNic < DynamicData: key? string, device string, pci string, driver? string, driverVersion? string,
  firmwareVersion? string, linkSpeed? PhysicalNicLinkInfo, validLinkSpecification? PhysicalNicLinkInfo[],
  spec PhysicalNicSpec, wakeOnLanSupported boolean, mac string, fcoeConfiguration? FcoeConfig,
  vmDirectPathGen2Supported? boolean, vmDirectPathGen2SupportedMode? string, resourcePoolSchedulerAllowed?
  boolean, resourcePoolSchedulerDisallowedReason? string[], autoNegotiateSupported? boolean,
  enhancedNetworkingStackSupported? boolean, dpuId? string
PhysicalNicSpec < DynamicData: ip? HostIpConfig, linkSpeed? PhysicalNicLinkInfo,
  enableEnhancedNetworkingStack? boolean
PhysicalNicLinkInfo < DynamicData: speedMb int, duplex boolean
HostProxySwitch < DynamicData: dvsUuid string, dvsName string, key string, numPorts int, configNumPorts?
  int, numPortsAvailable int, uplinkPort? KeyValue[], mtu? int, pnic? Link[], spec HostProxySwitchSpec,
  hostLag? HostProxySwitchHostLagConfig[], networkReservationSupported? boolean, ensInfo?
  HostProxySwitchEnsInfo, networkOffloadingEnabled? boolean
HostProxySwitchSpec < DynamicData
HostConfigManager < DynamicData: cpuScheduler? &HostCpuSchedulerSystem, datastoreSystem?
  &HostDatastoreSystem, memoryManager? &HostMemorySystem, storageSystem? &HostStorageSystem, networkSystem?
  &HostNetworkSystem, vmotionSystem? &HostVMotionSystem, virtualNicManager? &HostVirtualNicManager,
  serviceSystem? &HostServiceSystem, firewallSystem? &HostFirewallSystem, advancedOption? &OptionManager,
  diagnosticSystem? &HostDiagnosticSystem, autoStartManager? &HostAutoStartManager, snmpSystem?
  &HostSnmpSystem, dateTimeSystem? &HostDateTimeSystem, patchManager? &HostPatchManager, imageConfigManager?
  &HostImageConfigManager, bootDeviceSystem? &HostBootDeviceSystem, firmwareSystem? &HostFirmwareSystem,
  healthStatusSystem? &HostHealthStatusSystem, pciPassthruSystem? &HostPciPassthruSystem, licenseManager?
  &LicenseManager, kernelModuleSystem? &HostKernelModuleSystem, authenticationManager?
  &HostAuthenticationManager, powerSystem? &HostPowerSystem, cacheConfigurationManager?
  &HostCacheConfigurationManager, esxAgentHostManager? &HostEsxAgentHostManager, iscsiManager?
  &IscsiManager, vFlashManager? &HostVFlashManager, vsanSystem? &HostVsanSystem, messageBusProxy?
  &MessageBusProxy, userDirectory? &UserDirectory, accountManager? &HostLocalAccountManager,
  hostAccessManager? &HostAccessManager, graphicsManager? &HostGraphicsManager, vsanInternalSystem?
  &HostVsanInternalSystem, certificateManager? &HostCertificateManager, cryptoManager? &CryptoManager,
  nvdimmSystem? &HostNvdimmSystem
HostMaintenanceSpec < DynamicData: vsanMode? VsanHostDecommissionMode
PhysicalNicIpHint < PhysicalNicHint: ipSubnet string
PhysicalNicNameHint < PhysicalNicHint: network string
PhysicalNicHintInfo < DynamicData: device string, subnet? PhysicalNicIpHint[], network?
  PhysicalNicNameHint[], connectedSwitchPort? PhysicalNicCdpInfo, lldpInfo? LinkLayerDiscoveryProtocolInfo
PhysicalNicHint < DynamicData: vlanId? int
PhysicalNicCdpInfo < DynamicData: cdpVersion? int, timeout? int, ttl? int, samples? int, devId? string,
  address? string, portId? string, deviceCapability? PhysicalNicCdpDeviceCapability, softwareVersion?
  string, hardwarePlatform? string, ipPrefix? string, ipPrefixLen? int, vlan? int, fullDuplex? boolean, mtu?
  int, systemName? string, systemOID? string, mgmtAddr? string, location? string
LinkLayerDiscoveryProtocolInfo < DynamicData: chassisId string, portId string, timeToLive int, parameter?
  KeyAnyValue[]
`;
