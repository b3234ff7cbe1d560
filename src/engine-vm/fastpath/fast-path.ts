/**
 * The kernel's part of the packet path, driven: makes the maps, loads the program, attaches it to the two ports, keeps
 * its clock and its heartbeat, and reads its counters. Where none of that can be had, the constructor throws and
 * TypeScript forwards every packet, as it also does for packets that the program leaves to it.
 *
 * XDP takes frames before the kernel makes anything of them, and leaves the others to the packet ring of the same
 * interface. tc (TCX) sees them behind packet sockets; what is for TypeScript therefore comes by a link of its own
 * (`ups`). XDP is for frames that come whole from a wire; tc is for virtual links, whose segmentation and checksums
 * are still to be done.
 *
 * With `Pins` the program, its links and its maps outlive the process: known flows are forwarded while none lives, and
 * the next one takes them over with the records behind them. Until that one has opened its ports (`release`), the
 * kernel goes on as it was left.
 */
import { readFileSync } from 'node:fs';
import { hrtime } from 'node:process';
import { FlowMemory, flowMemoryBytes } from '../flow/flow-memory.ts';
import {
  attachProgram,
  BPF_MAP_TYPE_XSKMAP,
  BPF_TCX_INGRESS,
  BPF_XDP,
  createMap,
  loadProgram,
  mapMemory,
  possibleCpus,
  readMap,
  readProgram,
  replaceProgram,
  writeMap,
} from '../kernel/bpf.ts';
import { libc } from '../kernel/libc.ts';
import { MAX_QUEUES } from '../kernel/xsk.ts';
import { BUCKET_BYTES, bucketsFor, CONFIG_BYTES, FlowSlots, SLOT_BYTES } from './flow-slots.ts';
import { CONFIG_PORTS, CONFIG_UPS, COUNTER_BYTES, COUNTERS, mappedArray, PORTS } from './map-shapes.ts';
import { Pins } from './pins.ts';
import { addCounters, emptyCounters, type FastPathCounters } from './program-counters.ts';
import { TUNNEL_BYTES, TUNNELS } from './tunnel-heads.ts';
import { SHARE_BYTES, SHARES, type ShareMemory } from './upcall-shares.ts';

export type { FastPathCounters } from './program-counters.ts';

export type FastPathKind = 'xdp' | 'tc';

/** The port of the engine's own stack. */
const SELF = 2;
const ATTACH_TYPES = { xdp: BPF_XDP, tc: BPF_TCX_INGRESS } as const;
const RECORD_BYTES = 64;
/** Packets that may wait for TypeScript between two ticks: more than it moves in the time. */
const UPCALLS_PER_TICK = 65_536;

// 32-bit words of the configuration; 64-bit ones by their own index.
const CONFIG_NOW_MS = 3;
const CONFIG_FAIL_OPEN = 8;
const CONFIG_CAPACITY = 9;
const CONFIG_HEARTBEAT_64 = 5;
const CONFIG_STALE_64 = 6;
const CONFIG_AWAITED_64 = 10;
const CONFIG_UPCALLS = 14;
const CONFIG_UPCALL_LIMIT = 15;

/** After so long a table that was taken over has proved to be sound. */
const PROVED_MS = 100;

/** The maps and the program for one size of the flow table. */
interface Loaded {
  slots: FlowSlots;
  config: Int32Array;
  config64: BigUint64Array;
  program: number;
  /** On the link to the engine's own stack: tc's. */
  selfProgram: number;
  counters: number;
  shares: ShareMemory;
  /** The map of AF_XDP sockets; -1 for tc, which knows none. */
  sockets: number;
  /** By name, as the program knows them. */
  maps: Readonly<Record<string, number>>;
  close(): void;
}

export class FastPath {
  readonly kind: FastPathKind;
  readonly #pins: Pins | null;
  #loaded: Loaded;
  /** Taken over from another process, and not at work yet. */
  #isHeldBack = false;
  #releasedAt = Number.NaN;
  readonly #links: number[] = PORTS.map(() => -1);
  readonly #ports: number[] = PORTS.map(() => 0);
  readonly #ups: number[] = PORTS.map(() => 0);
  /** AF_XDP sockets by their place in the map. */
  readonly #sockets = new Map<number, number>();
  #nowMs = 0;
  #isFailOpen = true;
  #staleMs = 0;
  /** Counters of programs that were replaced. */
  #before = emptyCounters();
  readonly #values: Uint8Array<ArrayBuffer>;

  /**
   * Takes over what an earlier process left at the pins; where there is nothing or it does not fit, loads the program
   * with room for no flow yet. Throws ERR_KERNEL with the reason.
   */
  constructor(kind: FastPathKind, pins: Pins | null = null) {
    this.kind = kind;
    this.#pins = pins;
    this.#values = new Uint8Array(possibleCpus() * COUNTER_BYTES);
    const left = pins === null ? null : this.#takeOver(pins);
    this.#isHeldBack = left !== null;
    this.#loaded = left ?? this.#load(2, 0);
    if (left === null) this.tick(0);
  }

  /** What is kept, whole and of this layout; else everything kept is removed. */
  #takeOver(pins: Pins): Loaded | null {
    if (pins.kind === this.kind && !pins.isTorn) {
      try {
        const config = pins.openMap(this.kind, 'flow_config');
        const memory = mapMemory(config, CONFIG_BYTES, 'flow_config');
        const words = new Int32Array(memory.buffer);
        const capacity = words[CONFIG_CAPACITY];
        const leftMs = words[CONFIG_NOW_MS];
        const heartbeat = new BigUint64Array(memory.buffer)[CONFIG_HEARTBEAT_64];
        for (const port of PORTS) {
          this.#ports[port] = words[CONFIG_PORTS[port]];
          this.#ups[port] = words[CONFIG_UPS[port]];
        }
        memory.unmap();
        libc.close(config);
        const left = this.#load(capacity, 0, leftMs);
        left.slots.awayMs = Number(hrtime.bigint() - heartbeat) / 1e6;
        for (const port of PORTS) this.#links[port] = pins.openLink(port);
        return left;
      } catch {
        this.#closeLinks();
      }
    }
    pins.clear();
    this.#ports.fill(0);
    this.#ups.fill(0);
    return null;
  }

  /** What services may have of TypeScript, as the program in force sees it: another one after `openSlots`. */
  get shares(): ShareMemory {
    return this.#loaded.shares;
  }

  /**
   * Attaches to an interface, which is the data plane's port 0 (out), 1 (in) or 2, the link to the engine's own stack:
   * there it is always tc's, as what a stack sends is still to be cut and summed. `up`: where packets for TypeScript go,
   * null where they come by AF_XDP or the packet ring of the port. Throws ERR_KERNEL.
   */
  attach(port: number, name: string, up: string | null): void {
    const interfaceIndex = libc.if_nametoindex(name);
    const upIndex = up === null ? 0 : libc.if_nametoindex(up);
    if (this.#links[port] >= 0 && this.#ports[port] === interfaceIndex && this.#ups[port] === upIndex) {
      try {
        replaceProgram(this.#links[port], this.programOf(port).fd);
        return;
      } catch {
        // The interface of that index is another one now.
      }
    }
    this.detach(port);
    this.#ports[port] = interfaceIndex;
    this.#ups[port] = upIndex;
    this.#configure();
    const { fd, kind } = this.programOf(port);
    this.#links[port] = attachProgram(fd, this.#ports[port], ATTACH_TYPES[kind], `interface ${name}`);
    this.#pins?.keepLink(port, this.#links[port]);
  }

  /** The program in force of a port, as a file descriptor. */
  programOf(port: number): { fd: number; kind: FastPathKind } {
    return this.#programIn(this.#loaded, port);
  }

  #programIn({ program, selfProgram }: Loaded, port: number): { fd: number; kind: FastPathKind } {
    return port === SELF ? { fd: selfProgram, kind: 'tc' } : { fd: program, kind: this.kind };
  }

  /** The ports are open: what the program does not know is taken from now on. Safe to repeat. */
  release(): void {
    if (!this.#isHeldBack) return;
    this.#isHeldBack = false;
    const { slots } = this.#loaded;
    slots.isHeldBack = false;
    this.#configure();
    this.tick(this.#nowMs);
    this.#loaded.config64[CONFIG_AWAITED_64] = 0n;
    slots.invalidate();
  }

  /**
   * Frames of a queue of a port that are for TypeScript come by this socket from now on, until it is closed; the others
   * come by the packet ring. Throws ERR_KERNEL.
   */
  addSocket(port: number, socket: { readonly fd: number; readonly queue: number }): void {
    const index = port * MAX_QUEUES + socket.queue;
    writeMap(this.#loaded.sockets, index, socket.fd);
    this.#sockets.set(index, socket.fd);
  }

  /** The port's sockets are about to be closed: the kernel takes them out by itself. */
  forgetSockets(port: number): void {
    for (let queue = 0; queue < MAX_QUEUES; queue++) this.#sockets.delete(port * MAX_QUEUES + queue);
  }

  /** Lets go of an interface: its frames are TypeScript's alone, or nobody's. */
  detach(port: number): void {
    if (this.#links[port] >= 0) libc.close(this.#links[port]);
    this.#links[port] = -1;
    this.#pins?.removeLink(port);
    this.#ports[port] = 0;
    this.#configure();
  }

  /**
   * Makes room for so many slots and puts the program that uses them in force. They are empty, unless as many were
   * taken over: then they are the ones of the earlier process (`leftMs`). Throws ERR_KERNEL.
   */
  openSlots(capacity: number, seed: number): FlowSlots {
    const before = this.#loaded;
    if (this.#isHeldBack && before.slots.capacity === capacity && before.slots.memory.attempt())
      return before.slots;
    const next = this.#load(capacity, seed);
    this.#pins?.keepMaps(next.maps);
    const counted = this.counters();
    this.#loaded = next;
    this.#isHeldBack = false;
    this.#configure();
    for (const [index, fd] of this.#sockets) writeMap(next.sockets, index, fd);
    this.tick(this.#nowMs);
    for (const [port, link] of this.#links.entries()) {
      if (link < 0) continue;
      try {
        replaceProgram(link, this.#programIn(next, port).fd);
      } catch {
        // Its interface is gone; `attach` makes another one.
        this.detach(port);
      }
    }
    this.#pins?.commitMaps(this.kind);
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
    if (this.#isHeldBack) return;
    if (Number.isNaN(this.#releasedAt)) this.#releasedAt = nowMs;
    else if (nowMs - this.#releasedAt > PROVED_MS) slots.memory.prove();
    slots.setNow(nowMs);
    config64[CONFIG_HEARTBEAT_64] = hrtime.bigint();
    config[CONFIG_UPCALL_LIMIT] = (Atomics.load(config, CONFIG_UPCALLS) + UPCALLS_PER_TICK) | 0;
  }

  counters(): FastPathCounters {
    const sum = structuredClone(this.#before);
    readMap(this.#loaded.counters, 0, this.#values);
    addCounters(sum, this.#values);
    return sum;
  }

  /** The links, for somebody else to close where this thread had to be killed. */
  fds(): number[] {
    return this.#links.filter((link) => link >= 0);
  }

  /** Ends this process's part. What is pinned goes on without it. */
  close(): void {
    if (this.#pins === null) {
      this.remove();
      return;
    }
    this.#closeLinks();
    this.#loaded.close();
  }

  /** Ends it all: no packet is forwarded by the kernel any more, and nothing is kept. */
  remove(): void {
    for (const port of PORTS) this.detach(port);
    this.#pins?.clear();
    this.#loaded.close();
  }

  #closeLinks(): void {
    for (const port of PORTS) {
      if (this.#links[port] >= 0) libc.close(this.#links[port]);
      this.#links[port] = -1;
    }
  }

  #configure(): void {
    if (this.#isHeldBack) return;
    const { config, config64 } = this.#loaded;
    for (const port of PORTS) {
      config[CONFIG_PORTS[port]] = this.#ports[port];
      config[CONFIG_UPS[port]] = this.#ups[port];
    }
    config[CONFIG_FAIL_OPEN] = this.#isFailOpen ? 1 : 0;
    config64[CONFIG_STALE_64] = BigInt(this.#staleMs) * 1_000_000n;
  }

  /** `leftMs`: the maps are those that are pinned, as they were left at that time of the earlier clock. */
  #load(capacity: number, seed: number, leftMs: number | null = null): Loaded {
    const closing: (() => void)[] = [];
    const close = (): void => {
      for (const one of closing.reverse()) one();
    };
    const own = (fd: number): number => {
      closing.push(() => libc.close(fd));
      return fd;
    };
    const map = (shape: Parameters<typeof createMap>[0]): number =>
      own(leftMs === null ? createMap(shape) : this.#pins!.openMap(this.kind, shape.name));
    const shared = (name: string, valueBytes: number, entries: number) => {
      const fd = map(mappedArray(name, valueBytes, entries));
      const memory = mapMemory(fd, valueBytes * entries, name);
      closing.push(() => memory.unmap());
      return { fd, buffer: memory.buffer };
    };
    try {
      const config = shared('flow_config', CONFIG_BYTES, 1);
      const index = shared('flow_index', BUCKET_BYTES, bucketsFor(capacity));
      const slots = shared('flow_slots', SLOT_BYTES, capacity);
      const flows = capacity >> 1;
      const records = shared('flow_records', RECORD_BYTES, Math.ceil(flowMemoryBytes(flows) / RECORD_BYTES));
      const shares = shared('flow_shares', SHARE_BYTES, SHARES + 1);
      const tunnels = shared('flow_tunnels', TUNNEL_BYTES, TUNNELS);
      const counters = map(COUNTERS);
      const sockets =
        this.kind === 'tc'
          ? -1
          : map({
              name: 'flow_sockets',
              type: BPF_MAP_TYPE_XSKMAP,
              keyBytes: 4,
              valueBytes: 4,
              entries: 2 * MAX_QUEUES,
              flags: 0,
            });
      const maps = {
        flow_config: config.fd,
        flow_index: index.fd,
        flow_slots: slots.fd,
        flow_counters: counters,
        flow_shares: shares.fd,
        flow_tunnels: tunnels.fd,
        ...(sockets < 0 ? {} : { flow_sockets: sockets }),
      };
      const load = (kind: FastPathKind): number => {
        const object = readFileSync(new URL(`flow.${kind}.o`, import.meta.url));
        return own(loadProgram(readProgram(object, maps), ATTACH_TYPES[kind], 'weft_flow'));
      };
      const program = load(this.kind);
      return {
        slots: new FlowSlots(
          {
            config: config.buffer,
            index: index.buffer,
            slots: slots.buffer,
            tunnels: tunnels.buffer,
            records: new FlowMemory(records.buffer, flows),
          },
          capacity,
          seed,
          leftMs,
        ),
        maps: { ...maps, flow_records: records.fd },
        config: new Int32Array(config.buffer),
        config64: new BigUint64Array(config.buffer),
        program,
        selfProgram: this.kind === 'tc' ? program : load('tc'),
        counters,
        shares: { config: config.buffer, shares: shares.buffer },
        sockets,
        close,
      };
    } catch (error) {
      close();
      throw error;
    }
  }
}

/**
 * Says to the program that is kept at the pins of a directory that a process is on its way which takes over: for so long
 * packets that it does not know wait, whatever the fail mode. Nothing where nothing is kept. Throws ERR_KERNEL.
 */
export function announceSuccessor(directory: string, milliseconds: number): void {
  const pins = new Pins(directory);
  const { kind } = pins;
  if (kind === null || pins.isTorn) return;
  const config = pins.openMap(kind, 'flow_config');
  try {
    const memory = mapMemory(config, CONFIG_BYTES, 'flow_config');
    new BigUint64Array(memory.buffer)[CONFIG_AWAITED_64] =
      hrtime.bigint() + BigInt(milliseconds) * 1_000_000n;
    memory.unmap();
  } finally {
    libc.close(config);
  }
}
