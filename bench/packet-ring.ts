/**
 * What the packet path of an engine costs without any service: frames through two NICs joined in TypeScript.
 *
 *   node bench/packet-ring.ts [seconds]      needs root; prints packets per second and CPU ns per packet
 *
 * A generator floods one veth, the bump joins it to another, whose far end drops the frames. Then a TCP stream with TSO
 * goes through the same bump. Everything runs in namespaces of its own, named weft-bench-*.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Nic } from '../src/engine-vm/kernel/packet-ring.ts';
import { HEADROOM } from '../src/packet/packet.ts';

interface BumpResult {
  cpuUs: number;
  ports: { receivedPackets: number; sentPackets: number; receivedBytes: number; lost: number }[];
}

const here = fileURLToPath(import.meta.url);
const program = (name: string): string =>
  fileURLToPath(new URL(`../test/engine-vm/kernel/${name}`, import.meta.url));

/** Floods `nic` with frames of `size` bytes from a thousand UDP flows until it is killed. */
function generate(name: string, size: number): void {
  const nic = new Nic(name);
  const frame = Buffer.alloc(HEADROOM + size);
  frame.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, size - 14], HEADROOM);
  frame.set([64, 17, 0, 0, 10, 99, 0, 1, 10, 99, 0, 2], HEADROOM + 22);
  for (let flow = 0; ; flow = (flow + 1) % 1000) {
    frame.writeUInt16BE(10_000 + flow, HEADROOM + 34);
    nic.send(frame, HEADROOM, size);
  }
}

function start(namespace: string, file: string, args: string[]): ChildProcess {
  const node = [process.execPath, '--disable-warning=ExperimentalWarning', file, ...args];
  return spawn('nsenter', [`--net=/run/netns/${namespace}`, ...node], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

async function* lines(child: ChildProcess): AsyncGenerator<string> {
  yield* createInterface({ input: child.stdout! });
}

async function bump(namespace: string, seconds: number, load: () => ChildProcess): Promise<BumpResult> {
  const child = start(namespace, program('bridge-program.ts'), ['out', 'in', String(seconds * 1000)]);
  const output = lines(child);
  await output.next();
  const loader = load();
  try {
    return JSON.parse(String((await output.next()).value)) as BumpResult;
  } finally {
    loader.kill('SIGKILL');
  }
}

async function main(seconds: number): Promise<void> {
  const names = ['client', 'engine', 'server'].map((role) => `weft-bench-${process.pid}-${role}`);
  const [client, engine, server] = names;
  const ip = (...args: string[]): void => void execFileSync('ip', args);
  try {
    for (const name of names) ip('netns', 'add', name);
    for (const [index, [end, port]] of [
      [client, 'out'],
      [server, 'in'],
    ].entries()) {
      ip('-n', end, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', port, 'netns', engine);
      ip('-n', end, 'addr', 'add', `10.99.0.${index + 1}/24`, 'dev', 'eth0');
      ip('-n', end, 'link', 'set', 'eth0', 'up');
      ip('-n', engine, 'link', 'set', port, 'up');
    }
    for (const size of [64, 1500]) {
      const { cpuUs, ports } = await bump(engine, seconds, () =>
        start(client, here, ['generate', 'eth0', String(size)]),
      );
      const sent = ports[1].sentPackets;
      console.log(
        `${size} B: ${Math.round(sent / seconds)} packets/s, ${Math.round((cpuUs * 1000) / sent)} ns CPU per packet, ` +
          `${ports[0].lost} lost of ${ports[0].receivedPackets + ports[0].lost} offered`,
      );
    }
    const bytes = String(400 << 20);
    const serve = start(server, program('transfer-program.ts'), ['serve', '10.99.0.2', '9000', bytes]);
    await lines(serve).next();
    const { cpuUs, ports } = await bump(engine, seconds, () =>
      start(client, program('transfer-program.ts'), ['send', '10.99.0.2', '9000', bytes]),
    );
    serve.kill('SIGKILL');
    const moved = ports[0].receivedBytes + ports[1].receivedBytes;
    const frames = ports[0].receivedPackets + ports[1].receivedPackets;
    console.log(
      `TCP with TSO: ${((moved * 8) / seconds / 1e9).toFixed(2)} Gbit/s, ${Math.round(moved / frames)} bytes per frame, ` +
        `${Math.round((cpuUs * 1e6) / moved)} us CPU per MB`,
    );
  } finally {
    for (const name of names) {
      try {
        ip('netns', 'del', name);
      } catch {
        // It was never made.
      }
    }
  }
}

if (process.argv[2] === 'generate') generate(process.argv[3], Number(process.argv[4]));
else await main(Number(process.argv[2] ?? 3));
