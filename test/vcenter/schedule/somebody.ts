/**
 * Somebody else at the same vCenter: an admin, a script, DRS. Uses the simulated vCenter's own methods, past the wire
 * and its faults, and keeps account of what must be so in the end because somebody wanted it.
 */

import { hostRef } from '../../../src/lab/vcenter/inventory/hosts.ts';
import { fabricMethods } from '../../../src/lab/vcenter/method/fabric.ts';
import { machineMethods } from '../../../src/lab/vcenter/method/machines.ts';
import { portOfNic } from '../../../src/lab/vcenter/ports.ts';
import { attachTag } from '../../../src/lab/vcenter/rest/tag-store.ts';
import { REFS } from '../../../src/lab/vcenter/state.ts';
import type { Vcenter } from '../../../src/lab/vcenter/vcenter.ts';
import { type MoRef, moRef, type Struct } from '../../../src/lab/vcenter/wire/values.ts';
import type { VmRecord } from '../../../src/lab/world/record.ts';
import type { Site } from './site.ts';

const METHODS = { ...machineMethods, ...fabricMethods };
const PATIENCE_MS = 20_000;

export class Somebody {
  readonly #site: Site;
  /** Own settings of ports, by VM id: what must be on the port in the end. */
  readonly portSettings = new Map<string, Struct>();
  /** Names that VMs were given. */
  readonly names = new Map<string, string>();
  /** Fields of the production port group that were changed. */
  readonly production: { name: string; policy: Struct } = { name: 'prod', policy: {} };
  /** The last port group of Weft was removed, and with it the record of what was allowed before. */
  isRecordLost = false;
  #clones = 0;
  #renames = 0;

  constructor(site: Site) {
    this.#site = site;
  }

  /** The `index`-th application VM, counted around. */
  app(index: number): VmRecord | undefined {
    const apps = this.#site.record.vms.filter((vm) => vm.engine === null);
    return apps[index % Math.max(apps.length, 1)];
  }

  engine(index: number): VmRecord | undefined {
    const engines = this.#site.record.vms.filter((vm) => vm.engine !== null);
    return engines[index % Math.max(engines.length, 1)];
  }

  async rename(vm: VmRecord): Promise<void> {
    const newName = `renamed-${++this.#renames}`;
    if ((await this.#do('Rename_Task', vmRef(vm), { newName })) && vm.engine === null)
      this.names.set(vm.id, newName);
  }

  async power(vm: VmRecord): Promise<void> {
    await this.#do(vm.process ? 'PowerOffVM_Task' : 'PowerOnVM_Task', vmRef(vm), {});
  }

  async powerOff(vm: VmRecord): Promise<void> {
    if (vm.process) await this.#do('PowerOffVM_Task', vmRef(vm), {});
  }

  async migrate(vm: VmRecord, index: number): Promise<void> {
    const { hosts } = this.#site.record;
    const host = hosts[index % hosts.length]!;
    const { vcenter } = this.#site;
    if (!vcenter) return;
    const spec = { host: hostRef(vcenter, host.id) };
    await this.#do('RelocateVM_Task', vmRef(vm), { spec, priority: 'defaultPriority' });
  }

  async remove(vm: VmRecord): Promise<void> {
    await this.powerOff(vm);
    if (await this.#do('Destroy_Task', vmRef(vm), {})) this.portSettings.delete(vm.id);
  }

  async clone(vm: VmRecord, index: number): Promise<void> {
    const { record, vcenter } = this.#site;
    if (!vcenter) return;
    const name = `copy-${++this.#clones}`;
    const host = record.hosts[index % record.hosts.length]!;
    const isDone = await this.#do('CloneVM_Task', vmRef(vm), {
      folder: REFS.vmFolder,
      name,
      spec: { location: { host: hostRef(vcenter, host.id) }, template: false, powerOn: true },
    });
    const made = record.vms.find((one) => one.name === name);
    if (!isDone || !made || !this.#site.vcenter) return;
    attachTag(this.#site.vcenter.state, 'app=shop', vmRef(made));
    this.#site.vcenter.changed();
  }

  /** Gives a port a setting of its own, where nobody has overridden its VLAN. */
  async overridePort(vm: VmRecord, setting: Struct): Promise<void> {
    const { vcenter } = this.#site;
    const port = vcenter && portOfNic(vcenter.state, vm, vm.nics[0]!);
    if (!port || (setting.vlan && port.setting.vlan)) return;
    const spec = {
      operation: 'edit',
      key: port.key,
      configVersion: String(port.configVersion),
      setting: { $type: 'VMwareDVSPortSetting', ...setting },
    };
    if (await this.#do('ReconfigureDVPort_Task', REFS.switch, { port: [spec] })) {
      this.portSettings.set(vm.id, { ...this.portSettings.get(vm.id), ...setting });
    }
  }

  /** Takes every VLAN of its own back. */
  async resetPorts(): Promise<void> {
    for (const [id, setting] of this.portSettings) {
      const { vcenter, record } = this.#site;
      const vm = record.vms.find((one) => one.id === id);
      const port = vcenter && vm && portOfNic(vcenter.state, vm, vm.nics[0]!);
      if (!setting.vlan || !port) continue;
      const vlan = { ...(setting.vlan as Struct), inherited: true };
      const spec = {
        operation: 'edit',
        key: port.key,
        configVersion: String(port.configVersion),
        setting: { $type: 'VMwareDVSPortSetting', vlan },
      };
      if (!(await this.#do('ReconfigureDVPort_Task', REFS.switch, { port: [spec] }))) continue;
      const { vlan: _, ...rest } = setting;
      this.portSettings.set(id, rest);
    }
  }

  /** Changes fields of the production port group's policy. */
  async changePolicy(policy: Struct, isKept: boolean): Promise<void> {
    const group = this.#production();
    if (!group) return;
    const spec = {
      configVersion: String(group.configVersion),
      policy: { ...group.policy, ...policy, $type: 'VMwareDVSPortgroupPolicy' },
    };
    if ((await this.#do('ReconfigureDVPortgroup_Task', groupRef(group.id), { spec })) && isKept) {
      Object.assign(this.production.policy, policy);
    }
  }

  async renameProduction(): Promise<void> {
    const group = this.#production();
    if (!group) return;
    const newName = `prod-${++this.#renames}`;
    if (await this.#do('Rename_Task', groupRef(group.id), { newName })) this.production.name = newName;
  }

  /** Removes a port group of Weft that nobody stands on: vCenter refuses the others. */
  async removeShadow(index: number): Promise<void> {
    const groups = this.#site.state.portgroups.filter((one) => one.description.includes('weft='));
    const group = groups[index % Math.max(groups.length, 1)];
    if (!group) return;
    await this.#do('Destroy_Task', groupRef(group.id), {});
    if (!this.#site.state.portgroups.some((one) => one.description.includes('weft=')))
      this.isRecordLost = true;
  }

  #production() {
    return this.#site.state.portgroups.find((one) => one.id === 'dvportgroup-22');
  }

  /** True where it was done. */
  async #do(method: string, self: MoRef, args: Struct): Promise<boolean> {
    const { vcenter, time } = this.#site;
    if (!vcenter) return false;
    try {
      const task = await METHODS[method]!({
        vcenter,
        session: { user: 'somebody' } as never,
        self,
        args,
        method,
        signal: vcenter.ended,
        isStuck: false,
        taskFault: null,
      });
      const state = (await time.until(endOf(vcenter, task as MoRef), PATIENCE_MS, method)) as string;
      this.#site.tell(`somebody: ${method} on ${self.id}: ${state}`);
      return state === 'success';
    } catch (error) {
      this.#site.tell(`somebody: ${method} on ${self.id}: ${(error as Error).message}`);
      return false;
    }
  }
}

async function endOf(vcenter: Vcenter, task: MoRef): Promise<string> {
  for (;;) {
    const change = vcenter.nextChange(vcenter.ended);
    change.catch(() => undefined);
    const info = vcenter.tasks
      .objects()
      .find((one) => one.ref.id === task.id)
      ?.properties.info?.() as Struct;
    if (info.state === 'success') return 'success';
    if (info.state === 'error') return JSON.stringify((info.error as Struct).localizedMessage);
    await change;
  }
}

function vmRef(vm: VmRecord): MoRef {
  return moRef('VirtualMachine', vm.id);
}

function groupRef(id: string): MoRef {
  return moRef('DistributedVirtualPortgroup', id);
}
