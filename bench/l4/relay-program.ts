/**
 * The floor of bench/l4.ts for what goes through TypeScript: frames come up by AF_XDP from `out`, as the engine's program
 * hands them up, and leave by `in` as they came, without a look at them. `relay-program.ts`, beside both interfaces.
 */
import { FastPath } from '../../src/engine-vm/fastpath/fast-path.ts';
import { PacketMemory } from '../../src/engine-vm/kernel/packet-memory.ts';
import { NIC_MEMORY } from '../../src/engine-vm/kernel/packet-ring.ts';
import { Poll } from '../../src/engine-vm/kernel/poll.ts';
import { xskMemory } from '../../src/engine-vm/kernel/xsk.ts';
import { Port } from '../../src/engine-vm/port.ts';
import { UpcallSockets } from '../../src/engine-vm/upcall-sockets.ts';

const NAMES = ['out', 'in'];
const BUDGET = 64;
const TICK_MS = 8;
const SLEEP_MS = 10;

const memory = new PacketMemory(NAMES.length * (NIC_MEMORY + xskMemory(1)));
const program = new FastPath('xdp');
const sockets = new UpcallSockets(memory, NAMES, true);
const ports = NAMES.map((name) => new Port(name, memory));
for (const [port, name] of NAMES.entries()) {
  program.attach(port, name, null);
  sockets.open(port, ports[port]!, program);
}
const [from, to] = ports as [Port, Port];
const poll = new Poll([from.nic.fd, ...from.sockets.map(({ fd }) => fd)]);
const handler = {
  receive(_port: number, buffer: Uint8Array, start: number, length: number): void {
    to.send(buffer, start, length);
  },
};
process.stdout.write('ready\n');
for (let tickAt = 0; ; ) {
  const now = performance.now();
  if (now - tickAt >= TICK_MS) {
    tickAt = now;
    program.tick(now);
  }
  const moved = from.receive(handler, 0, BUDGET);
  to.flush();
  poll.rest(moved, SLEEP_MS);
}
