/** Injects the faults of faults.ts into a lab, and ends them. */
import type { Availability } from './availability.ts';
import { type Fault, type FaultSpec, isReplacedBy } from './faults.ts';
import type { LabInventory } from './inventory.ts';
import type { Machinery } from './machinery.ts';
import { notFound, refused } from './refusals.ts';

export class FaultInjection {
  readonly #inventory: LabInventory;
  readonly #machinery: Machinery;
  readonly #availability: Availability;

  constructor(inventory: LabInventory, machinery: Machinery, availability: Availability) {
    this.#inventory = inventory;
    this.#machinery = machinery;
    this.#availability = availability;
  }

  /** Injects a fault; one of the same kind in the same place is replaced. */
  inject(spec: FaultSpec): Promise<Fault> {
    return this.#inventory.exclusively(async () => {
      const { record } = this.#inventory;
      if (spec.kind === 'hang') {
        const vm = this.#inventory.vm(spec.vm);
        if (!vm.process) throw refused(`VM ${vm.name} is off and cannot hang`);
        this.#machinery.hang(vm, true);
      } else if (spec.kind === 'host') {
        await this.#availability.cutPower(spec.host);
      } else if ('link' in spec) {
        if ('host' in spec.link) this.#inventory.host(spec.link.host);
        else this.#inventory.nic(this.#inventory.vm(spec.link.vm), spec.link.nic);
      }
      record.faults = record.faults.filter((present) => !isReplacedBy(present, spec));
      const fault: Fault = { ...spec, id: `fault-${record.nextFault++}` };
      record.faults.push(fault);
      if ('link' in spec) await this.#machinery.refreshLink(spec.link);
      this.#inventory.save();
      if (spec.kind === 'host') this.#availability.begin(spec.host);
      return fault;
    });
  }

  /** Ends one fault, or all. Unknown ids: ERR_NOT_FOUND. */
  heal(id: string | null): Promise<Fault[]> {
    return this.#inventory.exclusively(async () => {
      const { record } = this.#inventory;
      const healed = record.faults.filter((fault) => id === null || fault.id === id);
      if (id !== null && healed.length === 0) throw notFound(`there is no fault ${id}`);
      record.faults = record.faults.filter((fault) => !healed.includes(fault));
      for (const fault of healed) {
        if (fault.kind === 'host') this.#availability.returnPower(fault.host);
        if ('link' in fault) await this.#machinery.refreshLink(fault.link);
        const vm = fault.kind === 'hang' ? record.vms.find((one) => one.id === fault.vm) : undefined;
        if (vm) this.#machinery.hang(vm, false);
      }
      this.#inventory.save();
      return healed;
    });
  }
}
