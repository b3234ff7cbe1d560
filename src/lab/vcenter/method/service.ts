/** Methods of the service instance, the session manager, and the managers that only answer questions. */

import { isRegisteredTask } from '../extension-texts.ts';
import { customFieldDefs } from '../inventory/describe.ts';
import { switchName } from '../inventory/fabric.ts';
import { hostOf, networkHint } from '../inventory/hosts.ts';
import { valueAt } from '../inventory/object.ts';
import { serviceContent } from '../inventory/services.ts';
import { COUNTERS, INTERVAL_SECONDS } from '../load-history.ts';
import { isWithheld, PRIVILEGES } from '../privileges.ts';
import { isKindOf } from '../schema/notation.ts';
import { isSameSecret, viewOfSession } from '../sessions.ts';
import { REFS } from '../state.ts';
import { invalidArgument, VimFault } from '../wire/fault.ts';
import { dateTime, isMoRef, type MoRef, moRef, type Struct, type Value } from '../wire/values.ts';
import type { Call, Methods } from './method.ts';

export const serviceMethods: Methods = {
  CurrentTime: () => dateTime(Date.now()),
  RetrieveServiceContent: ({ vcenter }) => serviceContent(vcenter),
  Logout: ({ vcenter, session }) => {
    vcenter.sessions.end(session);
    return undefined;
  },
  SessionIsActive: ({ vcenter, args }) =>
    vcenter.sessions.byKey(String(args.sessionID))?.user === String(args.userName),
  AcquireCloneTicket: ({ vcenter, session }) => vcenter.sessions.ticketFor(session),
  TerminateSession: ({ vcenter, args }) => {
    for (const key of args.sessionId as string[]) {
      const found = vcenter.sessions.byKey(key);
      if (!found) throw new VimFault('NotFound', `there is no session ${key}`);
      vcenter.sessions.end(found);
    }
    return undefined;
  },

  FindByInventoryPath: ({ vcenter, args }) => {
    const objects = vcenter.objects();
    let at: MoRef | undefined = REFS.rootFolder;
    for (const name of String(args.inventoryPath)
      .split('/')
      .filter((part) => part !== '')) {
      at = at && childNamed(objects, at, decodeURIComponent(name));
    }
    return at;
  },
  FindChild: ({ vcenter, args }) => childNamed(vcenter.objects(), args.entity as MoRef, String(args.name)),
  FindByUuid: ({ vcenter, args }) => {
    const uuid = String(args.uuid).toLowerCase();
    if (args.vmSearch !== true) {
      const host = vcenter.datacenter.record.hosts.findIndex((one) => vcenter.uuidOf(one.id) === uuid);
      return host < 0 ? undefined : moRef('HostSystem', `host-${11 + host}`);
    }
    vcenter.follow();
    const found = Object.entries(vcenter.state.vms).find(
      ([, vm]) => (args.instanceUuid === true ? vm.instanceUuid : vm.uuid) === uuid,
    );
    return found && moRef('VirtualMachine', found[0]);
  },
  FindByIp: ({ vcenter, args }) => {
    const found = vcenter.datacenter.record.vms.find(
      (vm) => vm.process && vm.nics.some((nic) => nic.addresses.includes(String(args.ip))),
    );
    return found && moRef('VirtualMachine', found.id);
  },
  FindByDnsName: ({ vcenter, args }) => {
    const found = vcenter.datacenter.record.vms.find((vm) => vm.process && vm.name === args.dnsName);
    return found && moRef('VirtualMachine', found.id);
  },

  QueryPerfProviderSummary: ({ args }) => ({
    entity: args.entity,
    currentSupported: true,
    summarySupported: false,
    refreshRate: INTERVAL_SECONDS,
  }),
  QueryPerfCounter: ({ args }) =>
    (args.counterId as number[]).map((id) => {
      const found = COUNTERS.find((one) => one.id === id);
      if (!found) throw invalidArgument('counterId', `there is no counter ${id}`);
      return found.info;
    }),
  QueryAvailablePerfMetric: ({ args }) =>
    (args.entity as MoRef).$ref === 'VirtualMachine'
      ? COUNTERS.map(({ id }) => ({ counterId: id, instance: '' }))
      : [],
  QueryPerf: (call) =>
    (call.args.querySpec as Struct[]).flatMap((spec) => {
      const found = perfOf(call, spec);
      return found ? [found] : [];
    }),

  CreateTask: ({ vcenter, session, args }) => {
    const type = String(args.taskTypeId);
    if (!isRegisteredTask(vcenter, type)) {
      throw invalidArgument('taskType', `no extension has registered the task ${type}`);
    }
    const { ref } = vcenter.object(args.obj as MoRef);
    const initiator = args.initiatedBy === undefined ? session.user : String(args.initiatedBy);
    return vcenter.tasks.createForeign(type, ref, initiator);
  },
  SetTaskState: ({ vcenter, self, args }) => {
    vcenter.tasks.setState(self.id, String(args.state), (args.fault as Struct | undefined) ?? null);
    return undefined;
  },
  UpdateProgress: ({ vcenter, self, args }) => {
    const percent = Number(args.percentDone);
    if (percent < 0 || percent > 100) {
      throw new VimFault('OutOfBounds', `${percent} is no percentage`, { argumentName: 'percentDone' });
    }
    vcenter.tasks.setProgress(self.id, percent);
    return undefined;
  },
  CancelTask: ({ vcenter, self }) => {
    vcenter.tasks.cancel(self.id);
    return undefined;
  },

  AddCustomFieldDef: ({ vcenter, args }) => {
    const name = String(args.name);
    const managedType = args.moType === undefined ? null : String(args.moType);
    if (vcenter.state.customFields.some((one) => one.name === name && one.managedType === managedType)) {
      throw new VimFault('DuplicateName', `The name '${name}' already exists.`, {
        name,
        object: moRef('CustomFieldsManager', 'CustomFieldsManager'),
      });
    }
    const key = vcenter.nextId();
    vcenter.state.customFields.push({ key, name, managedType });
    vcenter.changed();
    return customFieldDefs(vcenter).find((one) => one.key === key);
  },
  RemoveCustomFieldDef: ({ vcenter, args }) => {
    const { state } = vcenter;
    requireField(vcenter, Number(args.key));
    state.customFields = state.customFields.filter((one) => one.key !== args.key);
    for (const values of Object.values(state.customValues)) delete values[String(args.key)];
    vcenter.changed();
    return undefined;
  },
  RenameCustomFieldDef: ({ vcenter, args }) => {
    requireField(vcenter, Number(args.key)).name = String(args.name);
    vcenter.changed();
    return undefined;
  },
  SetField: ({ vcenter, args }) => {
    const { ref } = vcenter.object(args.entity as MoRef);
    const field = requireField(vcenter, Number(args.key));
    if (field.managedType && !isKindOf(ref.$ref, field.managedType)) {
      throw invalidArgument('key', `the field ${field.name} is for ${field.managedType}`);
    }
    setValue(vcenter, ref.id, field.key, String(args.value));
    return undefined;
  },
  setCustomValue: ({ vcenter, self, args }) => {
    const field = vcenter.state.customFields.find((one) => one.name === args.key);
    if (!field) throw invalidArgument('key', `there is no custom field ${args.key}`);
    setValue(vcenter, vcenter.object(self).ref.id, field.key, String(args.value));
    return undefined;
  },

  FindExtension: ({ vcenter, args }) => vcenter.state.extensions.find((one) => one.key === args.extensionKey),
  RegisterExtension: ({ vcenter, args }) => {
    const extension = args.extension as Struct;
    if (vcenter.state.extensions.some((one) => one.key === extension.key)) {
      throw invalidArgument('extension.key', `extension ${extension.key} is registered already`);
    }
    if (vcenter.state.extensions.length >= 100)
      throw invalidArgument('extension', 'there are 100 extensions already');
    vcenter.state.extensions.push(extension);
    vcenter.changed();
    return undefined;
  },
  UpdateExtension: ({ vcenter, args }) => {
    const extension = args.extension as Struct;
    const { extensions } = vcenter.state;
    const index = extensions.findIndex((one) => one.key === extension.key);
    if (index < 0) throw new VimFault('NotFound', `extension ${extension.key} is not registered`);
    extensions[index] = extension;
    vcenter.changed();
    return undefined;
  },
  UnregisterExtension: ({ vcenter, args }) => {
    const { extensions } = vcenter.state;
    const index = extensions.findIndex((one) => one.key === args.extensionKey);
    if (index < 0) throw new VimFault('NotFound', `extension ${args.extensionKey} is not registered`);
    extensions.splice(index, 1);
    vcenter.changed();
    return undefined;
  },

  HasPrivilegeOnEntities: ({ vcenter, args }) =>
    (args.entity as MoRef[]).map((entity) => ({
      entity: vcenter.object(entity).ref,
      privAvailability: ((args.privId ?? []) as string[]).map((privId) => ({
        privId,
        isGranted: isPrivilege(vcenter, privId) && !isWithheld(vcenter.datacenter.record.faults, privId),
      })),
    })),
  HasUserPrivilegeOnEntities: ({ vcenter, args }) =>
    (args.entities as MoRef[]).map((entity) => ({
      entity: vcenter.object(entity).ref,
      privAvailability: ((args.privId ?? []) as string[]).map((privId) => ({
        privId,
        isGranted:
          args.userName === vcenter.state.user && !isWithheld(vcenter.datacenter.record.faults, privId),
      })),
    })),
  FetchUserPrivilegeOnEntities: ({ vcenter, args }) =>
    (args.entities as MoRef[]).map((entity) => ({
      entity: vcenter.object(entity).ref,
      privileges:
        args.userName === vcenter.state.user
          ? (
              valueAt(vcenter.object(moRef('AuthorizationManager', 'AuthorizationManager')), 'privilegeList')!
                .value as Struct[]
            )
              .map((one) => one.privId as Value)
              .filter((one) => !isWithheld(vcenter.datacenter.record.faults, String(one)))
          : [],
    })),

  QueryDvsByUuid: ({ vcenter, args }) => {
    if (args.uuid === vcenter.state.switchUuid) return REFS.switch;
    throw new VimFault('NotFound', `there is no switch ${args.uuid}; there is ${switchName(vcenter)}`);
  },
  QueryNetworkHint: ({ vcenter, self }) => {
    const host = hostOf(vcenter, moRef('HostSystem', self.id.replace('networkSystem', 'host')));
    return host ? [networkHint(host)] : [];
  },
};

/** Methods that need no session; they make one, or say where to begin. */
/** One that the product has, or that an extension has registered. */
function isPrivilege(vcenter: Call['vcenter'], id: string): boolean {
  const registered = vcenter.state.extensions.flatMap((one) => (one.privilegeList ?? []) as Struct[]);
  return PRIVILEGES.includes(id) || registered.some((one) => one.privID === id);
}

export const login = {
  /** The user of these credentials. Throws InvalidLogin. */
  check(call: Pick<Call, 'vcenter'>, user: string, password: string): string {
    const { state } = call.vcenter;
    if (isSameSecret(user.toLowerCase(), state.user) && isSameSecret(password, state.password))
      return state.user;
    throw new VimFault('InvalidLogin', 'Cannot complete login due to an incorrect user name or password.');
  },
  view: viewOfSession,
};

const CHILD_PROPERTIES = [
  'childEntity',
  'vmFolder',
  'hostFolder',
  'datastoreFolder',
  'networkFolder',
  'host',
  'resourcePool',
  'vm',
];

function childNamed(
  objects: ReturnType<Call['vcenter']['objects']>,
  parent: MoRef,
  name: string,
): MoRef | undefined {
  const object = objects.get(parent.id);
  for (const property of CHILD_PROPERTIES) {
    const value = object?.properties[property]?.();
    for (const child of (Array.isArray(value) ? value : [value]).filter(isMoRef)) {
      if (objects.get(child.id)?.properties.name?.() === name) return objects.get(child.id)!.ref;
    }
  }
  return undefined;
}

function requireField(vcenter: Call['vcenter'], key: number) {
  const field = vcenter.state.customFields.find((one) => one.key === key);
  if (!field) throw invalidArgument('key', `there is no custom field ${key}`);
  return field;
}

function setValue(vcenter: Call['vcenter'], entity: string, key: number, value: string): void {
  const values = vcenter.state.customValues[entity] ?? {};
  if (value === '') delete values[key];
  else values[key] = value;
  vcenter.state.customValues[entity] = values;
  vcenter.changed();
}

function perfOf({ vcenter }: Call, spec: Struct): Struct | undefined {
  const entity = spec.entity as MoRef;
  vcenter.object(entity);
  if (entity.$ref !== 'VirtualMachine') return undefined;
  if (spec.format === 'csv')
    throw new VimFault('NotSupported', 'the simulated vCenter answers in format normal only');
  if (spec.intervalId !== undefined && spec.intervalId !== INTERVAL_SECONDS) {
    throw invalidArgument('querySpec.intervalId', `only ${INTERVAL_SECONDS} (real time) is kept`);
  }
  const samples = vcenter.loads
    .of(entity.id)
    .filter((one) => !spec.startTime || dateTime(one.timeMs) > String(spec.startTime))
    .filter((one) => !spec.endTime || dateTime(one.timeMs) <= String(spec.endTime))
    .slice(-Number(spec.maxSample ?? 180));
  const wanted =
    (spec.metricId as Struct[] | undefined)?.map((one) => one.counterId) ?? COUNTERS.map(({ id }) => id);
  return {
    $type: 'PerfEntityMetric',
    entity,
    sampleInfo: samples.map((one) => ({ timestamp: dateTime(one.timeMs), interval: INTERVAL_SECONDS })),
    value: COUNTERS.filter(({ id }) => wanted.includes(id)).map(({ id, measure }) => ({
      $type: 'PerfMetricIntSeries',
      id: { counterId: id, instance: '' },
      value: samples.map(measure),
    })),
  };
}
