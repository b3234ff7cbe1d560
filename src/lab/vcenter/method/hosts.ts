/** Methods of hosts: into maintenance and out of it. What runs there is moved away as DRS does it. */
import { hostOf, hostRef } from '../inventory/hosts.ts';
import { machineName } from '../inventory/machines.ts';
import type { Vcenter } from '../vcenter.ts';
import { asVimFault, VimFault } from '../wire/fault.ts';
import { type MoRef, moRef, type Struct } from '../wire/values.ts';
import { relocate } from './machines.ts';
import { type Methods, startTask } from './method.ts';

export const hostMethods: Methods = {
  EnterMaintenanceMode_Task: ({ vcenter, self, args, session, isStuck }) =>
    enterMaintenance(vcenter, self, { seconds: Number(args.timeout), user: session.user, isStuck }),

  ExitMaintenanceMode_Task: (call) => {
    const { vcenter, self, session } = call;
    const host = hostOfLab(vcenter, self);
    return startTask(call, async () => {
      if (host.maintenance !== 'in') {
        throw new VimFault(
          'InvalidState',
          'The operation is not allowed in the current state: the host is in service.',
        );
      }
      await vcenter.datacenter.maintenance.exit(host.id);
      note(vcenter, 'ExitMaintenanceModeEvent', session.user, self, 'has exited maintenance mode');
      return undefined;
    });
  },
};

/** Begins the task that takes a host into maintenance. `seconds` 0: it waits for ever. */
export function enterMaintenance(
  vcenter: Vcenter,
  host: MoRef,
  { seconds, user, isStuck }: { seconds: number; user: string; isStuck: boolean },
): MoRef {
  const { id } = hostOfLab(vcenter, host);
  return vcenter.tasks.start({
    method: 'EnterMaintenanceMode_Task',
    entity: host,
    user,
    locks: [],
    isStuck,
    work: async (progress, cancelled) => {
      note(vcenter, 'EnteringMaintenanceModeEvent', user, host, 'has started to enter maintenance mode');
      progress(2);
      const timeout = AbortSignal.timeout(seconds > 0 ? seconds * 1000 : 2 ** 31 - 1);
      try {
        await vcenter.datacenter.maintenance.enter(id, AbortSignal.any([cancelled, timeout]));
      } catch (error) {
        note(vcenter, 'CanceledHostOperationEvent', user, host, 'does not enter maintenance mode');
        if (cancelled.aborted) throw cancelled.reason;
        if (timeout.aborted) throw new VimFault('Timedout', 'Operation timed out.');
        throw asVimFault(error);
      }
      note(vcenter, 'EnteredMaintenanceModeEvent', user, host, 'has entered maintenance mode');
      return undefined;
    },
  });
}

/** VMs that are moved away keep the VLANs of their ports, so these are made where they go. */
export function followEvacuations(vcenter: Vcenter): void {
  const { maintenance } = vcenter.datacenter;
  maintenance.request = (host) => {
    const user = vcenter.state.user;
    enterMaintenance(vcenter, hostRef(vcenter, host), { seconds: 0, user, isStuck: false });
  };
  maintenance.moveVm = async (vm, host) => {
    const source = hostRef(vcenter, vm.host);
    const name = machineName(vcenter, vm);
    await relocate(vcenter, vm, hostRef(vcenter, host));
    const about: Struct = {
      vm: { $type: 'VmEventArgument', name, vm: moRef('VirtualMachine', vm.id) },
      host: { $type: 'HostEventArgument', name: host, host: hostRef(vcenter, host) },
      sourceHost: { $type: 'HostEventArgument', name: source.id, host: source },
      template: false,
    };
    vcenter.events.note('DrsVmMigratedEvent', 'DRS', `DRS migrated ${name} to ${host}`, about);
    vcenter.changed();
  };
}

/** What a cluster with HA tells of a host that fails, of the VMs that it starts elsewhere, and of the return. */
export function followFailures(vcenter: Vcenter): void {
  const { availability } = vcenter.datacenter;
  const argument = (host: string): Struct => ({
    $type: 'HostEventArgument',
    name: host,
    host: hostRef(vcenter, host),
  });
  availability.onFailed = (host) => {
    note(vcenter, 'HostConnectionLostEvent', '', hostRef(vcenter, host), 'is not responding');
    vcenter.events.note('DasHostFailedEvent', '', `vSphere HA detected that host ${host} failed`, {
      failedHost: argument(host),
    });
    vcenter.changed();
  };
  // The ports of its NICs go with a VM, overrides and all; their VLANs are made where it goes.
  availability.place = (vm, host) => relocate(vcenter, vm, hostRef(vcenter, host));
  availability.onRestarted = (vm, from) => {
    const name = machineName(vcenter, vm);
    const message = `vSphere HA restarted ${name} on ${vm.host}, since ${from} failed`;
    vcenter.events.note('VmRestartedOnAlternateHostEvent', '', message, {
      vm: { $type: 'VmEventArgument', name, vm: moRef('VirtualMachine', vm.id) },
      host: argument(vm.host),
      template: false,
      sourceHost: argument(from),
    });
    vcenter.changed();
  };
  availability.onReturned = (host) => {
    note(vcenter, 'HostConnectedEvent', '', hostRef(vcenter, host), 'is connected');
    vcenter.changed();
  };
}

function hostOfLab(vcenter: Vcenter, ref: MoRef) {
  const host = hostOf(vcenter, ref);
  if (host) return host;
  throw new VimFault('ManagedObjectNotFound', `there is no host ${ref.id}`, { obj: ref });
}

function note(vcenter: Vcenter, type: string, user: string, host: MoRef, what: string): void {
  const name = hostOf(vcenter, host)?.id ?? host.id;
  vcenter.events.note(type, user, `Host ${name} ${what}`, {
    host: { $type: 'HostEventArgument', name, host },
  });
}
