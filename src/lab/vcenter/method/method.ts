/** What a method of the simulated vCenter is given, and how one is written down. */

import type { VmRecord } from '../../world/record.ts';
import type { Session } from '../sessions.ts';
import type { Vcenter } from '../vcenter.ts';
import { VimFault } from '../wire/fault.ts';
import type { MoRef, Struct, Value } from '../wire/values.ts';

/** One call: decoded and checked against the type table, and allowed. */
export interface Call {
  vcenter: Vcenter;
  session: Session;
  self: MoRef;
  args: Struct;
  method: string;
  /** Aborts when the client has gone or the server ends. */
  signal: AbortSignal;
  /** The task that this call begins never ends by itself. */
  isStuck: boolean;
  /** The task that this call begins ends with this instead of being carried out. */
  taskFault: VimFault | null;
}

export type Method = (call: Call) => Value | undefined | Promise<Value | undefined>;

/** Methods by their name on the wire. */
export type Methods = Record<string, Method>;

/** Begins a task on the call's own object, or on another one. */
export function startTask(
  call: Call,
  work: (progress: (percent: number) => void, cancelled: AbortSignal) => Promise<Value | undefined>,
  entity: MoRef = call.self,
): MoRef {
  requireConnected(call.vcenter, entity);
  return call.vcenter.tasks.start({
    method: call.method,
    entity,
    user: call.session.user,
    locks: entity.$ref === 'VirtualMachine' ? [entity.id] : [],
    isStuck: call.isStuck,
    fault: call.taskFault,
    work,
  });
}

/** Throws HostNotConnected for a VM on a host that does not respond: nobody there would do what is asked. */
function requireConnected(vcenter: Vcenter, entity: MoRef): void {
  const vm = vcenter.datacenter.record.vms.find((one) => one.id === entity.id);
  const host = vcenter.datacenter.record.hosts.find((one) => one.id === vm?.host);
  if (entity.$ref !== 'VirtualMachine' || !host?.failed) return;
  throw new VimFault('HostNotConnected', `host ${host.id} of ${vm?.name} is not responding`);
}

/** The lab's VM behind a reference. Throws ManagedObjectNotFound. */
export function vmOf(vcenter: Vcenter, ref: MoRef): VmRecord {
  vcenter.follow();
  const vm = vcenter.datacenter.record.vms.find((one) => one.id === ref.id);
  if (!vm || ref.$ref !== 'VirtualMachine') {
    throw new VimFault(
      'ManagedObjectNotFound',
      `The object 'vim.${ref.$ref}:${ref.id}' has already been deleted or has not been completely created`,
      { obj: ref },
    );
  }
  return vm;
}
