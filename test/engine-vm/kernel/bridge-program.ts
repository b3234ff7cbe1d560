/** For tests and the bench: two NICs joined as a bump in the wire. `bridge-program.ts <nic> <nic> <milliseconds>`. */
import { PacketMemory } from '../../../src/engine-vm/kernel/packet-memory.ts';
import { NIC_MEMORY, Nic } from '../../../src/engine-vm/kernel/packet-ring.ts';
import { Poll } from '../../../src/engine-vm/kernel/poll.ts';

const [left, right, milliseconds] = process.argv.slice(2);
const memory = new PacketMemory(2 * NIC_MEMORY);
const nics = [new Nic(left, memory), new Nic(right, memory)];
const poll = new Poll(nics.map((nic) => nic.fd));
const handler = {
  receive(port: number, buffer: Uint8Array, start: number, length: number): void {
    nics[1 - port].send(buffer, start, length);
  },
};
process.stdout.write('ready\n');
const end = Date.now() + Number(milliseconds);
const before = process.cpuUsage();
while (Date.now() < end) {
  let moved = 0;
  for (const port of [0, 1]) moved += nics[port].receive(handler, port, 64);
  for (const nic of nics) nic.flush();
  poll.rest(moved, 10);
}
const used = process.cpuUsage(before);
process.stdout.write(
  `${JSON.stringify({ cpuUs: used.user + used.system, ports: nics.map((nic) => nic.counters()) })}\n`,
);
for (const nic of nics) nic.close();
memory.close();
