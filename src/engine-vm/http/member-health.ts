/** Health monitors of a pool for a proxy by itself: the verdicts become settings of the workers. */
import type { GraphMember, GraphPool } from '../../policy/graph.ts';
import type { HealthMonitor as MonitorSpec } from '../../policy/pool.ts';
import { systemHealthClock } from '../health/clock.ts';
import { HealthMonitor } from '../health/health-monitor.ts';
import { EchoExchange } from '../health/ping.ts';
import { createMonitor } from '../health/registry.ts';
import type { MemberSettings, ServiceSettings } from './service.ts';
import type { ProxyPlan } from './settings.ts';

export interface MemberHealth {
  /** Takes a new plan; resolves when the workers have it. */
  update(plan: ProxyPlan): Promise<void>;
  stop(): void;
}

/**
 * Begins to probe. `apply` hands settings to the workers; `say` tells of members that come and go. Without monitors
 * every member is taken to be up.
 */
export function startHealth(
  first: ProxyPlan,
  apply: (settings: ServiceSettings) => Promise<void>,
  say: (text: string) => void,
): MemberHealth {
  let plan = first;
  /** By pool, which is null for that of the tier, and name of the member. */
  const down = new Set<string>();
  // Ports are the pool's in a graph; members of --member have ports of their own, so each port is a pool here.
  const monitors = new Map<string, HealthMonitor>();
  const echo = new EchoExchange();

  const judged = (pool: string | null, members: readonly MemberSettings[]): MemberSettings[] =>
    members.map((member) => ({ ...member, isDown: down.has(keyOf(pool, member.name)) }));

  const settings = (): ServiceSettings => ({
    ...plan.settings,
    members: judged(null, plan.settings.members),
    pools: (plan.settings.pools ?? []).map((pool) => ({ ...pool, members: judged(pool.name, pool.members) })),
  });

  function judge(): void {
    const groups = groupsOf(plan);
    for (const [key, monitor] of monitors) {
      if (groups.has(key)) continue;
      monitor.stop();
      monitors.delete(key);
    }
    const watched = new Set(
      [...groups.values()].flatMap(({ pool, members }) => members.map(({ name }) => keyOf(pool, name))),
    );
    for (const key of down) if (!watched.has(key)) down.delete(key);
    for (const [key, { pool, port, members, healthMonitors }] of groups) {
      let monitor = monitors.get(key);
      if (monitor === undefined) {
        monitor = new HealthMonitor({
          engine: 'proxy',
          previous: null,
          createMonitor: (spec) => createMonitor(spec, echo),
          clock: systemHealthClock,
          onReport: (report) => onVerdicts(pool, report.members),
          onTrouble: (reason) => say(`health: ${reason}`),
        });
        monitors.set(key, monitor);
      }
      const name = `${plan.settings.name} ${key}`;
      monitor.update(poolOf(name, port, members.length, healthMonitors), members.map(memberOf));
    }
  }

  function onVerdicts(
    pool: string | null,
    verdicts: Record<string, { isUp: boolean; reason: string }>,
  ): void {
    let isChanged = false;
    for (const [name, { isUp, reason }] of Object.entries(verdicts)) {
      const key = keyOf(pool, name);
      if (isUp !== down.has(key)) continue;
      isChanged = true;
      if (isUp) down.delete(key);
      else down.add(key);
      const where = pool === null ? '' : ` of pool ${pool}`;
      say(`member ${name}${where} is ${isUp ? 'up' : 'down'}: ${reason}`);
    }
    if (isChanged) apply(settings()).catch((error: Error) => say(`health: ${error.message}`));
  }

  judge();
  return {
    async update(next) {
      plan = next;
      judge();
      await apply(settings());
    },
    stop() {
      for (const monitor of monitors.values()) monitor.stop();
      echo.close();
    },
  };
}

interface Group {
  readonly pool: string | null;
  readonly port: number;
  readonly members: MemberSettings[];
  readonly healthMonitors: readonly MonitorSpec[];
}

/** What is probed alike: the members of a pool that have the same port. */
function groupsOf({ settings, healthMonitors, poolMonitors }: ProxyPlan): Map<string, Group> {
  const groups = new Map<string, Group>();
  const add = (
    pool: string | null,
    members: readonly MemberSettings[],
    specs: readonly MonitorSpec[],
  ): void => {
    if (specs.length === 0) return;
    for (const member of members) {
      const key = keyOf(pool, String(member.port));
      const group = groups.get(key);
      if (group !== undefined) group.members.push(member);
      else groups.set(key, { pool, port: member.port, members: [member], healthMonitors: specs });
    }
  };
  add(null, settings.members, healthMonitors);
  for (const { name, members } of settings.pools ?? []) add(name, members, poolMonitors.get(name) ?? []);
  return groups;
}

function keyOf(pool: string | null, name: string): string {
  return pool === null ? name : `${pool} ${name}`;
}

function poolOf(name: string, port: number, count: number, specs: readonly MonitorSpec[]): GraphPool {
  return {
    name,
    port,
    healthMonitors: [...specs],
    members: Array.from({ length: count }, (_, member) => ({ member, weight: 1, isDraining: false })),
  };
}

function memberOf({ name, address }: MemberSettings): GraphMember {
  const isIpv6 = address.includes(':');
  return {
    id: name,
    vm: name,
    host: '',
    mac: '',
    ipv4: isIpv6 ? null : address,
    ipv6: isIpv6 ? address : null,
    hops: 0,
    engine: null,
  };
}
