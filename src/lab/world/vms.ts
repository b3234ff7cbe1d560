/** The life of VMs: made and deleted, on and off, from host to host; and those that crash are noticed. */
import { type CloneSpec, type EngineSpec, LABEL_ATTRIBUTE, type Vm } from '../../hypervisor/platform.ts';
import {
  CLONE_STATIONS,
  ENGINE_FOLDER,
  ENGINE_STATIONS,
  HOSTS,
  managementAddress,
  productionAddresses,
  siteOf,
} from './blueprint.ts';
import { vmOf } from './faults.ts';
import type { LabInventory } from './inventory.ts';
import type { Machinery } from './machinery.ts';
import { type NewVm, newVm, viewOf } from './new-record.ts';
import type { ProcessRef } from './process.ts';
import { type LabRecord, networkOf, type VmRecord } from './record.ts';
import { refused } from './refusals.ts';

/** Names that namespaces of the lab itself have. */
const RESERVED_NAMES = new Set(['phys', 'mgmt', 'client', 'router', ...HOSTS.map((host) => host.id)]);

export class Vms {
  readonly #inventory: LabInventory;
  readonly #record: LabRecord;
  readonly #machinery: Machinery;
  #isStopped = false;

  constructor(inventory: LabInventory, machinery: Machinery) {
    this.#inventory = inventory;
    this.#record = inventory.record;
    this.#machinery = machinery;
    machinery.onEnd = (vm, ref) => void this.#crashed(vm, ref);
  }

  /** `isOn` false: the engine is made, but not powered on. */
  deployEngine(spec: EngineSpec, isOn = true): Promise<Vm> {
    return this.#inventory.exclusively(async () => {
      const present = this.#record.vms.find((vm) => vm.engine?.id === spec.engine);
      if (present) {
        if (present.host !== spec.host) {
          throw refused(
            `engine ${spec.engine} is on host ${present.host}; remove it before deploying to ${spec.host}`,
          );
        }
        // Read at the next boot; whoever changes the properties of an engine that is on resets it.
        present.engine!.properties = spec.properties;
        this.#machinery.writeGuest(present);
        this.#inventory.save();
        if (isOn && !present.process) await this.switchOn(present);
        return viewOf(present);
      }
      this.#requireInService(spec.host);
      this.#requireFreeName(spec.engine);
      for (const segment of Object.values(spec.segments)) this.#inventory.segment(spec.host, segment);
      const station = this.#freeStation(ENGINE_STATIONS, managementAddress, 'management');
      const vm = this.#add({
        name: spec.engine,
        host: spec.host,
        folder: ENGINE_FOLDER,
        tags: [],
        engine: { id: spec.engine, properties: spec.properties },
        clonedFrom: null,
        nics: [
          { id: 'mgmt', segment: spec.segments.mgmt, addresses: [managementAddress(station)] },
          { id: 'out', segment: spec.segments.out, addresses: [] },
          { id: 'in', segment: spec.segments.in, addresses: [] },
        ],
      });
      if (isOn) await this.switchOn(vm);
      else this.#inventory.changed();
      return viewOf(vm);
    });
  }

  /** Deletes an engine or a clone. Gone already: succeeds. */
  remove(id: string): Promise<void> {
    return this.#inventory.exclusively(async () => {
      const vm = this.#record.vms.find((candidate) => candidate.id === id);
      if (!vm) return;
      if (!vm.engine && vm.clonedFrom === null)
        throw refused(`VM ${vm.name} bears no ownership mark of Weft; remove it by hand if it has to go`);
      await this.#discard(vm);
    });
  }

  /** Deletes any VM, whoever made it, as its owner does by hand. Gone already: succeeds. */
  destroy(id: string): Promise<void> {
    return this.#inventory.exclusively(async () => {
      const vm = this.#record.vms.find((candidate) => candidate.id === id);
      if (vm) await this.#discard(vm);
    });
  }

  /** `isOn` false: the clone is made, but not powered on. */
  clone(sourceId: string, clone: CloneSpec, isOn = true): Promise<Vm> {
    return this.#inventory.exclusively(async () => {
      const source = this.#inventory.vm(sourceId);
      if (source.engine)
        throw refused(`VM ${source.name} is an engine; deploy another instead of cloning it`);
      const present = this.#record.vms.find((vm) => vm.name === clone.name && vm.clonedFrom === source.id);
      if (present) {
        if (present.host !== clone.host)
          throw refused(`clone ${clone.name} is on host ${present.host} already`);
        if (isOn && !present.process) await this.switchOn(present);
        return viewOf(present);
      }
      this.#requireInService(clone.host);
      this.#requireFreeName(clone.name);
      const vm = this.#add({
        name: clone.name,
        host: clone.host,
        folder: source.folder,
        tags: [...source.tags],
        attributes: withoutLabel(source.attributes),
        engine: null,
        clonedFrom: source.id,
        nics: source.nics.map((nic) => {
          // As on vSphere, an interception belongs to the port and not to the VM: a clone's port is a new one.
          const segment = this.#inventory.segment(source.host, nic.segment);
          const name = segment.shadows ?? segment.name;
          this.#inventory.segment(clone.host, name);
          const site = siteOf(networkOf(this.#record), clone.host);
          const station = this.#freeStation(
            CLONE_STATIONS,
            (one) => productionAddresses(one, site)[0]!,
            'production',
          );
          return { id: nic.id, segment: name, addresses: productionAddresses(station, site) };
        }),
      });
      if (isOn) await this.switchOn(vm);
      else this.#inventory.changed();
      return viewOf(vm);
    });
  }

  /** `off`: SIGKILL to everything in the VM. So already: succeeds. */
  power(id: string, action: 'on' | 'off' | 'reset'): Promise<void> {
    return this.#inventory.exclusively(async () => {
      const vm = this.#inventory.vm(id);
      if (action !== 'on' && vm.process) await this.switchOff(vm);
      if (action !== 'off' && !vm.process) await this.switchOn(vm);
    });
  }

  /** Puts another process in the place of a running engine's: its namespace, NICs, disk and flows stay. */
  upgrade(id: string): Promise<void> {
    return this.#inventory.exclusively(async () => {
      const vm = this.#inventory.vm(id);
      if (!vm.engine) throw refused(`${vm.name} is no engine; engines are ${this.#engineNames()}`);
      if (!vm.process)
        throw refused(`engine ${vm.name} is off; switch it on, and it runs what is installed now`);
      await this.#machinery.replace(vm);
      this.#inventory.changed();
    });
  }

  #engineNames(): string {
    const names = this.#record.vms.filter((vm) => vm.engine).map((vm) => vm.name);
    return names.length === 0 ? 'not there yet' : names.join(', ');
  }

  /** `isProductionEnough`: a NIC that the host has no shadow segment for arrives on the segment that this shadows. */
  migrate(id: string, toHost: string, isProductionEnough = false): Promise<void> {
    return this.#inventory.exclusively(async () => {
      const vm = this.#inventory.vm(id);
      this.#inventory.host(toHost);
      if (vm.host === toHost) return;
      this.#requireInService(toHost);
      const network = networkOf(this.#record);
      if (siteOf(network, vm.host) !== siteOf(network, toHost)) {
        throw refused(
          `host ${toHost} is in another network than ${vm.host}: the addresses of ${vm.name} are none there`,
        );
      }
      for (const nic of isProductionEnough ? vm.nics : []) {
        if (this.#inventory.findSegment(toHost, nic.segment)) continue;
        nic.segment = this.#inventory.findSegment(vm.host, nic.segment)?.shadows ?? nic.segment;
      }
      const missing = vm.nics.find((nic) => !this.#inventory.findSegment(toHost, nic.segment));
      if (missing) {
        throw refused(
          `host ${toHost} has no segment ${missing.segment}, which ${vm.name}/${missing.id} is on; make it there first`,
        );
      }
      if (vm.process) await this.#machinery.move(vm, toHost);
      vm.host = toHost;
      this.#machinery.writeGuest(vm);
      this.#inventory.changed();
    });
  }

  /** Shows with a VM which engine it has to do with. Gone already: succeeds. */
  label(id: string, engine: string | null): void {
    const vm = this.#record.vms.find((candidate) => candidate.id === id);
    if (!vm || (vm.attributes?.[LABEL_ATTRIBUTE] ?? null) === engine) return;
    vm.attributes = withoutLabel(vm.attributes);
    if (engine !== null) vm.attributes[LABEL_ATTRIBUTE] = engine;
    this.#inventory.changed();
  }

  /** Notices no crash any more. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Part of an operation. */
  async switchOn(vm: VmRecord): Promise<void> {
    this.#requireInService(vm.host);
    await this.#machinery.powerOn(vm);
    this.#inventory.changed();
  }

  /** Part of an operation. Off already: succeeds. */
  async switchOff(vm: VmRecord): Promise<void> {
    this.#record.faults = this.#record.faults.filter((fault) => fault.kind !== 'hang' || fault.vm !== vm.id);
    await this.#machinery.powerOff(vm);
    this.#inventory.changed();
  }

  async #discard(vm: VmRecord): Promise<void> {
    await this.switchOff(vm);
    this.#machinery.discardGuest(vm);
    this.#record.vms.splice(this.#record.vms.indexOf(vm), 1);
    for (const engine of this.#record.vms) {
      if (engine.mirrors) engine.mirrors = engine.mirrors.filter((one) => one.vm !== vm.id);
      if (engine.mirrors?.length === 0) delete engine.mirrors;
    }
    for (const { vm: id, nic } of vm.mirrors ?? []) await this.#machinery.refreshLink({ vm: id, nic });
    this.#record.faults = this.#record.faults.filter((fault) => vmOf(fault) !== vm.id);
    this.#inventory.changed();
  }

  /** The guest ended by itself, or something killed it. */
  #crashed(vm: VmRecord, ref: ProcessRef): Promise<void> {
    return this.#inventory
      .exclusively(async () => {
        if (this.#isStopped || vm.process?.pid !== ref.pid || vm.process.startTime !== ref.startTime) return;
        await this.switchOff(vm);
      })
      .catch((error: unknown) => console.error(`VM ${vm.name} crashed and cannot be cleared away:`, error));
  }

  #add(vm: NewVm): VmRecord {
    const added = newVm(this.#record, vm);
    // On disk before it is in the world, so that a daemon that is killed in between finds it.
    this.#inventory.save();
    return added;
  }

  /** The first station of a network whose address nobody has. */
  #freeStation(
    range: { first: number; last: number },
    addressOf: (station: number) => string,
    network: string,
  ): number {
    const taken = new Set(this.#record.vms.flatMap((vm) => vm.nics.flatMap((nic) => nic.addresses)));
    for (let station = range.first; station <= range.last; station++) {
      if (!taken.has(addressOf(station))) return station;
    }
    throw refused(`the ${network} network of lab ${this.#record.lab} has no address left`);
  }

  #requireFreeName(name: string): void {
    if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name) || RESERVED_NAMES.has(name)) {
      throw refused(
        `"${name}" cannot name a VM: use up to 63 lower-case letters, digits and hyphens, and no host's name`,
      );
    }
    if (this.#record.vms.some((vm) => vm.name === name)) throw refused(`there is another VM named ${name}`);
  }

  /** Throws ERR_HYPERVISOR_REFUSED for a host that takes no VMs now, ERR_NOT_FOUND for one that is none. */
  #requireInService(id: string): void {
    const { maintenance, failed } = this.#inventory.host(id);
    if (failed) throw refused(`host ${id} has no power; \`weft lab fault clear\` gives it back`);
    if (maintenance === undefined) return;
    throw refused(
      `host ${id} is ${maintenance === 'in' ? 'in' : 'entering'} maintenance and takes no VM; \`weft lab maintenance exit ${id}\` ends that`,
    );
  }
}

function withoutLabel(attributes: Record<string, string> = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(attributes).filter(([name]) => name !== LABEL_ATTRIBUTE));
}
