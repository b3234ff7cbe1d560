/** Health monitors of a pool for a proxy by itself: the verdicts become settings of the workers. */
import type { GraphMember, GraphPool } from '../../policy/graph.ts';
import { systemHealthClock } from '../health/clock.ts';
import { HealthMonitor } from '../health/health-monitor.ts';
import { EchoExchange } from '../health/ping.ts';
import { createMonitor } from '../health/registry.ts';
import type { ServiceSettings } from './service.ts';
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
  const down = new Set<string>();
  // Ports are the pool's in a graph; members of --member have ports of their own, so each port is a pool here.
  const monitors = new Map<number, HealthMonitor>();
  const echo = new EchoExchange();

  const settings = (): ServiceSettings => ({
    ...plan.settings,
    members: plan.settings.members.map((member) => ({ ...member, isDown: down.has(member.name) })),
  });

  function judge(): void {
    const ports = new Set(
      plan.healthMonitors.length > 0 ? plan.settings.members.map(({ port }) => port) : [],
    );
    for (const [port, monitor] of monitors) {
      if (ports.has(port)) continue;
      monitor.stop();
      monitors.delete(port);
    }
    const names = new Set(plan.settings.members.map(({ name }) => name));
    for (const name of down) if (!names.has(name) || ports.size === 0) down.delete(name);
    for (const port of ports) {
      const members = plan.settings.members.filter((member) => member.port === port);
      let monitor = monitors.get(port);
      if (monitor === undefined) {
        monitor = new HealthMonitor({
          engine: 'proxy',
          previous: null,
          createMonitor: (spec) => createMonitor(spec, echo),
          clock: systemHealthClock,
          onReport: (report) => onVerdicts(report.members),
          onTrouble: (reason) => say(`health: ${reason}`),
        });
        monitors.set(port, monitor);
      }
      monitor.update(poolOf(port, members.length, plan), members.map(memberOf));
    }
  }

  function onVerdicts(verdicts: Record<string, { isUp: boolean; reason: string }>): void {
    let isChanged = false;
    for (const [name, { isUp, reason }] of Object.entries(verdicts)) {
      if (isUp !== down.has(name)) continue;
      isChanged = true;
      if (isUp) down.delete(name);
      else down.add(name);
      say(`member ${name} is ${isUp ? 'up' : 'down'}: ${reason}`);
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

function poolOf(port: number, count: number, { settings, healthMonitors }: ProxyPlan): GraphPool {
  return {
    name: `${settings.name} ${port}`,
    port,
    healthMonitors: [...healthMonitors],
    members: Array.from({ length: count }, (_, member) => ({ member, weight: 1, isDraining: false })),
  };
}

function memberOf({ name, address }: ServiceSettings['members'][number]): GraphMember {
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
