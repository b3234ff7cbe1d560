/**
 * ICMP echo without a `ping` program: one non-blocking socket per address family, shared by all checks. A raw socket
 * where the process may open one (an engine does), else the kernel's datagram ICMP socket (icmp(7)).
 * Replies are told apart by an 8-byte token in the payload, because a datagram socket rewrites the identifier.
 */
import { constants } from 'node:os';
import { parseAddress } from '../../packet/address.ts';
import { fold, sumBytes } from '../../packet/checksum.ts';
import { errno, errnoName, kernelError, libc, setOption } from './libc.ts';

/** One echo reply: where it came from (an address key, `addressKey`), and the token that was sent. */
export interface EchoReply {
  from: string;
  token: bigint;
}

export interface EchoSocket {
  /** Sends an echo request; null, or the errno name where the kernel refused, such as `ENETUNREACH`. */
  send(address: string, token: bigint): string | null;
  /** The next reply that has arrived, or null. */
  receive(): EchoReply | null;
  close(): void;
}

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;
const IPPROTO_ICMP = 1;
const IPPROTO_ICMPV6 = 58;
const SOL_RAW = 255;
const ICMP_FILTER = 1;
const ICMPV6_FILTER = 1;
const MSG_DONTWAIT = 0x40;

const ECHO_REPLY = 0;
const ECHO_REQUEST = 8;
const ECHO_REQUEST_V6 = 128;
const ECHO_REPLY_V6 = 129;
const HEADER_BYTES = 8;
const TOKEN_BYTES = 8;
const MIN_IPV4_HEADER = 20;

/** Opens the socket of a family. Throws ERR_KERNEL, naming what the process lacks. */
export function openEchoSocket(family: 4 | 6): EchoSocket {
  const domain = family === 4 ? AF_INET : AF_INET6;
  const protocol = family === 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
  const raw = libc.socket(domain, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  if (raw >= 0) {
    try {
      filterReplies(raw, family);
    } catch (error) {
      libc.close(raw);
      throw error;
    }
    return new IcmpSocket(raw, family, true);
  }
  const isForbidden = errno() === constants.errno.EPERM || errno() === constants.errno.EACCES;
  const datagram = isForbidden
    ? libc.socket(domain, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol)
    : -1;
  if (datagram < 0) throw kernelError('socket', `the ICMP socket for IPv${family}`);
  return new IcmpSocket(datagram, family, false);
}

/** An address in the form that `EchoReply.from` has, so that spellings of one address compare equal. */
export function addressKey(address: string): string {
  const words = new Int32Array(4);
  return parseAddress(address, words) ? words.join(' ') : '';
}

class IcmpSocket implements EchoSocket {
  readonly #fd: number;
  readonly #family: 4 | 6;
  readonly #isRaw: boolean;
  readonly #out = Buffer.alloc(HEADER_BYTES + TOKEN_BYTES);
  readonly #view = new DataView(this.#out.buffer, this.#out.byteOffset, this.#out.length);
  readonly #in = Buffer.alloc(2048);
  /** struct sockaddr_in6, which is also large enough for sockaddr_in. */
  readonly #name = Buffer.alloc(28);
  readonly #nameLength = new Int32Array(1);
  #sequence = 0;
  #isClosed = false;

  constructor(fd: number, family: 4 | 6, isRaw: boolean) {
    this.#fd = fd;
    this.#family = family;
    this.#isRaw = isRaw;
  }

  send(address: string, token: bigint): string | null {
    const words = new Int32Array(4);
    if (this.#isClosed || !parseAddress(address, words)) return 'EINVAL';
    this.#sequence = (this.#sequence + 1) & 0xffff;
    const out = this.#out;
    out.fill(0);
    out[0] = this.#family === 4 ? ECHO_REQUEST : ECHO_REQUEST_V6;
    out.writeUInt16BE(process.pid & 0xffff, 4);
    out.writeUInt16BE(this.#sequence, 6);
    out.writeBigUInt64BE(token, HEADER_BYTES);
    // The kernel fills in the checksum of ICMPv6, which covers addresses that it chooses (RFC 3542, section 3.1).
    if (this.#family === 4) out.writeUInt16BE(~fold(sumBytes(this.#view, 0, out.length)) & 0xffff, 2);
    const name = this.#name.fill(0);
    name.writeUInt16LE(this.#family === 4 ? AF_INET : AF_INET6, 0);
    if (this.#family === 4) name.writeInt32BE(words[3], 4);
    else for (let word = 0; word < 4; word++) name.writeInt32BE(words[word], 8 + 4 * word);
    const nameLength = this.#family === 4 ? 16 : 28;
    const sent = libc.sendto(this.#fd, out, BigInt(out.length), MSG_DONTWAIT, name, nameLength);
    return sent < 0n ? errnoName(errno()) : null;
  }

  receive(): EchoReply | null {
    const bytes = this.#in;
    while (!this.#isClosed) {
      this.#nameLength[0] = this.#name.length;
      const received = Number(
        libc.recvfrom(this.#fd, bytes, BigInt(bytes.length), MSG_DONTWAIT, this.#name, this.#nameLength),
      );
      // An error of an earlier request (ECONNREFUSED and the like) is not this one's answer; EAGAIN ends the queue.
      if (received < 0) return null;
      // A raw IPv4 socket hands out the IP header too (raw(7)).
      const at = this.#isRaw && this.#family === 4 ? (bytes[0] & 15) * 4 : 0;
      if (this.#isRaw && this.#family === 4 && at < MIN_IPV4_HEADER) continue;
      if (received < at + HEADER_BYTES + TOKEN_BYTES) continue;
      if (bytes[at] !== (this.#family === 4 ? ECHO_REPLY : ECHO_REPLY_V6)) continue;
      return { from: this.#source(), token: bytes.readBigUInt64BE(at + HEADER_BYTES) };
    }
    return null;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    libc.close(this.#fd);
  }

  #source(): string {
    const name = this.#name;
    if (this.#family === 4) return `0 0 ${0xffff} ${name.readInt32BE(4)}`;
    return [8, 12, 16, 20].map((at) => name.readInt32BE(at)).join(' ');
  }
}

/** A raw socket hears all ICMP of the host; the kernel shall pass on echo replies only (icmp(7), RFC 3542). */
function filterReplies(fd: number, family: 4 | 6): void {
  const object = `the ICMP socket for IPv${family}`;
  if (family === 4) {
    setOption(fd, SOL_RAW, [ICMP_FILTER, 'ICMP_FILTER'], [~(1 << ECHO_REPLY)], object);
    return;
  }
  const blocked = new Array<number>(8).fill(-1);
  blocked[ECHO_REPLY_V6 >> 5] &= ~(1 << (ECHO_REPLY_V6 & 31));
  setOption(fd, IPPROTO_ICMPV6, [ICMPV6_FILTER, 'ICMPV6_FILTER'], blocked, object);
}
