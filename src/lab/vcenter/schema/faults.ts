/** Faults: what a call or a task can fail with. The notation is that of notation.ts. */

export const FAULT_TYPES = `
NotSupported < RuntimeFault
InvalidRequest < RuntimeFault
InvalidType < InvalidRequest: argument? PropertyPath
UnexpectedFault < RuntimeFault: faultName TypeName, fault? LocalizedMethodFault
RequestCanceled < RuntimeFault
HostCommunication < RuntimeFault
MethodNotFound < InvalidRequest: receiver &ManagedObject, method string
ManagedObjectNotFound < RuntimeFault: obj &ManagedObject
NotEnoughLicenses < RuntimeFault
SecurityError < RuntimeFault
SystemError < RuntimeFault: reason string
NotImplemented < RuntimeFault
InvalidArgument < RuntimeFault: invalidProperty? PropertyPath
VimFault < MethodFault
InvalidLogin < VimFault
NoPermission < SecurityError: object? &ManagedObject, privilegeId? string, missingPrivileges?
  NoPermissionEntityPrivileges[]
NotAuthenticated < NoPermission
NotFound < VimFault
AlreadyExists < VimFault: name? string
CustomizationFault < VimFault
CustomizationPending < CustomizationFault
DuplicateName < VimFault: name string, object &ManagedObject
InvalidName < VimFault: name string, entity? &ManagedEntity
InvalidEvent < VimFault
InvalidState < VimFault
OutOfBounds < VimFault: argumentName PropertyPath
InvalidPowerState < InvalidState: requestedState? VirtualMachinePowerState, existingState
  VirtualMachinePowerState
TaskInProgress < VimFault: task &Task
ResourceInUse < VimFault: type? TypeName, name? string
Timedout < VimFault
ConcurrentAccess < VimFault
InvalidDatastore < VimFault: datastore? &Datastore, name? string
VimFault < MethodFault
InvalidCollectorVersion < MethodFault
InvalidProperty < MethodFault: name PropertyPath
InvalidPrivilege < VimFault: privilege string
VmFaultToleranceIssue < VimFault
MigrationFault < VimFault
InsufficientResourcesFault < VimFault
NoHost < HostConnectFault: name? string
ResourceNotAvailable < VimFault: containerType? TypeName, containerName? string, type? TypeName
InvalidController < InvalidDeviceSpec: controllerKey int
DvsFault < VimFault
DvsNotAuthorized < DvsFault: sessionExtensionKey? string, dvsExtensionKey? string
DvsOperationBulkFault < DvsFault: hostFault DvsOperationBulkFaultFaultOnHost[]
DvsOperationBulkFaultFaultOnHost < DynamicData: host &HostSystem, fault LocalizedMethodFault
InvalidVmConfig < VmConfigFault: property? PropertyPath
InvalidDeviceSpec < InvalidVmConfig: deviceIndex int
InvalidDeviceOperation < InvalidDeviceSpec: badOp? VirtualDeviceConfigSpecOperation, badFileOp?
  VirtualDeviceConfigSpecFileOperation
InvalidDeviceBacking < InvalidDeviceSpec
VmConfigFault < VimFault
DeviceNotFound < InvalidDeviceSpec
VmConfigIncompatibleForRecordReplay < VmConfigFault: fault? LocalizedMethodFault
CannotAccessVmComponent < VmConfigFault
CannotAccessVmDevice < CannotAccessVmComponent: device string, backing string, connected boolean
CannotAccessNetwork < CannotAccessVmDevice: network? &Network
OvfFault < VimFault
OvfInvalidPackage < OvfFault: lineNumber int
OvfXmlFormat < OvfInvalidPackage: description string
OvfAttribute < OvfInvalidPackage: elementName string, attributeName string
OvfMissingAttribute < OvfAttribute
OvfNoSupportedHardwareFamily < OvfUnsupportedPackage: version string
OvfImport < OvfFault
OvfNetworkMappingNotSupported < OvfImport
OvfUnsupportedPackage < OvfFault: lineNumber? int
OvfMissingElement < OvfElement
OvfElement < OvfInvalidPackage: name string
OvfPropertyValue < OvfProperty
OvfProperty < OvfInvalidPackage: type string, value string
HttpFault < VimFault: statusCode int, statusMessage string
FileFault < VimFault: file string
FileNotFound < FileFault
CannotAccessNetwork < CannotAccessVmDevice: network? &Network
CannotAccessVmComponent < VmConfigFault
CannotAccessVmDevice < CannotAccessVmComponent: device string, backing string, connected boolean
HostNotConnected < HostCommunication
HostConnectFault < VimFault
GenericVmConfigFault < VmConfigFault: reason string
NoPermissionEntityPrivileges < DynamicData: entity &ManagedObject, privilegeIds? string[]
`;
