/** Data types of networks: distributed switches, port groups, ports and their policies. The notation is that of notation.ts. */

export const NETWORK_TYPES = `
NetworkSummary < DynamicData: network? &Network, name string, accessible boolean, ipPoolName string,
  ipPoolId? int
DVPortgroupConfigInfo < DynamicData: key string, name string, numPorts int, distributedVirtualSwitch?
  &DistributedVirtualSwitch, defaultPortConfig? DVPortSetting, description? string, type string, policy
  DVPortgroupPolicy, portNameFormat? string, scope? &ManagedEntity[], vendorSpecificConfig?
  DistributedVirtualSwitchKeyedOpaqueBlob[], configVersion? string, autoExpand? boolean,
  vmVnicNetworkResourcePoolKey? string, uplink? boolean
DVPortgroupConfigSpec < DynamicData: configVersion? string, name? string, numPorts? int, portNameFormat?
  string, defaultPortConfig? DVPortSetting, description? string, type? string, scope? &ManagedEntity[],
  policy? DVPortgroupPolicy, vendorSpecificConfig? DistributedVirtualSwitchKeyedOpaqueBlob[], autoExpand?
  boolean, vmVnicNetworkResourcePoolKey? string
DVPortgroupPolicy < DynamicData: blockOverrideAllowed boolean, shapingOverrideAllowed boolean,
  vendorConfigOverrideAllowed boolean, livePortMovingAllowed boolean, portConfigResetAtDisconnect boolean,
  networkResourcePoolOverrideAllowed? boolean, trafficFilterOverrideAllowed? boolean
VMwareDVSPortgroupPolicy < DVPortgroupPolicy: vlanOverrideAllowed boolean, uplinkTeamingOverrideAllowed
  boolean, securityPolicyOverrideAllowed boolean, ipfixOverrideAllowed? boolean,
  macManagementOverrideAllowed? boolean
DVPortSetting < DynamicData: blocked? BoolPolicy, vmDirectPathGen2Allowed? BoolPolicy, inShapingPolicy?
  DVSTrafficShapingPolicy, outShapingPolicy? DVSTrafficShapingPolicy, vendorSpecificConfig?
  DVSVendorSpecificConfig, networkResourcePoolKey? StringPolicy, filterPolicy? DvsFilterPolicy
VMwareDVSPortSetting < DVPortSetting: vlan? VmwareDistributedVirtualSwitchVlanSpec, qosTag? IntPolicy,
  uplinkTeamingPolicy? VmwareUplinkPortTeamingPolicy, securityPolicy? DVSSecurityPolicy, ipfixEnabled?
  BoolPolicy, txUplink? BoolPolicy, lacpPolicy? VMwareUplinkLacpPolicy, macManagementPolicy?
  DVSMacManagementPolicy
DVPortConfigSpec < DynamicData: operation string, key? string, name? string, scope? &ManagedEntity[],
  description? string, setting? DVPortSetting, configVersion? string
DVPortConfigInfo < DynamicData: name? string, scope? &ManagedEntity[], description? string, setting?
  DVPortSetting, configVersion string
InheritablePolicy < DynamicData: inherited boolean
BoolPolicy < InheritablePolicy: value? boolean
IntPolicy < InheritablePolicy: value? int
LongPolicy < InheritablePolicy: value? long
StringPolicy < InheritablePolicy: value? string
DVSTrafficShapingPolicy < InheritablePolicy: enabled? BoolPolicy, averageBandwidth? LongPolicy,
  peakBandwidth? LongPolicy, burstSize? LongPolicy
DVSVendorSpecificConfig < InheritablePolicy: keyValue? DistributedVirtualSwitchKeyedOpaqueBlob[]
DvsFilterPolicy < InheritablePolicy: filterConfig? DvsFilterConfig[]
VmwareDistributedVirtualSwitchVlanSpec < InheritablePolicy
VmwareDistributedVirtualSwitchVlanIdSpec < VmwareDistributedVirtualSwitchVlanSpec: vlanId int
VmwareDistributedVirtualSwitchTrunkVlanSpec < VmwareDistributedVirtualSwitchVlanSpec: vlanId? NumericRange[]
VmwareDistributedVirtualSwitchPvlanSpec < VmwareDistributedVirtualSwitchVlanSpec: pvlanId int
NumericRange < DynamicData: start int, end int
VmwareUplinkPortTeamingPolicy < InheritablePolicy: policy? StringPolicy, reversePolicy? BoolPolicy,
  notifySwitches? BoolPolicy, rollingOrder? BoolPolicy, failureCriteria? DVSFailureCriteria,
  uplinkPortOrder? VMwareUplinkPortOrderPolicy
VMwareUplinkPortOrderPolicy < InheritablePolicy: activeUplinkPort? string[], standbyUplinkPort? string[]
DVSFailureCriteria < InheritablePolicy: checkSpeed? StringPolicy, speed? IntPolicy, checkDuplex? BoolPolicy,
  fullDuplex? BoolPolicy, checkErrorPercent? BoolPolicy, percentage? IntPolicy, checkBeacon? BoolPolicy
DVSSecurityPolicy < InheritablePolicy: allowPromiscuous? BoolPolicy, macChanges? BoolPolicy,
  forgedTransmits? BoolPolicy
DVSMacManagementPolicy < InheritablePolicy: allowPromiscuous? boolean, macChanges? boolean, forgedTransmits?
  boolean, macLearningPolicy? DVSMacLearningPolicy
DVSMacLearningPolicy < InheritablePolicy: enabled boolean, allowUnicastFlooding? boolean, limit? int,
  limitPolicy? string
VMwareUplinkLacpPolicy < InheritablePolicy: enable? BoolPolicy, mode? StringPolicy
DistributedVirtualPort < DynamicData: key string, config DVPortConfigInfo, dvsUuid string, portgroupKey?
  string, proxyHost? &HostSystem, connectee? DistributedVirtualSwitchPortConnectee, conflict boolean,
  conflictPortKey? string, state? DVPortState, connectionCookie? int, lastStatusChange dateTime,
  hostLocalPort? boolean
DistributedVirtualSwitchPortConnectee < DynamicData: connectedEntity? &ManagedEntity, nicKey? string, type?
  string, addressHint? string
DistributedVirtualSwitchPortConnection < DynamicData: switchUuid string, portgroupKey? string, portKey?
  string, connectionCookie? int
DistributedVirtualSwitchPortCriteria < DynamicData: connected? boolean, active? boolean, uplinkPort?
  boolean, scope? &ManagedEntity, portgroupKey? string[], inside? boolean, portKey? string[], host?
  &HostSystem[]
DVPortState < DynamicData: runtimeInfo? DVPortStatus, stats DistributedVirtualSwitchPortStatistics,
  vendorSpecificState? DistributedVirtualSwitchKeyedOpaqueBlob[]
DVPortStatus < DynamicData: linkUp boolean, blocked boolean, vlanIds? NumericRange[], trunkingMode? boolean,
  mtu? int, linkPeer? string, macAddress? string, statusDetail? string, vmDirectPathGen2Active? boolean,
  vmDirectPathGen2InactiveReasonNetwork? string[], vmDirectPathGen2InactiveReasonOther? string[],
  vmDirectPathGen2InactiveReasonExtended? string
DistributedVirtualSwitchPortStatistics < DynamicData: packetsInMulticast long, packetsOutMulticast long,
  bytesInMulticast long, bytesOutMulticast long, packetsInUnicast long, packetsOutUnicast long,
  bytesInUnicast long, bytesOutUnicast long, packetsInBroadcast long, packetsOutBroadcast long,
  bytesInBroadcast long, bytesOutBroadcast long, packetsInDropped long, packetsOutDropped long,
  packetsInException long, packetsOutException long, bytesInFromPnic? long, bytesOutToPnic? long
DVSConfigInfo < DynamicData: uuid string, name string, numStandalonePorts int, numPorts int, maxPorts int,
  uplinkPortPolicy DVSUplinkPortPolicy, uplinkPortgroup? &DistributedVirtualPortgroup[], defaultPortConfig
  DVPortSetting, host? DistributedVirtualSwitchHostMember[], productInfo
  DistributedVirtualSwitchProductSpec, targetInfo? DistributedVirtualSwitchProductSpec, extensionKey?
  string, vendorSpecificConfig? DistributedVirtualSwitchKeyedOpaqueBlob[], policy? DVSPolicy, description?
  string, configVersion string, contact DVSContactInfo, switchIpAddress? string, createTime dateTime,
  networkResourceManagementEnabled boolean, defaultProxySwitchMaxNumPorts? int, healthCheckConfig?
  DVSHealthCheckConfig[], infrastructureTrafficResourceConfig? DvsHostInfrastructureTrafficResource[],
  netResourcePoolTrafficResourceConfig? DvsHostInfrastructureTrafficResource[],
  networkResourceControlVersion? string, vmVnicNetworkResourcePool? DVSVmVnicNetworkResourcePool[],
  pnicCapacityRatioForReservation? int
VMwareDVSConfigInfo < DVSConfigInfo: vspanSession? VMwareVspanSession[], pvlanConfig?
  VMwareDVSPvlanMapEntry[], maxMtu int, linkDiscoveryProtocolConfig? LinkDiscoveryProtocolConfig,
  ipfixConfig? VMwareIpfixConfig, lacpGroupConfig? VMwareDvsLacpGroupConfig[], lacpApiVersion? string,
  multicastFilteringMode? string, networkOffloadSpecId? string
DVSConfigSpec < DynamicData: configVersion? string, name? string, numStandalonePorts? int, maxPorts? int,
  uplinkPortPolicy? DVSUplinkPortPolicy, uplinkPortgroup? &DistributedVirtualPortgroup[], defaultPortConfig?
  DVPortSetting, host? DistributedVirtualSwitchHostMemberConfigSpec[], extensionKey? string, description?
  string, policy? DVSPolicy, vendorSpecificConfig? DistributedVirtualSwitchKeyedOpaqueBlob[], contact?
  DVSContactInfo, switchIpAddress? string, defaultProxySwitchMaxNumPorts? int,
  infrastructureTrafficResourceConfig? DvsHostInfrastructureTrafficResource[],
  netResourcePoolTrafficResourceConfig? DvsHostInfrastructureTrafficResource[],
  networkResourceControlVersion? string
VMwareDVSConfigSpec < DVSConfigSpec: pvlanConfigSpec? VMwareDVSPvlanConfigSpec[], vspanConfigSpec?
  VMwareDVSVspanConfigSpec[], maxMtu? int, linkDiscoveryProtocolConfig? LinkDiscoveryProtocolConfig,
  ipfixConfig? VMwareIpfixConfig, lacpApiVersion? string, multicastFilteringMode? string,
  networkOffloadSpecId? string
DVSUplinkPortPolicy < DynamicData
DVSNameArrayUplinkPortPolicy < DVSUplinkPortPolicy: uplinkPortName string[]
DVSPolicy < DynamicData: autoPreInstallAllowed? boolean, autoUpgradeAllowed? boolean, partialUpgradeAllowed?
  boolean
DVSSummary < DynamicData: name string, uuid string, numPorts int, productInfo?
  DistributedVirtualSwitchProductSpec, hostMember? &HostSystem[], vm? &VirtualMachine[], host?
  &HostSystem[], portgroupName? string[], description? string, contact? DVSContactInfo, numHosts? int
DVSCapability < DynamicData: dvsOperationSupported? boolean, dvPortGroupOperationSupported? boolean,
  dvPortOperationSupported? boolean, compatibleHostComponentProductInfo?
  DistributedVirtualSwitchHostProductSpec[], featuresSupported? DVSFeatureCapability
DVSFeatureCapability < DynamicData: networkResourceManagementSupported boolean, vmDirectPathGen2Supported?
  boolean, nicTeamingPolicy? string[], networkResourcePoolHighShareValue? int,
  networkResourceManagementCapability? DVSNetworkResourceManagementCapability, healthCheckCapability?
  DVSHealthCheckCapability, rollbackCapability? DVSRollbackCapability, backupRestoreCapability?
  DVSBackupRestoreCapability, networkFilterSupported? boolean, macLearningSupported? boolean
VMwareDVSFeatureCapability < DVSFeatureCapability: vspanSupported? boolean, lldpSupported? boolean,
  ipfixSupported? boolean, ipfixCapability? VMwareDvsIpfixCapability, multicastSnoopingSupported? boolean,
  vspanCapability? VMwareDVSVspanCapability, lacpCapability? VMwareDvsLacpCapability, dpuCapability?
  VMwareDvsDpuCapability, mtuCapability? VMwareDvsMtuCapability
DVSRuntimeInfo < DynamicData: hostMemberRuntime? HostMemberRuntimeInfo[], resourceRuntimeInfo?
  DvsResourceRuntimeInfo
HostMemberRuntimeInfo < DynamicData: host &HostSystem, status? string, statusDetail? string,
  healthCheckResult? HostMemberHealthCheckResult[]
DistributedVirtualSwitchHostMember < DynamicData: runtimeState?
  DistributedVirtualSwitchHostMemberRuntimeState, config DistributedVirtualSwitchHostMemberConfigInfo,
  productInfo? DistributedVirtualSwitchProductSpec, uplinkPortKey? string[], status string, statusDetail?
  string
DistributedVirtualSwitchHostMemberConfigInfo < DynamicData: host? &HostSystem, maxProxySwitchPorts int,
  vendorSpecificConfig? DistributedVirtualSwitchKeyedOpaqueBlob[], backing
  DistributedVirtualSwitchHostMemberBacking, networkOffloadingEnabled? boolean
DistributedVirtualSwitchHostMemberBacking < DynamicData
DistributedVirtualSwitchHostMemberPnicBacking < DistributedVirtualSwitchHostMemberBacking: pnicSpec?
  DistributedVirtualSwitchHostMemberPnicSpec[]
DistributedVirtualSwitchHostMemberPnicSpec < DynamicData: pnicDevice string, uplinkPortKey? string,
  uplinkPortgroupKey? string, connectionCookie? int
DistributedVirtualSwitchProductSpec < DynamicData: name? string, vendor? string, version? string, build?
  string, forwardingClass? string, bundleId? string, bundleUrl? string
DVSContactInfo < DynamicData: name? string, contact? string
VMwareDVSPvlanMapEntry < DynamicData: primaryVlanId int, secondaryVlanId int, pvlanType string
LinkDiscoveryProtocolConfig < DynamicData: protocol string, operation string
DVSNetworkResourceManagementCapability < DynamicData: networkResourceManagementSupported boolean,
  networkResourcePoolHighShareValue int, qosSupported boolean, userDefinedNetworkResourcePoolsSupported
  boolean, networkResourceControlVersion3Supported? boolean, userDefinedInfraTrafficPoolSupported? boolean
DVSRollbackCapability < DynamicData: rollbackSupported boolean
VMwareVspanSession < DynamicData: key? string, name? string, description? string, enabled boolean,
  sourcePortTransmitted? VMwareVspanPort, sourcePortReceived? VMwareVspanPort, destinationPort?
  VMwareVspanPort, encapsulationVlanId? int, stripOriginalVlan boolean, mirroredPacketLength? int,
  normalTrafficAllowed boolean, sessionType? string, samplingRate? int, encapType? string, erspanId? int,
  erspanCOS? int, erspanGraNanosec? boolean, netstack? string
VMwareVspanPort < DynamicData: portKey? string[], uplinkPortName? string[], wildcardPortConnecteeType?
  string[], vlans? int[], ipAddress? string[]
VMwareDVSVspanConfigSpec < DynamicData: vspanSession VMwareVspanSession, operation string
VMwareDVSPvlanConfigSpec < DynamicData: pvlanEntry VMwareDVSPvlanMapEntry, operation string
DVSHealthCheckCapability < DynamicData
VMwareDVSHealthCheckCapability < DVSHealthCheckCapability: vlanMtuSupported boolean, teamingSupported
  boolean
`;
