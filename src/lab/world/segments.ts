/** Segments of hosts, which of them a NIC is on, and to which engine its traffic is copied. */
import type { NicRef, SegmentSpec } from '../../hypervisor/platform.ts';
import type { LabInventory } from './inventory.ts';
import type { Machinery } from './machinery.ts';
import { notFound, refused } from './refusals.ts';

export class Segments {
  readonly #inventory: LabInventory;
  readonly #machinery: Machinery;

  constructor(inventory: LabInventory, machinery: Machinery) {
    this.#inventory = inventory;
    this.#machinery = machinery;
  }

  /** Makes a shadow segment. There already: succeeds. */
  ensure(spec: SegmentSpec): Promise<void> {
    return this.#inventory.exclusively(async () => {
      const host = this.#inventory.host(spec.host);
      const present = host.segments.find((segment) => segment.name === spec.name);
      if (present?.role === 'shadow' && present.shadows === spec.shadows) return;
      if (present) {
        throw refused(
          `host ${host.id} has another segment named ${spec.name} (${present.role}); choose another name`,
        );
      }
      if (!/^[a-z0-9][a-z0-9.-]{0,14}$/.test(spec.name) || /^(lo|uplink|void-|vm\d)/.test(spec.name)) {
        throw refused(
          `"${spec.name}" cannot name a segment: use up to 15 lower-case letters, digits, dots, hyphens`,
        );
      }
      const shadowed = host.segments.find((segment) => segment.name === spec.shadows);
      if (shadowed?.role !== 'production') {
        throw refused(`host ${host.id} has no production segment ${spec.shadows} for ${spec.name} to shadow`);
      }
      await this.#machinery.addSegment(host.id, spec.name);
      host.segments.push({ name: spec.name, role: 'shadow', shadows: spec.shadows });
      this.#inventory.changed();
    });
  }

  /** Gone already: succeeds. */
  remove(hostId: string, name: string): Promise<void> {
    return this.#inventory.exclusively(async () => {
      const host = this.#inventory.host(hostId);
      const present = host.segments.find((segment) => segment.name === name);
      if (!present) return;
      if (present.role !== 'shadow') throw refused(`segment ${name} of host ${hostId} was not made by Weft`);
      const users = this.#inventory.record.vms.filter(
        (vm) => vm.host === hostId && vm.nics.some((nic) => nic.segment === name),
      );
      if (users.length > 0) {
        throw refused(
          `segment ${name} of host ${hostId} has ports of ${users.map((vm) => vm.name).join(', ')}; move them first`,
        );
      }
      await this.#machinery.removeSegment(hostId, name);
      host.segments.splice(host.segments.indexOf(present), 1);
      this.#inventory.changed();
    });
  }

  /** `isEnginePort`: whether the port learns and floods, where that may change with the move. */
  attach(vmId: string, nicId: string, segmentName: string, isEnginePort?: boolean): Promise<void> {
    return this.#inventory.exclusively(async () => {
      const vm = this.#inventory.vm(vmId);
      const nic = this.#inventory.nic(vm, nicId);
      this.#inventory.segment(vm.host, segmentName);
      const isKept = isEnginePort === undefined || isEnginePort === nic.isEnginePort;
      if (nic.segment === segmentName && isKept) return;
      nic.isEnginePort = isEnginePort ?? nic.isEnginePort;
      if (vm.process) await this.#machinery.join(vm, nic, segmentName);
      nic.segment = segmentName;
      this.#inventory.changed();
    });
  }

  /** Copies what these NICs receive and send to an engine's `in`; an empty list ends it, also where it is gone. */
  mirror(engine: string, nics: readonly NicRef[]): Promise<void> {
    return this.#inventory.exclusively(async () => {
      const target = this.#inventory.record.vms.find((vm) => vm.engine?.id === engine);
      if (!target && nics.length === 0) return;
      if (!target) throw notFound(`lab ${this.#inventory.record.lab} has no engine ${engine}`);
      for (const { vm, nic } of nics) {
        const source = this.#inventory.vm(vm);
        if (source.engine) throw refused(`VM ${source.name} is an engine, and its traffic is not copied`);
        this.#inventory.nic(source, nic);
      }
      const before = target.mirrors ?? [];
      const isSame = (one: NicRef, other: NicRef) => one.vm === other.vm && one.nic === other.nic;
      const changed = [
        ...before.filter((one) => !nics.some((other) => isSame(one, other))),
        ...nics.filter((one) => !before.some((other) => isSame(one, other))),
      ];
      if (nics.length === 0) delete target.mirrors;
      else target.mirrors = nics.map(({ vm, nic }) => ({ vm, nic }));
      for (const { vm, nic } of changed) await this.#machinery.refreshLink({ vm, nic });
      if (changed.length > 0) this.#inventory.changed();
    });
  }
}
