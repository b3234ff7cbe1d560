/**
 * SYN cookies: the sequence number with which an engine answers a SYN without keeping anything of it. The client's ACK
 * brings it back, and any engine of the group can tell that one of them gave it, to that client, and when.
 *
 *   31    27 26  24 23                     0
 *   [period ][ MSS ][ keyed hash            ]    period: 64 s of the wall clock, modulo 32
 *
 * The hash is HalfSipHash-2-4 over both addresses, both ports, the client's sequence number and the MSS. Each period has
 * a key of its own, from HMAC-SHA256 under the group's key: who finds one out can use it for two minutes.
 */
import { createHmac } from 'node:crypto';
import type { Packet } from '../../packet/packet.ts';
import { beginHash, endHash, hashWord } from '../half-sip.ts';

/** Segment sizes that a cookie can name: a client's own, or the next smaller one. */
export const COOKIE_MSS = [88, 536, 966, 1220, 1300, 1400, 1440, 1460] as const;
const PERIOD_MS = 64_000;
const PERIODS = 32;
const HASH = 0xffffff;

export class SynCookies {
  private readonly groupKey: Buffer;
  /** Of the periods before, of and after the one at hand: whose clock goes wrong by less is understood. */
  private readonly keys = new Int32Array(6);
  private period = -2;

  constructor(groupKey: Buffer) {
    this.groupKey = groupKey;
  }

  /** The cookie for the client of a packet that began with the sequence number `first` and offered `mss`. */
  make(packet: Packet, first: number, mss: number, wallMs: number): number {
    const period = this.turnTo(wallMs);
    let index = COOKIE_MSS.length - 1;
    while (index > 0 && COOKIE_MSS[index]! > mss) index--;
    const hash = this.hash(packet, first, index, 1);
    return ((period % PERIODS) << 27) | (index << 24) | hash;
  }

  /** The segment size in a cookie that came back by a packet of the client; 0 where we did not give it, or long ago. */
  check(packet: Packet, first: number, cookie: number, wallMs: number): number {
    const period = this.turnTo(wallMs);
    const place = (((cookie >>> 27) - (period % PERIODS) + PERIODS + 1) % PERIODS) as number;
    if (place > 2) return 0;
    const index = (cookie >>> 24) & 7;
    return (cookie & HASH) === this.hash(packet, first, index, place) ? COOKIE_MSS[index]! : 0;
  }

  /** The period at hand, modulo 32, and the two words of its key: for whoever else gives cookies. */
  current(wallMs: number): { period: number; key: readonly [number, number] } {
    const period = this.turnTo(wallMs) % PERIODS;
    return { period, key: [this.keys[2]!, this.keys[3]!] };
  }

  private turnTo(wallMs: number): number {
    const period = Math.floor(wallMs / PERIOD_MS);
    if (period === this.period) return period;
    this.period = period;
    for (let i = 0; i < 3; i++) {
      const digest = createHmac('sha256', this.groupKey)
        .update(`SYN cookies ${period - 1 + i}`)
        .digest();
      this.keys[i * 2] = digest.readInt32LE(0);
      this.keys[i * 2 + 1] = digest.readInt32LE(4);
    }
    return period;
  }

  private hash(packet: Packet, first: number, index: number, place: number): number {
    const k0 = this.keys[place * 2]!;
    const k1 = this.keys[place * 2 + 1]!;
    beginHash(k0, k1, false);
    hashWord(packet.s0);
    hashWord(packet.s1);
    hashWord(packet.s2);
    hashWord(packet.s3);
    hashWord(packet.d0);
    hashWord(packet.d1);
    hashWord(packet.d2);
    hashWord(packet.d3);
    hashWord((packet.sourcePort << 16) | packet.destinationPort);
    hashWord(first);
    hashWord(index);
    // The length: eleven words.
    hashWord(44 << 24);
    return endHash(false) & HASH;
  }
}
