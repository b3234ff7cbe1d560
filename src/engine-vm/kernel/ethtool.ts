/**
 * What only ethtool knows of an interface: how many receive queues it has, whether it takes VLAN tags out of frames, and
 * whether it polls.
 * Source: linux include/uapi/linux/ethtool.h.
 */
import { addressOf } from './bpf.ts';
import { kernelError, libc } from './libc.ts';

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0x80000;
const SIOCETHTOOL = 0x8946n;
const ETHTOOL_GFLAGS = 0x25;
const ETHTOOL_SFLAGS = 0x26;
const ETHTOOL_SGRO = 0x2c;
const ETHTOOL_GCHANNELS = 0x3c;
const ETH_FLAG_RXVLAN = 1 << 8;
const IFREQ_BYTES = 40;
const NAME_BYTES = 16;

/** Receive queues of an interface; 1 where the driver does not say. */
export function receiveQueues(name: string): number {
  const channels = new Uint32Array(9);
  channels[0] = ETHTOOL_GCHANNELS;
  return ask(name, channels) ? Math.max(1, channels[5]! + channels[8]!) : 1;
}

/**
 * Makes the interface leave VLAN tags in its frames: what it takes out, XDP does not see, and a tagged frame would pass
 * for an untagged one. Throws ERR_KERNEL where it does not let go of that.
 */
export function keepTags(name: string): void {
  const flags = Uint32Array.of(ETHTOOL_GFLAGS, 0);
  if (!ask(name, flags) || (flags[1]! & ETH_FLAG_RXVLAN) === 0) return;
  flags[0] = ETHTOOL_SFLAGS;
  flags[1] = flags[1]! & ~ETH_FLAG_RXVLAN;
  if (!ask(name, flags)) throw kernelError('ethtool rxvlan off', `interface ${name}`);
}

/** Makes an end of a veth take frames that XDP redirects to its other end: it does where it polls, as with GRO. */
export function takeRedirects(name: string): void {
  // A kernel that refuses drops such frames only where its program is XDP's.
  ask(name, Uint32Array.of(ETHTOOL_SGRO, 1));
}

function ask(name: string, command: Uint32Array): boolean {
  const request = new Uint8Array(IFREQ_BYTES);
  request.set(Buffer.from(name, 'latin1').subarray(0, NAME_BYTES - 1));
  const bytes = new Uint8Array(command.buffer);
  new DataView(request.buffer).setBigUint64(NAME_BYTES, addressOf(bytes), true);
  const fd = libc.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw kernelError('socket', `interface ${name}`);
  const isDone = libc.ioctl(fd, SIOCETHTOOL, request) >= 0;
  libc.close(fd);
  return isDone;
}
