/** The simulated vCenter as others see it: pyvmomi and govc, and requests that no client should send. */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { injectFault } from '../../../src/lab/control.ts';
import type { VcenterAddress } from '../../../src/lab/vcenter/index.ts';
import { labPaths } from '../../../src/lab/world/names.ts';
import { type LabUnderTest, requireRootOrSkip, startLab } from '../lab-under-test.ts';

const never = new AbortController().signal;
const INSTALL_MS = 120_000;
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

  it('lets pyvmomi list, override the VLAN of a port, which moves its cable, and switch off', async function () {
    this.timeout(INSTALL_MS + 60_000);
    const python = join(directory, 'venv', 'bin', 'python');
    try {
      execFileSync('python3', ['-m', 'venv', join(directory, 'venv')], {
        timeout: INSTALL_MS,
        stdio: 'ignore',
      });
      execFileSync(python, ['-m', 'pip', 'install', '-q', 'pyvmomi'], {
        timeout: INSTALL_MS,
        stdio: 'ignore',
      });
    } catch {
      console.log('      pyvmomi was not run: python3 with venv, or its package, cannot be had');
      this.skip();
    }
    const url = new URL(address.url);
    const script = join(directory, 'override.py');
    writeFileSync(script, OVERRIDE);
    const { stdout } = await run(python, [script, url.hostname, url.port, address.user, address.password], {
      timeout: 30_000,
    });
    assert.deepEqual(stdout.trim().split('\n'), ['app1,app2,app3,app4,app5,app6', 'conflict', 'poweredOff']);
    const { vms } = await lab.status();
    assert.equal(vms.find((vm) => vm.name === 'app1')?.nics[0]?.segment, 'vlan-3001');
    assert.equal(vms.find((vm) => vm.name === 'app6')?.power, 'off');
  });

  it('lets govc find VMs, clone one, and import an OVF package that becomes a running engine', async function () {
    this.timeout(60_000);
    const govc = process.env.WEFT_GOVC ?? '/usr/local/bin/govc';
    if (!existsSync(govc)) {
      console.log('      govc was not run: set WEFT_GOVC to its path');
      this.skip();
    }
    const env = {
      ...process.env,
      GOVC_URL: `${address.url}/sdk`,
      GOVC_USERNAME: address.user,
      GOVC_PASSWORD: address.password,
      GOVC_DATACENTER: `${lab.lab}-dc`,
      GOVC_INSECURE: '1',
      GOVMOMI_HOME: directory,
    };
    const govcOf = async (...args: string[]) => (await run(govc, args, { env, timeout: 15_000 })).stdout;
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
      PropertyMapping: Object.entries(properties).map(([key, Value]) => ({ Key: `weft.${key}`, Value })),
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
