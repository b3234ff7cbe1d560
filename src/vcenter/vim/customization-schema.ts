/**
 * The part of the vim25 subset that describes guest customisation: see schema.ts for the notation. Whole, for a
 * specification is given back to vCenter as it was read.
 */

/** Types: own fields in wire order; those of `base` come first. */
export const CUSTOMIZATION_TYPES = {
  CustomizationSpecItem: { fields: { info: 'CustomizationSpecInfo', spec: 'CustomizationSpec' } },
  CustomizationSpecInfo: {
    fields: {
      name: 'string',
      description: 'string',
      type: 'string',
      changeVersion: 'string?',
      lastUpdateTime: 'dateTime?',
    },
  },
  CustomizationSpec: {
    fields: {
      options: 'CustomizationOptions?',
      identity: 'CustomizationIdentitySettings',
      globalIPSettings: 'CustomizationGlobalIPSettings',
      nicSettingMap: 'CustomizationAdapterMapping[]?',
      encryptionKey: 'base64?',
    },
  },
  CustomizationOptions: { fields: {} },
  CustomizationLinuxOptions: { base: 'CustomizationOptions', fields: {} },
  CustomizationWinOptions: {
    base: 'CustomizationOptions',
    fields: { changeSID: 'boolean', deleteAccounts: 'boolean', reboot: 'string?' },
  },
  CustomizationIdentitySettings: { fields: {} },
  CustomizationLinuxPrep: {
    base: 'CustomizationIdentitySettings',
    fields: {
      hostName: 'CustomizationName',
      domain: 'string',
      timeZone: 'string?',
      hwClockUTC: 'boolean?',
      scriptText: 'string?',
      compatibleCustomizationMethod: 'string?',
      resetPassword: 'boolean?',
      password: 'CustomizationPassword?',
      extraConfig: 'OptionValue[]?',
    },
  },
  CustomizationSysprep: {
    base: 'CustomizationIdentitySettings',
    fields: {
      guiUnattended: 'CustomizationGuiUnattended',
      userData: 'CustomizationUserData',
      guiRunOnce: 'CustomizationGuiRunOnce?',
      identification: 'CustomizationIdentification',
      licenseFilePrintData: 'CustomizationLicenseFilePrintData?',
      scriptText: 'string?',
      resetPassword: 'boolean?',
      extraConfig: 'OptionValue[]?',
    },
  },
  CustomizationSysprepText: { base: 'CustomizationIdentitySettings', fields: { value: 'string' } },
  CustomizationCloudinitPrep: {
    base: 'CustomizationIdentitySettings',
    fields: { metadata: 'string', userdata: 'string?' },
  },
  CustomizationGuiUnattended: {
    fields: {
      password: 'CustomizationPassword?',
      timeZone: 'int',
      autoLogon: 'boolean',
      autoLogonCount: 'int',
    },
  },
  CustomizationUserData: {
    fields: { fullName: 'string', orgName: 'string', computerName: 'CustomizationName', productId: 'string' },
  },
  CustomizationGuiRunOnce: { fields: { commandList: 'string[]' } },
  CustomizationIdentification: {
    fields: {
      joinWorkgroup: 'string?',
      joinDomain: 'string?',
      domainAdmin: 'string?',
      domainAdminPassword: 'CustomizationPassword?',
      domainOU: 'string?',
    },
  },
  CustomizationLicenseFilePrintData: { fields: { autoMode: 'string', autoUsers: 'int?' } },
  CustomizationPassword: { fields: { value: 'string', plainText: 'boolean' } },
  CustomizationName: { fields: {} },
  CustomizationFixedName: { base: 'CustomizationName', fields: { name: 'string' } },
  CustomizationVirtualMachineName: { base: 'CustomizationName', fields: {} },
  CustomizationPrefixName: { base: 'CustomizationName', fields: { base: 'string' } },
  CustomizationCustomName: { base: 'CustomizationName', fields: { argument: 'string?' } },
  CustomizationUnknownName: { base: 'CustomizationName', fields: {} },
  CustomizationGlobalIPSettings: { fields: { dnsSuffixList: 'string[]?', dnsServerList: 'string[]?' } },
  CustomizationAdapterMapping: { fields: { macAddress: 'string?', adapter: 'CustomizationIPSettings' } },
  CustomizationIPSettings: {
    fields: {
      ip: 'CustomizationIpGenerator',
      subnetMask: 'string?',
      gateway: 'string[]?',
      ipV6Spec: 'CustomizationIPSettingsIpV6AddressSpec?',
      dnsServerList: 'string[]?',
      dnsDomain: 'string?',
      primaryWINS: 'string?',
      secondaryWINS: 'string?',
      netBIOS: 'string?',
      primary: 'boolean?',
    },
  },
  CustomizationIPSettingsIpV6AddressSpec: {
    fields: { ip: 'CustomizationIpV6Generator[]', gateway: 'string[]?' },
  },
  CustomizationIpGenerator: { fields: {} },
  CustomizationDhcpIpGenerator: { base: 'CustomizationIpGenerator', fields: {} },
  CustomizationFixedIp: { base: 'CustomizationIpGenerator', fields: { ipAddress: 'string' } },
  CustomizationCustomIpGenerator: { base: 'CustomizationIpGenerator', fields: { argument: 'string?' } },
  CustomizationUnknownIpGenerator: { base: 'CustomizationIpGenerator', fields: {} },
  CustomizationDisableIpV4: { base: 'CustomizationIpGenerator', fields: {} },
  CustomizationIpV6Generator: { fields: {} },
  CustomizationDhcpIpV6Generator: { base: 'CustomizationIpV6Generator', fields: {} },
  CustomizationFixedIpV6: {
    base: 'CustomizationIpV6Generator',
    fields: { ipAddress: 'string', subnetMask: 'int' },
  },
  CustomizationAutoIpV6Generator: { base: 'CustomizationIpV6Generator', fields: {} },
  CustomizationStatelessIpV6Generator: { base: 'CustomizationIpV6Generator', fields: {} },
  CustomizationCustomIpV6Generator: { base: 'CustomizationIpV6Generator', fields: { argument: 'string?' } },
  CustomizationUnknownIpV6Generator: { base: 'CustomizationIpV6Generator', fields: {} },
} as const;

/** Methods: arguments in wire order, and what comes back. */
export const CUSTOMIZATION_METHODS = {
  GetCustomizationSpec: { args: { name: 'string' }, returns: 'CustomizationSpecItem' },
  CustomizeVM_Task: { args: { spec: 'CustomizationSpec' }, returns: 'MoRef' },
} as const;
