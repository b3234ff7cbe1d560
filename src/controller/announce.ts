/**
 * Which engine announces a service address that no VM owns: an order of engines per address, the same on every run.
 *
 * Rendezvous hashing with a bound (Thaler and Ravishankar 1998; Mirrokni et al. 2016 for the bound): each address
 * prefers the engine with the greatest hash among those that are first for the fewest addresses yet, so that the
 * addresses of a tier spread evenly; behind the first stand the others by hash, so that the addresses of a lost
 * engine spread over all that remain.
 */
import { createHash } from 'node:crypto';
import { prefixMatcher } from './address-range.ts';
import type { Desired } from './desired.ts';

/**
 * For each address the engine ids, best first. `isNear`: whether an engine is in the network of an address; where any
 * is, the others are left out, as nobody would hear them.
 */
export function announcersOf(
  addresses: readonly string[],
  engines: readonly string[],
  isNear: (address: string, engine: string) => boolean,
): Map<string, string[]> {
  const firsts = new Map(engines.map((engine) => [engine, 0]));
  const orders = new Map<string, string[]>();
  for (const address of addresses) {
    const near = engines.filter((engine) => isNear(address, engine));
    const able = near.length > 0 ? near : engines;
    const scores = new Map(able.map((engine) => [engine, score(address, engine)]));
    const order = [...able].sort((a, b) => (scores.get(b) ?? 0) - (scores.get(a) ?? 0) || (a < b ? -1 : 1));
    const fewest = Math.min(...able.map((engine) => firsts.get(engine) ?? 0));
    const first = order.find((engine) => firsts.get(engine) === fewest);
    if (first !== undefined) {
      firsts.set(first, fewest + 1);
      orders.set(address, [first, ...order.filter((engine) => engine !== first)]);
    } else orders.set(address, []);
  }
  return orders;
}

/** Goes by the engines' data addresses. */
export function isNear(desired: Pick<Desired, 'engines'>): (address: string, engine: string) => boolean {
  return (address, engine) => prefixMatcher(desired.engines.get(engine)?.addresses ?? [])(address);
}

function score(address: string, engine: string): number {
  return createHash('sha256').update(`${address}\n${engine}`).digest().readUIntBE(0, 6);
}
