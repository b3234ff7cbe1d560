/**
 * What a datacenter's operations do to the machine underneath. The lab's own is made of namespaces, bridges and
 * processes (machines.ts); where only the inventory counts, something cheaper can stand in its place.
 */
import type { VmStats } from '../../hypervisor/platform.ts';
import type { Link } from './faults.ts';
import type { ProcessRef } from './process.ts';
import type { LabRecord, NicRecord, VmRecord } from './record.ts';

/** One call at a time; the datacenter sees to that, and changes its record afterwards. */
export interface Machinery {
  /** Hears of guests that ended, whoever ended them. Set by the datacenter. */
  onEnd: (vm: VmRecord, ref: ProcessRef) => void;
  /** Begins to look after VMs and to measure them. */
  start(): void;
  stop(): void;
  /** Keeps the record, so that it outlives this process. */
  keep(record: LabRecord): void;

  /** Makes a segment that no uplink carries; what a call that was cut short left of it goes first. */
  addSegment(host: string, name: string): Promise<void>;
  /** Gone already: succeeds. */
  removeSegment(host: string, name: string): Promise<void>;

  /** Writes what the guest is told at its next boot. */
  writeGuest(vm: VmRecord): void;
  /** Removes the VM's disk and logs. */
  discardGuest(vm: VmRecord): void;
  /** Starts the guest on its recorded segments and sets `vm.process`. On an error nothing of it is left. */
  powerOn(vm: VmRecord): Promise<void>;
  /** Puts another process in the place of the engine's that runs, and sets `vm.process`; where it fails, that one stays. */
  replace(vm: VmRecord): Promise<void>;
  /** Ends everything in the VM. Off already: clears away what may be left. */
  powerOff(vm: VmRecord): Promise<void>;
  /** Moves a VM that is on; its record names the new host afterwards. */
  move(vm: VmRecord, toHost: string): Promise<void>;
  /** Puts the port of a VM that is on onto a segment of its host. */
  join(vm: VmRecord, nic: NicRecord, segment: string): Promise<void>;
  /** Load now of those that are on. */
  stats(vms: readonly string[]): VmStats[];

  /** Stops every process of the VM where it stands, or lets it go on. */
  hang(vm: VmRecord, isHung: boolean): void;
  /** Makes a link as the recorded faults say. A VM that is off has none. */
  refreshLink(link: Link): Promise<void>;
}
