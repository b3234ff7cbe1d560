/** Candidates for tests, from plain rows. */
import type { Candidates } from '../../../src/engine-vm/balance/balancer.ts';
import { hashText } from '../../../src/engine-vm/balance/hash.ts';

export interface Row {
  id?: string;
  connections?: number;
  hops?: number;
  weight?: number;
  isUsable?: boolean;
}

export function candidatesOf(rows: Row[]): Candidates {
  return {
    count: rows.length,
    members: Int32Array.from(rows, (_row, index) => index),
    connections: Float64Array.from(rows, (row) => row.connections ?? 0),
    hops: Float64Array.from(rows, (row) => row.hops ?? 0),
    weights: Float64Array.from(rows, (row) => row.weight ?? 1),
    usable: Uint8Array.from(rows, (row) => (row.isUsable === false ? 0 : 1)),
    ids: Uint32Array.from(rows, (row, index) => hashText(row.id ?? `lab/vm-${index}/nic-0`)),
  };
}
