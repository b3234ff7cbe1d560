/**
 * For tests: `xsk-program.ts <nic>` attaches the XDP program to an interface, with AF_XDP for what it hands up. Each
 * frame is printed as `<xsk|ring> <flags of its virtio_net_hdr> <hex>` and sent back as it came. A line on standard
 * input closes the socket; then `closed` is printed.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { FastPath } from '../../../src/engine-vm/fastpath/fast-path.ts';
import { PacketMemory } from '../../../src/engine-vm/kernel/packet-memory.ts';
import { NIC_MEMORY } from '../../../src/engine-vm/kernel/packet-ring.ts';
import { STILL_TAKEN, Umem, XskSocket, xskMemory } from '../../../src/engine-vm/kernel/xsk.ts';
import { Port } from '../../../src/engine-vm/port.ts';
import { HEADROOM } from '../../../src/packet/packet.ts';

const [name] = process.argv.slice(2) as [string];
const PATIENCE_MS = 10_000;
const memory = new PacketMemory(NIC_MEMORY + xskMemory(1));
const umem = new Umem(memory, 1);
const port = new Port(name, memory);
const fast = new FastPath('xdp');
fast.attach(0, name, null);
const socket = await open();
fast.addSocket(0, socket);
port.use([socket]);
process.stdin.on('data', () => {
  fast.forgetSockets(0);
  port.closeSockets();
  process.stdout.write('closed\n');
});
process.stdout.write('ready\n');
for (;;) {
  for (const [way, from] of [['ring', port.nic] as const, ['xsk', socket] as const]) {
    const handler = {
      receive(_port: number, buffer: Uint8Array, start: number, length: number): void {
        const hex = Buffer.from(buffer.subarray(start, start + length)).toString('hex');
        process.stdout.write(`${way} ${buffer[start - HEADROOM]} ${hex}\n`);
        port.send(buffer, start, length);
      },
    };
    from.receive(handler, 0, 64);
  }
  port.flush();
  await delay(1);
}

/** A socket of a process that has just ended may have the queue for a moment yet. */
async function open(): Promise<XskSocket> {
  for (const end = Date.now() + PATIENCE_MS; ; await delay(10)) {
    try {
      return new XskSocket(name, 0, umem, true);
    } catch (error) {
      if (!(error as Error).message.includes(STILL_TAKEN) || Date.now() > end) throw error;
    }
  }
}
