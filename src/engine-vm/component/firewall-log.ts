/**
 * What firewall rules log: the latest entries of an engine in a ring of fixed size. An entry is numbers until
 * somebody reads it, so that writing one costs no allocation. How often a rule may write is the rule's business.
 */
import { formatAddress } from '../../packet/address.ts';
import type { Packet } from '../../packet/packet.ts';
import type { FirewallLogEntry } from '../../policy/answers.ts';

/** Entries that are kept. */
export const LOG_ENTRIES = 1024;
const WORDS = 12;
const PROTOCOLS: Record<number, string> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'icmpv6' };
const VERDICTS = ['allowed', 'denied', 'rejected', 'over the limit'] as const;

/** The place of a verdict in an entry. */
export const LOG_ALLOWED = 0;
export const LOG_DENIED = 1;
export const LOG_REJECTED = 2;
export const LOG_LIMITED = 3;

/** Who writes: says what its numbers mean. */
export interface LogWriter {
  readonly service: string;
  readonly policy: string;
  ruleName(rule: number): string;
  memberName(member: number): string | null;
}

export class FirewallLog {
  private readonly words = new Int32Array(LOG_ENTRIES * WORDS);
  private readonly times = new Float64Array(LOG_ENTRIES);
  private readonly writers: (LogWriter | null)[] = new Array<LogWriter | null>(LOG_ENTRIES).fill(null);
  private written = 0;
  private taken = 0;

  write(
    writer: LogWriter,
    rule: number,
    verdict: number,
    packet: Packet,
    member: number,
    wallMs: number,
  ): void {
    const slot = this.written++ % LOG_ENTRIES;
    const { words } = this;
    const at = slot * WORDS;
    this.writers[slot] = writer;
    this.times[slot] = wallMs;
    words[at] = rule;
    words[at + 1] = (verdict << 8) | packet.protocol;
    words[at + 2] = packet.s0;
    words[at + 3] = packet.s1;
    words[at + 4] = packet.s2;
    words[at + 5] = packet.s3;
    words[at + 6] = packet.d0;
    words[at + 7] = packet.d1;
    words[at + 8] = packet.d2;
    words[at + 9] = packet.d3;
    words[at + 10] = (packet.sourcePort << 16) | packet.destinationPort;
    words[at + 11] = member;
  }

  /** The latest entries of a policy, or of all, newest first. */
  list(limit: number, policy: string | null): FirewallLogEntry[] {
    const entries: FirewallLogEntry[] = [];
    const oldest = Math.max(0, this.written - LOG_ENTRIES);
    for (let number = this.written - 1; number >= oldest && entries.length < limit; number--) {
      const slot = number % LOG_ENTRIES;
      if (policy === null || this.writers[slot]?.policy === policy) entries.push(this.entry(slot));
    }
    return entries;
  }

  /** What was written since the last call and is still here, oldest first. */
  take(): FirewallLogEntry[] {
    const entries: FirewallLogEntry[] = [];
    for (let number = Math.max(this.taken, this.written - LOG_ENTRIES); number < this.written; number++) {
      entries.push(this.entry(number % LOG_ENTRIES));
    }
    this.taken = this.written;
    return entries;
  }

  private entry(slot: number): FirewallLogEntry {
    const { words } = this;
    const at = slot * WORDS;
    const writer = this.writers[slot] as LogWriter;
    const protocol = words[at + 1] & 0xff;
    const hasPorts = protocol === 6 || protocol === 17;
    const address = (from: number): string =>
      formatAddress(words[at + from], words[at + from + 1], words[at + from + 2], words[at + from + 3]);
    return {
      time: new Date(this.times[slot]).toISOString(),
      service: writer.service,
      policy: writer.policy,
      rule: writer.ruleName(words[at]),
      verdict: VERDICTS[words[at + 1] >> 8],
      protocol: PROTOCOLS[protocol] ?? String(protocol),
      from: address(2),
      fromPort: hasPorts ? words[at + 10] >>> 16 : null,
      to: address(6),
      toPort: hasPorts ? words[at + 10] & 0xffff : null,
      member: writer.memberName(words[at + 11]),
    };
  }
}
