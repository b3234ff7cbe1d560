/** What bench/l7.ts measures: a case is one entry here, and a feature of it in configs.ts where it needs a new one. */
import type { Feature } from './configs.ts';

/**
 * The program whose system calls are the floor: `relay` has a member's connection for each client's, `pooled-relay`
 * takes a new client to a kept connection of a member, `answer` answers by itself.
 */
export type Floor = 'relay' | 'pooled-relay' | 'answer';

export interface Case {
  readonly bodyBytes: number;
  readonly connections: number;
  readonly feature: Feature;
  /** Each request has a connection of its own. */
  readonly isNew: boolean;
  readonly floor: Floor;
}

const kept = (feature: Feature, bodyBytes: number, floor: Floor): Case => ({
  bodyBytes,
  connections: 64,
  feature,
  isNew: false,
  floor,
});

export const CASES: Readonly<Record<string, Case>> = {
  plain: kept('plain', 128, 'relay'),
  full: kept('full', 128, 'relay'),
  body10k: kept('plain', 10_000, 'relay'),
  // The floor is that of plain HTTP: what ciphers cost comes on top.
  tls: kept('tls', 128, 'relay'),
  newConnections: { ...kept('plain', 128, 'pooled-relay'), isNew: true },
  gzip: kept('gzip', 10_000, 'relay'),
  cacheHit: kept('cache', 128, 'answer'),
  cacheHit10k: kept('cache', 10_000, 'answer'),
};
