/**
 * A pool under a load that is set by hand: scripted engines count the connections that their members hold, and probe
 * them. What is given to members that take new connections is spread evenly; what a draining one holds ends in time.
 */
import type { ServiceGraph } from '../../../src/policy/graph.ts';
import type { PoolStatus } from '../../../src/policy/pool.ts';
import type { Store } from '../../../src/state/store.ts';
import type { DatacenterState, MemoryDatacenter } from '../../hypervisor/memory-platform.ts';
import { Harness } from '../harness.ts';

const SLICE_MS = 100;

export const QUICK = {
  max: 6,
  targets: { connectionsPerMember: 10 },
  scaleOut: { afterMs: 1000, cooldownMs: 3000, step: 2 },
  scaleIn: { afterMs: 2000, cooldownMs: 3000 },
  readyTimeoutMs: 5000,
  drainTimeoutMs: 8000,
};

export class ScaledPool {
  readonly harness: Harness;
  /** Open connections to the whole pool. */
  connections = 0;
  /** How many of those that a draining member holds end in a second. */
  endingPerSecond = 5;
  /** Names of VMs that their monitors call down; a star stands for all clones. */
  readonly sick = new Set<string>();
  readonly held = new Map<string, number>();

  constructor(datacenter: DatacenterState | MemoryDatacenter, store?: Store) {
    this.harness = new Harness(
      datacenter,
      { bootTimeoutMs: 3000, graceMs: 500, cloneSettleMs: 500, cloneGraceMs: 4000 },
      store,
    );
  }

  async apply(autoscale: unknown): Promise<void> {
    const { harness } = this;
    await harness.apply('pool', 'shop', {
      cloud: 'lab',
      members: { tags: ['app=shop'] },
      port: 8080,
      healthMonitors: [{ type: 'tcp' }],
      autoscale,
    });
  }

  async run(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += SLICE_MS) {
      this.#carry();
      await this.harness.run(SLICE_MS);
    }
  }

  async until(what: string, holds: () => boolean | Promise<boolean>, limitMs = 60_000): Promise<number> {
    const startedAt = this.harness.clock.now();
    while (!(await holds())) {
      if (this.harness.clock.now() - startedAt > limitMs) {
        const status = await this.status().catch(() => null);
        const operations = await this.harness.status().then(
          (one) => one.operations,
          () => [],
        );
        throw new Error(
          `not within ${limitMs} ms: ${what}\n${JSON.stringify(status, null, 1)}\n${JSON.stringify(operations)}`,
        );
      }
      await this.run(SLICE_MS);
    }
    return this.harness.clock.now() - startedAt;
  }

  async status(): Promise<PoolStatus> {
    const status = await this.harness.stored<PoolStatus>('status/pool/shop');
    if (!status) throw new Error('the pool has no status yet');
    return status;
  }

  clones(): string[] {
    return this.harness.datacenter.state.vms
      .filter((vm) => vm.id.includes('clone of'))
      .map((vm) => vm.name)
      .sort();
  }

  /** One slice of time: connections come, end, are counted, and members are probed. */
  #carry(): void {
    const { harness } = this;
    const graphs = harness.hub
      .list('graph/')
      .map(({ value }) => value as ServiceGraph)
      .filter((graph) => graph.services.length > 0);
    const [graph] = graphs;
    if (!graph) return;
    const pool = graph.pools.find(({ name }) => name === 'shop');
    const members = (pool?.members ?? []).map(({ member, isDraining }) => ({
      ...graph.members[member]!,
      isDraining,
    }));
    const vms = harness.datacenter.state.vms;
    const isUp = (id: string): boolean => {
      const vm = vms.find((one) => id.includes(`/${one.id}/`));
      if (vm?.power !== 'on') return false;
      return !this.sick.has(vm.name) && !(this.sick.has('*') && vm.id.includes('clone of'));
    };
    const open = members.filter(({ id, isDraining }) => !isDraining && isUp(id));
    let leftOver = this.connections;
    for (const { id, isDraining } of members) {
      if (!isDraining) continue;
      const held = Math.max(0, (this.held.get(id) ?? 0) - (this.endingPerSecond * SLICE_MS) / 1000);
      this.held.set(id, held);
      leftOver -= Math.ceil(held);
    }
    for (const [id] of this.held) if (!members.some((member) => member.id === id)) this.held.delete(id);
    open.forEach(({ id }, index) => {
      const share = Math.max(0, leftOver) / open.length;
      this.held.set(id, index < Math.max(0, leftOver) % open.length ? Math.ceil(share) : Math.floor(share));
    });
    for (const { engine } of harness.hub.connected()) {
      const local: Record<string, number> = {};
      const sent: Record<string, number> = {};
      for (const member of members) {
        const count = Math.ceil(this.held.get(member.id) ?? 0);
        if (count === 0) continue;
        if (member.engine === engine) local[member.id] = count;
        else if (member.engine === null && engine === harness.hub.connected()[0]?.engine)
          sent[member.id] = count;
      }
      if (harness.engines.forwards(engine)) {
        harness.hub.putAs(engine, `connections/${engine}`, { local, sent, received: {} });
      }
    }
    harness.hub.putAs('monitor', 'health/shop', {
      monitor: 'edge-h1',
      version: 1,
      members: Object.fromEntries(
        members.map(({ id }) => [
          id,
          { isUp: isUp(id), since: 0, reason: isUp(id) ? 'it answers' : 'refused' },
        ]),
      ),
    });
  }
}
