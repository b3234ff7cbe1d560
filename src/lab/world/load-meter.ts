/** How busy VMs are, from /proc: CPU over the last second or so, memory, and bytes on their NICs. */
import { readFileSync } from 'node:fs';
import type { VmStats } from '../../hypervisor/platform.ts';
import { isAlive, type ProcessRef, readStat, readTraffic } from './process.ts';

/** Ticks of /proc/pid/stat are hundredths of a second on every Linux (USER_HZ). */
const TICKS_PER_SECOND = 100;
/** CPU over a shorter time than this is mostly rounding. */
const MIN_WINDOW_MS = 200;

interface Sample {
  pid: number;
  cpuTicks: number;
  timeMs: number;
}

export class LoadMeter {
  /** How often `sample` wants to be called. */
  static readonly PERIOD_MS = 1000;
  /** The two latest samples of each VM, so that one of them is old enough. */
  readonly #samples = new Map<string, Sample[]>();

  /** Takes note of a VM's CPU time; of one that is off, forgets it. */
  sample(vm: string, ref: ProcessRef | null): void {
    const stat = ref && isAlive(ref) ? readStat(ref.pid) : null;
    if (!ref || !stat) {
      this.#samples.delete(vm);
      return;
    }
    const known = this.#samples.get(vm)?.filter((sample) => sample.pid === ref.pid) ?? [];
    this.#samples.set(vm, [
      ...known.slice(-1),
      { pid: ref.pid, cpuTicks: stat.cpuTicks, timeMs: performance.now() },
    ]);
  }

  /** The load now, or null where the VM is off. */
  measure(vm: string, ref: ProcessRef | null): VmStats | null {
    try {
      const stat = ref && isAlive(ref) ? readStat(ref.pid) : null;
      if (!ref || !stat) return null;
      const kilobytes = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${ref.pid}/status`, 'latin1'))?.[1];
      return {
        vm,
        // A guest is one process with one thread that does the work.
        cores: 1,
        cpu: this.#cpu(vm, ref, stat.cpuTicks, stat.startTime),
        memoryBytes: Number(kilobytes ?? 0) * 1024,
        ...readTraffic(ref.pid),
      };
    } catch {
      return null; // It ended while we looked.
    }
  }

  #cpu(vm: string, ref: ProcessRef, cpuTicks: number, startTicks: number): number {
    const nowMs = performance.now();
    const since = this.#samples
      .get(vm)
      ?.findLast((sample) => sample.pid === ref.pid && nowMs - sample.timeMs >= MIN_WINDOW_MS);
    if (since) return ((cpuTicks - since.cpuTicks) / TICKS_PER_SECOND) * (1000 / (nowMs - since.timeMs));
    const uptimeSeconds = Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0]);
    return cpuTicks / TICKS_PER_SECOND / Math.max(0.01, uptimeSeconds - startTicks / TICKS_PER_SECOND);
  }
}
