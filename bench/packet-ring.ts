/**
 * What the packet path of an engine costs without any service: two NICs joined in TypeScript, beside a Linux bridge in
 * the same place, in one run, alternating. Needs root.
 *
 *   npm run bench -- packet-ring [seconds per measurement]
 *
 * A generator floods one veth with UDP from a thousand ports; what is counted is what arrives behind the bump.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Nic } from '../src/engine-vm/kernel/packet-ring.ts';
import { HEADROOM } from '../src/packet/packet.ts';

const ROUNDS = 3;
const here = fileURLToPath(import.meta.url);
const bridgeProgram = fileURLToPath(new URL('../test/engine-vm/kernel/bridge-program.ts', import.meta.url));
const [client, engine, server] = ['client', 'engine', 'server'].map(
  (role) => `weft-bench-${process.pid}-${role}`,
) as [string, string, string];

interface Measurement {
  packetsPerSecond: number;
  /** Of the process that joins the NICs, with what the kernel does on its behalf; the bridge has no process. */
  cpuNsPerPacket: number | null;
}

/** Floods `nic` with frames of `size` bytes until it is killed. */
function generate(name: string, size: number): never {
  const nic = new Nic(name);
  const frame = Buffer.alloc(HEADROOM + size);
  frame.set(
    [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, (size - 14) >> 8, (size - 14) & 255],
    HEADROOM,
  );
  frame.set([64, 17, 0, 0, 10, 99, 0, 1, 10, 99, 0, 2], HEADROOM + 22);
  // Some kernels look into what they bridge, and drop an IP header with a wrong sum.
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += frame.readUInt16BE(HEADROOM + 14 + at);
  frame.writeUInt16BE(~((sum & 0xffff) + (sum >> 16)) & 0xffff, HEADROOM + 24);
  frame.writeUInt16BE(9, HEADROOM + 36);
  frame.writeUInt16BE(size - 34, HEADROOM + 38);
  for (let flow = 0; ; flow = (flow + 1) % 1000) {
    frame.writeUInt16BE(10_000 + flow, HEADROOM + 34);
    nic.send(frame, HEADROOM, size);
  }
}

function ip(command: string): string {
  return execFileSync('ip', command.split(' '), { encoding: 'utf8' });
}

function start(namespace: string, file: string, args: string[]): ChildProcess {
  const node = [process.execPath, '--disable-warning=ExperimentalWarning', file, ...args];
  return spawn('nsenter', [`--net=/run/netns/${namespace}`, ...node], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

function arrived(): number {
  const [link] = JSON.parse(ip(`-n ${server} -json -s link show eth0`)) as {
    stats64: { rx: { packets: number } };
  }[];
  return link!.stats64.rx.packets;
}

/** Packets per second that arrive behind the bump while it is flooded. */
async function flood(size: number, seconds: number): Promise<number> {
  const generator = start(client, here, ['generate', 'eth0', String(size)]);
  try {
    await delay(700);
    const before = arrived();
    const began = performance.now();
    await delay(seconds * 1000);
    return ((arrived() - before) * 1000) / (performance.now() - began);
  } finally {
    generator.kill('SIGKILL');
  }
}

async function throughWeft(size: number, seconds: number): Promise<Measurement> {
  const bump = start(engine, bridgeProgram, ['out', 'in', String(seconds * 1000 + 1500)]);
  const output = createInterface({ input: bump.stdout! })[Symbol.asyncIterator]();
  await output.next();
  const packetsPerSecond = await flood(size, seconds);
  const { cpuUs, ports } = JSON.parse(String((await output.next()).value)) as {
    cpuUs: number;
    ports: { sentPackets: number }[];
  };
  return { packetsPerSecond, cpuNsPerPacket: (cpuUs * 1000) / ports[1]!.sentPackets };
}

async function throughBridge(size: number, seconds: number): Promise<Measurement> {
  ip(`-n ${engine} link add br0 up type bridge forward_delay 0`);
  for (const port of ['out', 'in']) ip(`-n ${engine} link set ${port} master br0`);
  try {
    return { packetsPerSecond: await flood(size, seconds), cpuNsPerPacket: null };
  } finally {
    ip(`-n ${engine} link del br0`);
  }
}

function median(values: number[]): number {
  return values.sort((left, right) => left - right)[values.length >> 1]!;
}

async function main(seconds: number): Promise<void> {
  const results: Record<string, unknown> = { bench: 'packet-ring' };
  try {
    for (const name of [client, engine, server]) ip(`netns add ${name}`);
    for (const [end, port] of [
      [client, 'out'],
      [server, 'in'],
    ]) {
      ip(`-n ${end} link add eth0 type veth peer name ${port} netns ${engine}`);
      ip(`-n ${end} link set eth0 up`);
      ip(`-n ${engine} link set ${port} up`);
    }
    for (const size of [64, 1500]) {
      const weft: Measurement[] = [];
      const bridge: Measurement[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        weft.push(await throughWeft(size, seconds));
        bridge.push(await throughBridge(size, seconds));
      }
      const rate = Math.round(median(weft.map((one) => one.packetsPerSecond)));
      const bridgeRate = Math.round(median(bridge.map((one) => one.packetsPerSecond)));
      const cpu = Math.round(median(weft.map((one) => one.cpuNsPerPacket!)));
      console.log(
        `${size} B: weft ${rate} packets/s, ${cpu} ns CPU per packet; Linux bridge ${bridgeRate} packets/s; ` +
          `ratio ${(rate / bridgeRate).toFixed(2)}`,
      );
      results[`bytes${size}`] = {
        packetsPerSecond: rate,
        cpuNsPerPacket: cpu,
        bridgePacketsPerSecond: bridgeRate,
      };
    }
    console.log(JSON.stringify(results));
  } finally {
    removeNamespaces();
  }
}

function removeNamespaces(): void {
  for (const name of [client, engine, server]) {
    try {
      ip(`netns del ${name}`);
    } catch {
      // It was never made, or is gone.
    }
  }
}

if (process.argv[2] === 'generate') generate(process.argv[3]!, Number(process.argv[4]));
else {
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(name, () => {
      removeNamespaces();
      process.exit(1);
    });
  }
  await main(Number(process.argv[2] ?? 2));
}
