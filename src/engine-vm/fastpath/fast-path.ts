/**
 * The kernel's part of the packet path, driven: makes the maps, loads the program, attaches it to the two ports, keeps
 * its clock and its heartbeat, and reads its counters. Where none of that can be had, the constructor throws and
 * TypeScript forwards every packet, as it also does for packets that the program leaves to it.
 *
 * XDP takes frames before the kernel makes anything of them, and leaves the others to the packet ring of the same
 * interface. tc (TCX) sees them behind packet sockets; what is for TypeScript therefore comes by a link of its own
 * (`ups`). XDP is for frames that come whole from a wire; tc is for virtual links, whose segmentation and checksums
 * are still to be done.
 */
import { readFileSync } from 'node:fs';
import { hrtime } from 'node:process';
import {
  attachProgram,
  BPF_F_MMAPABLE,
  BPF_MAP_TYPE_ARRAY,
  BPF_MAP_TYPE_PERCPU_ARRAY,
  BPF_TCX_INGRESS,
  BPF_XDP,
  createMap,
  loadProgram,
  mapMemory,
  possibleCpus,
  readMap,
  readProgram,
  replaceProgram,
} from '../kernel/bpf.ts';
import { libc } from '../kernel/libc.ts';
import { BUCKET_BYTES, bucketsFor, CONFIG_BYTES, FlowSlots, SLOT_BYTES } from './flow-slots.ts';

export type FastPathKind = 'xdp' | 'tc';

/** Since the program was first attached. */
export interface FastPathCounters {
  /** Forwarded without TypeScript, by port (out, in). */
  receivedPackets: [number, number];
  receivedBytes: [number, number];
  sentPackets: [number, number];
  sentBytes: [number, number];
  /** Packets handed to TypeScript. */
  upcalls: number;
  /** Packets for TypeScript beyond what it can take. */
  refused: number;
  /** While TypeScript was silent: packets of unknown flows dropped (fail mode closed), and passed on (open). */
  held: number;
  bypassed: number;
}

const ATTACH_TYPES = { xdp: BPF_XDP, tc: BPF_TCX_INGRESS } as const;
const COUNTER_BYTES = 96;
/** Packets that may wait for TypeScript between two ticks: more than it moves in the time. */
const UPCALLS_PER_TICK = 65_536;

// 32-bit words of the configuration; 64-bit ones by their own index.
const CONFIG_PORTS = 4;
const CONFIG_UPS = 6;
const CONFIG_FAIL_OPEN = 8;
const CONFIG_HEARTBEAT_64 = 5;
const CONFIG_STALE_64 = 6;
const CONFIG_UPCALLS = 14;
const CONFIG_UPCALL_LIMIT = 15;

/** The maps and the program for one size of the flow table. */
interface Loaded {
  slots: FlowSlots;
  config: Int32Array;
  config64: BigUint64Array;
  program: number;
  counters: number;
  close(): void;
}

export class FastPath {
  readonly kind: FastPathKind;
  #loaded: Loaded;
  readonly #links: number[] = [-1, -1];
  readonly #ports = [0, 0];
  readonly #ups = [0, 0];
  #nowMs = 0;
  #isFailOpen = true;
  #staleMs = 0;
  /** Counters of programs that were replaced. */
  #before = emptyCounters();
  readonly #values: Uint8Array<ArrayBuffer>;

  /** Loads the program with room for no flow yet. Throws ERR_KERNEL with the reason. */
  constructor(kind: FastPathKind) {
    this.kind = kind;
    this.#values = new Uint8Array(possibleCpus() * COUNTER_BYTES);
    this.#loaded = this.#load(2, 0);
    this.tick(0);
  }

  /** The program in force, as a file descriptor. */
  get program(): number {
    return this.#loaded.program;
  }

  /** Attaches to an interface, which is the data plane's port 0 (out) or 1 (in). Throws ERR_KERNEL. */
  attach(port: number, name: string, up: string | null): void {
    this.detach(port);
    this.#ports[port] = libc.if_nametoindex(name);
    this.#ups[port] = up === null ? 0 : libc.if_nametoindex(up);
    this.#configure();
    this.#links[port] = attachProgram(
      this.#loaded.program,
      this.#ports[port],
      ATTACH_TYPES[this.kind],
      `interface ${name}`,
    );
  }

  /** Lets go of an interface: its frames are TypeScript's alone, or nobody's. */
  detach(port: number): void {
    if (this.#links[port] >= 0) libc.close(this.#links[port]);
    this.#links[port] = -1;
    this.#ports[port] = 0;
    this.#configure();
  }

  /** Makes room for so many slots, empty, and puts the program that uses them in force. Throws ERR_KERNEL. */
  openSlots(capacity: number, seed: number): FlowSlots {
    const next = this.#load(capacity, seed);
    const before = this.#loaded;
    const counted = this.counters();
    this.#loaded = next;
    this.#configure();
    this.tick(this.#nowMs);
    for (const link of this.#links) if (link >= 0) replaceProgram(link, next.program);
    this.#before = counted;
    before.close();
    return next.slots;
  }

  /** What happens to packets for TypeScript after so long without a tick; 0: they wait in its ring. */
  setFailMode(isOpen: boolean, staleMs: number): void {
    this.#isFailOpen = isOpen;
    this.#staleMs = staleMs;
    this.#configure();
  }

  /** TypeScript lives. To be called every few milliseconds with the data plane's clock. */
  tick(nowMs: number): void {
    const { slots, config, config64 } = this.#loaded;
    this.#nowMs = nowMs;
    slots.setNow(nowMs);
    config64[CONFIG_HEARTBEAT_64] = hrtime.bigint();
    config[CONFIG_UPCALL_LIMIT] = (Atomics.load(config, CONFIG_UPCALLS) + UPCALLS_PER_TICK) | 0;
  }

  counters(): FastPathCounters {
    const sum = structuredClone(this.#before);
    readMap(this.#loaded.counters, 0, this.#values);
    const words = new BigUint64Array(this.#values.buffer);
    for (let at = 0; at < words.length; at += COUNTER_BYTES / 8) {
      for (const port of [0, 1] as const) {
        sum.receivedPackets[port] += Number(words[at + port]);
        sum.receivedBytes[port] += Number(words[at + 2 + port]);
        sum.sentPackets[port] += Number(words[at + 4 + port]);
        sum.sentBytes[port] += Number(words[at + 6 + port]);
      }
      sum.upcalls += Number(words[at + 8]);
      sum.refused += Number(words[at + 9]);
      sum.held += Number(words[at + 10]);
      sum.bypassed += Number(words[at + 11]);
    }
    return sum;
  }

  /** The links, for somebody else to close where this thread had to be killed. */
  fds(): number[] {
    return this.#links.filter((link) => link >= 0);
  }

  close(): void {
    for (const port of [0, 1]) this.detach(port);
    this.#loaded.close();
  }

  #configure(): void {
    const { config, config64 } = this.#loaded;
    for (const port of [0, 1]) {
      config[CONFIG_PORTS + port] = this.#ports[port];
      config[CONFIG_UPS + port] = this.#ups[port];
    }
    config[CONFIG_FAIL_OPEN] = this.#isFailOpen ? 1 : 0;
    config64[CONFIG_STALE_64] = BigInt(this.#staleMs) * 1_000_000n;
  }

  #load(capacity: number, seed: number): Loaded {
    const closing: (() => void)[] = [];
    const close = (): void => {
      for (const one of closing.reverse()) one();
    };
    const own = (fd: number): number => {
      closing.push(() => libc.close(fd));
      return fd;
    };
    const shared = (name: string, valueBytes: number, entries: number) => {
      const fd = own(
        createMap({
          name,
          type: BPF_MAP_TYPE_ARRAY,
          keyBytes: 4,
          valueBytes,
          entries,
          flags: BPF_F_MMAPABLE,
        }),
      );
      const memory = mapMemory(fd, valueBytes * entries, name);
      closing.push(() => memory.unmap());
      return { fd, buffer: memory.buffer };
    };
    try {
      const config = shared('flow_config', CONFIG_BYTES, 1);
      const index = shared('flow_index', BUCKET_BYTES, bucketsFor(capacity));
      const slots = shared('flow_slots', SLOT_BYTES, capacity);
      const counters = own(
        createMap({
          name: 'flow_counters',
          type: BPF_MAP_TYPE_PERCPU_ARRAY,
          keyBytes: 4,
          valueBytes: COUNTER_BYTES,
          entries: 1,
          flags: 0,
        }),
      );
      const object = readFileSync(new URL(`flow.${this.kind}.o`, import.meta.url));
      const compiled = readProgram(object, {
        flow_config: config.fd,
        flow_index: index.fd,
        flow_slots: slots.fd,
        flow_counters: counters,
      });
      const program = own(loadProgram(compiled, ATTACH_TYPES[this.kind], 'weft_flow'));
      return {
        slots: new FlowSlots(
          { config: config.buffer, index: index.buffer, slots: slots.buffer },
          capacity,
          seed,
        ),
        config: new Int32Array(config.buffer),
        config64: new BigUint64Array(config.buffer),
        program,
        counters,
        close,
      };
    } catch (error) {
      close();
      throw error;
    }
  }
}

function emptyCounters(): FastPathCounters {
  return {
    receivedPackets: [0, 0],
    receivedBytes: [0, 0],
    sentPackets: [0, 0],
    sentBytes: [0, 0],
    upcalls: 0,
    refused: 0,
    held: 0,
    bypassed: 0,
  };
}
