/**
 * Members that a pool has let go while their VM runs on: for a moment they stay in the graphs, draining, so that
 * requests under way are answered. They go as soon as no engine counts a connection of theirs, or after a while.
 * Nothing of this is stored: a controller that starts anew lets go at once.
 */
import { type Actual, foundAddresses } from './actual.ts';
import { type Desired, desire, NOBODY } from './desired.ts';
import { connectionsOf } from './member-figures.ts';
import type { Policies } from './policies.ts';
import type { World } from './world.ts';

/** Until every engine has heard that the member drains, and its count has been reported since. */
const SHORTEST_MS = 1000;
const LONGEST_MS = 10_000;

export class Departures {
  /** Pool to its members as of the last round. */
  #members: ReadonlyMap<string, readonly string[]> = new Map();
  /** Pool to the members that leave it, with the time since when they do. */
  #leaving = new Map<string, Map<string, number>>();

  /** Whether somebody is on the way out: time alone then changes what ought to be. */
  get isPending(): boolean {
    return this.#leaving.size > 0;
  }

  /** What ought to be, those on their way out included. To be called once a round. */
  desire(policies: Policies, actual: Actual, now: number): Desired {
    const found = foundAddresses(actual);
    const desired = desire(policies, actual.world, actual.placements, NOBODY, found);
    const leaving = new Map<string, Map<string, number>>();
    for (const [pool, members] of this.#members) {
      if (!desired.usedPools.has(pool)) continue;
      const ids = [...members, ...(this.#leaving.get(pool)?.keys() ?? [])];
      const staying = new Set(desired.pools.get(pool));
      const gone = new Map<string, number>();
      for (const id of ids) {
        if (staying.has(id) || !isThere(id, policies.pools.get(pool)?.cloud, actual.world)) continue;
        const since = this.#leaving.get(pool)?.get(id) ?? now;
        const isQuiet = now - since >= SHORTEST_MS && connectionsOf(id, actual.connections) === 0;
        if (!isQuiet && now - since < LONGEST_MS) gone.set(id, since);
      }
      if (gone.size > 0) leaving.set(pool, gone);
    }
    this.#leaving = leaving;
    this.#members = desired.pools;
    return leaving.size === 0 ? desired : desire(policies, actual.world, actual.placements, leaving, found);
  }
}

function isThere(id: string, cloud: string | undefined, world: World): boolean {
  const nic = world.nics.get(id);
  return nic !== undefined && nic.cloud === cloud && nic.production !== null && nic.vm.power === 'on';
}
