/**
 * For the test of hostile frames: looks at every frame that reaches a member, and keeps those that the policy forbids.
 * `sink-program.ts NIC MEMBER-ADDRESS PORT SERVICE-ADDRESS ALLOWED-PREFIX`: only what comes from addresses that begin
 * with the prefix (text) may reach the port of the member, and nothing the service's own address. Prints what it has seen, twice a second.
 */
import { writeSync } from 'node:fs';
import { Nic } from '../../../src/engine-vm/kernel/packet-ring.ts';
import { Poll } from '../../../src/engine-vm/kernel/poll.ts';
import { formatAddress } from '../../../src/packet/address.ts';
import { Packet } from '../../../src/packet/packet.ts';
import { PROTOCOL_TCP, parse, TCP_RST } from '../../../src/packet/parse.ts';

const SAY_MS = 500;
const MOST_LEAKS = 5;
const [name, member, port, service, allowed] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
];
const nic = new Nic(name);
const poll = new Poll([nic.fd]);
const packet = new Packet();
const seen = { frames: 0, allowed: 0, leaks: [] as string[] };
const handler = {
  receive(_port: number, buffer: Uint8Array, start: number, length: number): void {
    seen.frames++;
    parse(packet, buffer, start, length);
    if (packet.ipVersion === 0 || packet.malformed !== null) return;
    const to = formatAddress(packet.d0, packet.d1, packet.d2, packet.d3);
    const from = formatAddress(packet.s0, packet.s1, packet.s2, packet.s3);
    // The engine resets connections to ports that are no service, also those that claim to come from the service.
    if (from === service && packet.protocol === PROTOCOL_TCP && (packet.tcpFlags & TCP_RST) !== 0) return;
    const isForMember = to === member && packet.destinationPort === Number(port);
    const isAllowed = from.startsWith(allowed);
    if (isForMember && isAllowed) seen.allowed++;
    if (to !== service && (!isForMember || isAllowed)) return;
    if (seen.leaks.length < MOST_LEAKS)
      seen.leaks.push(Buffer.from(buffer.subarray(start, start + length)).toString('hex'));
  },
};
let saidAt = 0;
writeSync(1, 'ready\n');
for (;;) {
  const moved = nic.receive(handler, 0, 64);
  if (poll.rest(moved, 10) && poll.hasError(0)) nic.clearError();
  if (performance.now() - saidAt < SAY_MS) continue;
  saidAt = performance.now();
  writeSync(1, `${JSON.stringify(seen)}\n`);
}
