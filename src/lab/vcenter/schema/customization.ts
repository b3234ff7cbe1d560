/** Guest customisation and snapshots: types in the notation of notation.ts. */

export const CUSTOMIZATION_TYPES = `
CustomizationSpecItem < DynamicData: info CustomizationSpecInfo, spec CustomizationSpec
CustomizationSpecInfo < DynamicData: name string, description string, type string, changeVersion? string,
  lastUpdateTime? dateTime
CustomizationSpec < DynamicData: options? CustomizationOptions, identity CustomizationIdentitySettings,
  globalIPSettings CustomizationGlobalIPSettings, nicSettingMap? CustomizationAdapterMapping[],
  encryptionKey? base64Binary
CustomizationOptions < DynamicData
CustomizationLinuxOptions < CustomizationOptions
CustomizationWinOptions < CustomizationOptions: changeSID boolean, deleteAccounts boolean, reboot? string
CustomizationIdentitySettings < DynamicData
CustomizationLinuxPrep < CustomizationIdentitySettings: hostName CustomizationName, domain string, timeZone?
  string, hwClockUTC? boolean, scriptText? string, compatibleCustomizationMethod? string, resetPassword?
  boolean, password? CustomizationPassword, extraConfig? OptionValue[]
CustomizationSysprep < CustomizationIdentitySettings: guiUnattended CustomizationGuiUnattended, userData
  CustomizationUserData, guiRunOnce? CustomizationGuiRunOnce, identification CustomizationIdentification,
  licenseFilePrintData? CustomizationLicenseFilePrintData, scriptText? string, resetPassword? boolean,
  extraConfig? OptionValue[]
CustomizationSysprepText < CustomizationIdentitySettings: value string
CustomizationCloudinitPrep < CustomizationIdentitySettings: metadata string, userdata? string
CustomizationGuiUnattended < DynamicData: password? CustomizationPassword, timeZone int, autoLogon boolean,
  autoLogonCount int
CustomizationUserData < DynamicData: fullName string, orgName string, computerName CustomizationName,
  productId string
CustomizationGuiRunOnce < DynamicData: commandList string[]
CustomizationIdentification < DynamicData: joinWorkgroup? string, joinDomain? string, domainAdmin? string,
  domainAdminPassword? CustomizationPassword, domainOU? string
CustomizationLicenseFilePrintData < DynamicData: autoMode string, autoUsers? int
CustomizationPassword < DynamicData: value string, plainText boolean
CustomizationName < DynamicData
CustomizationFixedName < CustomizationName: name string
CustomizationVirtualMachineName < CustomizationName
CustomizationPrefixName < CustomizationName: base string
CustomizationCustomName < CustomizationName: argument? string
CustomizationUnknownName < CustomizationName
CustomizationGlobalIPSettings < DynamicData: dnsSuffixList? string[], dnsServerList? string[]
CustomizationAdapterMapping < DynamicData: macAddress? string, adapter CustomizationIPSettings
CustomizationIPSettings < DynamicData: ip CustomizationIpGenerator, subnetMask? string, gateway? string[],
  ipV6Spec? CustomizationIPSettingsIpV6AddressSpec, dnsServerList? string[], dnsDomain? string, primaryWINS?
  string, secondaryWINS? string, netBIOS? string, primary? boolean
CustomizationIPSettingsIpV6AddressSpec < DynamicData: ip CustomizationIpV6Generator[], gateway? string[]
CustomizationIpGenerator < DynamicData
CustomizationDhcpIpGenerator < CustomizationIpGenerator
CustomizationFixedIp < CustomizationIpGenerator: ipAddress string
CustomizationCustomIpGenerator < CustomizationIpGenerator: argument? string
CustomizationUnknownIpGenerator < CustomizationIpGenerator
CustomizationDisableIpV4 < CustomizationIpGenerator
CustomizationIpV6Generator < DynamicData
CustomizationDhcpIpV6Generator < CustomizationIpV6Generator
CustomizationFixedIpV6 < CustomizationIpV6Generator: ipAddress string, subnetMask int
CustomizationAutoIpV6Generator < CustomizationIpV6Generator
CustomizationStatelessIpV6Generator < CustomizationIpV6Generator
CustomizationCustomIpV6Generator < CustomizationIpV6Generator: argument? string
CustomizationUnknownIpV6Generator < CustomizationIpV6Generator
VirtualMachineSnapshotInfo < DynamicData: currentSnapshot? &VirtualMachineSnapshot, rootSnapshotList
  VirtualMachineSnapshotTree[]
VirtualMachineSnapshotTree < DynamicData: snapshot &VirtualMachineSnapshot, vm &VirtualMachine, name string,
  description string, id int, createTime dateTime, state string, quiesced boolean, backupManifest? string,
  childSnapshotList? VirtualMachineSnapshotTree[], replaySupported? boolean
`;
