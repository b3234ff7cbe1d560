/** vCenter as a platform: `openVcenter` is what a cloud of platform `vcenter` is driven by. */
import type { Inventory, Platform, Vm } from '../hypervisor/platform.ts';
import { WeftError } from '../policy/errors.ts';
import { NicMover } from './attach.ts';
import { copyAttributes } from './attributes.ts';
import { type CloneContext, cloneVm } from './clone.ts';
import { sweepPins } from './cluster-rules.ts';
import { deployEngine, type EngineOptions } from './engine.ts';
import { VcenterInventory } from './inventory.ts';
import type { ListingOptions } from './inventory-listing.ts';
import { VcenterLabels } from './labels.ts';
import { isApplianceKept } from './library.ts';
import { ensureSegment, removeSegment, restoreOut, type VlanRange } from './network.ts';
import { VcenterNotes } from './notes.ts';
import { VcenterOwner } from './ownership.ts';
import { VcenterPolicyCopy } from './policy-copy.ts';
import { previewCalls } from './preview.ts';
import { type LackOptions, readLacks } from './privileges.ts';
import { RestClient } from './rest.ts';
import { type VcenterOptions, VcenterSession } from './session.ts';
import { VcenterStats } from './stats.ts';
import { TagReader } from './tags.ts';
import { migrateVm, powerVm, removeVm, vmRef } from './vm.ts';

export interface VcenterPlatformOptions extends VcenterOptions, ListingOptions {
  engines: EngineOptions;
  /** Name of the content library that engines are deployed from; they are imported directly where none is named. */
  contentLibrary?: string | undefined;
  /** VLAN ids that shadows may take. */
  shadowVlans: VlanRange;
}

/** The platform of one vCenter. Connects on first use. */
export function openVcenter(options: VcenterPlatformOptions): Platform {
  const session = new VcenterSession(options);
  const inventory = new VcenterInventory(session, options);
  const stats = new VcenterStats(session);
  const rest = new RestClient(session);
  const tags = new TagReader(rest);
  const mover = new NicMover(session);
  const notes = new VcenterNotes(session);
  const labels = new VcenterLabels(session);

  const list = async (signal: AbortSignal, alive?: () => void): Promise<Inventory> => {
    signal.throwIfAborted();
    return inventory.list(signal, alive);
  };
  const listed = async (id: string, signal: AbortSignal): Promise<Vm> => {
    const vm = (await list(signal)).vms.find((one) => one.id === id);
    if (vm) return vm;
    throw new WeftError(
      'ERR_NOT_FOUND',
      `VM ${id} was made, and vCenter does not list it: may the user see it?`,
    );
  };
  const engines: EngineOptions = {
    log: options.log,
    ...options.engines,
    ...(options.contentLibrary === undefined ? {} : { library: { name: options.contentLibrary, rest } }),
  };
  const clones: CloneContext = {
    session,
    rest,
    lookup: async (signal) => {
      await list(signal);
      return inventory;
    },
    decorate: async (clone, model, spec, signal) => {
      if (model !== null) {
        await tags.copy(model, clone, signal);
        await copyAttributes(session, vmRef(model), vmRef(clone), signal);
      }
      await tags.attach(spec.tags ?? [], clone, signal);
    },
  };

  const { contentLibrary } = options;
  const appliance: LackOptions =
    contentLibrary === undefined
      ? {}
      : {
          isApplianceKept: (signal) => isApplianceKept(rest, contentLibrary, options.engines.ova, signal),
        };

  return {
    ownership: new VcenterOwner(session),
    policyCopy: new VcenterPolicyCopy(session),
    capabilities: {
      product: 'VMware vCenter',
      clone: true,
      cloneSources: ['full', 'linked', 'template', 'library-item'],
      customisation: true,
      migrate: true,
      isolation: false,
      mirror: true,
    },
    inventory: list,
    watch: (cursor, signal) => inventory.watch(cursor, signal),
    ensureSegment: (segment, signal) => ensureSegment(session, options.shadowVlans, segment, signal),
    removeSegment: async (host, segment, signal) => {
      // The last that is done for an engine, also for one whose VM somebody else deleted.
      await sweepPins(session, { type: 'HostSystem', value: host }, signal);
      await notes.forgetHost(host, signal);
      await removeSegment(session, options.shadowVlans, host, segment, signal);
    },
    deployEngine: async (engine, progress, signal) => {
      await restoreOut(session, options.shadowVlans, engine, signal);
      return listed(await deployEngine(session, engines, engine, progress, signal), signal);
    },
    removeVm: (vm, signal) => removeVm(session, vm, signal),
    cloneVm: async (model, clone, progress, signal) => {
      const made = await cloneVm(clones, model, clone, progress, signal);
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
    mirror: (engine, nics, signal) => inventory.mirrorTo(engine, nics, signal),
    preview: (calls, signal) => previewCalls(session, options.shadowVlans, calls, signal),
    lacks: async (signal) => readLacks(session, inventory, appliance, signal),
    label: (label, signal) => labels.label(label, signal),
    note: (note, signal) => notes.note(note, signal),
    close: async () => {
      await inventory.close();
      await session.close();
    },
  };
}
