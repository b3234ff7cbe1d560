/**
 * For tests: single frames as hex, through a Nic. `frame-program.ts <nic> <milliseconds> [hex ...]` sends the frames,
 * then prints each frame that arrives as a line of hex, and at the end its counters as JSON.
 */
import { Nic } from '../../../src/engine-vm/kernel/packet-ring.ts';
import { Poll } from '../../../src/engine-vm/kernel/poll.ts';
import { HEADROOM } from '../../../src/packet/packet.ts';

const [name, milliseconds, ...frames] = process.argv.slice(2);
const nic = new Nic(name);
const poll = new Poll([nic.fd]);
process.stdout.write('ready\n');
for (const hex of frames) {
  const frame = Buffer.concat([Buffer.alloc(HEADROOM), Buffer.from(hex, 'hex')]);
  nic.send(frame, HEADROOM, frame.length - HEADROOM);
}
nic.flush();
const handler = {
  receive(_port: number, buffer: Uint8Array, start: number, length: number): void {
    process.stdout.write(`${Buffer.from(buffer.subarray(start, start + length)).toString('hex')}\n`);
  },
};
const end = Date.now() + Number(milliseconds);
while (Date.now() < end) {
  const moved = nic.receive(handler, 0, 64);
  if (poll.rest(moved, 10) && poll.hasError(0)) nic.clearError();
}
process.stdout.write(`${JSON.stringify(nic.counters())}\n`);
nic.close();
