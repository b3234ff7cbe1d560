/**
 * The hypervisor of the lab: holds the inventory, carries out what the platform contract asks, notices VMs that
 * crash. One operation at a time; each takes milliseconds. Knows nothing of HTTP (daemon.ts) and nothing of Weft's
 * controller.
 */
import { mkdirSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import type {
  CloneSpec,
  EngineSpec,
  HostHardware,
  Inventory,
  NicRef,
  OwnerRecord,
  SegmentSpec,
  Vm,
  VmStats,
} from '../../hypervisor/platform.ts';
import { LABEL_ATTRIBUTE } from '../../hypervisor/platform.ts';
import { WeftError } from '../../policy/errors.ts';
import { Availability } from './availability.ts';
import {
  CLONE_STATIONS,
  ENGINE_FOLDER,
  ENGINE_STATIONS,
  HOSTS,
  type LabNetwork,
  managementAddress,
  productionAddresses,
  siteOf,
} from './blueprint.ts';
import { buildFabric } from './fabric.ts';
import { type Fault, type FaultSpec, isReplacedBy } from './faults.ts';
import type { Machinery } from './machinery.ts';
import { Machines } from './machines.ts';
import { Maintenance } from './maintenance.ts';
import { existingNamespaces, labPaths, namespaceOf } from './names.ts';
import { type NewVm, newRecord, newVm, viewOf } from './new-record.ts';
import type { ProcessRef } from './process.ts';
import {
  type HostRecord,
  type LabRecord,
  type NicRecord,
  networkOf,
  readRecord,
  type VmRecord,
} from './record.ts';

/** Names that namespaces of the lab itself have. */
const RESERVED_NAMES = new Set(['phys', 'mgmt', 'client', 'router', ...HOSTS.map((host) => host.id)]);

export interface DatacenterOptions {
  lab: string;
  /** What an engine VM runs instead of the engine; `--config` and `--state` are appended. */
  engineProgram?: readonly string[];
  /** The production network of a new lab; one that is there keeps its own. */
  network?: LabNetwork;
}

export class Datacenter {
  readonly lab: string;
  readonly record: LabRecord;
  readonly maintenance: Maintenance;
  readonly availability: Availability;
  /** Cursors of an earlier daemon are not ours, so they resolve at once. */
  readonly #epoch = `${process.pid.toString(36)}.${Date.now().toString(36)}`;
  #version = 1;
  #last: Promise<unknown> = Promise.resolve();
  readonly #watchers = new Set<() => void>();
  readonly #machines: Machinery;
  #isClosed = false;

  /** Builds the lab, or takes over the one that an earlier daemon left. Throws ERR_KERNEL, ERR_LAB. */
  static async open(options: DatacenterOptions): Promise<Datacenter> {
    const present = readRecord(labPaths(options.lab).record);
    const record = present ?? newRecord(options.lab, options.network);
    const machines = new Machines(record, options.engineProgram);
    const datacenter = new Datacenter(record, machines);
    if (present) await datacenter.#adopt(machines);
    else await datacenter.#build();
    machines.start();
    return datacenter;
  }

  /** A datacenter as the record says, on machinery that is so already. */
  constructor(record: LabRecord, machinery: Machinery) {
    this.lab = record.lab;
    this.record = record;
    this.maintenance = new Maintenance(this);
    this.availability = new Availability(this);
    this.#machines = machinery;
    machinery.onEnd = (vm, ref) => void this.#crashed(vm, ref);
  }

  // What there is.

  get cursor(): string {
    return `${this.#epoch}.${this.#version}`;
  }

  inventory(): Inventory {
    return {
      cursor: this.cursor,
      hosts: this.record.hosts.map((host) => ({
        id: host.id,
        name: host.id,
        isConnected: host.failed === undefined,
        isInMaintenance: host.maintenance === 'in',
        isEvacuating: host.maintenance === 'entering',
        uplinkPath: [...host.uplinkPath],
        uplinkEvidence: [{ source: 'platform', path: [...host.uplinkPath], detail: 'the lab cabled it so' }],
        cluster: `${this.lab}-cluster`,
        hardware: hardwareHere(),
        segments: host.segments.map(({ name, role }) => ({ name, role })),
      })),
      vms: this.record.vms.map(viewOf),
      mirrors: this.record.vms.flatMap(({ engine, mirrors }) =>
        engine && mirrors ? [{ engine: engine.id, nics: mirrors }] : [],
      ),
    };
  }

  /** Resolves with the cursor as soon as it differs. Rejects with the signal's reason. */
  watch(cursor: string, signal: AbortSignal): Promise<string> {
    if (cursor !== this.cursor) return Promise.resolve(this.cursor);
    return new Promise((resolve, reject) => {
      const onChange = () => finish(() => resolve(this.cursor));
      const onAbort = () => finish(() => reject(signal.reason));
      const finish = (end: () => void) => {
        this.#watchers.delete(onChange);
        signal.removeEventListener('abort', onAbort);
        end();
      };
      this.#watchers.add(onChange);
      signal.addEventListener('abort', onAbort);
      if (signal.aborted) onAbort();
    });
  }

  stats(vms: readonly string[]): VmStats[] {
    return this.#machines.stats(vms);
  }

  /** A host of the lab. Throws ERR_NOT_FOUND. */
  host(id: string): HostRecord {
    return this.#host(id);
  }

  /** Notes on which way a host is; maintenance.ts walks it. */
  setMaintenance(id: string, state: 'entering' | 'in' | null): Promise<void> {
    return this.#exclusively(async () => {
      const host = this.#host(id);
      if (state === null) delete host.maintenance;
      else host.maintenance = state;
      this.#changed();
    });
  }

  // Segments.

  ensureSegment(spec: SegmentSpec): Promise<void> {
    return this.#exclusively(async () => {
      const host = this.#host(spec.host);
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
      await this.#machines.addSegment(host.id, spec.name);
      host.segments.push({ name: spec.name, role: 'shadow', shadows: spec.shadows });
      this.#changed();
    });
  }

  removeSegment(hostId: string, name: string): Promise<void> {
    return this.#exclusively(async () => {
      const host = this.#host(hostId);
      const present = host.segments.find((segment) => segment.name === name);
      if (!present) return;
      if (present.role !== 'shadow') throw refused(`segment ${name} of host ${hostId} was not made by Weft`);
      const users = this.record.vms.filter(
        (vm) => vm.host === hostId && vm.nics.some((nic) => nic.segment === name),
      );
      if (users.length > 0) {
        throw refused(
          `segment ${name} of host ${hostId} has ports of ${users.map((vm) => vm.name).join(', ')}; move them first`,
        );
      }
      await this.#machines.removeSegment(hostId, name);
      host.segments.splice(host.segments.indexOf(present), 1);
      this.#changed();
    });
  }

  /** `isEnginePort`: whether the port learns and floods, where that may change with the move. */
  attach(vmId: string, nicId: string, segmentName: string, isEnginePort?: boolean): Promise<void> {
    return this.#exclusively(async () => {
      const vm = this.#vm(vmId);
      const nic = this.#nic(vm, nicId);
      this.#segment(vm.host, segmentName);
      const isKept = isEnginePort === undefined || isEnginePort === nic.isEnginePort;
      if (nic.segment === segmentName && isKept) return;
      nic.isEnginePort = isEnginePort ?? nic.isEnginePort;
      if (vm.process) await this.#machines.join(vm, nic, segmentName);
      nic.segment = segmentName;
      this.#changed();
    });
  }

  /** Copies what these NICs receive and send to an engine's `in`; an empty list ends it, also where it is gone. */
  mirror(engine: string, nics: readonly NicRef[]): Promise<void> {
    return this.#exclusively(async () => {
      const target = this.record.vms.find((vm) => vm.engine?.id === engine);
      if (!target && nics.length === 0) return;
      if (!target) throw notFound(`lab ${this.lab} has no engine ${engine}`);
      for (const { vm, nic } of nics) {
        const source = this.#vm(vm);
        if (source.engine) throw refused(`VM ${source.name} is an engine, and its traffic is not copied`);
        this.#nic(source, nic);
      }
      const before = target.mirrors ?? [];
      const isSame = (one: NicRef, other: NicRef) => one.vm === other.vm && one.nic === other.nic;
      const changed = [
        ...before.filter((one) => !nics.some((other) => isSame(one, other))),
        ...nics.filter((one) => !before.some((other) => isSame(one, other))),
      ];
      if (nics.length === 0) delete target.mirrors;
      else target.mirrors = nics.map(({ vm, nic }) => ({ vm, nic }));
      for (const { vm, nic } of changed) await this.#machines.refreshLink({ vm, nic });
      if (changed.length > 0) this.#changed();
    });
  }

  // VMs.

  /** `isOn` false: the engine is made, but not powered on. */
  deployEngine(spec: EngineSpec, isOn = true): Promise<Vm> {
    return this.#exclusively(async () => {
      const present = this.record.vms.find((vm) => vm.engine?.id === spec.engine);
      if (present) {
        if (present.host !== spec.host) {
          throw refused(
            `engine ${spec.engine} is on host ${present.host}; remove it before deploying to ${spec.host}`,
          );
        }
        // Read at the next boot; whoever changes the properties of an engine that is on resets it.
        present.engine!.properties = spec.properties;
        this.#machines.writeGuest(present);
        this.#save();
        if (isOn && !present.process) await this.#powerOn(present);
        return viewOf(present);
      }
      this.#requireInService(spec.host);
      this.#requireFreeName(spec.engine);
      for (const segment of Object.values(spec.segments)) this.#segment(spec.host, segment);
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
      if (isOn) await this.#powerOn(vm);
      else this.#changed();
      return viewOf(vm);
    });
  }

  removeVm(id: string): Promise<void> {
    return this.#exclusively(async () => {
      const vm = this.record.vms.find((candidate) => candidate.id === id);
      if (!vm) return;
      if (!vm.engine && vm.clonedFrom === null)
        throw refused(`VM ${vm.name} bears no ownership mark of Weft; remove it by hand if it has to go`);
      await this.#destroy(vm);
    });
  }

  /** Deletes any VM, whoever made it, as its owner does by hand. Gone already: succeeds. */
  destroyVm(id: string): Promise<void> {
    return this.#exclusively(async () => {
      const vm = this.record.vms.find((candidate) => candidate.id === id);
      if (vm) await this.#destroy(vm);
    });
  }

  /** `isOn` false: the clone is made, but not powered on. */
  cloneVm(sourceId: string, clone: CloneSpec, isOn = true): Promise<Vm> {
    return this.#exclusively(async () => {
      const source = this.#vm(sourceId);
      if (source.engine)
        throw refused(`VM ${source.name} is an engine; deploy another instead of cloning it`);
      const present = this.record.vms.find((vm) => vm.name === clone.name && vm.clonedFrom === source.id);
      if (present) {
        if (present.host !== clone.host)
          throw refused(`clone ${clone.name} is on host ${present.host} already`);
        if (isOn && !present.process) await this.#powerOn(present);
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
          const segment = this.#segment(source.host, nic.segment);
          const name = segment.shadows ?? segment.name;
          this.#segment(clone.host, name);
          const site = siteOf(networkOf(this.record), clone.host);
          const station = this.#freeStation(
            CLONE_STATIONS,
            (one) => productionAddresses(one, site)[0]!,
            'production',
          );
          return { id: nic.id, segment: name, addresses: productionAddresses(station, site) };
        }),
      });
      if (isOn) await this.#powerOn(vm);
      else this.#changed();
      return viewOf(vm);
    });
  }

  power(id: string, action: 'on' | 'off' | 'reset'): Promise<void> {
    return this.#exclusively(async () => {
      const vm = this.#vm(id);
      if (action !== 'on' && vm.process) await this.#powerOff(vm);
      if (action !== 'off' && !vm.process) await this.#powerOn(vm);
    });
  }

  /** Puts another process in the place of a running engine's: its namespace, NICs, disk and flows stay. */
  upgrade(id: string): Promise<void> {
    return this.#exclusively(async () => {
      const vm = this.#vm(id);
      if (!vm.engine) throw refused(`${vm.name} is no engine; engines are ${this.#engineNames()}`);
      if (!vm.process)
        throw refused(`engine ${vm.name} is off; switch it on, and it runs what is installed now`);
      await this.#machines.replace(vm);
      this.#changed();
    });
  }

  #engineNames(): string {
    const names = this.record.vms.filter((vm) => vm.engine).map((vm) => vm.name);
    return names.length === 0 ? 'not there yet' : names.join(', ');
  }

  /** `isProductionEnough`: a NIC that the host has no shadow segment for arrives on the segment that this shadows. */
  migrate(id: string, toHost: string, isProductionEnough = false): Promise<void> {
    return this.#exclusively(async () => {
      const vm = this.#vm(id);
      this.#host(toHost);
      if (vm.host === toHost) return;
      this.#requireInService(toHost);
      const network = networkOf(this.record);
      if (siteOf(network, vm.host) !== siteOf(network, toHost)) {
        throw refused(
          `host ${toHost} is in another network than ${vm.host}: the addresses of ${vm.name} are none there`,
        );
      }
      for (const nic of isProductionEnough ? vm.nics : []) {
        if (this.#findSegment(toHost, nic.segment)) continue;
        nic.segment = this.#findSegment(vm.host, nic.segment)?.shadows ?? nic.segment;
      }
      const missing = vm.nics.find((nic) => !this.#findSegment(toHost, nic.segment));
      if (missing) {
        throw refused(
          `host ${toHost} has no segment ${missing.segment}, which ${vm.name}/${missing.id} is on; make it there first`,
        );
      }
      if (vm.process) await this.#machines.move(vm, toHost);
      vm.host = toHost;
      this.#machines.writeGuest(vm);
      this.#changed();
    });
  }

  // Faults.

  /** SIGKILL to everything in the VM: it crashes and is off. Off already: succeeds. */
  kill(id: string): Promise<void> {
    return this.#exclusively(async () => {
      const vm = this.#vm(id);
      if (vm.process) await this.#powerOff(vm);
    });
  }

  /** Injects a fault; one of the same kind in the same place is replaced. */
  inject(spec: FaultSpec): Promise<Fault> {
    return this.#exclusively(async () => {
      if (spec.kind === 'hang') {
        const vm = this.#vm(spec.vm);
        if (!vm.process) throw refused(`VM ${vm.name} is off and cannot hang`);
        this.#machines.hang(vm, true);
      } else if (spec.kind === 'host') {
        await this.#failHost(spec.host);
      } else if ('link' in spec) {
        if ('host' in spec.link) this.#host(spec.link.host);
        else this.#nic(this.#vm(spec.link.vm), spec.link.nic);
      }
      this.#dropFaults((fault) => isReplacedBy(fault, spec));
      const fault: Fault = { ...spec, id: `fault-${this.record.nextFault++}` };
      this.record.faults.push(fault);
      if ('link' in spec) await this.#machines.refreshLink(spec.link);
      this.#save();
      if (spec.kind === 'host') this.availability.begin(spec.host);
      return fault;
    });
  }

  /** Ends one fault, or all. Unknown ids: ERR_NOT_FOUND. */
  heal(id: string | null): Promise<Fault[]> {
    return this.#exclusively(async () => {
      const healed = this.record.faults.filter((fault) => id === null || fault.id === id);
      if (id !== null && healed.length === 0) throw notFound(`there is no fault ${id}`);
      this.#dropFaults((fault) => healed.includes(fault));
      for (const fault of healed) {
        if (fault.kind === 'host') this.#returnHost(fault.host);
        if ('link' in fault) await this.#machines.refreshLink(fault.link);
        const vm = fault.kind === 'hang' ? this.record.vms.find((one) => one.id === fault.vm) : undefined;
        if (vm) this.#machines.hang(vm, false);
      }
      this.#save();
      return healed;
    });
  }

  /** Writes which controller drives the lab, unless that has changed meanwhile. */
  setOwner(owner: OwnerRecord, before: OwnerRecord | null): boolean {
    if (JSON.stringify(this.record.owner ?? null) !== JSON.stringify(before)) return false;
    this.record.owner = owner;
    this.#save();
    return true;
  }

  /** Shows with a VM which engine it has to do with. Gone already: succeeds. */
  label(vm: string, engine: string | null): void {
    const found = this.record.vms.find(({ id }) => id === vm);
    if (!found || (found.attributes?.[LABEL_ATTRIBUTE] ?? null) === engine) return;
    found.attributes = withoutLabel(found.attributes);
    if (engine !== null) found.attributes[LABEL_ATTRIBUTE] = engine;
    this.#changed();
  }

  keepPolicyCopy(text: string): void {
    this.record.policyCopy = text;
    this.#save();
  }

  /** Where the management gateway leads from now on. */
  setGateway(target: { host: string; port: number } | null): void {
    this.record.gateway = target;
    this.#save();
  }

  /** Stops looking after the VMs; they go on. */
  close(): void {
    this.#isClosed = true;
    this.maintenance.stop();
    this.availability.stop();
    this.#machines.stop();
    for (const wake of [...this.#watchers]) wake();
  }

  // Below: how it is done.

  async #build(): Promise<void> {
    mkdirSync(labPaths(this.lab).vms, { recursive: true, mode: 0o700 });
    this.#save();
    await buildFabric(this.lab, networkOf(this.record));
    await Promise.all(this.record.vms.map((vm) => this.#powerOn(vm)));
  }

  /** Brings record and world together again: either may be one operation ahead of the other. */
  async #adopt(machines: Machines): Promise<void> {
    const namespaces = new Set(existingNamespaces(this.lab));
    for (const host of this.record.hosts) {
      if (!namespaces.has(namespaceOf(this.lab, host.id))) {
        throw new WeftError(
          'ERR_LAB',
          `lab ${this.lab} is only there in part: run \`weft lab down --lab ${this.lab}\``,
        );
      }
    }
    for (const vm of this.record.vms) {
      try {
        await machines.takeOver(vm);
      } catch {
        await this.#powerOff(vm);
      }
    }
    this.#save();
  }

  #dropFaults(isGone: (fault: Fault) => boolean): void {
    this.record.faults = this.record.faults.filter((fault) => !isGone(fault));
  }

  async #powerOn(vm: VmRecord): Promise<void> {
    this.#requireInService(vm.host);
    await this.#machines.powerOn(vm);
    this.#changed();
  }

  async #powerOff(vm: VmRecord): Promise<void> {
    this.#dropFaults((fault) => fault.kind === 'hang' && fault.vm === vm.id);
    await this.#machines.powerOff(vm);
    this.#changed();
  }

  async #destroy(vm: VmRecord): Promise<void> {
    await this.#powerOff(vm);
    this.#machines.discardGuest(vm);
    this.record.vms.splice(this.record.vms.indexOf(vm), 1);
    for (const engine of this.record.vms) {
      if (engine.mirrors) engine.mirrors = engine.mirrors.filter((one) => one.vm !== vm.id);
      if (engine.mirrors?.length === 0) delete engine.mirrors;
    }
    for (const { vm: id, nic } of vm.mirrors ?? []) await this.#machines.refreshLink({ vm: id, nic });
    this.#dropFaults((fault) => vmOf(fault) === vm.id);
    this.#changed();
  }

  /** The guest ended by itself, or something killed it. */
  #crashed(vm: VmRecord, ref: ProcessRef): Promise<void> {
    return this.#exclusively(async () => {
      if (this.#isClosed || vm.process?.pid !== ref.pid || vm.process.startTime !== ref.startTime) return;
      await this.#powerOff(vm);
    }).catch((error: unknown) => console.error(`VM ${vm.name} crashed and cannot be cleared away:`, error));
  }

  #add(vm: NewVm): VmRecord {
    const added = newVm(this.record, vm);
    // On disk before it is in the world, so that a daemon that is killed in between finds it.
    this.#save();
    return added;
  }

  /** The first station of a network whose address nobody has. */
  #freeStation(
    range: { first: number; last: number },
    addressOf: (station: number) => string,
    network: string,
  ): number {
    const taken = new Set(this.record.vms.flatMap((vm) => vm.nics.flatMap((nic) => nic.addresses)));
    for (let station = range.first; station <= range.last; station++) {
      if (!taken.has(addressOf(station))) return station;
    }
    throw refused(`the ${network} network of lab ${this.lab} has no address left`);
  }

  #requireFreeName(name: string): void {
    if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name) || RESERVED_NAMES.has(name)) {
      throw refused(
        `"${name}" cannot name a VM: use up to 63 lower-case letters, digits and hyphens, and no host's name`,
      );
    }
    if (this.record.vms.some((vm) => vm.name === name)) throw refused(`there is another VM named ${name}`);
  }

  #host(id: string): HostRecord {
    const host = this.record.hosts.find((candidate) => candidate.id === id);
    if (!host) throw notFound(`lab ${this.lab} has no host ${id}`);
    return host;
  }

  async #failHost(id: string): Promise<void> {
    const host = this.#host(id);
    const others = this.record.hosts.filter((one) => one !== host && !one.failed);
    if (host.failed) throw refused(`host ${id} has lost its power already`);
    if (others.length === 0) throw refused(`host ${id} is the last one that has power`);
    const on = this.record.vms.filter((vm) => vm.host === id && vm.process !== null);
    host.failed = { vms: on.map((vm) => vm.id) };
    for (const vm of on) await this.#powerOff(vm);
    this.#changed();
  }

  #returnHost(id: string): void {
    delete this.#host(id).failed;
    this.#changed();
    this.availability.onReturned(id);
  }

  /** Throws ERR_HYPERVISOR_REFUSED for a host that takes no VMs now, ERR_NOT_FOUND for one that is none. */
  #requireInService(id: string): void {
    const { maintenance, failed } = this.#host(id);
    if (failed) throw refused(`host ${id} has no power; \`weft lab fault clear\` gives it back`);
    if (maintenance === undefined) return;
    throw refused(
      `host ${id} is ${maintenance === 'in' ? 'in' : 'entering'} maintenance and takes no VM; \`weft lab maintenance exit ${id}\` ends that`,
    );
  }

  #findSegment(host: string, name: string): HostRecord['segments'][number] | undefined {
    return this.#host(host).segments.find((segment) => segment.name === name);
  }

  #segment(host: string, name: string): HostRecord['segments'][number] {
    const segment = this.#findSegment(host, name);
    if (!segment) throw notFound(`host ${host} has no segment ${name}`);
    return segment;
  }

  #vm(id: string): VmRecord {
    const vm = this.record.vms.find((candidate) => candidate.id === id);
    if (!vm) throw notFound(`lab ${this.lab} has no VM ${id}`);
    return vm;
  }

  #nic(vm: VmRecord, id: string): NicRecord {
    const nic = vm.nics.find((candidate) => candidate.id === id);
    if (!nic) throw notFound(`VM ${vm.name} has no NIC ${id}`);
    return nic;
  }

  #save(): void {
    this.#machines.keep(this.record);
  }

  #changed(): void {
    this.#version++;
    this.#save();
    for (const wake of [...this.#watchers]) wake();
  }

  /** Runs one operation after the other, also after one that failed. */
  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }
}

/** Every host of the lab is this machine. */
function hardwareHere(): HostHardware {
  const cores = cpus();
  return {
    model: cores[0]?.model.trim() || 'this machine',
    cpuCores: cores.length,
    cpuMhz: cores[0]?.speed ?? 0,
    memoryBytes: totalmem(),
  };
}

function vmOf(fault: Fault): string | null {
  if (fault.kind === 'hang') return fault.vm;
  return 'link' in fault && 'vm' in fault.link ? fault.link.vm : null;
}

function refused(message: string): WeftError {
  return new WeftError('ERR_HYPERVISOR_REFUSED', message);
}

function notFound(message: string): WeftError {
  return new WeftError('ERR_NOT_FOUND', message);
}

function withoutLabel(attributes: Record<string, string> = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(attributes).filter(([name]) => name !== LABEL_ATTRIBUTE));
}
