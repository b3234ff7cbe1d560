/** Enumerations of vim25: a type and its values, a line each. */

export const ENUMERATIONS = `
ArrayUpdateOperation: add remove edit
DasVmPriority: disabled low medium high
DrsBehavior: manual partiallyAutomated fullyAutomated
EventFilterSpecRecursionOption: self children all
HostLockdownMode: lockdownDisabled lockdownNormal lockdownStrict
HostSystemConnectionState: connected notResponding disconnected
HostSystemPowerState: poweredOn poweredOff standBy unknown
HttpNfcLeaseState: initializing ready done error
LatencySensitivitySensitivityLevel: low normal medium high custom
ManagedEntityStatus: gray green yellow red
ObjectUpdateKind: modify enter leave
PerfStatsType: absolute delta rate
PerfSummaryType: average maximum minimum latest summation none
PropertyChangeOp: add remove assign indirectRemove
SharesLevel: low normal high custom
TaskInfoState: queued running success error
VirtualDeviceConfigSpecFileOperation: create destroy replace
VirtualDeviceConfigSpecOperation: add remove edit
VirtualMachineConnectionState: connected disconnected orphaned inaccessible invalid
VirtualMachineFaultToleranceState: notConfigured disabled enabled needSecondary starting running
VirtualMachineMovePriority: lowPriority highPriority defaultPriority
VirtualMachinePowerState: poweredOff poweredOn suspended
VirtualMachineRecordReplayState: recording replaying inactive
VirtualMachineRelocateTransformation: flat sparse
VirtualMachineToolsStatus: toolsNotInstalled toolsNotRunning toolsOld toolsOk
VirtualSCSISharing: noSharing virtualSharing physicalSharing
`;
