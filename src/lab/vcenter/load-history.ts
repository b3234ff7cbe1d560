/** Statistics as QueryPerf hands them out: a sample of every VM each 20 seconds, an hour of them. */
import type { Datacenter } from '../world/datacenter.ts';
import type { Struct } from './wire/values.ts';

export const INTERVAL_SECONDS = 20;
const MAX_SAMPLES = 180;

/** What one VM did in an interval. */
export interface LoadSample {
  timeMs: number;
  cpu: number;
  memoryBytes: number;
  receivedBytesPerSecond: number;
  sentBytesPerSecond: number;
}

export interface Counter {
  id: number;
  info: Struct;
  measure: (sample: LoadSample) => number;
}

/** The counters there are, with the ids that vCenter usually gives them. */
export const COUNTERS: readonly Counter[] = [
  counter(2, 'cpu', 'usage', 'percent', (sample) => sample.cpu * 10_000),
  counter(6, 'cpu', 'usagemhz', 'megaHertz', (sample) => sample.cpu * 2600),
  counter(24, 'mem', 'usage', 'percent', (sample) => (sample.memoryBytes / 2 ** 30) * 10_000),
  counter(98, 'mem', 'consumed', 'kiloBytes', (sample) => sample.memoryBytes / 1024),
  counter(
    143,
    'net',
    'usage',
    'kiloBytesPerSecond',
    (sample) => (sample.receivedBytesPerSecond + sample.sentBytesPerSecond) / 1024,
  ),
  counter(148, 'net', 'bytesRx', 'kiloBytesPerSecond', (sample) => sample.receivedBytesPerSecond / 1024),
  counter(149, 'net', 'bytesTx', 'kiloBytesPerSecond', (sample) => sample.sentBytesPerSecond / 1024),
];

export class LoadHistory {
  readonly #datacenter: Datacenter;
  readonly #samples = new Map<string, LoadSample[]>();
  readonly #bytes = new Map<string, { timeMs: number; received: number; sent: number }>();
  #timer: NodeJS.Timeout | undefined;

  constructor(datacenter: Datacenter) {
    this.#datacenter = datacenter;
  }

  start(): void {
    this.#sample();
    this.#timer = setInterval(() => this.#sample(), INTERVAL_SECONDS * 1000);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Samples of a VM, the oldest first; those of a VM that is off are gone. */
  of(vm: string): readonly LoadSample[] {
    return this.#samples.get(vm) ?? [];
  }

  #sample(): void {
    const now = Date.now();
    const ids = this.#datacenter.record.vms.map((vm) => vm.id);
    const stats = this.#datacenter.stats(ids);
    for (const id of [...this.#samples.keys()]) {
      if (stats.some((one) => one.vm === id)) continue;
      this.#samples.delete(id);
      this.#bytes.delete(id);
    }
    for (const one of stats) {
      const before = this.#bytes.get(one.vm);
      const seconds = before ? Math.max(1, (now - before.timeMs) / 1000) : INTERVAL_SECONDS;
      const rate = (value: number, last: number | undefined) =>
        Math.max(0, value - (last ?? value)) / seconds;
      this.#bytes.set(one.vm, { timeMs: now, received: one.receivedBytes, sent: one.sentBytes });
      const samples = this.#samples.get(one.vm) ?? [];
      samples.push({
        timeMs: now,
        cpu: one.cpu ?? 0,
        memoryBytes: one.memoryBytes ?? 0,
        receivedBytesPerSecond: rate(one.receivedBytes, before?.received),
        sentBytesPerSecond: rate(one.sentBytes, before?.sent),
      });
      if (samples.length > MAX_SAMPLES) samples.shift();
      this.#samples.set(one.vm, samples);
    }
  }
}

function counter(
  id: number,
  group: string,
  name: string,
  unit: string,
  measure: Counter['measure'],
): Counter {
  const element = (key: string): Struct => ({ $type: 'ElementDescription', label: key, summary: key, key });
  return {
    id,
    measure: (sample) => Math.round(measure(sample)),
    info: {
      $type: 'PerfCounterInfo',
      key: id,
      nameInfo: element(name),
      groupInfo: element(group),
      unitInfo: element(unit),
      rollupType: 'average',
      statsType: 'rate',
      level: 1,
      perDeviceLevel: 3,
    },
  };
}
