/**
 * The inventory of a large vCenter: the first listing against govc and pyvmomi on the same simulator, all in turn, with
 * the processor time of each; the time until a change is seen; memory. `npm run bench -- inventory [VMS] [HOSTS]`,
 * 10000 and 500 where nothing is said. The last line is JSON.
 *
 * The floors are measured too, for much of it is vcsim's own: the same requests without reading the answers, and a
 * change as the barest watch sees it. vcsim as it comes copies every watched property of every object again for each
 * update; test/vcsim/README.md says what is mended.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { VcenterInventory } from '../src/vcenter/inventory.ts';
import { WATCHED } from '../src/vcenter/inventory-objects.ts';
import { VcenterSession } from '../src/vcenter/session.ts';
import { goProgram } from '../test/vcenter/go-program.ts';
import { pyvmomiPython } from '../test/vcenter/pyvmomi.ts';
import { startVcsim } from '../test/vcenter/vcsim.ts';

const ROUNDS = 3;
const HOSTS_IN_CLUSTER = 25;
const TIMEOUT_MS = 300_000;
const never = new AbortController().signal;

const EMPTY =
  '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body>' +
  '<RetrievePropertiesExResponse xmlns="urn:vim25"/></e:Body></e:Envelope>';

const PYVMOMI = `
import json, resource, sys, time
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
    while page is not None:
        for one in page.objects:
            [p.val for p in one.propSet]
        page = content.propertyCollector.ContinueRetrievePropertiesEx(page.token) if page.token else None
print(json.dumps({'ms': round((time.time() - started) * 1000)}))
`;

/** What the processes of a round are told. */
interface Peer {
  url: string;
  user: string;
  password: string;
  thumbprint: string;
}

interface Measure {
  ms: number;
  cpuMs: number;
  rssMb?: number;
  changeSeenMs?: number | null;
}

if (process.argv[2] === '--part') {
  const [, , , part = '', told = ''] = process.argv;
  await runPart(part, JSON.parse(told) as Peer);
} else await main();

async function main(): Promise<void> {
  const [vms = 10_000, hosts = 500] = process.argv.slice(2).map(Number);
  const clusters = Math.max(1, Math.round(hosts / HOSTS_IN_CLUSTER));
  const [govc, python] = [goProgram('govc'), pyvmomiPython()];
  console.log(`vcsim with ${vms} VMs on ${hosts} hosts is being made`);
  const vcsim = await startVcsim(null, {
    clusters,
    hosts: Math.round(hosts / clusters),
    machines: Math.round(vms / clusters),
  });
  const { url, user, password, thumbprint } = vcsim;
  const peer: Peer = { url, user, password, thumbprint };
  const part = (name: string): Promise<Measure> =>
    measure(process.execPath, [
      ...process.execArgv,
      import.meta.filename,
      '--part',
      name,
      JSON.stringify(peer),
    ]);
  const contestants: Record<string, (() => Promise<Measure>) | null> = {
    weft: () => part('list'),
    govc: govc === null ? null : () => measureGovc(govc, peer),
    pyvmomi: python === null ? null : () => measurePyvmomi(python, peer),
    'bare requests': () => part('bare'),
  };
  const results = new Map<string, Measure[]>();
  try {
    for (let round = 1; round <= ROUNDS; round++) {
      for (const [name, run] of Object.entries(contestants)) {
        if (!run) continue;
        const before = cpuOf(vcsim.pid);
        const one = await run();
        const simulatorMs = cpuOf(vcsim.pid) - before;
        results.set(name, [...(results.get(name) ?? []), one]);
        const memory = one.rssMb === undefined ? '' : `, ${one.rssMb} MB`;
        console.log(
          `round ${round}: ${name}: ${one.ms} ms, ${one.cpuMs} ms of its processor time and ${simulatorMs} ms of vcsim's${memory}`,
        );
      }
    }
    const middle = (name: string, of: (one: Measure) => number): number | null => {
      const values = (results.get(name) ?? []).map(of).sort((a, b) => a - b);
      return values.length === 0 ? null : values[Math.floor(values.length / 2)]!;
    };
    const ratio = (to: string, of: (one: Measure) => number): number | null => {
      const theirs = middle(to, of);
      return theirs ? Number((middle('weft', of)! / theirs).toFixed(2)) : null;
    };
    for (const to of ['govc', 'pyvmomi', 'bare requests']) {
      console.log(
        `weft / ${to}: ${ratio(to, ({ ms }) => ms)} of the time, ${ratio(to, ({ cpuMs }) => cpuMs)} of the processor time`,
      );
    }
    const beforeWatch = cpuOf(vcsim.pid);
    const watch = await part('watch');
    console.log(
      `weft: a change is seen after ${watch.changeSeenMs} ms, ${watch.rssMb} MB with the watch; vcsim spent ${cpuOf(vcsim.pid) - beforeWatch} ms of processor time on listing, watch and change`,
    );
    const bare = await part('bare-watch');
    console.log(
      `floor: a filter on nothing but the names of VMs tells a change after ${bare.changeSeenMs} ms`,
    );
    console.log(
      JSON.stringify({
        bench: 'inventory',
        ratios: { pyvmomi: ratio('pyvmomi', ({ ms }) => ms), govc: ratio('govc', ({ ms }) => ms) },
        changeSeenMs: watch.changeSeenMs ?? null,
        rssMb: watch.rssMb,
        floor: { listing: ratio('bare requests', ({ ms }) => ms), changeSeenMs: bare.changeSeenMs ?? null },
      }),
    );
  } finally {
    await vcsim.stop();
  }
}

/** One measurement of ours, in a process of its own so that memory and processor time are its own. */
async function runPart(part: string, peer: Peer): Promise<void> {
  const session = new VcenterSession({
    address: peer.url,
    user: peer.user,
    password: () => peer.password,
    thumbprint: peer.thumbprint,
    deadlineMs: TIMEOUT_MS,
  });
  const parts: Record<string, () => Promise<Omit<Measure, 'cpuMs'>>> = {
    list: () => listOnce(session, false),
    watch: () => listOnce(session, true),
    bare: () => bareRequests(session),
    'bare-watch': () => bareWatch(session),
  };
  const measured = await parts[part]!();
  console.log(JSON.stringify(measured));
  await session.close();
}

async function listOnce(session: VcenterSession, isWatched: boolean): Promise<Omit<Measure, 'cpuMs'>> {
  const inventory = new VcenterInventory(session, {
    managementNetwork: 'VM Network',
    uplinkAttribute: 'weft.uplinks',
    rackCategory: 'rack',
  });
  const started = performance.now();
  const first = await inventory.list(never);
  const ms = Math.round(performance.now() - started);
  if (first.vms.length === 0 || first.hosts.length === 0) throw new Error('the listing is empty');
  let changeSeenMs: number | null = null;
  if (isWatched) {
    const { cursor } = await inventory.list(never);
    const watch = inventory.watch(cursor, AbortSignal.timeout(TIMEOUT_MS));
    await new Promise((resolve) => setTimeout(resolve, 500));
    // vcsim may compute longer than one wait may take; that is said, and the rest is still reported.
    changeSeenMs = await changeAndWait(session, first.vms[0]!.id, watch).catch((error: unknown) => {
      console.error(String(error));
      return null;
    });
  }
  const rssMb = Math.round(process.resourceUsage().maxRSS / 1024);
  await inventory.close();
  return { ms, rssMb, changeSeenMs };
}

async function changeAndWait(session: VcenterSession, id: string, seen: Promise<unknown>): Promise<number> {
  const changed = performance.now();
  const vm = { type: 'VirtualMachine', value: id };
  await session.call(vm, 'Rename_Task', { newName: `renamed-${Date.now()}` }, never);
  await seen;
  return Math.round(performance.now() - changed);
}

/** What the listing asks for, its answers taken from the wire and thrown away unread. */
async function bareRequests(session: VcenterSession): Promise<Omit<Measure, 'cpuMs'>> {
  const started = performance.now();
  const { viewManager, rootFolder, propertyCollector } = await session.connect(never);
  const types = ['VirtualMachine', 'HostSystem'];
  const list = { container: rootFolder, type: types, recursive: true };
  const view = await session.call(viewManager!, 'CreateContainerView', list, never);
  const refs = (await session.properties([view], ['view'], never)).get(view.value)!.view as {
    type: string;
    value: string;
  }[];
  const send = session.transport.request.bind(session.transport);
  let bytes = 0;
  session.transport.request = async (...args) => {
    const reply = await send(...args);
    bytes += reply.text.length;
    return { ...reply, text: EMPTY };
  };
  const work = async (): Promise<void> => {
    while (refs.length > 0) {
      const part = refs.splice(0, 250);
      const propSet = types.map((type) => ({ type, all: false, pathSet: [...WATCHED[type]!] }));
      const specSet = [{ propSet, objectSet: part.map((obj) => ({ obj })) }];
      await session.call(
        propertyCollector,
        'RetrievePropertiesEx',
        { specSet, options: { maxObjects: 250 } },
        never,
      );
    }
  };
  await Promise.all([work(), work(), work(), work()]);
  if (bytes < 1 << 20) throw new Error('the bare requests were not answered');
  session.transport.request = send;
  return { ms: Math.round(performance.now() - started) };
}

/** How long vcsim takes to tell of a change to a filter on one short property of each VM. */
async function bareWatch(session: VcenterSession): Promise<Omit<Measure, 'cpuMs'>> {
  const { viewManager, rootFolder, propertyCollector } = await session.connect(never);
  const list = { container: rootFolder, type: ['VirtualMachine'], recursive: true };
  const view = await session.call(viewManager!, 'CreateContainerView', list, never);
  const collector = await session.call(propertyCollector, 'CreatePropertyCollector', {}, never);
  const step = {
    $type: 'TraversalSpec' as const,
    name: 'view',
    type: 'ContainerView',
    path: 'view',
    skip: false,
  };
  const spec = {
    propSet: [{ type: 'VirtualMachine', all: false, pathSet: ['name'] }],
    objectSet: [{ obj: view, skip: true, selectSet: [step] }],
  };
  await session.call(collector, 'CreateFilter', { spec, partialUpdates: false }, never);
  let version = '';
  let id = '';
  for (let isWhole = false; !isWhole; ) {
    const update = await session.call(
      collector,
      'WaitForUpdatesEx',
      { version, options: { maxWaitSeconds: 0 } },
      never,
    );
    version = update?.version ?? version;
    id ||= update?.filterSet?.[0]?.objectSet?.[0]?.obj.value ?? '';
    isWhole = !update?.truncated;
  }
  const options = { maxWaitSeconds: 120 };
  const started = performance.now();
  const seen = session.call(collector, 'WaitForUpdatesEx', { version, options }, never);
  await new Promise((resolve) => setTimeout(resolve, 500));
  const changeSeenMs = await changeAndWait(session, id, seen);
  return { ms: Math.round(performance.now() - started), changeSeenMs };
}

/** The same properties of all VMs and hosts, one type after the other, as its `collect` can. */
async function measureGovc(program: string, peer: Peer): Promise<Measure> {
  const env = {
    ...process.env,
    GOVC_URL: `${peer.url}/sdk`,
    GOVC_USERNAME: peer.user,
    GOVC_PASSWORD: peer.password,
    GOVC_INSECURE: '1',
    GOVC_PERSIST_SESSION: 'false',
  };
  const total: Measure = { ms: 0, cpuMs: 0 };
  for (const type of ['VirtualMachine', 'HostSystem']) {
    const args = ['object.collect', '-json', '-type', type, '/', ...WATCHED[type]!];
    const { ms, cpuMs } = await measure(program, args, env, false);
    total.ms += ms;
    total.cpuMs += cpuMs;
  }
  return total;
}

function measurePyvmomi(python: string, peer: Peer): Promise<Measure> {
  const { hostname, port } = new URL(peer.url);
  return measure(python, ['-c', PYVMOMI, hostname, port, peer.user, peer.password, JSON.stringify(WATCHED)]);
}

/** Runs a program; its time is what its last line says, else that of the process; its processor time the shell's. */
async function measure(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
  isTold = true,
): Promise<Measure> {
  const started = performance.now();
  const script = isTold ? '"$@"; s=$?; times >&2; exit $s' : '"$@" >/dev/null; s=$?; times >&2; exit $s';
  const child = spawn('sh', ['-c', script, 'sh', program, ...args], { env, timeout: TIMEOUT_MS });
  let out = '';
  let error = '';
  child.stdout.on('data', (chunk) => {
    out += String(chunk);
  });
  child.stderr.on('data', (chunk) => {
    error += String(chunk);
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  const ms = Math.round(performance.now() - started);
  if (code !== 0) throw new Error(`${program} ended with ${String(code)}: ${error.slice(-2000)}`);
  const [user = 0, system = 0] = [
    ...(error.trim().split('\n').at(-1) ?? '').matchAll(/(\d+)m([\d.]+)s/g),
  ].map(([, minutes, seconds]) => Number(minutes) * 60_000 + Number(seconds) * 1000);
  const told = isTold ? (JSON.parse(out.trim().split('\n').at(-1) ?? '{}') as Partial<Measure>) : {};
  return { ms, ...told, cpuMs: Math.round(user + system) };
}

/** Processor time of a process so far, in milliseconds; the kernel counts in hundredths of a second. */
function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
