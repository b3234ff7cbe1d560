/**
 * The shares of upcall-shares.ts for an engine without a program: a filter on the packet sockets of its ports, so that
 * what a flood has too much of never reaches the ring. Where the kernel knows no such filter, the ring drops as it fills.
 */
import { readFileSync } from 'node:fs';
import {
  attachFilter,
  BPF_SOCKET_FILTER,
  createMap,
  loadProgram,
  mapMemory,
  possibleCpus,
  readMap,
  readProgram,
} from '../kernel/bpf.ts';
import { libc } from '../kernel/libc.ts';
import { CONFIG_BYTES } from './flow-slots.ts';
import { CONFIG_PORTS, COUNTER_BYTES, COUNTER_OVER_SHARE, COUNTERS, mappedArray } from './map-shapes.ts';
import { SHARE_BYTES, SHARES, type ShareMemory } from './upcall-shares.ts';

/** 32-bit word of the configuration. */
const CONFIG_SEED = 0;

export class ShareFilter {
  readonly memory: ShareMemory;
  readonly #config: Int32Array;
  readonly #program: number;
  readonly #counters: number;
  readonly #values = new Uint8Array(possibleCpus() * COUNTER_BYTES);
  readonly #closing: (() => void)[] = [];

  /** `seed`: any 32-bit number that others cannot guess. Throws ERR_KERNEL. */
  constructor(seed: number) {
    try {
      const config = this.#map('flow_config', CONFIG_BYTES, 1);
      const shares = this.#map('flow_shares', SHARE_BYTES, SHARES + 1);
      this.#counters = createMap(COUNTERS);
      this.#closing.push(() => libc.close(this.#counters));
      this.memory = { config: config.buffer, shares: shares.buffer };
      this.#config = new Int32Array(config.buffer);
      this.#config[CONFIG_SEED] = seed;
      const object = readFileSync(new URL('flow.filter.o', import.meta.url));
      const maps = { flow_config: config.fd, flow_shares: shares.fd, flow_counters: this.#counters };
      this.#program = loadProgram(readProgram(object, maps), BPF_SOCKET_FILTER, 'weft_shares');
      this.#closing.push(() => libc.close(this.#program));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Filters what the packet socket of a port gets from now on, until it is closed. Throws ERR_KERNEL. */
  attach(port: number, name: string, socket: number): void {
    this.#config[CONFIG_PORTS[port]] = libc.if_nametoindex(name);
    attachFilter(this.#program, socket, `interface ${name}`);
  }

  /** Frames that were refused. */
  overShare(): number {
    readMap(this.#counters, 0, this.#values);
    const words = new BigUint64Array(this.#values.buffer);
    let sum = 0;
    for (let at = COUNTER_OVER_SHARE; at < words.length; at += COUNTER_BYTES / 8) sum += Number(words[at]);
    return sum;
  }

  close(): void {
    for (const one of this.#closing.splice(0).reverse()) one();
  }

  #map(name: string, valueBytes: number, entries: number): { fd: number; buffer: ArrayBuffer } {
    const fd = createMap(mappedArray(name, valueBytes, entries));
    this.#closing.push(() => libc.close(fd));
    const memory = mapMemory(fd, valueBytes * entries, name);
    this.#closing.push(() => memory.unmap());
    return { fd, buffer: memory.buffer };
  }
}
