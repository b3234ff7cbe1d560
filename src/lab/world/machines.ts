/**
 * The running side of the record: switches VMs on and off, plugs their NICs, applies the faults of their links, and
 * notices guests that end by themselves. The datacenter decides when; one call at a time.
 */
import { existsSync } from 'node:fs';
import type { Segment, VmStats } from '../../hypervisor/platform.ts';
import { WeftError } from '../../policy/errors.ts';
import { newBridge, UPLINK } from './fabric.ts';
import { isSameLink, type Link } from './faults.ts';
import { bootGuest, buildGuest, discardGuestFiles, razeGuest, writeGuestFiles } from './guest.ts';
import { ip } from './iproute.ts';
import { LoadMeter } from './load-meter.ts';
import type { Machinery } from './machinery.ts';
import { labPaths, namespaceFile, namespaceOf } from './names.ts';
import { isAlive, killProcess, type ProcessRef, pidsIn, refOf, signalPid } from './process.ts';
import { type LabRecord, type NicRecord, networkOf, portOf, type VmRecord, writeRecord } from './record.ts';
import { joinSegment, pullCables, rerouteCables, setLink } from './switch-port.ts';

/** How often VMs that an earlier daemon started are looked after; those started by this one report themselves. */
const ADOPTED_POLL_MS = 200;
/** How long an engine's new process may take until it has ended the old one. */
const REPLACE_MS = 30_000;

export class Machines implements Machinery {
  onEnd: (vm: VmRecord, ref: ProcessRef) => void = () => {};
  readonly #record: LabRecord;
  readonly #engineProgram: readonly string[] | undefined;
  readonly #meter = new LoadMeter();
  readonly #timers: NodeJS.Timeout[] = [];
  /** Pids whose end is reported by their ChildProcess. */
  readonly #ownPids = new Set<number>();

  constructor(record: LabRecord, engineProgram: readonly string[] | undefined) {
    this.#record = record;
    this.#engineProgram = engineProgram;
  }

  /** Begins to look after VMs and to measure them. */
  start(): void {
    const look = setInterval(() => {
      for (const vm of this.#record.vms) {
        const ref = vm.process;
        if (ref && !this.#ownPids.has(ref.pid) && !isAlive(ref)) this.onEnd(vm, ref);
      }
    }, ADOPTED_POLL_MS);
    const measure = setInterval(() => {
      for (const vm of this.#record.vms) this.#meter.sample(vm.id, vm.process);
    }, LoadMeter.PERIOD_MS);
    this.#timers.push(look, measure);
    for (const timer of this.#timers) timer.unref();
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  keep(record: LabRecord): void {
    writeRecord(labPaths(record.lab).record, record);
  }

  async addSegment(host: string, name: string): Promise<void> {
    const namespace = namespaceOf(this.#record.lab, host);
    await ip(namespace, [`link del ${name}`], true);
    await ip(namespace, newBridge(name));
  }

  async removeSegment(host: string, name: string): Promise<void> {
    await ip(namespaceOf(this.#record.lab, host), [`link del ${name}`], true);
  }

  writeGuest(vm: VmRecord): void {
    writeGuestFiles(this.#record.lab, vm);
  }

  discardGuest(vm: VmRecord): void {
    discardGuestFiles(this.#record.lab, vm);
  }

  hang(vm: VmRecord, isHung: boolean): void {
    const signal = isHung ? 'SIGSTOP' : 'SIGCONT';
    for (const pid of pidsIn(namespaceOf(this.#record.lab, vm.name))) signalPid(pid, signal);
  }

  /** Load now of those that are on. */
  stats(vms: readonly string[]): VmStats[] {
    return this.#record.vms
      .filter((vm) => vms.includes(vm.id))
      .flatMap((vm) => this.#meter.measure(vm.id, vm.process) ?? []);
  }

  /** Builds the guest on its recorded segments and starts it. On an error nothing of it is left. */
  async powerOn(vm: VmRecord): Promise<void> {
    const { lab } = this.#record;
    try {
      if (existsSync(namespaceFile(namespaceOf(lab, vm.name)))) await this.#dismantle(vm);
      await buildGuest(lab, vm, networkOf(this.#record));
      await this.#plug(vm);
      vm.process = this.#boot(vm).ref;
      await this.#renewMirrors(vm);
    } catch (error) {
      await this.#dismantle(vm);
      throw error;
    }
  }

  /**
   * The new process makes itself ready, ends the old one, and takes its flows over. Throws ERR_KERNEL where it does not
   * come so far.
   */
  async replace(vm: VmRecord): Promise<void> {
    const before = vm.process!;
    const { ref } = this.#boot(vm, before.pid);
    const deadline = performance.now() + REPLACE_MS;
    while (isAlive(before)) {
      if (!isAlive(ref) || performance.now() > deadline) {
        await killProcess(ref);
        throw new WeftError(
          'ERR_KERNEL',
          `the new process of ${vm.name} did not take over; its log says why`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    vm.process = ref;
  }

  #boot(vm: VmRecord, replaces?: number): { ref: ProcessRef } {
    const child = bootGuest(this.#record.lab, vm, this.#engineProgram, replaces);
    const ref = refOf(child.pid);
    this.#ownPids.add(ref.pid);
    child.once('exit', () => {
      this.#ownPids.delete(ref.pid);
      this.onEnd(vm, ref);
    });
    return { ref };
  }

  /** Ends everything in the VM and takes it out of its host. Off already: clears away what may be left. */
  async powerOff(vm: VmRecord): Promise<void> {
    vm.process = null;
    await this.#dismantle(vm);
  }

  /** Moves a VM that is on; its record names the new host afterwards. */
  async move(vm: VmRecord, toHost: string): Promise<void> {
    await rerouteCables(this.#record.lab, vm, toHost);
    vm.host = toHost;
    await this.#plug(vm);
  }

  /** Makes sure that a VM of an earlier daemon runs and is where the record says. Throws where that is not so. */
  async takeOver(vm: VmRecord): Promise<void> {
    if (!vm.process || !isAlive(vm.process)) throw new WeftError('ERR_LAB', `VM ${vm.name} is off`);
    for (const nic of vm.nics) await this.join(vm, nic, nic.segment);
  }

  /** Puts the port of a VM that is on onto a segment of its host. */
  async join(vm: VmRecord, nic: NicRecord, segmentName: string): Promise<void> {
    const enginePorts = this.#record.vms
      .filter((other) => other.host === vm.host && other.process)
      .flatMap((other) =>
        other.nics
          .filter((one) => one.isEnginePort && one.segment === segmentName)
          .map((one) => portOf(other, one)),
      );
    await joinSegment(this.#record.lab, vm, nic, this.#segment(vm.host, segmentName), enginePorts);
  }

  /** Makes a link as the recorded faults say. A VM that is off has none. */
  async refreshLink(link: Link): Promise<void> {
    if ('host' in link) return this.#setLink(link.host, UPLINK, link);
    const vm = this.#record.vms.find((one) => one.id === link.vm);
    const nic = vm?.nics.find((one) => one.id === link.nic);
    if (vm?.process && nic) await this.#setLink(vm.host, portOf(vm, nic), link);
  }

  async #plug(vm: VmRecord): Promise<void> {
    for (const nic of vm.nics) {
      await this.#setLink(vm.host, portOf(vm, nic), { vm: vm.id, nic: nic.id });
      await this.join(vm, nic, nic.segment);
    }
  }

  async #setLink(host: string, device: string, link: Link): Promise<void> {
    const faults = this.#record.faults.filter((fault) => 'link' in fault && isSameLink(fault.link, link));
    await setLink(namespaceOf(this.#record.lab, host), device, {
      isCut: faults.some((fault) => fault.kind === 'cut'),
      lossPercent: faults.reduce((share, fault) => (fault.kind === 'lose' ? fault.percent : share), 0),
      copiesTo: 'vm' in link ? this.#mirrorsOf(host, link) : [],
    });
  }

  /** Ports of engines of the host that get copies of what the NIC receives and sends. */
  #mirrorsOf(host: string, { vm, nic }: { vm: string; nic: string }): string[] {
    return this.#record.vms.flatMap((engine) => {
      const inside = engine.nics.find(({ id }) => id === 'in');
      const isCopied = engine.mirrors?.some((one) => one.vm === vm && one.nic === nic) === true;
      return isCopied && inside && engine.host === host && engine.process ? [portOf(engine, inside)] : [];
    });
  }

  /** The cables of an engine that has just been plugged in are new: what is copied to it is copied there. */
  async #renewMirrors(engine: VmRecord): Promise<void> {
    for (const { vm, nic } of engine.mirrors ?? []) await this.refreshLink({ vm, nic });
  }

  async #dismantle(vm: VmRecord): Promise<void> {
    await pullCables(this.#record.lab, vm);
    await razeGuest(this.#record.lab, vm);
  }

  #segment(host: string, name: string): Pick<Segment, 'name' | 'role'> {
    const segment = this.#record.hosts
      .find((one) => one.id === host)
      ?.segments.find((one) => one.name === name);
    if (!segment) throw new WeftError('ERR_NOT_FOUND', `host ${host} has no segment ${name}`);
    return segment;
  }
}
