/** The lab as a platform: `openLab` is what a cloud of platform `lab` is driven by. */
import type { Platform } from '../hypervisor/platform.ts';
import { readInventory, watchInventory } from './inventory.ts';
import { attachNic, ensureSegment, mirrorNics, removeSegment } from './network.ts';
import { LabOwner } from './ownership.ts';
import { LabPolicyCopy } from './policy-copy.ts';
import { LabSession } from './session.ts';
import { readStats } from './stats.ts';
import { cloneVm, deployEngine, migrateVm, powerVm, removeVm } from './vm.ts';

/** The platform behind the control socket of a lab, for example `/run/weft/lab/lab.sock`. Connects on first use. */
export function openLab(options: { socket: string }): Platform {
  const session = new LabSession(options.socket);
  return {
    ownership: new LabOwner(session),
    policyCopy: new LabPolicyCopy(session),
    capabilities: {
      product: 'Weft lab',
      clone: true,
      cloneSources: ['full'],
      customisation: false,
      migrate: true,
      isolation: true,
      mirror: true,
    },
    inventory: (signal) => readInventory(session, signal),
    watch: (cursor, signal) => watchInventory(session, cursor, signal),
    ensureSegment: (segment, signal) => ensureSegment(session, segment, signal),
    removeSegment: (host, segment, signal) => removeSegment(session, host, segment, signal),
    deployEngine: (engine, progress, signal) => deployEngine(session, engine, progress, signal),
    removeVm: (vm, signal) => removeVm(session, vm, signal),
    cloneVm: (vm, clone, progress, signal) => cloneVm(session, vm, clone, progress, signal),
    power: (vm, action, signal) => powerVm(session, vm, action, signal),
    migrate: (vm, host, signal) => migrateVm(session, vm, host, signal),
    stats: (vms, signal) => readStats(session, vms, signal),
    attach: (nic, segment, signal) => attachNic(session, nic, segment, signal),
    mirror: (engine, nics, signal) => mirrorNics(session, engine, nics, signal),
    label: async ({ object, engine }, signal) => {
      // Segments of a lab have nothing but a name.
      if (object.kind !== 'vm') return;
      await session.call('PUT', `/vms/${encodeURIComponent(object.id)}/label`, signal, { engine });
    },
    note: async (note, signal) => void (await session.call('POST', '/notes', signal, note)),
    close: async () => session.close(),
  };
}
