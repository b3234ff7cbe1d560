/**
 * What firewall rules cost: a new flow and a packet of an established one under 10, 1,000 and 10,000 rules, with and
 * without an address set of 100,000 prefixes; how long they take to load and how much memory they hold. Beside it nft
 * with the same rules and set, alternating, where there are root and nft.
 *
 *   npm run bench -- firewall [rounds]
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { AddressClasses } from '../src/engine-vm/component/address-classes.ts';
import type { Decision } from '../src/engine-vm/component/component.ts';
import { BARE_CONTEXT, Firewall } from '../src/engine-vm/component/firewall.ts';
import { Dataplane, PORT_OUT } from '../src/engine-vm/dataplane/dataplane.ts';
import { packPrefixes } from '../src/packet/packed-prefixes.ts';
import { HEADROOM, Packet } from '../src/packet/packet.ts';
import type { GraphComponent, ServiceGraph } from '../src/policy/graph.ts';
import { engineMac, graphFor, VIP } from '../test/engine-vm/dataplane/network.ts';
import { frame } from '../test/packet/frames.ts';
import { benchPrefixes, benchRules, nftScript } from './firewall/rules.ts';

const rounds = Number(process.argv[2] ?? 3);
const NEW_FLOWS = 300_000;
const PACKETS = 1_000_000;
const PREFIXES = benchPrefixes(100_000);
const PACKED = packPrefixes(PREFIXES);
const SIZES = [10, 1000, 10_000];
const SPACE = `weft-bench-${process.pid}`;
const PROGRAM = fileURLToPath(new URL('firewall/nft-program.ts', import.meta.url));
const NFT_DATAGRAMS: Record<number, number> = { 0: 100_000, 10: 100_000, 1000: 20_000, 10000: 2000 };

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

type Spec = Extract<GraphComponent, { type: 'firewall' }>;

function specOf(count: number, hasSet: boolean): Spec {
  const rules: Spec['rules'] = benchRules(count).map(({ prefix, port }, n) => ({
    name: `r${n}`,
    action: 'allow',
    to: [prefix],
    protocol: 'udp',
    ports: [String(port)],
  }));
  if (hasSet) rules.push({ name: 'large', action: 'allow', fromSets: [0], protocol: 'any' });
  return { type: 'firewall', policy: 'bench', rules, defaultAction: 'allow' };
}

function setsOf(hasSet: boolean): NonNullable<ServiceGraph['addressSets']> {
  return hasSet ? [{ name: 'large', hash: 'bench', prefixes: PACKED }] : [];
}

function memory(): number {
  collect();
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** Milliseconds to load, bytes held, and nanoseconds for each new flow. */
function measure(count: number, hasSet: boolean): { loadMs: number; bytes: number; newFlowNs: number } {
  const spec = specOf(count, hasSet);
  const before = memory();
  const begin = performance.now();
  const firewall = new Firewall(spec, { ...BARE_CONTEXT, addressSets: new AddressClasses(setsOf(hasSet)) });
  const loadMs = performance.now() - begin;
  const bytes = memory() - before;
  const packet = new Packet();
  packet.ipVersion = 4;
  packet.protocol = 17;
  packet.s2 = packet.d2 = 0xffff;
  const decision: Decision = {
    service: 0,
    tier: 0,
    isNewFlow: true,
    member: -1,
    reason: 0,
    rule: -1,
    isMetered: false,
    isByHash: false,
    isTrace: false,
  };
  const run = (flows: number): number => {
    const start = process.hrtime.bigint();
    for (let n = 0; n < flows; n++) {
      const bits = Math.imul(n + 1, 0x9e3779b1) >>> 0;
      packet.s3 = 0xac000000 | (bits & 0xffffff);
      packet.d3 = 0x0a000000 | (bits >>> 8);
      packet.sourcePort = bits & 0xffff;
      packet.destinationPort = 1000 + (bits % 5000);
      firewall.process(packet, decision);
    }
    return Number(process.hrtime.bigint() - start) / flows;
  };
  run(NEW_FLOWS / 10);
  return { loadMs, bytes, newFlowNs: run(NEW_FLOWS) };
}

/** Nanoseconds for each packet of an established flow through the whole data plane. */
function established(count: number, hasSet: boolean): number {
  let now = 1000;
  const dataplane = new Dataplane({
    wire: { send: () => true },
    nowMs: () => now,
    wallMs: () => now,
    onSession: () => undefined,
  });
  const balancer: GraphComponent = {
    type: 'load-balancer',
    method: 'topological',
    persistence: { type: 'none' },
  };
  const graph = graphFor('A', { components: [specOf(count, hasSet), balancer] });
  dataplane.load({ ...graph, addressSets: setsOf(hasSet) });
  now += 10_000;
  const bytesOf = (flags: string) =>
    frame({
      from: '10.0.0.9',
      to: VIP,
      sport: 1024,
      dport: 8080,
      flags,
      fromMac: '02:cc:00:00:00:01',
      toMac: engineMac('A'),
    });
  const buffer = new Uint8Array(2048);
  const send = (bytes: Uint8Array): void => {
    buffer.set(bytes);
    dataplane.receive(PORT_OUT, buffer, HEADROOM, bytes.length - HEADROOM);
  };
  send(bytesOf('S'));
  const packet = bytesOf('A');
  for (let n = 0; n < 50_000; n++) send(packet);
  const begin = process.hrtime.bigint();
  for (let n = 0; n < PACKETS; n++) send(packet);
  return Number(process.hrtime.bigint() - begin) / PACKETS;
}

/**
 * Milliseconds for which frames wait in one piece while a graph with one changed rule comes into force, its rules
 * compiled already, in a table of a million flows of which a tenth are live.
 */
function activation(count: number): number {
  const dataplane = new Dataplane({
    wire: { send: () => true },
    nowMs: () => 1000,
    wallMs: () => 1000,
    onSession: () => undefined,
  });
  const balancer: GraphComponent = {
    type: 'load-balancer',
    method: 'topological',
    persistence: { type: 'none' },
  };
  const load = (revision: number): number => {
    const spec = specOf(count, false);
    spec.rules.unshift({ name: `new${revision}`, action: 'deny', from: ['192.0.2.1/32'], protocol: 'any' });
    const graph = graphFor('A', { revision, maxFlows: 1_000_000, components: [spec, balancer] });
    for (const _ of { [Symbol.iterator]: () => dataplane.prepare(graph) });
    const begin = performance.now();
    dataplane.load(graph);
    return performance.now() - begin;
  };
  load(1);
  const buffer = new Uint8Array(2048);
  for (let n = 0; n < 100_000; n++) {
    const from = `10.9.${(n >> 8) & 255}.${n & 255}`;
    const bytes = frame({
      from,
      to: VIP,
      sport: 1024 + (n >> 16),
      dport: 53,
      protocol: 'udp',
      fromMac: '02:cc:00:00:00:01',
      toMac: engineMac('A'),
    });
    buffer.set(bytes);
    dataplane.receive(PORT_OUT, buffer, HEADROOM, bytes.length - HEADROOM);
  }
  return median([load(2), load(3), load(4), load(5), load(6)]);
}

function inSpace(program: string, args: string[], input?: string): string {
  return execFileSync('ip', ['netns', 'exec', SPACE, program, ...args], {
    encoding: 'utf8',
    ...(input === undefined ? {} : { input }),
    maxBuffer: 1 << 26,
  });
}

/** Milliseconds to load and nanoseconds for each datagram, the sending itself included. */
function measureNft(count: number, hasSet: boolean): { loadMs: number; sendNs: number } {
  inSpace('nft', ['flush', 'ruleset']);
  const script = nftScript(benchRules(count), hasSet ? PREFIXES : []);
  const begin = performance.now();
  inSpace('nft', ['-f', '-'], script);
  const loadMs = performance.now() - begin;
  const args = ['--experimental-ffi', '--disable-warning=ExperimentalWarning', PROGRAM];
  return { loadMs, sendNs: Number(inSpace(process.execPath, [...args, String(NFT_DATAGRAMS[count])])) };
}

function openSpace(): boolean {
  try {
    execFileSync('nft', ['--version'], { stdio: 'ignore' });
    execFileSync('ip', ['netns', 'add', SPACE], { stdio: 'ignore' });
    for (const command of ['link set lo up', 'addr add 172.16.0.1/32 dev lo', 'route add default dev lo']) {
      execFileSync('ip', ['-n', SPACE, ...command.split(' ')]);
    }
    return true;
  } catch {
    console.log('no root or no nft (apt-get install nftables): Weft alone is measured');
    return false;
  }
}

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
const cases = SIZES.flatMap((count) => [false, true].map((hasSet) => ({ count, hasSet })));
const hasNft = openSpace();
const weft = cases.map(() => ({
  loadMs: [] as number[],
  bytes: [] as number[],
  newFlowNs: [] as number[],
  establishedNs: [] as number[],
}));
const nft = cases.map(() => ({ loadMs: [] as number[], sendNs: [] as number[] }));
const bare: number[] = [];
try {
  for (let round = 0; round < rounds; round++) {
    if (hasNft) bare.push(measureNft(0, false).sendNs);
    cases.forEach(({ count, hasSet }, index) => {
      const one = measure(count, hasSet);
      weft[index]?.loadMs.push(one.loadMs);
      weft[index]?.bytes.push(one.bytes);
      weft[index]?.newFlowNs.push(one.newFlowNs);
      weft[index]?.establishedNs.push(established(count, hasSet));
      if (!hasNft) return;
      const other = measureNft(count, hasSet);
      nft[index]?.loadMs.push(other.loadMs);
      nft[index]?.sendNs.push(other.sendNs);
    });
  }
} finally {
  if (hasNft) execFileSync('ip', ['netns', 'del', SPACE]);
}

const nothing = median(bare);
const results = cases.map(({ count, hasSet }, index) => {
  const { loadMs, bytes, newFlowNs, establishedNs } = weft[index]!;
  const other = nft[index]!;
  return {
    rules: count,
    prefixes: hasSet ? PREFIXES.length : 0,
    newFlowNs: Math.round(median(newFlowNs)),
    establishedNs: Math.round(median(establishedNs)),
    loadMs: Math.round(median(loadMs)),
    megabytes: Number((median(bytes) / 1e6).toFixed(1)),
    ...(hasNft
      ? {
          nftNewFlowNs: Math.round(median(other.sendNs) - nothing),
          nftLoadMs: Math.round(median(other.loadMs)),
        }
      : {}),
  };
});
console.table(results);
const activationMs = Object.fromEntries(SIZES.map((count) => [count, Number(activation(count).toFixed(2))]));
console.log('a graph comes into force, milliseconds by rules:', activationMs);
console.log(
  JSON.stringify({
    bench: 'firewall',
    activationMs,
    setBytes: new AddressClasses(setsOf(true)).bytes,
    results,
  }),
);
