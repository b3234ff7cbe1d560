/**
 * The inventory of a large vCenter: time of the first listing, of a change until it is seen, and memory, against govc
 * and pyvmomi on the same simulator in one run.
 *
 * vcsim collects the whole filter again for each update, so the time until a change is seen is mostly its own and grows
 * with the number of VMs. `npm run bench -- inventory [VMS] [HOSTS]`, 10000 and 500 where nothing is said. The last line is JSON.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { VcenterInventory } from '../src/vcenter/inventory.ts';
import { WATCHED } from '../src/vcenter/inventory-objects.ts';
import { VcenterSession } from '../src/vcenter/session.ts';
import { startVcsim, type Vcsim } from '../test/vcenter/vcsim.ts';

const run = promisify(execFile);
const never = new AbortController().signal;
const HOSTS_IN_CLUSTER = 25;
const CHANGE_TIMEOUT_MS = 120_000;
const PEER_TIMEOUT_MS = 300_000;

const PYVMOMI = `
import json, ssl, sys, time
from pyVim.connect import SmartConnect
from pyVmomi import vim, vmodl
host, port, user, password, watched = sys.argv[1:]
service = SmartConnect(host=host, port=int(port), user=user, pwd=password, disableSslCertValidation=True)
started = time.time()
content = service.RetrieveContent()
query = vmodl.query.PropertyCollector
for name in ('VirtualMachine', 'HostSystem'):
    kind = getattr(vim, name)
    view = content.viewManager.CreateContainerView(content.rootFolder, [kind], True)
    step = query.TraversalSpec(name='view', type=vim.view.ContainerView, path='view', skip=False)
    spec = query.FilterSpec(
        objectSet=[query.ObjectSpec(obj=view, skip=True, selectSet=[step])],
        propSet=[query.PropertySpec(type=kind, all=False, pathSet=json.loads(watched)[name])])
    page = content.propertyCollector.RetrievePropertiesEx([spec], query.RetrieveOptions(maxObjects=400))
    while page is not None and page.token:
        for one in page.objects:
            [p.val for p in one.propSet]
        page = content.propertyCollector.ContinueRetrievePropertiesEx(page.token)
print(round((time.time() - started) * 1000))
`;

const [vms = 10_000, hosts = 500] = process.argv.slice(2).map(Number);
const clusters = Math.max(1, Math.round(hosts / HOSTS_IN_CLUSTER));
console.log(`vcsim with ${vms} VMs on ${hosts} hosts is being made`);
const vcsim = await startVcsim(null, {
  clusters,
  hosts: Math.round(hosts / clusters),
  machines: Math.round(vms / clusters),
});
try {
  const ours = await measureOurs(vcsim);
  const govc = await measureGovc(vcsim);
  const pyvmomi = await measurePyvmomi(vcsim);
  const ratio = (theirs: number | null) =>
    theirs === null ? null : Number((ours.firstMs / theirs).toFixed(2));
  console.log(
    JSON.stringify({
      bench: 'inventory',
      ratios: { pyvmomi: ratio(pyvmomi), govc: ratio(govc) },
      changeSeenMs: ours.changeSeenMs,
      rssMb: ours.rssMb,
    }),
  );
} finally {
  await vcsim.stop();
}

async function measureOurs(
  to: Vcsim,
): Promise<{ firstMs: number; changeSeenMs: number | null; rssMb: number }> {
  const session = new VcenterSession({
    address: to.url,
    user: to.user,
    password: () => to.password,
    thumbprint: to.thumbprint,
    deadlineMs: CHANGE_TIMEOUT_MS,
  });
  const inventory = new VcenterInventory(session, {
    managementNetwork: 'VM Network',
    uplinkAttribute: 'weft.uplinks',
    rackCategory: 'rack',
  });
  const started = performance.now();
  const cpu = process.cpuUsage();
  const first = await inventory.list(never);
  const firstMs = performance.now() - started;
  const cpuMs = (process.cpuUsage(cpu).user + process.cpuUsage(cpu).system) / 1000;
  const rssMb = Math.round(process.memoryUsage().rss / 2 ** 20);
  console.log(
    `weft: ${first.vms.length} VMs and ${first.hosts.length} hosts after ${firstMs.toFixed(0)} ms, ${cpuMs.toFixed(0)} ms of CPU, ${rssMb} MB`,
  );
  const watch = inventory.watch(first.cursor, AbortSignal.timeout(CHANGE_TIMEOUT_MS));
  await new Promise((resolve) => setTimeout(resolve, 500));
  const vm = { type: 'VirtualMachine', value: first.vms[0]!.id };
  const changed = performance.now();
  await session.call(vm, 'Rename_Task', { newName: 'renamed' }, never);
  const changeSeenMs = await watch.then(
    () => Math.round(performance.now() - changed),
    () => null,
  );
  console.log(`weft: a change is seen after ${changeSeenMs ?? `more than ${CHANGE_TIMEOUT_MS}`} ms`);
  await inventory.close();
  await session.close();
  return { firstMs, changeSeenMs, rssMb };
}

/** The same properties of all VMs and hosts, one after the other, as its `collect` can. */
async function measureGovc(to: Vcsim): Promise<number | null> {
  const places = [
    process.env.GOVC,
    ...(process.env.PATH ?? '').split(delimiter).map((one) => join(one, 'govc')),
  ];
  const program = [...places, join(homedir(), 'go/bin/govc')].find((one) => one && existsSync(one));
  if (!program) {
    console.log(
      'govc was not run: it is not installed (go install github.com/vmware/govmomi/govc@v0.46.3, or GOVC=PATH)',
    );
    return null;
  }
  const env = {
    ...process.env,
    GOVC_URL: `${to.url}/sdk`,
    GOVC_USERNAME: to.user,
    GOVC_PASSWORD: to.password,
    GOVC_INSECURE: '1',
    GOVC_PERSIST_SESSION: 'false',
  };
  const options = { env, maxBuffer: 2 ** 30, timeout: PEER_TIMEOUT_MS };
  const started = performance.now();
  for (const type of ['VirtualMachine', 'HostSystem'] as const) {
    await run(program, ['object.collect', '-json', '-type', type, '/', ...WATCHED[type]!], options);
  }
  const ms = performance.now() - started;
  console.log(`govc: ${ms.toFixed(0)} ms`);
  return ms;
}

async function measurePyvmomi(to: Vcsim): Promise<number | null> {
  const python = process.env.PYTHON ?? 'python3';
  const isThere = await run(python, ['-c', 'import pyVmomi']).then(
    () => true,
    () => false,
  );
  if (!isThere) {
    console.log('pyvmomi was not run: it is not installed (pip install pyvmomi, and PYTHON=PATH for a venv)');
    return null;
  }
  const { hostname, port } = new URL(to.url);
  const { stdout } = await run(
    python,
    ['-c', PYVMOMI, hostname, port, to.user, to.password, JSON.stringify(WATCHED)],
    { maxBuffer: 2 ** 24, timeout: PEER_TIMEOUT_MS },
  );
  console.log(`pyvmomi: ${stdout.trim()} ms`);
  return Number(stdout);
}
