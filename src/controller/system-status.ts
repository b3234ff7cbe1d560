/** The whole system at a glance, from what the controller observed last. Pure. */
import { hopsBetween } from '../hypervisor/topology.ts';
import type { EngineStatus, MemberStatus, SystemStatus } from '../policy/answers.ts';
import type { BgpReport, EngineReport, HealthReport } from '../state/shared.ts';
import type { Actual } from './actual.ts';
import { scaleStatuses } from './autoscale/scale-status.ts';
import type { Desired, Member } from './desired.ts';
import { type Operation, progressText } from './journal.ts';
import { memberFigures, poolCarriers } from './member-figures.ts';
import { memberHealth } from './member-health.ts';
import { pathOf } from './path-figures.ts';
import { compileStatuses, engineState, isIntercepted } from './statuses.ts';
import type { Step } from './step.ts';
import { hostKey } from './world.ts';

export interface SystemFacts {
  controller: SystemStatus['controller'];
  desired: Desired;
  actual: Actual;
  operations: readonly Operation[];
  /** Steps under way and steps that wait, as last planned. */
  running: readonly Step[];
  planned: readonly Step[];
  report(engine: string): EngineReport | null;
  wantedRevision(engine: string): number;
  health(pool: string): HealthReport | null;
}

export function compileSystemStatus(facts: SystemFacts): SystemStatus {
  const { desired, actual } = facts;
  const statuses = compileStatuses(desired, actual, facts.health);
  const engineOn = new Map([...desired.engines.values()].map((e) => [hostKey(e.cloud, e.host), e.id]));
  const vms = new Map<string, Set<string>>();
  for (const nic of actual.world.nics.values()) {
    const key = hostKey(nic.cloud, nic.host.id);
    vms.set(key, (vms.get(key) ?? new Set()).add(nic.vm.id));
  }
  return {
    controller: facts.controller,
    clouds: [...desired.policies.clouds.keys()].map((name) => {
      const status = statuses.get(`status/cloud/${name}`) as { state: string; message: string };
      return { name, state: status.state, message: status.message };
    }),
    hosts: [...actual.world.hosts].map(([key, { cloud, host }]) => ({
      name: host.name,
      cloud,
      isConnected: host.isConnected,
      maintenance: host.isInMaintenance ? 'in' : host.isEvacuating ? 'entering' : null,
      vms: vms.get(key)?.size ?? 0,
      engine: engineOn.get(key) ?? null,
      uplinkPath: host.uplinkPath,
      uplinkSource: host.uplinkEvidence.find(({ path }) => path !== null)?.source ?? '',
    })),
    engines: [...desired.engines.keys()].map((id) => engineStatus(id, facts)),
    services: [...desired.policies.services].map(([name, spec]) => {
      const status = statuses.get(`status/virtual-service/${name}`) as { state: string; message: string };
      return {
        name,
        state: status.state,
        addresses: [...new Set(spec.tiers.flatMap((tier) => tier.addresses))],
        message: status.message,
      };
    }),
    pools: [...scaleStatuses(desired, actual)].map(([name, status]) => {
      const { min = 0, max = 0 } = desired.policies.pools.get(name)?.autoscale ?? {};
      return { name, min, max, ...status };
    }),
    members: memberStatuses(facts),
    operations: operations(facts),
  };
}

function engineStatus(id: string, facts: SystemFacts): EngineStatus {
  const { desired, actual } = facts;
  const engine = desired.engines.get(id);
  const state = actual.engines.get(id);
  const report = facts.report(id);
  let receivedPackets = 0;
  let sentPackets = 0;
  for (const port of Object.values(report?.ports ?? {})) {
    receivedPackets += port.receivedPackets;
    sentPackets += port.sentPackets;
  }
  const current = facts.running.find((step) => 'engine' in step && step.engine === id && step.cloud !== null);
  return {
    id,
    host: engine?.hostName ?? '',
    group: engine?.group ?? '',
    state: engine ? engineState(engine, desired, actual) : 'deploying',
    message:
      report?.graphError ??
      (current && underWay(current, facts)) ??
      [bgpText(report?.bgp), state?.reason ?? ''].filter((text) => text !== '').join('; '),
    datapath: report?.datapath ?? '',
    graphRevision: report?.graphRevision ?? 0,
    wantedRevision: facts.wantedRevision(id),
    flows: report?.flows ?? 0,
    newFlows: report?.newFlows ?? 0,
    evictedFlows: report?.evictedFlows ?? 0,
    receivedPackets,
    sentPackets,
    path: pathOf(report),
    drops: report?.drops ?? {},
    rules: report?.components ?? {},
  };
}

/** What an engine says to routers, in few words; an empty text where it says nothing. */
function bgpText(bgp: BgpReport | undefined): string {
  if (!bgp) return '';
  if (bgp.problem !== null) return bgp.problem;
  const sessions = Object.entries(bgp.sessions);
  const down = sessions.filter(([, state]) => state !== 'Established');
  if (down.length > 0) {
    return down.map(([router, state]) => `BGP with ${router} is not established: ${state}`).join('; ');
  }
  const count = bgp.addresses.length;
  return `tells ${sessions.map(([router]) => router).join(', ')} of ${count} ${count === 1 ? 'address' : 'addresses'} by BGP`;
}

function memberStatuses(facts: SystemFacts): MemberStatus[] {
  const { desired, actual } = facts;
  const carriers = poolCarriers(desired);
  const members: MemberStatus[] = [];
  for (const [pool, ids] of desired.pools) {
    if (!desired.usedPools.has(pool)) continue;
    const report = facts.health(pool);
    for (const id of ids) {
      const member = desired.members.get(id);
      if (!member) continue;
      const engines = carriers.get(pool) ?? new Set<string>();
      const figures = memberFigures(member, engines, desired, actual);
      const { connections } = figures;
      const views: MemberStatus['views'] = {};
      for (const engine of engines) {
        const hops = hopsFrom(engine, member, desired, actual);
        views[engine] = { hops, load: connections === null ? null : connections * (1 + hops) };
      }
      members.push({
        member: id,
        vm: member.vm.name,
        host: member.host.name,
        pool,
        ...memberHealth(pool, member, desired, report),
        isIntercepted: isIntercepted(member, desired, actual),
        ...figures,
        views,
      });
    }
  }
  return members;
}

function hopsFrom(engineId: string, member: Member, desired: Desired, actual: Actual): number {
  const engine = desired.engines.get(engineId);
  if (!engine) return 0;
  if (engine.cloud === member.cloud && engine.host === member.host.id) return 0;
  const path = actual.world.hosts.get(hostKey(engine.cloud, engine.host))?.host.uplinkPath ?? [];
  return hopsBetween(path, member.host.uplinkPath);
}

function operations(facts: SystemFacts): SystemStatus['operations'] {
  const running = new Set(facts.running.map((step) => step.id));
  const failed = facts.operations
    .filter((operation) => operation.state === 'failed' && !running.has(operation.id))
    .map(({ step, object, attempts, message }) => ({ step, object, state: 'retrying', attempts, message }));
  const attempts = new Map(facts.operations.map((operation) => [operation.id, operation]));
  const named = new Set(facts.operations.filter((o) => o.state === 'failed').map((o) => o.id));
  return [
    ...facts.running.map((step) => ({
      step: step.step,
      object: step.object,
      state: 'performing',
      attempts: attempts.get(step.id)?.attempts ?? 0,
      message: underWay(step, facts),
      ...(attempts.get(step.id)?.progress ? { progress: attempts.get(step.id)!.progress!.fraction } : {}),
    })),
    ...failed,
    ...facts.planned
      .filter((step) => step.blockedBy !== null && !named.has(step.id) && !running.has(step.id))
      .map((step) => ({
        step: step.step,
        object: step.object,
        state: 'waiting',
        attempts: 0,
        message: step.blockedBy ?? '',
      })),
  ];
}

/** What a step under way is at, as far as it says; else why it is done. */
function underWay(step: Step, facts: SystemFacts): string {
  const progress = facts.operations.find((operation) => operation.id === step.id)?.progress;
  return progress ? progressText(progress) : step.reason;
}
