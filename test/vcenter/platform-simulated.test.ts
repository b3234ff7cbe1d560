/** The vCenter platform fulfils the contract over the wire, on the lab's simulated vCenter and with its real packets. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Platform } from '../../src/hypervisor/platform.ts';
import { healFault, injectFault, killVm } from '../../src/lab/control.ts';
import type { FaultSpec } from '../../src/lab/world/faults.ts';
import { labPaths } from '../../src/lab/world/names.ts';
import { openVcenter } from '../../src/vcenter/index.ts';
import { RestClient } from '../../src/vcenter/rest.ts';
import { type VcenterOptions, VcenterSession } from '../../src/vcenter/session.ts';
import { describePlatform, type PlatformUnderTest } from '../contract/platform.ts';
import { requireRootOrSkip, startLab } from '../lab/lab-under-test.ts';
import { buildBlankOva } from './blank-ova.ts';
import { halveSegment } from './half-segment.ts';

const never = new AbortController().signal;

type Rule = Extract<FaultSpec, { kind: 'vcenter' }>;

/** The call of each operation that the faults are put on: the one that does it, or, where it is slow, the first. */
const WIRE: Partial<Record<keyof Platform, string>> = {
  inventory: 'WaitForUpdatesEx',
  ensureSegment: 'AddDVPortgroup_Task',
  removeSegment: 'Destroy_Task',
  deployEngine: 'ImportVApp',
  removeVm: 'Destroy_Task',
  cloneVm: 'CloneVM_Task',
  power: 'PowerOffVM_Task',
  migrate: 'RelocateVM_Task',
  attach: 'ReconfigureDVPort_Task',
  mirror: 'ReconfigureDvs_Task',
};
const STANDARD_WIRE: typeof WIRE = {
  ensureSegment: 'AddPortGroup',
  removeSegment: 'RemovePortGroup',
  attach: 'ReconfigVM_Task',
};

const LIBRARY_WIRE: typeof WIRE = { deployEngine: 'DeployLibraryItem' };

/** What goes on all the time: sessions end, and somebody else is faster. */
const STORM: readonly Partial<Rule>[] = [
  { call: '*', effect: 'expire-session', percent: 0.5 },
  { call: '*', effect: 'none', percent: 20, delayMs: 15 },
  { call: 'ReconfigureDVPort_Task', effect: 'conflict', percent: 40 },
  { call: 'ReconfigureDVPortgroup_Task', effect: 'conflict', percent: 40 },
];

const NAME = 'the vCenter platform on the simulated vCenter';
describePlatform(NAME, (context) => start(context, 'c'));
describePlatform(`${NAME} with standard switches`, (context) => start(context, 'd', { isStandard: true }));
describePlatform(`${NAME}, engines from a content library`, (context) =>
  start(context, 'e', { contentLibrary: 'engines' }),
);
describePlatform(`${NAME}, where sessions end and others are faster`, (context) =>
  start(context, 'f', { storm: STORM }),
);

async function start(
  context: Mocha.Context,
  letter: string,
  variant: { isStandard?: boolean; contentLibrary?: string; storm?: readonly Partial<Rule>[] } = {},
): Promise<PlatformUnderTest> {
  requireRootOrSkip(context);
  context.timeout(60_000);
  const { isStandard = false, contentLibrary, storm = [] } = variant;
  const lab = await startLab(letter, isStandard ? 'vcenter-standard' : 'vcenter');
  const { vms, vcenter } = await lab.status();
  const { url, user, password, thumbprintSha256: thumbprint } = vcenter!;
  const ova = await buildBlankOva(never);
  const open = (address: string) =>
    openVcenter({
      address,
      user,
      password: () => password,
      thumbprint,
      managementNetwork: 'mgmt',
      uplinkAttribute: 'uplinks',
      rackCategory: 'rack',
      engines: ova.options,
      contentLibrary,
      shadowVlans: { first: 3000, last: 3010 },
    });
  if (contentLibrary)
    await makeLibrary({ address: url, user, password: () => password, thumbprint }, contentLibrary);
  const inject = async (fault: Partial<Rule>) => {
    const whole: Rule = {
      kind: 'vcenter',
      call: '*',
      effect: 'none',
      object: null,
      percent: 100,
      count: null,
      delayMs: 0,
      ...fault,
    };
    await injectFault(lab.session, whole, never);
  };
  for (const rule of storm) await inject(rule);
  return {
    platform: open(url),
    hosts: ['host-11', 'host-12'],
    production: 'prod',
    management: 'mgmt',
    ...(isStandard ? { mirrorless: 'standard switches mirror no ports' } : {}),
    applicationVm: vms.find((vm) => vm.name === 'app1')!.id,
    async failNext(method, how) {
      const wire = { ...WIRE, ...(isStandard ? STANDARD_WIRE : {}), ...(contentLibrary ? LIBRARY_WIRE : {}) };
      const call = wire[method];
      if (call === undefined) throw new Error(`no fault is known for ${method}`);
      await inject({ call, count: 1, delayMs: 0, effect: how === 'refused' ? 'refuse' : 'lose-reply' });
    },
    async slow(_method, delayMs) {
      await inject({ call: 'RetrievePropertiesEx', count: null, delayMs, effect: 'none' });
    },
    async heal() {
      await healFault(lab.session, null, never);
      for (const rule of storm) await inject(rule);
    },
    async told(vm) {
      return JSON.parse(readFileSync(join(labPaths(lab.lab).vms, vm, 'engine.json'), 'utf8'));
    },
    async halve(segment) {
      const somebody = new VcenterSession({ address: url, user, password: () => password, thumbprint });
      await halveSegment(somebody, segment, never);
      await somebody.close();
    },
    crash: (vm) => killVm(lab.session, vm, never),
    unreachable: () => open('https://127.0.0.1:1'),
    async stop() {
      ova.remove();
      await lab.stop();
    },
  };
}

async function makeLibrary(options: VcenterOptions, name: string): Promise<void> {
  const session = new VcenterSession(options);
  const body = {
    name,
    type: 'LOCAL',
    storage_backings: [{ type: 'DATASTORE', datastore_id: 'datastore-9' }],
  };
  const service = '/content/local-library';
  await new RestClient(session).call({ method: 'POST', service, body, argument: 'create_spec' }, never);
  await session.close();
}
