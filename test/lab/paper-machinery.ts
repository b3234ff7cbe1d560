/**
 * Machinery of a datacenter that exists on paper only: no namespaces, no processes, no root. What the record says is
 * all there is, so that the simulated vCenter can be driven a thousand times in the time that a lab takes to boot.
 */
import type { VmStats } from '../../src/hypervisor/platform.ts';
import type { Machinery } from '../../src/lab/world/machinery.ts';
import type { ProcessRef } from '../../src/lab/world/process.ts';
import type { VmRecord } from '../../src/lab/world/record.ts';

export class PaperMachinery implements Machinery {
  onEnd: (vm: VmRecord, ref: ProcessRef) => void = () => {};
  /** How long what moves things takes. */
  work: () => Promise<void> = async () => {};
  /** Hears of every boot. */
  onBoot: (vm: VmRecord) => void = () => {};
  #boots = 0;

  start(): void {}
  stop(): void {}
  keep(): void {}

  addSegment(): Promise<void> {
    return this.work();
  }

  removeSegment(): Promise<void> {
    return this.work();
  }

  writeGuest(): void {}
  discardGuest(): void {}

  async powerOn(vm: VmRecord): Promise<void> {
    await this.work();
    // A process that nobody has, never the same one twice.
    vm.process = { pid: 2 ** 30, startTime: ++this.#boots };
    this.onBoot(vm);
  }

  replace(vm: VmRecord): Promise<void> {
    return this.powerOn(vm);
  }

  async powerOff(vm: VmRecord): Promise<void> {
    vm.process = null;
    await this.work();
  }

  async move(vm: VmRecord, toHost: string): Promise<void> {
    await this.work();
    vm.host = toHost;
  }

  join(): Promise<void> {
    return this.work();
  }

  stats(): VmStats[] {
    return [];
  }

  hang(): void {}
  async refreshLink(): Promise<void> {}
}
