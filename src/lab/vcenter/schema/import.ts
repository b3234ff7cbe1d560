/** Data types of OVF import and of the lease that carries the disks. The notation is that of notation.ts. */

export const IMPORT_TYPES = `
VAppConfigSpec < VmConfigSpec: entityConfig? VAppEntityConfigInfo[], annotation? string, instanceUuid?
  string, managedBy? ManagedByInfo
ImportSpec < DynamicData: entityConfig? VAppEntityConfigInfo, instantiationOst? OvfConsumerOstNode
VirtualMachineImportSpec < ImportSpec: configSpec VirtualMachineConfigSpec, resPoolEntity? &ResourcePool
VirtualAppImportSpec < ImportSpec: name string, vAppConfigSpec VAppConfigSpec, resourcePoolSpec
  ResourceConfigSpec, child? ImportSpec[]
OvfManagerCommonParams < DynamicData: locale string, deploymentOption string, msgBundle? KeyValue[],
  importOption? string[]
OvfCreateImportSpecParams < OvfManagerCommonParams: entityName string, hostSystem? &HostSystem,
  networkMapping? OvfNetworkMapping[], ipAllocationPolicy? string, ipProtocol? string, propertyMapping?
  KeyValue[], resourceMapping? OvfResourceMap[], diskProvisioning? string, instantiationOst?
  OvfConsumerOstNode
OvfCreateImportSpecResult < DynamicData: importSpec? ImportSpec, fileItem? OvfFileItem[], warning?
  LocalizedMethodFault[], error? LocalizedMethodFault[]
OvfFileItem < DynamicData: deviceId string, path string, compressionMethod? string, chunkSize? long, size?
  long, cimType int, create boolean
OvfNetworkMapping < DynamicData: name string, network &Network
OvfParseDescriptorParams < OvfManagerCommonParams
OvfParseDescriptorResult < DynamicData: eula? string[], network? OvfNetworkInfo[], ipAllocationScheme?
  string[], ipProtocols? string[], property? VAppPropertyInfo[], productInfo? VAppProductInfo, annotation
  string, approximateDownloadSize? long, approximateFlatDeploymentSize? long,
  approximateSparseDeploymentSize? long, defaultEntityName string, virtualApp boolean, deploymentOption?
  OvfDeploymentOption[], defaultDeploymentOption string, entityName? KeyValue[], annotatedOst?
  OvfConsumerOstNode, error? LocalizedMethodFault[], warning? LocalizedMethodFault[]
OvfNetworkInfo < DynamicData: name string, description string
OvfDeploymentOption < DynamicData: key string, label string, description string
OvfResourceMap < DynamicData: source string, parent? &ResourcePool, resourceSpec? ResourceConfigSpec,
  datastore? &Datastore
HttpNfcLeaseInfo < DynamicData: lease &HttpNfcLease, entity &ManagedEntity, deviceUrl?
  HttpNfcLeaseDeviceUrl[], totalDiskCapacityInKB long, leaseTimeout int, hostMap?
  HttpNfcLeaseDatastoreLeaseInfo[]
HttpNfcLeaseDeviceUrl < DynamicData: key string, importKey string, url string, sslThumbprint string, disk?
  boolean, targetId? string, datastoreKey? string, fileSize? long
HttpNfcLeaseManifestEntry < DynamicData: key string, sha1 string, checksum? string, checksumType? string,
  size long, disk boolean, capacity? long, populatedSize? long
HttpNfcLeaseCapabilities < DynamicData: pullModeSupported boolean, corsSupported boolean
HttpNfcLeaseDatastoreLeaseInfo < DynamicData: datastoreKey string, hosts HttpNfcLeaseHostInfo[]
HttpNfcLeaseHostInfo < DynamicData: url string, sslThumbprint string
`;
