/** The service instance and the managers around the inventory: one of each. */

import { describeEvents, describeTasks } from '../extension-texts.ts';
import { COUNTERS } from '../load-history.ts';
import { PRIVILEGES } from '../privileges.ts';
import { dataTypesOf } from '../schema/notation.ts';
import { REFS } from '../state.ts';
import { type Vcenter, VERSION } from '../vcenter.ts';
import { dateTime, type MoRef, moRef, type Struct } from '../wire/values.ts';
import { customFieldDefs } from './describe.ts';
import type { ManagedObject } from './object.ts';

/** Managers by the field of ServiceContent that names them. */
export const MANAGERS = {
  propertyCollector: moRef('PropertyCollector', 'propertyCollector'),
  viewManager: moRef('ViewManager', 'ViewManager'),
  sessionManager: moRef('SessionManager', 'SessionManager'),
  authorizationManager: moRef('AuthorizationManager', 'AuthorizationManager'),
  perfManager: moRef('PerformanceManager', 'PerfMgr'),
  eventManager: moRef('EventManager', 'EventManager'),
  taskManager: moRef('TaskManager', 'TaskManager'),
  extensionManager: moRef('ExtensionManager', 'ExtensionManager'),
  customFieldsManager: moRef('CustomFieldsManager', 'CustomFieldsManager'),
  customizationSpecManager: moRef('CustomizationSpecManager', 'CustomizationSpecManager'),
  searchIndex: moRef('SearchIndex', 'SearchIndex'),
  ovfManager: moRef('OvfManager', 'OvfManager'),
  dvSwitchManager: moRef('DistributedVirtualSwitchManager', 'DVSManager'),
} as const satisfies Record<string, MoRef>;

/** What a product says of itself. */
export function about(name: string, productLine: string, apiType: string, instance: string): Struct {
  return {
    $type: 'AboutInfo',
    name,
    fullName: `${name} ${VERSION.version} build-${VERSION.build} (simulated by Weft)`,
    vendor: 'VMware, Inc.',
    version: VERSION.version,
    patchLevel: '00000',
    build: VERSION.build,
    localeVersion: 'INTL',
    localeBuild: '000',
    osType: 'linux-x64',
    productLineId: productLine,
    apiType,
    apiVersion: VERSION.api,
    instanceUuid: instance,
    licenseProductName: 'VMware VirtualCenter Server',
    licenseProductVersion: '8.0',
  };
}

/** What RetrieveServiceContent answers. */
export function serviceContent(vcenter: Vcenter): Struct {
  return {
    $type: 'ServiceContent',
    rootFolder: REFS.rootFolder,
    about: about('VMware vCenter Server', 'vpx', 'VirtualCenter', vcenter.state.instanceUuid),
    ...MANAGERS,
  };
}

export function serviceObjects(vcenter: Vcenter): ManagedObject[] {
  const manager = (ref: MoRef, properties: ManagedObject['properties'] = {}): ManagedObject => ({
    ref,
    properties,
  });
  return [
    manager(moRef('ServiceInstance', 'ServiceInstance'), {
      content: () => serviceContent(vcenter),
      serverClock: () => dateTime(Date.now()),
      capability: () => ({
        $type: 'Capability',
        provisioningSupported: true,
        multiHostSupported: true,
        userShellAccessSupported: false,
      }),
    }),
    manager(MANAGERS.propertyCollector, { filter: () => [] }),
    manager(MANAGERS.viewManager, { viewList: () => [] }),
    manager(MANAGERS.sessionManager, {
      sessionList: () => vcenter.sessions.views(),
      message: () => '',
      messageLocaleList: () => ['en'],
      supportedLocaleList: () => ['en'],
      defaultLocale: () => 'en',
    }),
    manager(MANAGERS.authorizationManager, {
      privilegeList: () =>
        PRIVILEGES.map((id) => ({
          privId: id,
          onParent: false,
          name: id.split('.').at(-1)!,
          privGroupName: id.split('.').slice(0, -1).join('.'),
        })),
      roleList: () => [
        {
          roleId: -1,
          system: true,
          name: 'Admin',
          info: { label: 'Administrator', summary: 'Full access' },
          privilege: [...PRIVILEGES],
        },
      ],
    }),
    manager(MANAGERS.perfManager, {
      perfCounter: () => COUNTERS.map((counter) => counter.info),
      historicalInterval: () => [],
    }),
    manager(MANAGERS.eventManager, {
      description: () => eventDescription(vcenter),
      latestEvent: () => vcenter.events.latest(),
      maxCollector: () => 0,
    }),
    manager(MANAGERS.taskManager, {
      recentTask: () => vcenter.tasks.recent(),
      description: () => ({
        methodInfo: describeTasks(vcenter),
        state: ['queued', 'running', 'success', 'error'].map(element),
        reason: [element('TaskReasonUser')],
      }),
      maxCollector: () => 0,
    }),
    manager(MANAGERS.extensionManager, { extensionList: () => vcenter.state.extensions }),
    manager(MANAGERS.customFieldsManager, { field: () => customFieldDefs(vcenter) }),
    manager(MANAGERS.customizationSpecManager, {
      info: () => customizationsOf(vcenter).map(({ info }) => info as Struct),
    }),
    manager(MANAGERS.searchIndex),
    manager(MANAGERS.ovfManager, { ovfImportOption: () => [], ovfExportOption: () => [] }),
    manager(MANAGERS.dvSwitchManager),
  ];
}

/** Which events there are, and how grave each is. */
function eventDescription(vcenter: Vcenter): Struct {
  const own = dataTypesOf('Event').filter((key) => key !== 'EventEx');
  return {
    category: ['info', 'warning', 'error', 'user'].map(element),
    eventInfo: [
      ...own.map((key) => ({
        key,
        description: key.replace(/Event$/, ''),
        category: /Lost|Failed|Alternate/.test(key) ? 'error' : 'info',
        formatOnDatacenter: '{fullFormattedMessage}',
        formatOnComputeResource: '{fullFormattedMessage}',
        formatOnHost: '{fullFormattedMessage}',
        formatOnVm: '{fullFormattedMessage}',
        fullFormat: '{fullFormattedMessage}',
      })),
      ...describeEvents(vcenter),
    ],
  };
}

function element(key: string): Struct {
  return { label: key, summary: key, key };
}

/** The customisation specifications that are kept: one of the lab, and those that were made. */
export function customizationsOf(vcenter: Vcenter): Struct[] {
  return [LAB_CUSTOMIZATION, ...(vcenter.state.customizations ?? [])];
}

/** As a lab's guests are: named after the VM, with addresses that the network gives. */
const LAB_CUSTOMIZATION: Struct = {
  $type: 'CustomizationSpecItem',
  info: { name: 'lab-linux', description: 'The name of the VM, DHCP', type: 'Linux', changeVersion: '1' },
  spec: {
    options: { $type: 'CustomizationLinuxOptions' },
    identity: {
      $type: 'CustomizationLinuxPrep',
      hostName: { $type: 'CustomizationVirtualMachineName' },
      domain: 'lab.example',
      hwClockUTC: true,
    },
    globalIPSettings: {},
    nicSettingMap: [{ adapter: { ip: { $type: 'CustomizationDhcpIpGenerator' } } }],
  },
};
