/**
 * Load of VMs from vCenter's real-time statistics: samples of 20 seconds, which hosts keep for an hour.
 *
 * vCenter knows rates, the contract counts bytes: each sample that was not seen yet is added up, from the first time
 * that a VM was asked about. A gap of more than an hour is counted as silence.
 */
import type { VmStats } from '../hypervisor/platform.ts';
import { readThere } from './objects.ts';
import type { VcenterSession } from './session.ts';
import type { MoRef, Vim } from './vim/schema.ts';

export class VcenterStats {
  readonly #session: VcenterSession;
  /** Counter ids by name. They are vCenter's own and do not change while it runs. */
  #counters: Map<string, number> | null = null;
  #generation = 0;
  readonly #totals = new Map<string, Totals>();

  constructor(session: VcenterSession) {
    this.#session = session;
  }

  /** VMs that are off or unknown are left out. */
  async read(vms: readonly string[], signal: AbortSignal): Promise<VmStats[]> {
    const wanted = new Set(vms);
    for (const vm of this.#totals.keys())
      if (!wanted.has(vm) && this.#totals.size > MAX_VMS) this.#totals.delete(vm);
    if (wanted.size === 0) return [];
    const found: VmStats[] = [];
    const ids = [...wanted];
    for (let first = 0; first < ids.length; first += BATCH) {
      found.push(...(await this.#readBatch(ids.slice(first, first + BATCH), signal)));
    }
    return found;
  }

  async #readBatch(ids: readonly string[], signal: AbortSignal): Promise<VmStats[]> {
    const machines = await this.#running(ids, signal);
    if (machines.length === 0) return [];
    const counters = await this.#counterIds(signal);
    const metricId = [...counters.values()].map((counterId) => ({ counterId, instance: '' }));
    const { perfManager } = this.#session.content;
    if (!perfManager) return [];
    const querySpec = machines.map(({ ref }) => ({
      entity: ref,
      maxSample: this.#totals.has(ref.value) ? MAX_SAMPLES : 1,
      metricId,
      intervalId: INTERVAL_SECONDS,
      format: 'normal',
    }));
    const answers = await this.#session.call(perfManager, 'QueryPerf', { querySpec }, signal);
    const byVm = new Map((answers ?? []).map((answer) => [answer.entity.value, answer]));
    return machines.map(({ ref, cores, coreMhz, quick }) => {
      const samples = samplesOf(byVm.get(ref.value), counters);
      const totals = this.#totals.get(ref.value) ?? { received: 0, sent: 0, seenUntil: 0 };
      for (const sample of samples) {
        if (sample.at <= totals.seenUntil) continue;
        totals.seenUntil = sample.at;
        totals.received += sample.receivedKilobytes * 1024 * sample.seconds;
        totals.sent += sample.sentKilobytes * 1024 * sample.seconds;
      }
      this.#totals.set(ref.value, totals);
      const last = samples.at(-1);
      const cpuMhz = last?.cpuMhz ?? quick.cpuMhz;
      const memoryKilobytes = last?.memoryKilobytes ?? kilobytes(quick.memoryMegabytes);
      return {
        vm: ref.value,
        cores,
        cpu: cpuMhz === null ? null : cpuMhz / coreMhz,
        memoryBytes: memoryKilobytes === null ? null : memoryKilobytes * 1024,
        receivedBytes: Math.round(totals.received),
        sentBytes: Math.round(totals.sent),
      };
    });
  }

  /** Those that are on, with what stands for statistics until the first sample is there. */
  async #running(ids: readonly string[], signal: AbortSignal): Promise<Running[]> {
    const refs = ids.map((value) => ({ type: 'VirtualMachine', value }));
    const paths = ['runtime.powerState', 'runtime.host', CORES, ...QUICK];
    const read = await readThere(this.#session, refs, paths, signal);
    const on = [...read].filter(([, one]) => one['runtime.powerState'] === 'poweredOn');
    const hosts = new Map(
      on
        .flatMap(([, one]) => (one['runtime.host'] ? [one['runtime.host'] as MoRef] : []))
        .map((host) => [host.value, host]),
    );
    const speeds = await this.#session.properties([...hosts.values()], ['summary.hardware.cpuMhz'], signal);
    return on.map(([value, one]) => ({
      ref: { type: 'VirtualMachine', value },
      cores: numberOf(one[CORES]),
      coreMhz:
        Number(
          speeds.get((one['runtime.host'] as MoRef | undefined)?.value ?? '')?.['summary.hardware.cpuMhz'],
        ) || DEFAULT_MHZ,
      quick: { cpuMhz: numberOf(one[QUICK[0]]), memoryMegabytes: numberOf(one[QUICK[1]]) },
    }));
  }

  async #counterIds(signal: AbortSignal): Promise<Map<string, number>> {
    if (this.#counters && this.#generation === this.#session.generation) return this.#counters;
    const { perfManager } = await this.#session.connect(signal);
    const ids = new Map<string, number>();
    if (perfManager) {
      const read = await this.#session.properties([perfManager], ['perfCounter'], signal);
      const infos = (read.get(perfManager.value)?.perfCounter ?? []) as Vim<'PerfCounterInfo'>[];
      for (const { key, groupInfo, nameInfo, rollupType } of infos) {
        const name = `${groupInfo.key}.${nameInfo.key}.${rollupType}`;
        if (COUNTERS.includes(name)) ids.set(name, key);
      }
    }
    this.#generation = this.#session.generation;
    this.#counters = ids;
    return ids;
  }
}

interface Totals {
  received: number;
  sent: number;
  /** The time of the last sample that was added, milliseconds. */
  seenUntil: number;
}

interface Running {
  ref: MoRef;
  cores: number | null;
  /** Of one core of its host. */
  coreMhz: number;
  quick: { cpuMhz: number | null; memoryMegabytes: number | null };
}

interface Sample {
  at: number;
  seconds: number;
  cpuMhz: number | undefined;
  memoryKilobytes: number | undefined;
  receivedKilobytes: number;
  sentKilobytes: number;
}

const CPU = 'cpu.usagemhz.average';
const MEMORY = 'mem.consumed.average';
const RECEIVED = 'net.received.average';
const SENT = 'net.transmitted.average';
const COUNTERS = [CPU, MEMORY, RECEIVED, SENT];
const QUICK = ['summary.quickStats.overallCpuUsage', 'summary.quickStats.hostMemoryUsage'] as const;
const CORES = 'summary.config.numCpu';
const INTERVAL_SECONDS = 20;
/** An hour, as long as hosts keep them. */
const MAX_SAMPLES = 180;
/** VMs in one query: vCenter limits a query to 64 entities by default. */
const BATCH = 50;
const MAX_VMS = 20_000;
const DEFAULT_MHZ = 2000;

function numberOf(value: unknown): number | null {
  return value === undefined ? null : Number(value);
}

function kilobytes(megabytes: number | null): number | null {
  return megabytes === null ? null : megabytes * 1024;
}

/** Oldest first; vCenter does not promise an order. */
function samplesOf(answer: Vim<'PerfEntityMetricBase'> | undefined, counters: Map<string, number>): Sample[] {
  if (answer?.$type !== 'PerfEntityMetric') return [];
  const series = (name: string): readonly number[] => {
    const found = answer.value?.find(({ id }) => id.counterId === counters.get(name) && id.instance === '');
    return found?.$type === 'PerfMetricIntSeries' ? (found.value ?? []) : [];
  };
  const [cpu, memory, received, sent] = [series(CPU), series(MEMORY), series(RECEIVED), series(SENT)];
  // -1 stands for a sample that was missed.
  const known = (value: number | undefined): number | undefined =>
    value !== undefined && value >= 0 ? value : undefined;
  return (answer.sampleInfo ?? [])
    .map(({ timestamp, interval }, index) => ({
      at: Date.parse(timestamp),
      seconds: interval,
      cpuMhz: known(cpu[index]),
      memoryKilobytes: known(memory[index]),
      receivedKilobytes: known(received[index]) ?? 0,
      sentKilobytes: known(sent[index]) ?? 0,
    }))
    .sort((a, b) => a.at - b.at);
}
