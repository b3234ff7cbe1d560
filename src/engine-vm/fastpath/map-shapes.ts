/** Maps of flow.bpf.c that more than one of its programs uses, as they are made; their layouts are its own. */
import {
  BPF_F_MMAPABLE,
  BPF_MAP_TYPE_ARRAY,
  BPF_MAP_TYPE_PERCPU_ARRAY,
  type MapShape,
} from '../kernel/bpf.ts';

/** Bytes of struct counters, entries of those that are by port, and the indexes of the others. */
export const COUNTER_BYTES = 168;
export const COUNTED_PORTS = 4;
export const COUNTER_UPCALLS = 16;
export const COUNTER_REFUSED = 17;
export const COUNTER_HELD = 18;
export const COUNTER_BYPASSED = 19;
export const COUNTER_OVER_SHARE = 20;
/** The ports that the program forwards between: the wire, the members, the engine's own stack. */
export const PORTS = [0, 1, 2] as const;
/** 32-bit words of the configuration, by port: its interface, and as tc the one that packets for TypeScript go to. */
export const CONFIG_PORTS = [4, 5, 27] as const;
export const CONFIG_UPS = [6, 7, 28] as const;

/** What happened to packets, by processor. */
export const COUNTERS: MapShape = {
  name: 'flow_counters',
  type: BPF_MAP_TYPE_PERCPU_ARRAY,
  keyBytes: 4,
  valueBytes: COUNTER_BYTES,
  entries: 1,
  flags: 0,
};

/** An array that is read and written through mapped memory. */
export function mappedArray(name: string, valueBytes: number, entries: number): MapShape {
  return { name, type: BPF_MAP_TYPE_ARRAY, keyBytes: 4, valueBytes, entries, flags: BPF_F_MMAPABLE };
}
