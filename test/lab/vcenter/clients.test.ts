/** The simulated vCenter as others see it: pyvmomi and govc, and requests that no client should send. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { injectFault } from '../../../src/lab/control.ts';
import type { VcenterAddress } from '../../../src/lab/vcenter/index.ts';
import { labPaths } from '../../../src/lab/world/names.ts';
import { BUILD_TIMEOUT_MS, goProgram } from '../../vcenter/go-program.ts';
import { INSTALL_TIMEOUT_MS, pyvmomiPython } from '../../vcenter/pyvmomi.ts';
import { type LabUnderTest, requireRootOrSkip, startLab } from '../lab-under-test.ts';

const never = new AbortController().signal;
const run = promisify(execFile);

const OVERRIDE = `
import sys
from pyVim.connect import SmartConnect, Disconnect
from pyVim.task import WaitForTask
from pyVmomi import vim
host, port, user, password = sys.argv[1:5]
si = SmartConnect(host=host, port=int(port), user=user, pwd=password, disableSslCertValidation=True)
content = si.RetrieveContent()
view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
vms = {vm.name: vm for vm in view.view}
print(",".join(sorted(vms)))
networks = content.rootFolder.childEntity[0].networkFolder.childEntity
dvs = [one for one in networks if isinstance(one, vim.DistributedVirtualSwitch)][0]
group = [one for one in dvs.portgroup if one.name == "prod"][0]
policy = group.config.policy
policy.vlanOverrideAllowed = True
WaitForTask(group.ReconfigureDVPortgroup_Task(vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
    configVersion=group.config.configVersion, policy=policy)))
port = [one for one in dvs.FetchDVPorts(vim.dvs.PortCriteria(connected=True, portgroupKey=[group.key], inside=True))
        if one.connectee.connectedEntity == vms["app1"]][0]
Vmware = vim.dvs.VmwareDistributedVirtualSwitch
def override(version):
    return dvs.ReconfigureDVPort_Task([vim.dvs.DistributedVirtualPort.ConfigSpec(
        operation="edit", key=port.key, configVersion=version,
        setting=Vmware.VmwarePortConfigPolicy(vlan=Vmware.VlanIdSpec(inherited=False, vlanId=3001)))])
WaitForTask(override(port.config.configVersion))
try:
    WaitForTask(override(port.config.configVersion))
    print("no conflict")
except vim.fault.ConcurrentAccess:
    print("conflict")
WaitForTask(vms["app6"].PowerOff())
print(vms["app6"].runtime.powerState)
manager = content.customFieldsManager
field = manager.AddCustomFieldDef(name="on-call", moType=vim.VirtualMachine)
manager.SetField(entity=vms["app6"], key=field.key, value="shop-team")
print([one.value for one in vms["app6"].customValue if one.key == field.key])
nic = [one for one in vms["app4"].config.hardware.device if isinstance(one, vim.vm.device.VirtualEthernetCard)][0]
system = vms["app4"].runtime.host.configManager.networkSystem
system.AddPortGroup(vim.host.PortGroup.Specification(
    name="old-net", vlanId=700, vswitchName="vSwitch0", policy=vim.host.NetworkPolicy()))
network = [one for one in vms["app4"].runtime.host.network if one.name == "old-net"][0]
before = nic.backing
nic.backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName="old-net", network=network)
def edit():
    WaitForTask(vms["app4"].ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[
        vim.vm.device.VirtualDeviceSpec(operation="edit", device=nic)])))
edit()
print([one.name for one in vms["app4"].network])
before.port.portKey = None
before.port.connectionCookie = None
nic.backing = before
edit()
system.RemovePortGroup("old-net")
print([one.name for one in vms["app4"].network])
pvlan = lambda second, kind: Vmware.PvlanConfigSpec(operation="add", pvlanEntry=Vmware.PvlanMapEntry(
    primaryVlanId=301, secondaryVlanId=second, pvlanType=kind))
WaitForTask(dvs.ReconfigureDvs_Task(Vmware.ConfigSpec(
    configVersion=dvs.config.configVersion, pvlanConfigSpec=[pvlan(301, "promiscuous"), pvlan(302, "isolated")])))
WaitForTask(dvs.AddDVPortgroup_Task([vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
    name="private", type="earlyBinding", numPorts=8, defaultPortConfig=Vmware.VmwarePortConfigPolicy(
        vlan=Vmware.PvlanSpec(inherited=False, pvlanId=302)))]))
private = [one for one in dvs.portgroup if one.name == "private"][0]
print(private.config.defaultPortConfig.vlan.pvlanId, [one.pvlanType for one in dvs.config.pvlanConfig])
WaitForTask(private.Destroy_Task())
events = content.eventManager.CreateCollectorForEvents(vim.event.EventFilterSpec(
    entity=vim.event.EventFilterSpec.ByEntity(entity=vms["app6"], recursion="self")))
events.SetCollectorPageSize(1)
print([type(one).__name__.split(".")[-1] for one in events.latestPage])
events.RewindCollector()
first = events.ReadNextEvents(100)
events.ResetCollector()
last = events.ReadPreviousEvents(100)
print([one.key for one in first] == [one.key for one in reversed(last)])
events.DestroyCollector()
Disconnect(si)
`;

describe('the simulated vCenter', () => {
  let lab: LabUnderTest;
  let address: VcenterAddress;
  let directory: string;

  before(async function () {
    requireRootOrSkip(this);
    this.timeout(60_000);
    directory = mkdtempSync(join(tmpdir(), 'weft-vcenter-'));
    lab = await startLab('v', 'vcenter');
    address = (await lab.status()).vcenter!;
  });
  after(async () => {
    await lab?.stop();
    if (directory) rmSync(directory, { recursive: true, force: true });
  });

  it('lets pyvmomi list, override the VLAN of a port, move a NIC between switches, switch off, and read events', async function () {
    this.timeout(INSTALL_TIMEOUT_MS * 2 + 60_000);
    const python = pyvmomiPython();
    if (python === null) this.skip();
    const url = new URL(address.url);
    const script = join(directory, 'override.py');
    writeFileSync(script, OVERRIDE);
    const { stdout } = await run(python!, [script, url.hostname, url.port, address.user, address.password], {
      timeout: 30_000,
    });
    assert.deepEqual(stdout.trim().split('\n'), [
      'app1,app2,app3,app4,app5,app6',
      'conflict',
      'poweredOff',
      "['shop-team']",
      "['old-net']",
      "['prod']",
      "302 ['promiscuous', 'isolated']",
      "['VmPoweredOffEvent']",
      'True',
    ]);
    const { vms } = await lab.status();
    assert.equal(vms.find((vm) => vm.name === 'app1')?.nics[0]?.segment, 'vlan-3001');
    assert.equal(vms.find((vm) => vm.name === 'app6')?.power, 'off');
  });

  it('lets govc find VMs, clone one, and import an OVF package that becomes a running engine', async function () {
    const govcOf = govcOrSkip(this);
    assert.match(await govcOf('find', '/', '-type', 'm'), /\/vm\/lab\/shop\/app2/);
    assert.match(await govcOf('vm.info', 'app2'), /10\.77\.0\.12/);
    assert.match(await govcOf('tags.ls'), /shop\s+app/);

    await govcOf('vm.clone', '-vm', 'app2', '-host', 'h3', '-on=true', 'copy');
    const copy = (await lab.status()).vms.find((vm) => vm.name === 'copy');
    assert.deepEqual([copy?.host, copy?.power, copy?.nics[0]?.segment], ['h3', 'on', 'prod']);

    writeFileSync(join(directory, 'disk.vmdk'), Buffer.concat([Buffer.from('KDMV'), Buffer.alloc(4092)]));
    const values: Record<string, string> = {
      diskFile: 'disk.vmdk',
      diskFileSize: '4096',
      diskCapacity: '1073741824',
    };
    const template = readFileSync(join(import.meta.dirname, '../../../templates/engine.ovf'), 'utf8');
    const descriptor = template.replaceAll(/\{\{(\w+)\}\}/g, (_, name: string) => values[name] ?? '1');
    writeFileSync(join(directory, 'engine.ovf'), descriptor);
    const networks = [
      { Name: 'mgmt', Network: 'mgmt' },
      { Name: 'out', Network: 'prod' },
      { Name: 'in', Network: 'prod' },
    ];
    const properties = {
      engine: 'edge-h2',
      controller: 'https://192.0.2.1:7443',
      ca: 'PEM',
      token: 'secret',
    };
    const options = {
      DiskProvisioning: 'thin',
      Name: 'weft-edge',
      NetworkMapping: networks,
      PropertyMapping: Object.entries({
        ...properties,
        ca: Buffer.from(properties.ca).toString('base64'),
      }).map(([key, Value]) => ({ Key: `weft.${key}`, Value })),
    };
    writeFileSync(join(directory, 'options.json'), JSON.stringify(options));
    const files = [join(directory, 'options.json'), join(directory, 'engine.ovf')] as const;
    await govcOf('import.ovf', '-host', 'h2', '-pool', 'Resources', '-options', ...files);
    const engineOf = async () => (await lab.status()).vms.find((vm) => vm.engine === 'edge-h2');
    assert.deepEqual([(await engineOf())?.host, (await engineOf())?.power], ['h2', 'off']);
    await govcOf('vm.power', '-on', 'weft-edge');
    const engine = await engineOf();
    assert.equal(engine?.power, 'on');
    const told = readFileSync(join(labPaths(lab.lab).vms, engine!.id, 'engine.json'), 'utf8');
    assert.deepEqual(JSON.parse(told), properties);
    await govcOf('vm.destroy', 'weft-edge');
    assert.equal(await engineOf(), undefined);
  });

  it('lets govc add standard port groups, move a NIC to one and back, and change and remove them', async function () {
    const govcOf = govcOrSkip(this);
    const segmentOf = async () => (await lab.status()).vms.find((vm) => vm.name === 'app4')?.nics[0]?.segment;
    await govcOf('host.portgroup.add', '-host', 'h2', '-vswitch', 'vSwitch0', '-vlan', '700', 'old-net');
    assert.match(await govcOf('host.portgroup.info', '-host', 'h2'), /old-net[\s\S]*700/);
    assert.doesNotMatch(await govcOf('host.portgroup.info', '-host', 'h1'), /old-net/);
    await govcOf('vm.network.change', '-vm', 'app4', '-net', 'old-net', 'ethernet-0');
    assert.equal(await segmentOf(), 'vlan-700');
    await assert.rejects(govcOf('host.portgroup.remove', '-host', 'h2', 'old-net'), /in use/);
    await govcOf('host.portgroup.change', '-host', 'h2', '-vlan-id', '701', 'old-net');
    assert.equal(await segmentOf(), 'vlan-701');
    await govcOf('vm.network.change', '-vm', 'app4', '-net', 'prod', 'ethernet-0');
    assert.equal(await segmentOf(), 'prod');
    await govcOf('host.portgroup.remove', '-host', 'h2', 'old-net');
    const { hosts } = await lab.status();
    assert.ok(hosts.every((host) => host.segments.every((one) => !one.name.startsWith('vlan-70'))));
  });

  it('lets govc add a distributed port group, move a NIC to it, reset a VM, and set custom attributes', async function () {
    const govcOf = govcOrSkip(this);
    const app3 = async () => (await lab.status()).vms.find((vm) => vm.name === 'app3')!;
    await govcOf(
      'dvs.portgroup.add',
      '-dvs',
      `${lab.lab}-dvs`,
      '-type',
      'earlyBinding',
      '-vlan',
      '710',
      'new-net',
    );
    await govcOf('vm.network.change', '-vm', 'app3', '-net', 'new-net', 'ethernet-0');
    assert.equal((await app3()).nics[0]?.segment, 'vlan-710');
    await govcOf('vm.network.change', '-vm', 'app3', '-net', 'prod', 'ethernet-0');
    assert.equal((await app3()).nics[0]?.segment, 'prod');
    const { pid } = await app3();
    await govcOf('vm.power', '-reset', 'app3');
    assert.notEqual((await app3()).pid, pid);
    await govcOf('fields.add', '-type', 'VirtualMachine', 'contact');
    await govcOf('fields.set', 'contact', 'shop-team', 'vm/lab/shop/app3');
    assert.match(await govcOf('fields.info', '-n', 'contact', 'vm/lab/shop/app3'), /shop-team/);
    await govcOf('fields.rm', 'contact');
  });

  it('tells govc of events, oldest first, of one VM or of all', async function () {
    const govcOf = govcOrSkip(this);
    await govcOf('vm.power', '-off', 'app5');
    await govcOf('vm.power', '-on', 'app5');
    await govcOf('vm.migrate', '-host', 'h1', 'app5');
    await govcOf('vm.migrate', '-host', 'h3', 'app5');
    const events = await govcOf('events', '-n', '4', 'vm/lab/shop/app5');
    assert.deepEqual(
      events
        .trim()
        .split('\n')
        .map((line) => /app5 on h\d (.*)$/.exec(line)?.[1]),
      ['is powered off', 'is powered on', 'migrated from h3', 'migrated from h1'],
    );
    const typed = await govcOf('events', '-type', 'VmPoweredOnEvent', '-n', '1');
    assert.match(typed, /powered on/);
  });

  it('refuses a wrong password, and everything without a session', async () => {
    const wrong = await soap(loginOf(address.user, 'wrong'));
    assert.equal(wrong.status, 500);
    assert.match(wrong.body, /InvalidLoginFault/);
    const anonymous = await soap(call('CurrentTimeX', 'ServiceInstance', ''));
    assert.match(anonymous.body, /InvalidRequestFault/);
    const list = await soap(call('Logout', 'SessionManager', ''));
    assert.match(list.body, /NotAuthenticatedFault/);
  });

  it('refuses elements out of order, in another namespace, unknown, or expanded from entities', async () => {
    const swapped = loginOf(address.user, address.password).replace(
      /(<userName>.*<\/userName>)(<password>.*<\/password>)/,
      '$2$1',
    );
    for (const body of [
      swapped,
      loginOf('u', 'p').replace('urn:vim25', 'urn:vim24'),
      loginOf('u', 'p').replace('<userName>', '<extra/><userName>'),
      `<!DOCTYPE a [<!ENTITY b "bb">]>${loginOf('&b;', 'p')}`,
      '<a>'.repeat(10_000),
    ]) {
      assert.match((await soap(body)).body, /InvalidRequestFault/, body.slice(0, 80));
    }
    assert.equal((await soap('x'.repeat(9 << 20)).catch(() => ({ status: 413 }))).status, 413);
    assert.equal((await soap(loginOf(address.user, address.password))).status, 200);
  });

  it('fails as the injected faults say', async () => {
    const fault = {
      kind: 'vcenter',
      call: 'CurrentTime',
      object: null,
      percent: 100,
      count: 1,
      delayMs: 0,
    } as const;
    await injectFault(lab.session, { ...fault, effect: 'busy' }, never);
    assert.match((await soap(call('CurrentTime', 'ServiceInstance', ''))).body, /ResourceInUseFault/);
    assert.match((await soap(call('CurrentTime', 'ServiceInstance', ''))).body, /CurrentTimeResponse/);
    await injectFault(lab.session, { ...fault, effect: 'lose-reply' }, never);
    await assert.rejects(soap(call('CurrentTime', 'ServiceInstance', '')));
  });

  /** Runs govc against this lab; skips the test, after one visible line, where it cannot be built. */
  function govcOrSkip(context: Mocha.Context): (...args: string[]) => Promise<string> {
    context.timeout(BUILD_TIMEOUT_MS + 60_000);
    const govc = goProgram('govc');
    if (govc === null) context.skip();
    const env = {
      ...process.env,
      GOVC_URL: `${address.url}/sdk`,
      GOVC_USERNAME: address.user,
      GOVC_PASSWORD: address.password,
      GOVC_DATACENTER: `${lab.lab}-dc`,
      GOVC_INSECURE: '1',
      GOVMOMI_HOME: directory,
    };
    return async (...args) => (await run(govc!, args, { env, timeout: 15_000 })).stdout;
  }

  function call(method: string, object: string, content: string): string {
    return `<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><${method} xmlns="urn:vim25"><_this type="${object}">${object}</_this>${content}</${method}></e:Body></e:Envelope>`;
  }

  function loginOf(user: string, password: string): string {
    return call('Login', 'SessionManager', `<userName>${user}</userName><password>${password}</password>`);
  }

  function soap(body: string): Promise<{ status: number; body: string }> {
    return new Promise((resolve, reject) => {
      const sent = request(
        `${address.url}/sdk`,
        // The server's certificate is its own; what is sent here is no secret.
        {
          method: 'POST',
          rejectUnauthorized: false,
          agent: false,
          headers: { SOAPAction: 'urn:vim25/8.0.2.0' },
        },
        (response) => {
          let text = '';
          response.setEncoding('utf8');
          response.on('data', (part: string) => (text += part));
          response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
        },
      );
      sent.on('error', reject);
      sent.end(body);
    });
  }
});
