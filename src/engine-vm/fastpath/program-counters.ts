/** What the kernel's program counts (struct counters of flow.bpf.c), of all processors together. */
import {
  COUNTED_PORTS,
  COUNTER_BYPASSED,
  COUNTER_BYTES,
  COUNTER_HELD,
  COUNTER_OVER_SHARE,
  COUNTER_REFUSED,
  COUNTER_UPCALLS,
  PORTS,
} from './map-shapes.ts';

/** Since the program was first attached. */
export interface FastPathCounters {
  /** Forwarded without TypeScript, by port (out, in, the link to the engine's own stack). */
  receivedPackets: [number, number, number];
  receivedBytes: [number, number, number];
  sentPackets: [number, number, number];
  sentBytes: [number, number, number];
  /** Packets handed to TypeScript. */
  upcalls: number;
  /** Packets for TypeScript beyond what it can take. */
  refused: number;
  /** While TypeScript was silent: packets of unknown flows dropped (fail mode closed), and passed on (open). */
  held: number;
  bypassed: number;
  /** Packets for TypeScript beyond what their service may have of it (upcall-shares.ts). */
  overShare: number;
}

/** Nothing counted. */
export function emptyCounters(): FastPathCounters {
  return {
    receivedPackets: [0, 0, 0],
    receivedBytes: [0, 0, 0],
    sentPackets: [0, 0, 0],
    sentBytes: [0, 0, 0],
    upcalls: 0,
    refused: 0,
    held: 0,
    bypassed: 0,
    overShare: 0,
  };
}

/** Adds what the map holds: `values` are its bytes, COUNTER_BYTES for each processor. */
export function addCounters(sum: FastPathCounters, values: Uint8Array<ArrayBuffer>): void {
  const words = new BigUint64Array(values.buffer);
  for (let at = 0; at < words.length; at += COUNTER_BYTES / 8) {
    for (const port of PORTS) {
      sum.receivedPackets[port] += Number(words[at + port]);
      sum.receivedBytes[port] += Number(words[at + COUNTED_PORTS + port]);
      sum.sentPackets[port] += Number(words[at + COUNTED_PORTS * 2 + port]);
      sum.sentBytes[port] += Number(words[at + COUNTED_PORTS * 3 + port]);
    }
    sum.upcalls += Number(words[at + COUNTER_UPCALLS]);
    sum.refused += Number(words[at + COUNTER_REFUSED]);
    sum.held += Number(words[at + COUNTER_HELD]);
    sum.bypassed += Number(words[at + COUNTER_BYPASSED]);
    sum.overShare += Number(words[at + COUNTER_OVER_SHARE]);
  }
}
