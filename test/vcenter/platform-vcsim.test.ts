/** The vCenter platform fulfils the contract on govmomi's simulator, which nobody of this project wrote. */
import type { Platform } from '../../src/hypervisor/platform.ts';
import { TOLD_KEY } from '../../src/vcenter/engine.ts';
import { openVcenter } from '../../src/vcenter/index.ts';
import { VcenterSession } from '../../src/vcenter/session.ts';
import type { MoRef, Vim } from '../../src/vcenter/vim/schema.ts';
import { describePlatform } from '../contract/platform.ts';
import { buildBlankOva } from './blank-ova.ts';
import { halveSegment } from './half-segment.ts';
import { startVcsim } from './vcsim.ts';

const never = new AbortController().signal;

/** The call that carries an operation out. */
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

describePlatform('the vCenter platform on vcsim', async (context) => {
  const vcsim = await startVcsim(context, { complete: true });
  const { user, thumbprint } = vcsim;
  const password = () => vcsim.password;
  const somebody = new VcenterSession({ address: vcsim.url, user, password, thumbprint });
  const find = async (type: string, paths: string[]) => {
    const { rootFolder, viewManager } = await somebody.connect(never);
    const args = { container: rootFolder, type: [type], recursive: true };
    const view = await somebody.call(viewManager!, 'CreateContainerView', args, never);
    const { view: refs } = (await somebody.properties([view], ['view'], never)).get(view.value)!;
    return [...(await somebody.properties(refs as MoRef[], paths, never))].sort(([a], [b]) =>
      a < b ? -1 : 1,
    );
  };
  const machines = await find('VirtualMachine', ['runtime.host']);
  const applicationVm: MoRef = { type: 'VirtualMachine', value: machines[0]![0] };
  const first = (machines[0]![1]['runtime.host'] as MoRef).value;
  const all = await find('HostSystem', ['configManager.networkSystem']);
  const hosts = [...all.filter(([id]) => id === first), ...all.filter(([id]) => id !== first)];
  // Guests of the simulator have no addresses, and each of its hosts has a standard port group beside the others.
  const extraConfig = [{ key: 'SET.guest.ipAddress', value: '192.0.2.11' }];
  await somebody.task(applicationVm, 'ReconfigVM_Task', { spec: { extraConfig } }, never);
  const networkSystem = hosts[0]![1]['configManager.networkSystem'] as MoRef;
  await somebody.call(networkSystem, 'RemovePortGroup', { pgName: 'VM Network' }, never);

  const ova = await buildBlankOva(never);
  const open = (address: string) =>
    openVcenter({
      address,
      user,
      password,
      thumbprint,
      managementNetwork: 'DC0_DVPG1',
      uplinkAttribute: 'uplinks',
      rackCategory: 'rack',
      engines: ova.options,
      shadowVlans: { first: 3000, last: 3010 },
    });
  return {
    platform: open(vcsim.url),
    hosts: [hosts[0]![0], hosts[1]![0]],
    production: 'DC0_DVPG0',
    management: 'DC0_DVPG1',
    mirrorless: 'vcsim keeps no sessions of port mirroring',
    applicationVm: applicationVm.value,
    async failNext(method, how) {
      const call = WIRE[method];
      if (call === undefined) throw new Error(`no fault is known for ${method}`);
      if (how === 'refused') await vcsim.fail(call, 'SystemError', 1);
      else await vcsim.disturb(call, { count: 1, loseReply: true });
    },
    slow: (_method, delayMs) => vcsim.disturb('RetrievePropertiesEx', { count: 0, delayMs }),
    heal: () => vcsim.clear(),
    async told(vm) {
      const ref: MoRef = { type: 'VirtualMachine', value: vm };
      const read = (await somebody.properties([ref], ['config.extraConfig'], never)).get(vm)!;
      const options = read['config.extraConfig'] as Vim<'OptionValue'>[];
      const text = options.find(({ key }) => key === TOLD_KEY)?.value;
      return JSON.parse(Buffer.from(String(text), 'base64').toString('utf8'));
    },
    halve: (segment) => halveSegment(somebody, segment, never),
    crash: async (vm) => {
      await somebody.task({ type: 'VirtualMachine', value: vm }, 'PowerOffVM_Task', {}, never);
    },
    unreachable: () => open('https://127.0.0.1:1'),
    async stop() {
      ova.remove();
      await somebody.close();
      await vcsim.stop();
    },
  };
});
