/**
 * In-line forwarding of small packets: Weft, a Linux bridge, nft DNAT with conntrack, and a blind XDP redirect as the
 * limit, in one run, alternating. Needs root; installs nftables, ethtool and iperf3 from Debian's packages.
 *
 *   npm run bench -- l4 [seconds per measurement] [rounds] [measurements, such as 'weft new,nft new']
 *
 *   client eth0 ── out [ engine ] in ── eth0 server      generator, engine and sink share one processor
 *
 * Packets are UDP of 64 bytes with right checksums; each path is warmed up before it is measured. The last line is JSON.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface, type Interface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { isOnPath, lackOf } from '../test/debian-package.ts';

const [seconds = 2, rounds = 3] = process.argv.slice(2, 4).map(Number);
/** Which measurements are made; none named: all. */
const only = (process.argv[4] ?? '').split(',').filter((name) => name !== '');
const file = (name: string) => fileURLToPath(new URL(`l4/${name}`, import.meta.url));
const PART = file('part-program.ts');
const ENGINE = file('engine-program.ts');
const RELAY = file('relay-program.ts');
const SERVICE = '10.99.0.100';
const MANY = 1 << 20;
/** V8 compiles what new flows run through meanwhile: so many, however slow the machine is. More are for profiles. */
const NEW_WARM_UP = Number(process.env.WEFT_BENCH_WARM_UP ?? 400_000);
const LONGEST_WARM_UP_MS = 10_000;
const [client, engine, server] = ['client', 'engine', 'server'].map(
  (role) => `weft-l4-${process.pid}-${role}`,
) as [string, string, string];
const MACS = {
  client: '02:cc:00:00:00:01',
  out: '02:ee:00:00:00:01',
  in: '02:ee:00:00:00:02',
  server: '02:aa:00:00:00:01',
};

interface Part {
  child: ChildProcess;
  lines: AsyncIterator<string>;
  reader: Interface;
}

const running = new Set<ChildProcess>();

function ip(command: string): string {
  return execFileSync('ip', command.split(' '), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function within(namespace: string, program: string, ...args: string[]): string {
  return execFileSync('nsenter', [`--net=/run/netns/${namespace}`, program, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Starts a part in a namespace, on one processor where named, and waits until it says that it is ready. */
async function start(
  namespace: string,
  cpu: number | null,
  program: string,
  ...args: string[]
): Promise<Part> {
  const node = [process.execPath, '--disable-warning=ExperimentalWarning', program, ...args];
  const pinned = cpu === null ? node : ['taskset', '-c', String(cpu), ...node];
  const child = spawn('nsenter', [`--net=/run/netns/${namespace}`, ...pinned], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  running.add(child);
  child.once('exit', () => running.delete(child));
  const reader = createInterface({ input: child.stdout! });
  const part = { child, reader, lines: reader[Symbol.asyncIterator]() };
  const said = String((await part.lines.next()).value);
  if (said !== 'ready') throw new Error(`${args.join(' ')} did not start: ${said}`);
  return part;
}

async function stop(part: Part): Promise<void> {
  const ended = new Promise((resolve) => part.child.once('exit', resolve));
  part.child.kill('SIGKILL');
  await ended;
}

/** Nanoseconds of processor time of all threads of a part. */
function cpuNs(part: Part): number {
  const tasks = `/proc/${part.child.pid}/task`;
  let sum = 0;
  for (const task of readdirSync(tasks))
    sum += Number(readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ')[0]);
  return sum;
}

async function ask(part: Part): Promise<number> {
  part.child.stdin!.write('\n');
  return Number((await part.lines.next()).value);
}

/** Three namespaces in a row, fresh for each measurement, so that nothing of the one before is left. */
function build(hasAddresses: boolean): void {
  destroy();
  for (const name of [client, engine, server]) {
    ip(`netns add ${name}`);
    within(name, 'sh', '-c', 'for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 > $f; done');
  }
  for (const [end, port, mac, portMac] of [
    [client, 'out', MACS.client, MACS.out],
    [server, 'in', MACS.server, MACS.in],
  ] as const) {
    ip(
      `-n ${end} link add eth0 address ${mac} type veth peer name ${port} address ${portMac} netns ${engine}`,
    );
    ip(`-n ${end} link set eth0 up`);
    ip(`-n ${engine} link set ${port} up`);
    // A veth takes redirected frames only where its other end polls.
    within(end, 'ethtool', '-K', 'eth0', 'gro', 'on');
    within(engine, 'ethtool', '-K', port, 'gro', 'on');
  }
  if (!hasAddresses) return;
  ip(`-n ${client} addr add 10.99.0.1/24 dev eth0`);
  ip(`-n ${server} addr add 10.99.0.2/24 dev eth0`);
}

function destroy(): void {
  for (const name of [client, engine, server]) {
    try {
      ip(`netns del ${name}`);
    } catch {
      // It was never made, or is gone.
    }
  }
}

/** What stands between client and server. */
type Path = 'weft' | 'vxlan' | 'redirect' | 'bridge' | 'nft' | 'relay';

async function raise(
  path: Path,
  options: { kind?: string; rules?: number; maxFlows?: number },
): Promise<Part | null> {
  switch (path) {
    case 'weft':
    case 'vxlan': {
      const { kind = 'xdp', rules = 1000, maxFlows = 4 * MANY } = options;
      const across = path === 'vxlan' ? ['across'] : [];
      const args = [kind, String(rules), String(maxFlows), MACS.server, ...across];
      const part = await start(engine, 1, ENGINE, ...args);
      // Addresses are announced once nobody else may own them.
      await delay(1500);
      return part;
    }
    case 'redirect':
      return start(engine, null, PART, 'redirect', 'out', 'in');
    case 'relay':
      return start(engine, 1, RELAY);
    case 'bridge':
      ip(`-n ${engine} link add br0 type bridge forward_delay 0`);
      for (const port of ['out', 'in']) ip(`-n ${engine} link set ${port} master br0`);
      ip(`-n ${engine} link set br0 up`);
      return null;
    case 'nft':
      ip(`-n ${engine} addr add 10.99.0.254/32 dev out`);
      ip(`-n ${engine} route add 10.64.0.0/10 dev out`);
      ip(`-n ${engine} route add 10.99.0.2/32 dev in`);
      ip(`-n ${engine} route add 10.99.0.1/32 dev out`);
      ip(`-n ${engine} neigh add 10.99.0.2 lladdr ${MACS.server} dev in`);
      within(
        engine,
        'sh',
        '-c',
        'echo 1 > /proc/sys/net/ipv4/ip_forward; for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done',
      );
      within(
        engine,
        'nft',
        `table ip t { chain pre { type nat hook prerouting priority dstnat; ip daddr ${SERVICE} udp dport 9000 dnat to 10.99.0.2:9000; }; }`,
      );
      // Shared by all namespaces of a machine: set back at the end.
      return null;
  }
}

interface Rate {
  perSecond: number;
  /** Processor time of what stands between, where that is a process, for each packet. */
  cpuUs: number;
}

/**
 * Packets a second that arrive at the server; with `vxlan`, what is sent inside arrives in datagrams at the client's
 * end, which is the router then.
 */
async function flood(
  path: Path,
  flows: number,
  isRandom: boolean,
  warmUpMs: number,
  measuredMs: number = seconds * 1000,
  warmUpPackets = 0,
): Promise<Rate> {
  const isVxlan = path === 'vxlan';
  build(isVxlan);
  const [from, into] = isVxlan ? [server, client] : [client, server];
  const way = await raise(path, {});
  const isXdp = path !== 'bridge' && path !== 'nft';
  const sink = await start(into, null, PART, 'sink', isXdp ? 'sink' : 'skb-sink', 'eth0');
  const to = path === 'bridge' || path === 'redirect' || path === 'relay' ? MACS.server : MACS.out;
  const generator = await start(
    from,
    0,
    PART,
    'generate',
    'eth0',
    to,
    SERVICE,
    String(flows),
    isRandom ? '1' : '0',
  );
  await delay(warmUpMs);
  const latest = performance.now() + LONGEST_WARM_UP_MS;
  while ((await ask(sink)) < warmUpPackets && performance.now() < latest) await delay(20);
  const before = await ask(sink);
  const usedBefore = way === null ? 0 : cpuNs(way);
  const began = performance.now();
  await delay(measuredMs);
  const arrived = (await ask(sink)) - before;
  const perSecond = (arrived * 1000) / (performance.now() - began);
  const cpuUs = way === null ? 0 : (cpuNs(way) - usedBefore) / arrived / 1000;
  for (const part of [generator, sink, way]) if (part) await stop(part);
  return { perSecond, cpuUs };
}

/** Median round trip, microseconds; the server's end is an XDP program that turns packets round. */
async function roundTrip(path: Path, isNew: boolean): Promise<number> {
  build(false);
  const way = await raise(path, { kind: 'xdp' });
  const echo = await start(server, null, PART, 'sink', 'echo', 'eth0');
  const isBridge = path === 'bridge';
  const probe = [PART, 'probe', 'eth0', isBridge ? MACS.server : MACS.out, MACS.client, '10.64.0.1'];
  const output = within(
    client,
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    ...probe,
    SERVICE,
    isNew ? 'new' : 'same',
  );
  for (const part of [echo, way]) if (part) await stop(part);
  const { p50Us, lost } = JSON.parse(output) as { p50Us: number; lost: number };
  if (lost > 1000) console.log(`  ${path}: ${lost} of 20000 round trips were lost`);
  return p50Us;
}

/** Gbit/s of one TCP stream with TSO on. */
async function stream(path: 'weft' | 'bridge'): Promise<number> {
  build(true);
  const way = await raise(path, { kind: 'tc' });
  const serving = spawn('nsenter', [`--net=/run/netns/${server}`, 'iperf3', '-s', '-1'], { stdio: 'ignore' });
  running.add(serving);
  await delay(500);
  const target = path === 'weft' ? SERVICE : '10.99.0.2';
  const output = within(client, 'iperf3', '-c', target, '-t', String(seconds), '-J');
  running.delete(serving);
  serving.kill('SIGKILL');
  if (way) await stop(way);
  const result = JSON.parse(output) as { end: { sum_received: { bits_per_second: number } } };
  return result.end.sum_received.bits_per_second / 1e9;
}

function median(values: readonly number[]): number {
  return [...values].sort((left, right) => left - right)[values.length >> 1] ?? Number.NaN;
}

/** Throws where a program cannot be had. */
function install(): void {
  const lacks = [lackOf('nftables', () => isOnPath('nft')), lackOf('ethtool'), lackOf('iperf3')];
  const lack = lacks.find((one) => one !== null);
  if (lack) throw new Error(lack);
}

async function main(): Promise<void> {
  install();
  const seen = new Map<string, number[]>();
  const note = (name: string, value: number) => seen.set(name, [...(seen.get(name) ?? []), value]);
  const measure = async (
    name: string,
    unit: string,
    digits: number,
    run: () => Promise<number>,
  ): Promise<void> => {
    if (only.length > 0 && !only.includes(name)) return;
    const value = await run();
    note(name, value);
    console.log(`  ${name.padEnd(20)} ${value.toFixed(digits)} ${unit}`);
  };
  for (let round = 1; round <= rounds; round++) {
    console.log(`round ${round} of ${rounds}`);
    const rate = (name: string, path: Path, flows: number, isRandom: boolean, warmUpMs: number) =>
      measure(name, 'Mpps', 3, async () => (await flood(path, flows, isRandom, warmUpMs)).perSecond / 1e6);
    await rate('weft 1k', 'weft', 1024, false, 1000);
    await rate('weft vxlan', 'vxlan', 1024, false, 1000);
    await rate('redirect', 'redirect', 1024, false, 500);
    await rate('nft 1k', 'nft', 1024, false, 500);
    await rate('bridge', 'bridge', 1024, false, 500);
    await rate('weft 64k', 'weft', 65_536, false, 2500);
    await rate('nft 64k', 'nft', 65_536, false, 1500);
    await rate('weft 1M random', 'weft', MANY, true, 8000);
    // Short: the kernel's table of connections holds a quarter of a million.
    for (const [path, warmUpMs, warmUp] of [
      ['weft', 0, NEW_WARM_UP],
      ['nft', 100, 0],
      ['relay', 100, NEW_WARM_UP],
      ['redirect', 500, 0],
    ] as const) {
      await measure(`${path} new`, 'M/s', 3, async () => {
        const { perSecond, cpuUs } = await flood(path, 0, true, warmUpMs, 500, warmUp);
        note(`${path} new us`, cpuUs);
        return perSecond / 1e6;
      });
    }
    await measure('weft rtt', 'us', 1, () => roundTrip('weft', false));
    await measure('bridge rtt', 'us', 1, () => roundTrip('bridge', false));
    await measure('weft new rtt', 'us', 1, () => roundTrip('weft', true));
    await measure('weft tcp', 'Gbit/s', 2, () => stream('weft'));
    await measure('bridge tcp', 'Gbit/s', 2, () => stream('bridge'));
  }
  // null where it was not measured.
  const of = (name: string) => median(seen.get(name) ?? []);
  const ratio = (ours: string, theirs: string) => Number((of(ours) / of(theirs)).toFixed(2));
  console.log(
    JSON.stringify({
      bench: 'l4',
      ratios: {
        xdpRedirect: ratio('weft 1k', 'redirect'),
        nftDnat: ratio('weft 1k', 'nft 1k'),
        bridge: ratio('weft 1k', 'bridge'),
        nftDnat64k: ratio('weft 64k', 'nft 64k'),
        nftDnat1mRandom: ratio('weft 1M random', 'nft 64k'),
        vxlanVsPlain: ratio('weft vxlan', 'weft 1k'),
      },
      newFlowsPerSecond: Math.round(of('weft new') * 1e6),
      newFlowsVsConntrack: ratio('weft new', 'nft new'),
      newFlowsVsAfXdp: ratio('weft new', 'relay new'),
      // Processor time of each: of Weft and the bare relay their own process; conntrack shares one processor with
      // generator and sink, whose part the blind redirect tells.
      newFlowUs: {
        weft: Number(of('weft new us').toFixed(2)),
        afXdp: Number(of('relay new us').toFixed(2)),
        conntrack: Number((1 / of('nft new') - 1 / of('redirect new')).toFixed(2)),
      },
      rttVsBridge: ratio('weft rtt', 'bridge rtt'),
      newFlowRttMoreUs: Number((of('weft new rtt') - of('bridge rtt')).toFixed(1)),
      tcpVsBridge: ratio('weft tcp', 'bridge tcp'),
    }),
  );
}

for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => process.exit(1));
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
  destroy();
});
await main();
