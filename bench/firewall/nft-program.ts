/**
 * Sends datagrams through the rules of its network namespace, which drop them, to addresses and ports that change with
 * each; prints the nanoseconds each took. Started by ../firewall.ts.
 *
 *   nft-program.ts DATAGRAMS
 */
import { libc } from '../../src/engine-vm/kernel/libc.ts';

const count = Number(process.argv[2]);
const AF_INET = 2;
const SOCK_DGRAM = 2;
const socket = libc.socket(AF_INET, SOCK_DGRAM, 0);
const payload = new Uint8Array(18);
const address = new Uint8Array(16);
const view = new DataView(address.buffer);
view.setUint16(0, AF_INET, true);

function run(datagrams: number): number {
  const begin = process.hrtime.bigint();
  for (let n = 0; n < datagrams; n++) {
    const bits = Math.imul(n + 1, 0x9e3779b1) >>> 0;
    view.setUint16(2, 1000 + (bits % 5000));
    view.setUint32(4, 0x0a000000 | (bits >>> 8));
    libc.sendto(socket, payload, 18n, 0, address, 16);
  }
  return Number(process.hrtime.bigint() - begin) / datagrams;
}

run(Math.min(count, 1000));
console.log(run(count));
libc.close(socket);
