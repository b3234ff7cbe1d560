/** Which shadow segments are to be removed, whole or half made: those that no engine needs any more. Pure. */
import { type Actual, hostBlock } from './actual.ts';
import type { Desired } from './desired.ts';
import { type Step, segmentLane, stepId } from './step.ts';
import { hasSegment, hostKey, SHADOW_SUFFIX } from './world.ts';

export function planSegmentRemovals(desired: Desired, actual: Actual): Step[] {
  const wanted = new Set<string>();
  // Shadows that are still to be made: whoever makes one goes on with what is half made.
  const awaited = new Set<string>();
  for (const { cloud, host, shadow } of desired.engines.values()) {
    wanted.add(`${hostKey(cloud, host)}/${shadow}`);
    const seated = actual.world.hosts.get(hostKey(cloud, host));
    if (!hasSegment(seated?.host, shadow)) awaited.add(`${cloud}/${shadow}`);
  }
  const used = portsOnSegments(actual);
  const steps: Step[] = [];
  for (const { cloud, host } of actual.world.hosts.values()) {
    for (const { name, role, isUnfinished = false } of host.segments) {
      const key = `${hostKey(cloud, host.id)}/${name}`;
      if (role !== 'shadow' || !name.endsWith(SHADOW_SUFFIX) || wanted.has(key)) continue;
      if (isUnfinished && awaited.has(`${cloud}/${name}`)) continue;
      const ports = used.get(isUnfinished ? `${cloud}/${name}` : key) ?? 0;
      const half = actual.world.unfinished.find((one) => one.cloud === cloud && one.vm.host === host.id);
      steps.push({
        id: stepId('remove-segment', key),
        object: `segment ${name} on host ${host.name}`,
        reason: isUnfinished
          ? 'its making was cut short, and no engine needs it any more'
          : 'no engine needs it any more',
        undo: 'ensure-segment',
        blockedBy:
          hostBlock(cloud, host.id, actual) ??
          (ports > 0 ? `${ports} ports on it are moved first` : null) ??
          (half ? `the half-made VM ${half.vm.name} is removed first` : null),
        isUrgent: false,
        cloud,
        lanes: [segmentLane(cloud, host.id, name)],
        shares: [],
        step: 'remove-segment',
        host: host.id,
        segment: name,
      });
    }
  }
  return steps;
}

/**
 * How many NICs stand on a segment: by `<cloud>/<host>/<name>` those of a host, and by `<cloud>/<name>` those of all
 * hosts that do not have it whole, for one of them lists what is half made.
 */
function portsOnSegments({ world }: Actual): Map<string, number> {
  const used = new Map<string, number>();
  const count = (key: string): void => void used.set(key, (used.get(key) ?? 0) + 1);
  const use = (cloud: string, host: string, name: string): void => {
    count(`${hostKey(cloud, host)}/${name}`);
    if (!hasSegment(world.hosts.get(hostKey(cloud, host))?.host, name)) count(`${cloud}/${name}`);
  };
  for (const nic of world.nics.values()) {
    if (nic.isOnShadow) use(nic.cloud, nic.host.id, nic.nic.segment);
  }
  for (const list of world.engineVms.values()) {
    for (const { cloud, vm } of list) for (const nic of vm.nics) use(cloud, vm.host, nic.segment);
  }
  return used;
}
