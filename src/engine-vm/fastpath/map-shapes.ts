/** Maps of flow.bpf.c that more than one of its programs uses, as they are made; their layouts are its own. */
import {
  BPF_F_MMAPABLE,
  BPF_MAP_TYPE_ARRAY,
  BPF_MAP_TYPE_PERCPU_ARRAY,
  type MapShape,
} from '../kernel/bpf.ts';

/** Bytes of struct counters, and the index of its last one. */
export const COUNTER_BYTES = 104;
export const COUNTER_OVER_SHARE = 12;
/** 32-bit words of the configuration: the interfaces of the ports. */
export const CONFIG_PORTS = 4;

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
