/** The lab platform's VMs: deploy, remove, clone, power, migrate. */
import type { CloneSpec, EngineSpec, Progress, Vm } from '../hypervisor/platform.ts';
import type { LabSession } from './session.ts';

export async function deployEngine(
  session: LabSession,
  engine: EngineSpec,
  progress: Progress,
  signal: AbortSignal,
): Promise<Vm> {
  progress(0, `deploying engine ${engine.engine} to host ${engine.host}`);
  const vm = await session.call<Vm>('POST', '/engines', signal, engine);
  progress(1, `engine ${engine.engine} is on`);
  return vm;
}

export async function removeVm(session: LabSession, vm: string, signal: AbortSignal): Promise<void> {
  await session.call('DELETE', `/vms/${encodeURIComponent(vm)}`, signal);
}

export async function cloneVm(
  session: LabSession,
  vm: string,
  clone: CloneSpec,
  progress: Progress,
  signal: AbortSignal,
): Promise<Vm> {
  progress(0, `cloning to ${clone.name} on host ${clone.host}`);
  const made = await session.call<Vm>('POST', `/vms/${encodeURIComponent(vm)}/clone`, signal, clone);
  progress(1, `${clone.name} is on`);
  return made;
}

export async function powerVm(
  session: LabSession,
  vm: string,
  action: 'on' | 'off' | 'reset',
  signal: AbortSignal,
): Promise<void> {
  await session.call('POST', `/vms/${encodeURIComponent(vm)}/power`, signal, { action });
}

export async function migrateVm(
  session: LabSession,
  vm: string,
  host: string,
  signal: AbortSignal,
): Promise<void> {
  await session.call('POST', `/vms/${encodeURIComponent(vm)}/migrate`, signal, { host });
}
