/** Loads the programs of traffic.bpf.c: generator, sink, blind redirect, echo; each with a configuration of its own. */
import { readFileSync } from 'node:fs';
import {
  addressOf,
  attachProgram,
  BPF_F_MMAPABLE,
  BPF_MAP_TYPE_ARRAY,
  BPF_TCX_INGRESS,
  BPF_XDP,
  bpf,
  createMap,
  loadProgram,
  mapMemory,
  readProgram,
} from '../../src/engine-vm/kernel/bpf.ts';
import { kernelError, libc } from '../../src/engine-vm/kernel/libc.ts';

const CONFIG_BYTES = 88;
const HEAD = 32;
const PROG_TEST_RUN = 10;
const BPF_F_TEST_XDP_LIVE_FRAMES = 2;
/** The kernel's own number of frames between two looks at what is waiting. */
const BURST = 64;

export interface TrafficProgram {
  /** 32-bit words: ifindex, flows, random, next, packets (two), sum, ip sum. */
  words: Uint32Array;
  /** The first 56 bytes of what is generated. */
  head: Uint8Array;
  packets(): number;
  attach(name: string): void;
  /** Gives the program `count` live frames made from `frame`, in this thread, now, `burst` at a time. */
  run(frame: Uint8Array, count: number, burst?: number): void;
}

/** Loads one of generate, syn, redirect, sink, skb-sink, echo. */
export function loadTraffic(name: string): TrafficProgram {
  const type = name === 'skb-sink' || name === 'echo' ? BPF_TCX_INGRESS : BPF_XDP;
  const map = createMap({
    name: 'bench_config',
    type: BPF_MAP_TYPE_ARRAY,
    keyBytes: 4,
    valueBytes: CONFIG_BYTES,
    entries: 1,
    flags: BPF_F_MMAPABLE,
  });
  const { buffer } = mapMemory(map, CONFIG_BYTES, 'bench_config');
  const object = readFileSync(new URL(`${name}.o`, import.meta.url));
  const program = loadProgram(
    readProgram(object, { bench_config: map }),
    type,
    `bench_${name.replace('-', '_')}`,
  );
  const counter = new BigUint64Array(buffer, 16, 1);
  return {
    words: new Uint32Array(buffer, 0, CONFIG_BYTES / 4),
    head: new Uint8Array(buffer, HEAD, CONFIG_BYTES - HEAD),
    packets: () => Number(counter[0]),
    attach(interfaceName) {
      attachProgram(program, libc.if_nametoindex(interfaceName), type, interfaceName);
    },
    run(frame, count, burst = BURST) {
      const context = new Uint8Array(24);
      new DataView(context.buffer).setUint32(4, frame.length, true);
      new DataView(context.buffer).setUint32(12, 1, true);
      const result = bpf(PROG_TEST_RUN, (view) => {
        view.setUint32(0, program, true);
        view.setUint32(8, frame.length, true);
        view.setBigUint64(16, addressOf(frame), true);
        view.setUint32(32, count, true);
        view.setUint32(40, context.length, true);
        view.setBigUint64(48, addressOf(context), true);
        view.setUint32(64, BPF_F_TEST_XDP_LIVE_FRAMES, true);
        view.setUint32(72, burst, true);
      });
      if (result < 0) throw kernelError('bpf PROG_TEST_RUN', 'the generator');
    },
  };
}

/** Sum of the 16-bit words of `bytes` as they lie in memory, little-endian, as the program adds them. */
export function sumOf(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let sum = 0;
  for (let at = 0; at + 1 < bytes.length; at += 2) sum += view.getUint16(at, true);
  return sum;
}
