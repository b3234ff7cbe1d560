/**
 * The rate limits of a firewall's rules: token buckets for packets, bytes and new flows, one of each per rule, or per
 * rule and source. Sources stand in a table of fixed size; where it is full, the one that has been silent longest
 * makes room, and begins with a full bucket when it comes back.
 */
import type { Packet } from '../../packet/packet.ts';
import type { RateLimit } from '../../policy/firewall-policy.ts';

/** Sources that a firewall remembers, over all its rules. */
export const MAX_SOURCES = 65_536;
/** Places that a source can stand in. */
const WAYS = 8;
/** Words of a key: the rule + 1 (0 where free), then the address; IPv6 by its first 64 bits. */
const KEY_WORDS = 5;

interface Limit {
  /** As text: a limit that stays the same keeps its buckets. */
  text: string;
  /** Per second, 0 where there is no such limit, and most tokens. */
  packets: number;
  bytes: number;
  flows: number;
  mostPackets: number;
  mostBytes: number;
  mostFlows: number;
  isPerSource: boolean;
}

/** What the limiter needs of a rule. */
export interface LimitedRule {
  name: string;
  limit?: RateLimit | undefined;
}

export class RateLimiter {
  private readonly names: readonly string[];
  private readonly limits: (Limit | null)[];
  /** Per rule, then per place of a source: tokens for packets, bytes, flows, and when they were filled. */
  private readonly tokens: Float64Array;
  private readonly keys: Int32Array;
  private readonly mask: number;

  /** `previous`: the limiter in whose place it comes; buckets of rules that stay as they are go on. */
  constructor(rules: readonly LimitedRule[], previous?: RateLimiter) {
    this.names = rules.map(({ name }) => name);
    this.limits = rules.map(({ limit }) => (limit === undefined ? null : compile(limit)));
    const places = this.limits.some((limit) => limit?.isPerSource) ? MAX_SOURCES : 0;
    this.mask = places - 1;
    this.keys = new Int32Array(places * KEY_WORDS);
    this.tokens = new Float64Array((rules.length + places) * 4);
    this.limits.forEach((limit, rule) => {
      if (limit !== null) this.fill(rule * 4, limit, Number.NEGATIVE_INFINITY);
    });
    if (previous !== undefined) this.adopt(previous);
  }

  /** Whether every packet of a flow counts, so that none may pass by the rule's limit. */
  countsPackets(rule: number): boolean {
    const limit = this.limits[rule];
    return limit !== null && limit !== undefined && (limit.packets > 0 || limit.bytes > 0);
  }

  /** Takes what the packet needs; false, and takes nothing, where a rate of the rule is exceeded. */
  take(rule: number, packet: Packet, isNewFlow: boolean, nowMs: number): boolean {
    const limit = this.limits[rule];
    if (limit === null || limit === undefined) return true;
    const { tokens } = this;
    const at = limit.isPerSource ? this.sourceOf(rule, limit, packet, nowMs) : rule * 4;
    this.refill(at, limit, nowMs);
    if (limit.packets > 0 && tokens[at] < 1) return false;
    // A frame may be larger than what is left: the bucket goes below zero, and the mean holds.
    if (limit.bytes > 0 && tokens[at + 1] <= 0) return false;
    if (limit.flows > 0 && isNewFlow && tokens[at + 2] < 1) return false;
    tokens[at]--;
    tokens[at + 1] -= packet.length;
    if (isNewFlow) tokens[at + 2]--;
    return true;
  }

  private refill(at: number, limit: Limit, nowMs: number): void {
    const { tokens } = this;
    const passed = (nowMs - tokens[at + 3]) / 1000;
    if (!(passed > 0)) return;
    if (passed === Number.POSITIVE_INFINITY) {
      this.fill(at, limit, nowMs);
      return;
    }
    tokens[at] = Math.min(limit.mostPackets, tokens[at] + passed * limit.packets);
    tokens[at + 1] = Math.min(limit.mostBytes, tokens[at + 1] + passed * limit.bytes);
    tokens[at + 2] = Math.min(limit.mostFlows, tokens[at + 2] + passed * limit.flows);
    tokens[at + 3] = nowMs;
  }

  private fill(at: number, limit: Limit, nowMs: number): void {
    this.tokens[at] = limit.mostPackets;
    this.tokens[at + 1] = limit.mostBytes;
    this.tokens[at + 2] = limit.mostFlows;
    this.tokens[at + 3] = nowMs;
  }

  /** Where the buckets of the packet's source are. */
  private sourceOf(rule: number, limit: Limit, packet: Packet, nowMs: number): number {
    const isIpv4 = packet.ipVersion === 4;
    const w2 = isIpv4 ? packet.s2 : 0;
    const w3 = isIpv4 ? packet.s3 : 0;
    const place = this.placeOf(rule + 1, packet.s0, packet.s1, w2, w3);
    const at = (this.names.length + place) * 4;
    const k = place * KEY_WORDS;
    const { keys } = this;
    if (
      keys[k] !== rule + 1 ||
      keys[k + 1] !== packet.s0 ||
      keys[k + 2] !== packet.s1 ||
      keys[k + 3] !== w2 ||
      keys[k + 4] !== w3
    ) {
      this.file(place, rule + 1, packet.s0, packet.s1, w2, w3);
      this.fill(at, limit, nowMs);
    }
    return at;
  }

  private file(place: number, rule: number, w0: number, w1: number, w2: number, w3: number): void {
    const k = place * KEY_WORDS;
    this.keys[k] = rule;
    this.keys[k + 1] = w0;
    this.keys[k + 2] = w1;
    this.keys[k + 3] = w2;
    this.keys[k + 4] = w3;
  }

  /** The place that holds the key, else the one to take for it: a free one, or that of the longest silence. */
  private placeOf(rule: number, w0: number, w1: number, w2: number, w3: number): number {
    const { keys, tokens, mask } = this;
    let h = Math.imul(rule ^ w0, 0x9e3779b1) ^ Math.imul(w1 + 0x7f4a7c15, 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 15) ^ w2, 0xc2b2ae35);
    h = Math.imul(h ^ (h >>> 13) ^ w3, 0x9e3779b1);
    const first = (h ^ (h >>> 16)) & mask & -WAYS;
    let oldest = first;
    for (let place = first; place < first + WAYS; place++) {
      const k = place * KEY_WORDS;
      if (keys[k] === 0) return place;
      if (
        keys[k] === rule &&
        keys[k + 4] === w3 &&
        keys[k + 3] === w2 &&
        keys[k + 2] === w1 &&
        keys[k + 1] === w0
      )
        return place;
      const at = (this.names.length + place) * 4 + 3;
      if (tokens[at] < tokens[(this.names.length + oldest) * 4 + 3]) oldest = place;
    }
    return oldest;
  }

  private adopt(previous: RateLimiter): void {
    const index = new Map(this.names.map((name, rule) => [name, rule]));
    /** Rule of the former to rule of this one, -1 where its limit is another. */
    const heirs = previous.limits.map((limit, rule) => {
      const heir = limit === null ? undefined : index.get(previous.names[rule]);
      return heir !== undefined && this.limits[heir]?.text === limit?.text ? heir : -1;
    });
    const copy = (from: number, to: number): void => {
      this.tokens.set(previous.tokens.subarray(from, from + 4), to);
    };
    heirs.forEach((heir, rule) => {
      if (heir >= 0) copy(rule * 4, heir * 4);
    });
    if (this.mask < 0) return;
    for (let place = 0; place <= previous.mask; place++) {
      const k = place * KEY_WORDS;
      const heir = previous.keys[k] === 0 ? -1 : heirs[previous.keys[k] - 1];
      if (heir < 0) continue;
      const [w0, w1, w2, w3] = previous.keys.subarray(k + 1, k + KEY_WORDS);
      const to = this.placeOf(heir + 1, w0, w1, w2, w3);
      this.file(to, heir + 1, w0, w1, w2, w3);
      copy((previous.names.length + place) * 4, (this.names.length + to) * 4);
    }
  }
}

function compile(limit: RateLimit): Limit {
  const { packetsPerSecond = 0, bytesPerSecond = 0, connectionsPerSecond = 0, burstMs, per } = limit;
  const most = (rate: number): number => Math.max(1, (rate * burstMs) / 1000);
  return {
    text: JSON.stringify([packetsPerSecond, bytesPerSecond, connectionsPerSecond, burstMs, per]),
    packets: packetsPerSecond,
    bytes: bytesPerSecond,
    flows: connectionsPerSecond,
    mostPackets: most(packetsPerSecond),
    mostBytes: most(bytesPerSecond),
    mostFlows: most(connectionsPerSecond),
    isPerSource: per === 'source',
  };
}
