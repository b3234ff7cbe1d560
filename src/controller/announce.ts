/**
 * Which engine announces a service address that no VM owns: an order of engines per address, the same on every run.
 *
 * Rendezvous hashing with a bound (Thaler and Ravishankar 1998; Mirrokni et al. 2016 for the bound): each address
 * prefers the engine with the greatest hash among those that are first for the fewest addresses yet, so that the
 * addresses of a tier spread evenly; behind the first stand the others by hash, so that the addresses of a lost
 * engine spread over all that remain.
 */
import { createHash } from 'node:crypto';

/** For each address the engine ids, best first. */
export function announcersOf(
  addresses: readonly string[],
  engines: readonly string[],
): Map<string, string[]> {
  const firsts = new Map(engines.map((engine) => [engine, 0]));
  const orders = new Map<string, string[]>();
  for (const address of addresses) {
    const scores = new Map(engines.map((engine) => [engine, score(address, engine)]));
    const order = [...engines].sort(
      (a, b) => (scores.get(b) ?? 0) - (scores.get(a) ?? 0) || (a < b ? -1 : 1),
    );
    const fewest = Math.min(...firsts.values());
    const first = order.find((engine) => firsts.get(engine) === fewest);
    if (first !== undefined) {
      firsts.set(first, fewest + 1);
      orders.set(address, [first, ...order.filter((engine) => engine !== first)]);
    } else orders.set(address, []);
  }
  return orders;
}

function score(address: string, engine: string): number {
  return createHash('sha256').update(`${address}\n${engine}`).digest().readUIntBE(0, 6);
}
