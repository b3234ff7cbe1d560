/**
 * What steps ask of a platform, and whether its user may do that. A step that lacks a privilege waits for it instead of
 * failing again and again; one that gives lost traffic its way back is tried all the same. Pure.
 */
import type { PlannedCall } from '../hypervisor/platform.ts';
import type { Actual } from './actual.ts';
import type { Step } from './step.ts';

/** The call of the platform contract that performs the step, or null where it touches no platform. */
export function callOf(step: Step): PlannedCall | null {
  switch (step.step) {
    case 'ensure-segment':
      return { call: 'ensureSegment', host: step.host, segment: step.segment, shadows: step.shadows };
    case 'remove-segment':
      return { call: 'removeSegment', host: step.host, segment: step.segment };
    case 'deploy-engine':
      return { call: 'deployEngine', host: step.host, engine: step.engine, segments: step.segments };
    case 'enrol-engine':
      return {
        call: 'deployEngine',
        host: step.host,
        engine: step.engine,
        segments: step.segments,
        running: step.vm,
      };
    case 'clone-vm':
      return { call: 'cloneVm', host: step.host, name: step.clone };
    case 'remove-clone':
    case 'remove-engine':
      return { call: 'removeVm', vm: step.vm };
    case 'power-engine':
      return { call: 'power', vm: step.vm, action: step.power };
    case 'mirror-nics':
      return { call: 'mirror', host: step.host, engine: step.engine, nics: step.nics };
    case 'intercept-nic':
    case 'release-nic':
      return { call: 'attach', nic: { vm: step.vm, nic: step.port }, segment: step.segment };
    default:
      return null;
  }
}

/** The step with what its cloud's user lacks for it, and waiting for that. */
export function requirePrivileges(step: Step, actual: Actual): Step {
  const lacks = actual.lacks.get(step.cloud ?? '');
  const asked = lacks && callOf(step);
  if (!lacks || !asked) return step;
  const call = asked.call === 'cloneVm' ? ofRecord(asked, step, actual) : asked;
  const host = hostOf(call, step.cloud ?? '', actual);
  const found = lacks.filter(
    ({ calls, hosts, models }) =>
      calls.includes(call.call) &&
      (host === undefined || hosts.includes(host)) &&
      (models === undefined ||
        (call.call === 'cloneVm' && (call.isTagged === true || models.includes(call.model ?? '')))),
  );
  if (found.length === 0) return step;
  const missing = found.map(
    ({ privilege, purpose }) => `${privilege} is missing, without which Weft cannot ${purpose}`,
  );
  if (step.isUrgent) return { ...step, missing };
  const names = [...new Set(found.map(({ privilege }) => privilege))].join(', ');
  const blockedBy =
    step.blockedBy ??
    `the user of cloud ${step.cloud} lacks ${names}: let its role have that, and the step goes on`;
  return { ...step, missing, blockedBy };
}

/** With what its record says of the clone. */
function ofRecord(
  call: Extract<PlannedCall, { call: 'cloneVm' }>,
  step: Step,
  { fleet }: Actual,
): PlannedCall {
  const record = step.step === 'clone-vm' ? fleet.clones.get(step.clone) : undefined;
  if (!record) return call;
  return { ...call, model: record.model, isTagged: (record.clone.tags ?? []).length > 0 };
}

function hostOf(call: PlannedCall, cloud: string, actual: Actual): string | undefined {
  if ('host' in call) return call.host ?? undefined;
  const id = call.call === 'attach' ? call.nic.vm : call.vm;
  if (call.call === 'attach') return actual.world.nics.get(`${cloud}/${id}/${call.nic.nic}`)?.host.id;
  for (const vms of actual.world.engineVms.values()) {
    const found = vms.find((one) => one.cloud === cloud && one.vm.id === id);
    if (found) return found.vm.host;
  }
  return undefined;
}
