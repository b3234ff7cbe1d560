/** vCenter as a platform: `openVcenter` is what a cloud of platform `vcenter` is driven by. */
import type { Inventory, Platform, Vm } from '../hypervisor/platform.ts';
import { WeftError } from '../policy/errors.ts';
import { NicMover } from './attach.ts';
import { deployEngine, type EngineOptions } from './engine.ts';
import { VcenterInventory } from './inventory.ts';
import type { ListingOptions } from './inventory-listing.ts';
import { ensureSegment, removeSegment, type VlanRange } from './network.ts';
import { type VcenterOptions, VcenterSession } from './session.ts';
import { VcenterStats } from './stats.ts';
import { TagReader } from './tags.ts';
import type { Vim } from './vim/schema.ts';
import { cloneVm, migrateVm, powerVm, removeVm, vmRef } from './vm.ts';

export interface VcenterPlatformOptions extends VcenterOptions, ListingOptions {
  engines: EngineOptions;
  /** VLAN ids that shadows may take. */
  shadowVlans: VlanRange;
}

/** The platform of one vCenter. Connects on first use. */
export function openVcenter(options: VcenterPlatformOptions): Platform {
  const session = new VcenterSession(options);
  const inventory = new VcenterInventory(session, options);
  const stats = new VcenterStats(session);
  const tags = new TagReader(session);
  const mover = new NicMover(session);

  const list = async (signal: AbortSignal): Promise<Inventory> => {
    signal.throwIfAborted();
    return inventory.list(signal);
  };
  const listed = async (id: string, signal: AbortSignal): Promise<Vm> => {
    const vm = (await list(signal)).vms.find((one) => one.id === id);
    if (vm) return vm;
    throw new WeftError(
      'ERR_NOT_FOUND',
      `VM ${id} was made, and vCenter does not list it: may the user see it?`,
    );
  };
  /** What vCenter does not clone with a VM. */
  const decorate = async (from: string, to: string, signal: AbortSignal): Promise<void> => {
    await tags.copy(from, to, signal);
    const { customFieldsManager } = await session.connect(signal);
    const read = (await session.properties([vmRef(from)], ['customValue'], signal)).get(from);
    for (const one of (read?.customValue ?? []) as Vim<'CustomFieldValue'>[]) {
      if (!customFieldsManager || one.$type !== 'CustomFieldStringValue') continue;
      const { key, value } = one;
      await session.call(customFieldsManager, 'SetField', { entity: vmRef(to), key, value }, signal);
    }
  };

  return {
    capabilities: {
      product: 'VMware vCenter',
      clone: true,
      cloneSources: ['full'],
      customisation: false,
      migrate: true,
      isolation: false,
    },
    inventory: list,
    watch: (cursor, signal) => inventory.watch(cursor, signal),
    ensureSegment: (segment, signal) => ensureSegment(session, options.shadowVlans, segment, signal),
    removeSegment: (host, segment, signal) =>
      removeSegment(session, options.shadowVlans, host, segment, signal),
    deployEngine: async (engine, progress, signal) =>
      listed(
        await deployEngine(session, { log: options.log, ...options.engines }, engine, progress, signal),
        signal,
      ),
    removeVm: (vm, signal) => removeVm(session, vm, signal),
    cloneVm: async (vm, clone, progress, signal) => {
      if (
        vm === null ||
        (clone.source && clone.source.kind !== 'full') ||
        clone.customisation !== undefined
      ) {
        throw new WeftError(
          'ERR_HYPERVISOR_UNSUPPORTED',
          `clone ${clone.name}: only full clones of a VM that is there`,
        );
      }
      const withTags = (made: string, ended: AbortSignal) => decorate(vm, made, ended);
      const made = await cloneVm(session, vm, clone, withTags, progress, signal);
      inventory.changedBeside();
      return listed(made, signal);
    },
    power: (vm, action, signal) => powerVm(session, vm, action, signal),
    migrate: (vm, host, signal) => migrateVm(session, vm, host, signal),
    stats: (vms, signal) => stats.read(vms, signal),
    attach: async (nic, segment, signal) => {
      try {
        await mover.attach(nic, segment, signal);
      } finally {
        // Also where the reply was lost: the port may have been set.
        inventory.changedBeside();
      }
    },
    close: async () => {
      await inventory.close();
      await session.close();
    },
  };
}
