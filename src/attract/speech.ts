/** What an engine says to routers by BGP: which addresses, from which of its own, to whom. Pure. */
import { isIP } from 'node:net';
import type { ServiceGraph } from '../policy/graph.ts';

export interface Speech {
  /** 32 bits as a dotted quad, different for each engine (RFC 6286). */
  routerId: string;
  localAs: number;
  holdTimeSeconds: number;
  /** Null: no failure detection beside BGP's own. */
  bfd: { intervalMs: number; multiplier: number } | null;
  sessions: { own: string; router: string; as: number }[];
  /** Service addresses, in order. */
  addresses: string[];
}

/** Null where the graph asks for no BGP. An engine that is to tell of nothing still speaks: its routes go away. */
export function speechOf(graph: Pick<ServiceGraph, 'engine' | 'services'>): Speech | null {
  const { engine, services } = graph;
  const { bgp } = engine;
  if (!bgp || engine.mode === 'mirror') return null;
  const own = engine.dataAddresses.map((one) => one.split('/')[0] ?? one);
  const addresses = new Set<string>();
  for (const { tiers } of services) {
    for (const tier of tiers) {
      for (const { address, announcers, attraction } of tier.addresses) {
        if (attraction === 'bgp' && announcers.includes(engine.id)) addresses.add(address);
      }
    }
  }
  return {
    routerId: own.find((one) => isIP(one) === 4) ?? idOfMac(engine.mac),
    localAs: bgp.localAs,
    holdTimeSeconds: bgp.holdTimeSeconds,
    // As engines judge each other: so many probes without an answer, and one is dead.
    bfd: bgp.bfd
      ? {
          intervalMs: engine.probeIntervalMs,
          multiplier: Math.min(255, Math.max(2, Math.ceil(engine.deadAfterMs / engine.probeIntervalMs))),
        }
      : null,
    sessions: bgp.peers.flatMap(({ address, as }) => {
      const from = own.find((one) => isIP(one) === isIP(address));
      return from === undefined ? [] : [{ own: from, router: address, as }];
    }),
    addresses: [...addresses].sort(),
  };
}

/** The last four bytes of a MAC: never all zero, as the first of them is part of a number that engines differ in. */
function idOfMac(mac: string): string {
  return mac
    .split(':')
    .slice(2)
    .map((byte) => Number.parseInt(byte, 16))
    .join('.');
}
