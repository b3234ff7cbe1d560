/**
 * What one can do to a lab beside the platform contract: look inside, point the management gateway at a controller,
 * inject faults. For `weft lab` and tests; the controller never does any of this.
 */
import type { LabSession } from './session.ts';
import type { Fault, FaultSpec } from './world/faults.ts';
import type { LabStatus } from './world/status.ts';

export function readLabStatus(session: LabSession, signal: AbortSignal): Promise<LabStatus> {
  return session.call<LabStatus>('GET', '/status', signal);
}

/** Leads engines to the controller's hub, an address of the root namespace; `null` leads them nowhere. */
export async function setGateway(
  session: LabSession,
  hub: { host: string; port: number } | null,
  signal: AbortSignal,
): Promise<void> {
  await session.call('PUT', '/gateway', signal, hub);
}

/** Faults name VMs by id. */
export function injectFault(session: LabSession, fault: FaultSpec, signal: AbortSignal): Promise<Fault> {
  return session.call<Fault>('POST', '/faults', signal, fault);
}

export function listFaults(session: LabSession, signal: AbortSignal): Promise<Fault[]> {
  return session.call<Fault[]>('GET', '/faults', signal);
}

/** Ends one fault, or all where `id` is null. Answers with those that were ended. */
export function healFault(session: LabSession, id: string | null, signal: AbortSignal): Promise<Fault[]> {
  return session.call<Fault[]>(
    'DELETE',
    id === null ? '/faults' : `/faults/${encodeURIComponent(id)}`,
    signal,
  );
}

/** Begins to take a host into maintenance, or takes it back into service; `readLabStatus` shows how far that is. */
export async function setMaintenance(
  session: LabSession,
  host: string,
  action: 'enter' | 'exit',
  signal: AbortSignal,
): Promise<void> {
  await session.call('POST', `/hosts/${encodeURIComponent(host)}/maintenance`, signal, { action });
}

/** Puts another process in the place of a running engine's, by the id of its VM; its flows go on. */
export async function upgradeEngine(session: LabSession, vm: string, signal: AbortSignal): Promise<void> {
  await session.call('POST', `/vms/${encodeURIComponent(vm)}/upgrade`, signal, {});
}

/** SIGKILL to everything in the VM, by id. */
export async function killVm(session: LabSession, vm: string, signal: AbortSignal): Promise<void> {
  await session.call('POST', `/vms/${encodeURIComponent(vm)}/kill`, signal, {});
}
