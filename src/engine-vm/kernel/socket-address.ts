/** Addresses of TCP sockets as the kernel writes them (sockaddr_in, sockaddr_in6), and sockets made with them. */
import { isIPv6 } from 'node:net';
import { kernelError, libc, setOption } from './libc.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0x80000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = [2, 'SO_REUSEADDR'] as const;
const SO_REUSEPORT = [15, 'SO_REUSEPORT'] as const;
const IPPROTO_TCP = 6;
const TCP_NODELAY = [1, 'TCP_NODELAY'] as const;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = [26, 'IPV6_V6ONLY'] as const;
const IPV6_TRANSPARENT = [75, 'IPV6_TRANSPARENT'] as const;
const IPPROTO_IP = 0;
const IP_TRANSPARENT = [19, 'IP_TRANSPARENT'] as const;
const SO_MARK = [36, 'SO_MARK'] as const;

/** Room for a sockaddr_in6. */
export const SOCKET_ADDRESS_BYTES = 28;

/** The bytes of a socket address: 16 for IPv4, 28 for IPv6. */
export function socketAddress(address: string, port: number): Uint8Array {
  if (!isIPv6(address)) {
    const bytes = new Uint8Array(16);
    bytes.set([AF_INET, 0, port >> 8, port & 255, ...address.split('.').map(Number)]);
    return bytes;
  }
  const bytes = new Uint8Array(SOCKET_ADDRESS_BYTES);
  bytes.set([AF_INET6, 0, port >> 8, port & 255]);
  // The URL parser knows every way to write an IPv6 address, and writes it in one.
  const [high, low] = new URL(`http://[${address}]/`).hostname.slice(1, -1).split('::');
  const left = high === '' ? [] : high!.split(':');
  const right = low === undefined || low === '' ? [] : low.split(':');
  const groups = [...left, ...Array(8 - left.length - right.length).fill('0'), ...right];
  for (const [n, group] of groups.entries()) {
    const value = Number.parseInt(group, 16);
    bytes[8 + 2 * n] = value >> 8;
    bytes[9 + 2 * n] = value & 255;
  }
  return bytes;
}

/** The text of a socket address that the kernel wrote. An IPv4-mapped one is IPv4. */
export function addressText(bytes: Uint8Array): string {
  if (bytes[0] === AF_INET) return `${bytes[4]}.${bytes[5]}.${bytes[6]}.${bytes[7]}`;
  const groups: string[] = [];
  for (let n = 8; n < 24; n += 2) groups.push(((bytes[n]! << 8) | bytes[n + 1]!).toString(16));
  if (groups.slice(0, 5).every((group) => group === '0') && groups[5] === 'ffff') {
    return [...bytes.subarray(20, 24)].join('.');
  }
  return new URL(`http://[${groups.join(':')}]/`).hostname.slice(1, -1);
}

export function portOf(bytes: Uint8Array): number {
  return (bytes[2]! << 8) | bytes[3]!;
}

/** Both ends of a connection, as its client sees it: from where, and to which address of ours. */
export interface ConnectionEnds {
  readonly sourceAddress: string;
  readonly sourcePort: number;
  readonly targetAddress: string;
  readonly targetPort: number;
}

const peer = new Uint8Array(SOCKET_ADDRESS_BYTES);
const peerLength = new Uint32Array(1);

/** The address of the other end of a connected socket; empty where it is gone. */
export function peerAddress(fd: number): string {
  peerLength[0] = SOCKET_ADDRESS_BYTES;
  return libc.getpeername(fd, peer, peerLength) < 0 ? '' : addressText(peer);
}

/** Both ends of a connection that was accepted; null where it is gone. */
export function socketEnds(fd: number): ConnectionEnds | null {
  peerLength[0] = SOCKET_ADDRESS_BYTES;
  if (libc.getpeername(fd, peer, peerLength) < 0) return null;
  const source = { sourceAddress: addressText(peer), sourcePort: portOf(peer) };
  peerLength[0] = SOCKET_ADDRESS_BYTES;
  if (libc.getsockname(fd, peer, peerLength) < 0) return null;
  return { ...source, targetAddress: addressText(peer), targetPort: portOf(peer) };
}

/** Where a socket is bound to; address `` where that cannot be told. */
export function localEndpoint(fd: number): { readonly address: string; readonly port: number } {
  peerLength[0] = SOCKET_ADDRESS_BYTES;
  if (libc.getsockname(fd, peer, peerLength) < 0) return { address: '', port: 0 };
  return { address: addressText(peer), port: portOf(peer) };
}

/** The port that a socket is bound to. */
export function localPort(fd: number): number {
  peerLength[0] = SOCKET_ADDRESS_BYTES;
  return libc.getsockname(fd, peer, peerLength) < 0 ? 0 : portOf(peer);
}

/** An unconnected TCP socket for that address, with TCP_NODELAY; -1 where none can be had (errno says why). */
export function tcpSocket(address: Uint8Array): number {
  const fd = libc.socket(address[0]!, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0) setOption(fd, IPPROTO_TCP, TCP_NODELAY, [1], 'a TCP socket');
  return fd;
}

/**
 * A listening socket that may share its address with those of other threads (SO_REUSEPORT). What it accepts inherits
 * TCP_NODELAY. `mark`: the address need not be one of this machine (IP_TRANSPARENT), and what is sent in connections to
 * it is marked so (SO_MARK), which its routes may go by; that takes CAP_NET_ADMIN. Throws ERR_KERNEL.
 */
export function listenTcp(address: string, port: number, backlog: number, mark?: number): number {
  const bytes = socketAddress(address, port);
  const name = `${address} port ${port}`;
  const fd = tcpSocket(bytes);
  if (fd < 0) throw kernelError('socket', name);
  try {
    setOption(fd, SOL_SOCKET, SO_REUSEADDR, [1], name);
    setOption(fd, SOL_SOCKET, SO_REUSEPORT, [1], name);
    if (bytes[0] === AF_INET6) setOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, [1], name);
    if (mark !== undefined) {
      if (bytes[0] === AF_INET6) setOption(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, [1], name);
      else setOption(fd, IPPROTO_IP, IP_TRANSPARENT, [1], name);
      setOption(fd, SOL_SOCKET, SO_MARK, [mark], name);
    }
    if (libc.bind(fd, bytes, bytes.length) < 0) {
      throw kernelError('bind', name, 'is the address one of this machine, and the port free?');
    }
    if (libc.listen(fd, backlog) < 0) throw kernelError('listen', name);
    return fd;
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0x800;

/** Whether calls on a socket wait (io_uring wants that) or not (epoll). Sockets are made waiting. */
export function setWaiting(fd: number, isWaiting: boolean): void {
  const flags = libc.fcntl(fd, F_GETFL, 0);
  const wanted = isWaiting ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
  if (wanted !== flags) libc.fcntl(fd, F_SETFL, wanted);
}
