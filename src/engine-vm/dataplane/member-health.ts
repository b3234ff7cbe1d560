/**
 * The latest verdicts on members, by pool. Verdicts outlive graphs, and may come before one. Who has none is up, but
 * where a pool is monitored and others are known to be up, it waits for its first check: it may be booting.
 */
import type { ServiceGraph } from '../../policy/graph.ts';

/** Most pools whose verdicts are kept: others' messages must not fill the memory. */
const MAX_POOLS = 10_000;

export class MemberHealth {
  private readonly verdicts = new Map<string, Record<string, boolean>>();
  private graph: ServiceGraph | null = null;
  private memberCount = 0;
  /** 1 where the member (column) is down in the pool (row). */
  private down = new Uint8Array(0);

  /** Whether a member (index into the graph's members) of a pool (index into its pools) may get new flows. */
  isUp(pool: number, member: number): boolean {
    return this.down[pool * this.memberCount + member] !== 1;
  }

  /** Takes a pool's verdicts; true where that changes who may get new flows. */
  apply(pool: string, members: Record<string, boolean>): boolean {
    this.verdicts.delete(pool);
    this.verdicts.set(pool, members);
    if (this.verdicts.size > MAX_POOLS) {
      for (const name of this.verdicts.keys()) {
        this.verdicts.delete(name);
        break;
      }
    }
    const index = this.graph?.pools.findIndex((candidate) => candidate.name === pool) ?? -1;
    return index >= 0 && this.compile(index);
  }

  /** A new graph is in force. */
  load(graph: ServiceGraph): void {
    this.graph = graph;
    this.memberCount = graph.members.length;
    this.down = new Uint8Array(graph.pools.length * graph.members.length);
    for (let pool = 0; pool < graph.pools.length; pool++) this.compile(pool);
  }

  private compile(pool: number): boolean {
    if (this.graph === null) return false;
    let isChanged = false;
    const { name, members, healthMonitors } = this.graph.pools[pool];
    const ids = this.graph.members;
    const verdicts = this.verdicts.get(name);
    const isAnyUp = members.some(({ member }) => verdicts?.[ids[member].id] === true);
    for (const { member } of members) {
      const verdict = verdicts?.[ids[member].id];
      const isDown = verdict === false || (verdict === undefined && isAnyUp && healthMonitors.length > 0);
      const at = pool * this.memberCount + member;
      if (this.down[at] !== (isDown ? 1 : 0)) isChanged = true;
      this.down[at] = isDown ? 1 : 0;
    }
    return isChanged;
  }
}
