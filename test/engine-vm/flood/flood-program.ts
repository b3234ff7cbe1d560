/**
 * For tests and the bench of floods: SYNs to port 80 of an address, each from another address and port, as fast as the
 * kernel's generator makes them, until SIGTERM. `flood-program.ts NIC TO-MAC FROM-MAC ADDRESS`; prints `ready`, and at the
 * end how many it has sent.
 */
import { writeSync } from 'node:fs';
import { constants } from 'node:os';
import { loadTraffic, sumOf } from '../../../bench/l4/kernel-programs.ts';
import { errno, libc } from '../../../src/engine-vm/kernel/libc.ts';
import { HEADROOM } from '../../../src/packet/packet.ts';
import { frame } from '../../packet/frames.ts';

/** In one call, as between two of them the kernel waits for all processors: more than can be sent before the end. */
const ENDLESS = 2 ** 30;
/** Frames after which the kernel looks at what is waiting. A wire brings them one by one; 64 at a time filled the link. */
const BURST = 16;
const [nic, toMac, fromMac, to] = process.argv.slice(2) as [string, string, string, string];
const bytes = Uint8Array.from(
  frame({
    protocol: 'tcp',
    from: '0.0.0.0',
    to,
    fromMac,
    toMac,
    sport: 0,
    dport: 80,
    flags: 'S',
    payload: new Uint8Array(0),
  }).subarray(HEADROOM),
);
const padded = new Uint8Array(60);
padded.set(bytes);
const program = loadTraffic('syn');
const ip = bytes.slice(14, 34);
ip.fill(0, 10, 12);
const tcp = bytes.slice(34);
tcp.fill(0, 16, 18);
const pseudo = Uint8Array.from([...bytes.slice(26, 34), 0, 6, 0, tcp.length]);
program.words[0] = libc.if_nametoindex(nic);
program.words[2] = 1;
program.words[6] = sumOf(tcp) + sumOf(pseudo);
program.words[7] = sumOf(ip);
program.head.set(padded.subarray(0, program.head.length));
// The handler never runs: that there is one makes the signal end the call instead of the process.
process.on('SIGTERM', () => {});
writeSync(1, 'ready\n');
try {
  program.run(padded, ENDLESS, BURST);
} catch (error) {
  if (errno() !== constants.errno.EINTR) throw error;
}
writeSync(1, `${program.packets()}\n`);
process.exit();
