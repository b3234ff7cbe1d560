/** The lab platform's VMs: deploy, remove, clone, power, migrate. */
import type { CloneSpec, EngineSpec, Progress, Vm } from '../hypervisor/platform.ts';
import { WeftError } from '../policy/errors.ts';
import type { LabSession } from './session.ts';

export async function deployEngine(
  session: LabSession,
  engine: EngineSpec,
  progress: Progress,
  signal: AbortSignal,
): Promise<Vm> {
  progress(0, `deploying engine ${engine.engine} to host ${engine.host}`);
  // Processes have no size.
  const { size: _size, ...spec } = engine;
  const vm = await session.call<Vm>('POST', '/engines', signal, spec);
  progress(1, `engine ${engine.engine} is on`);
  return vm;
}

export async function removeVm(session: LabSession, vm: string, signal: AbortSignal): Promise<void> {
  await session.call('DELETE', `/vms/${encodeURIComponent(vm)}`, signal);
}

/**
 * A full copy. The lab has neither snapshots, templates, libraries nor guest customisation, and refuses them; datastores
 * it has none either, so naming one says nothing. Addresses are there at once.
 */
export async function cloneVm(
  session: LabSession,
  model: string | null,
  clone: CloneSpec,
  progress: Progress,
  signal: AbortSignal,
): Promise<Vm> {
  const { name, host } = clone;
  const source = clone.source?.kind ?? 'full';
  if (model === null || source !== 'full') {
    throw unsupported(
      name,
      `${source === 'full' ? 'clones from nothing' : `clones of kind ${source}`}: clone a VM in full`,
    );
  }
  if (clone.customisation !== undefined) {
    throw unsupported(name, `guest customisation (${clone.customisation}): leave it out`);
  }
  if (clone.folder !== undefined || clone.segment !== undefined || clone.tags?.length) {
    throw unsupported(name, 'another folder, segment or tags than those of the model: leave them out');
  }
  progress(0, `cloning to ${name} on host ${host}`);
  const made = await session.call<Vm>('POST', `/vms/${encodeURIComponent(model)}/clone`, signal, {
    name,
    host,
  });
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

function unsupported(clone: string, what: string): WeftError {
  return new WeftError('ERR_HYPERVISOR_UNSUPPORTED', `clone ${clone}: the lab has no ${what}`);
}
