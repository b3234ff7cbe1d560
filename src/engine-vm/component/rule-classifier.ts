/**
 * Finds the first firewall rule that fits a packet, without walking the rules one by one.
 *
 * Every condition becomes prefixes over a 160-bit key: addresses as (family, four words), ports as the prefixes that
 * cover their range. The rules are then split by the condition that separates them best into a prefix index and a
 * rest without that condition, and each part again by another condition, until few rules are left; those are
 * compared one by one. A look-up costs, per condition, one probe for each prefix length that occurs. Nothing is
 * allocated in it.
 */

import { parseAddress, parsePrefix } from '../../packet/address.ts';
import type { Packet } from '../../packet/packet.ts';
import { parsePortRange } from '../../policy/attributes.ts';
import { WeftError } from '../../policy/errors.ts';
import type { GraphFirewallRule } from '../../policy/graph.ts';
import type { AddressClasses } from './address-classes.ts';

/** Words of a key: the address family and the address, or the port in the upper half of the first word. */
const KEY_WORDS = 5;
/** The conditions, as places of their keys. */
const CONDITIONS = ['from', 'to', 'ports', 'sourcePorts', 'tier', 'member'] as const;
const FROM = 0;
const TO = 1;
const MEMBER = 5;
const NO_SETS = new Int32Array(0);
/** A part with no more rules and no more prefixes than this is not worth an index. */
const LEAF_RULES = 8;
const LEAF_PREFIXES = 16;
/** Index entries after which the rest is compared one by one: bounds memory for pathological rule sets. */
const MAX_ENTRIES = 2_000_000;

const TCP = 6;
const UDP = 17;
const ICMP = 1;
const ICMPV6 = 58;

const ANY_PROTOCOL = 0;
const TCP_OR_UDP = 1;
const ICMP_EITHER = 2;
const TCP_ONLY = 3;
const UDP_ONLY = 4;

interface Prefix {
  words: Uint32Array;
  length: number;
  /** The same as text, to group by. */
  text: string;
}

/** One of the prefixes has to cover the value, or one of the sets to hold it. */
interface Condition {
  prefixes: Prefix[];
  sets: readonly number[];
}

interface CompiledRule {
  protocol: number;
  /** By condition; null where any value fits. */
  conditions: (Condition | null)[];
}

/** What rules may refer to. */
export interface ClassifierContext {
  /** Names of tiers by position. */
  readonly tiers: readonly string[];
  readonly addressSets: AddressClasses;
  /** Indices of members. */
  readonly memberSets: readonly (readonly number[])[];
}

/** Rules in order, with the conditions (as bits) that are known to fit when one gets here. */
interface Leaf {
  kind: 'leaf';
  first: number;
  rules: Int32Array;
  known: number;
}

interface Branch {
  kind: 'branch';
  first: number;
  condition: number;
  index: PrefixIndex;
  /** By set; null where no rule here names one. */
  bySet: (Part | null)[] | null;
  rest: Part | null;
}

type Part = Leaf | Branch;

/** Rules looked at between two pauses of a classifier that is made in steps: a fraction of a millisecond's worth. */
const STEP = 256;

export class RuleClassifier {
  private readonly rules: (CompiledRule | null)[] = [];
  private root: Part | null = null;
  /** Rules looked at since the last pause. */
  private work = 0;
  private readonly key = new Uint32Array(KEY_WORDS * CONDITIONS.length);
  private protocol = 0;
  private entries = 0;
  private readonly addressSets: AddressClasses | null;
  /** By member, the sets that hold it. */
  private readonly memberSets: Int32Array[];
  /** By condition, the sets that hold the packet's value. */
  private readonly lists: Int32Array[] = CONDITIONS.map(() => NO_SETS);
  private usesFromSets = false;
  private usesToSets = false;
  private readonly isResting: Uint8Array | null;

  /**
   * `isResting`: by rule, 1 while it is passed over. Throws ERR_POLICY_INVALID where a prefix or port range cannot be
   * read. `isInSteps`: nothing fits until `steps` has been run to its end, which then throws.
   */
  constructor(
    rules: readonly GraphFirewallRule[],
    context: ClassifierContext | null = null,
    isResting: Uint8Array | null = null,
    isInSteps = false,
  ) {
    this.isResting = rules.some((rule) => rule.times !== undefined) ? isResting : null;
    this.addressSets = context?.addressSets ?? null;
    this.memberSets = membersToSets(context?.memberSets ?? []);
    if (isInSteps) return;
    for (const _ of this.steps(rules, context?.tiers ?? []));
  }

  /** Compiles the rules, with pauses. Once, with the rules that the constructor had. */
  *steps(rules: readonly GraphFirewallRule[], tiers: readonly string[]): Generator<void, void> {
    for (const rule of rules) {
      this.rules.push(compile(rule, tiers));
      if (this.isTired(1)) yield;
    }
    this.usesFromSets = this.rules.some((rule) => (rule?.conditions[FROM]?.sets.length ?? 0) > 0);
    this.usesToSets = this.rules.some((rule) => (rule?.conditions[TO]?.sets.length ?? 0) > 0);
    const live = this.rules.flatMap((rule, index) => (rule === null ? [] : [index]));
    if (live.length > 0) this.root = yield* this.build(live, 0);
  }

  private isTired(looked: number): boolean {
    this.work += looked;
    if (this.work < STEP) return false;
    this.work = 0;
    return true;
  }

  /** Index of the first rule that fits, or -1. `tier` is a position, `member` the chosen one, -1 for none. */
  find(packet: Packet, tier = 0, member = -1): number {
    if (this.root === null) return -1;
    const { key } = this;
    key[0] = packet.ipVersion;
    key[1] = packet.s0;
    key[2] = packet.s1;
    key[3] = packet.s2;
    key[4] = packet.s3;
    key[5] = packet.ipVersion;
    key[6] = packet.d0;
    key[7] = packet.d1;
    key[8] = packet.d2;
    key[9] = packet.d3;
    key[10] = packet.destinationPort << 16;
    key[15] = packet.sourcePort << 16;
    key[20] = tier << 16;
    this.protocol = packet.protocol;
    const { lists, addressSets } = this;
    if (addressSets !== null) {
      const { ipVersion } = packet;
      if (this.usesFromSets)
        lists[FROM] = addressSets.find(ipVersion, packet.s0, packet.s1, packet.s2, packet.s3);
      if (this.usesToSets)
        lists[TO] = addressSets.find(ipVersion, packet.d0, packet.d1, packet.d2, packet.d3);
      lists[MEMBER] = member >= 0 && member < this.memberSets.length ? this.memberSets[member] : NO_SETS;
    }
    const none = this.rules.length;
    const found = this.search(this.root, none);
    return found === none ? -1 : found;
  }

  /** The least rule of the part that fits, or `best` where none is less. */
  private search(part: Part, best: number): number {
    if (part.first >= best) return best;
    if (part.kind === 'leaf') {
      const { rules } = part;
      for (let at = 0; at < rules.length; at++) {
        const rule = rules[at];
        if (rule >= best) return best;
        if (this.isResting !== null && this.isResting[rule] === 1) continue;
        if (this.fits(rule, part.known)) return rule;
      }
      return best;
    }
    let least = part.rest === null ? best : this.search(part.rest, best);
    const { index } = part;
    for (let at = 0; at < index.lengths.length; at++) {
      const inside = index.find(this.key, part.condition * KEY_WORDS, index.lengths[at]);
      if (inside !== null) least = this.search(inside, least);
    }
    if (part.bySet !== null) {
      const list = this.lists[part.condition];
      for (let at = 0; at < list.length; at++) {
        const inside = part.bySet[list[at]];
        if (inside !== null && inside !== undefined) least = this.search(inside, least);
      }
    }
    return least;
  }

  private fits(index: number, known: number): boolean {
    const rule = this.rules[index] as CompiledRule;
    if (!this.fitsProtocol(rule.protocol)) return false;
    for (let condition = 0; condition < CONDITIONS.length; condition++) {
      const wanted = rule.conditions[condition];
      if (wanted === null || (known & (1 << condition)) !== 0) continue;
      const { prefixes, sets } = wanted;
      let isCovered = false;
      const list = this.lists[condition];
      for (let at = 0; at < sets.length && !isCovered; at++) isCovered = list.includes(sets[at]);
      for (let at = 0; at < prefixes.length && !isCovered; at++) {
        isCovered = covers(prefixes[at], this.key, condition * KEY_WORDS);
      }
      if (!isCovered) return false;
    }
    return true;
  }

  private fitsProtocol(wanted: number): boolean {
    switch (wanted) {
      case ANY_PROTOCOL:
        return true;
      case TCP_ONLY:
        return this.protocol === TCP;
      case UDP_ONLY:
        return this.protocol === UDP;
      case TCP_OR_UDP:
        return this.protocol === TCP || this.protocol === UDP;
      default:
        return this.protocol === ICMP || this.protocol === ICMPV6;
    }
  }

  /** `rules` ascend; `known`: bits of the conditions that need no more looking at. */
  private *build(rules: number[], known: number): Generator<void, Part> {
    const condition = yield* this.bestCondition(rules, known);
    if (condition < 0) return { kind: 'leaf', first: rules[0], rules: Int32Array.from(rules), known };
    const groups = new Map<string, { prefix: Prefix; rules: number[] }>();
    const ofSets = new Map<number, number[]>();
    const rest: number[] = [];
    for (const rule of rules) {
      if (this.isTired(1)) yield;
      const wanted = this.conditionsOf(rule)[condition];
      if (wanted === null) rest.push(rule);
      for (const set of wanted?.sets ?? []) {
        const inSet = ofSets.get(set);
        if (!inSet) ofSets.set(set, [rule]);
        else if (inSet.at(-1) !== rule) inSet.push(rule);
      }
      for (const prefix of wanted?.prefixes ?? []) {
        const group = groups.get(prefix.text);
        if (!group) groups.set(prefix.text, { prefix, rules: [rule] });
        else if (group.rules.at(-1) !== rule) group.rules.push(rule);
      }
    }
    this.entries += groups.size;
    const inside = known | (1 << condition);
    const index = new PrefixIndex(groups.size);
    // A rule with many prefixes has as many entries; those that lead to the same rules share what comes next.
    const shared = new Map<string, Part>();
    for (const group of groups.values())
      index.add(group.prefix, yield* this.partOf(shared, group.rules, inside));
    let bySet: (Part | null)[] | null = null;
    if (ofSets.size > 0) {
      bySet = new Array<Part | null>(Math.max(...ofSets.keys()) + 1).fill(null);
      for (const [set, within] of ofSets) bySet[set] = yield* this.partOf(shared, within, inside);
    }
    return {
      kind: 'branch',
      first: rules[0],
      condition,
      index,
      bySet,
      rest: rest.length === 0 ? null : yield* this.build(rest, inside),
    };
  }

  private *partOf(shared: Map<string, Part>, rules: number[], known: number): Generator<void, Part> {
    const signature = rules.join();
    const before = shared.get(signature);
    if (before !== undefined) return before;
    const part = yield* this.build(rules, known);
    shared.set(signature, part);
    return part;
  }

  /** The condition that leaves the fewest rules to look at in the worst case, or -1 to compare one by one. */
  private *bestCondition(rules: number[], known: number): Generator<void, number> {
    if (this.entries > MAX_ENTRIES) return -1;
    let best = -1;
    let bestLeft = Number.POSITIVE_INFINITY;
    let prefixes = 0;
    for (let condition = 0; condition < CONDITIONS.length; condition++) {
      if ((known & (1 << condition)) !== 0) continue;
      const sizes = new Map<string, number>();
      let largest = 0;
      let rest = 0;
      for (const rule of rules) {
        if (this.isTired(1)) yield;
        const own = this.conditionsOf(rule)[condition];
        if (own === null) rest++;
        for (const text of textsOf(own)) {
          prefixes++;
          const size = (sizes.get(text) ?? 0) + 1;
          sizes.set(text, size);
          largest = Math.max(largest, size);
        }
      }
      if (rest < rules.length && rest + largest < bestLeft) {
        best = condition;
        bestLeft = rest + largest;
      }
    }
    return rules.length <= LEAF_RULES && prefixes <= LEAF_PREFIXES ? -1 : best;
  }

  private conditionsOf(rule: number): (Condition | null)[] {
    return (this.rules[rule] as CompiledRule).conditions;
  }
}

/** Exact look-up of prefixes in open addressing; at most half full. */
class PrefixIndex {
  /** The prefix lengths that occur. */
  lengths = new Uint8Array(0);
  private readonly words: Uint32Array;
  private readonly lengthOf: Uint8Array;
  private readonly parts: (Part | null)[];
  private readonly mask: number;

  constructor(count: number) {
    let size = 4;
    while (size < count * 2) size *= 2;
    this.mask = size - 1;
    this.words = new Uint32Array(size * KEY_WORDS);
    this.lengthOf = new Uint8Array(size);
    this.parts = new Array<Part | null>(size).fill(null);
  }

  add(prefix: Prefix, part: Part): void {
    let slot = hashPrefix(prefix.words, 0, prefix.length) & this.mask;
    while (this.parts[slot] !== null) slot = (slot + 1) & this.mask;
    this.words.set(prefix.words, slot * KEY_WORDS);
    this.lengthOf[slot] = prefix.length;
    this.parts[slot] = part;
    if (!this.lengths.includes(prefix.length)) this.lengths = Uint8Array.of(...this.lengths, prefix.length);
  }

  /** What stands under the first `length` bits of the key at `at`. */
  find(key: Uint32Array, at: number, length: number): Part | null {
    let slot = hashPrefix(key, at, length) & this.mask;
    for (let part = this.parts[slot]; part !== null; part = this.parts[slot]) {
      if (this.lengthOf[slot] === length && this.isAt(slot * KEY_WORDS, key, at, length)) return part;
      slot = (slot + 1) & this.mask;
    }
    return null;
  }

  private isAt(own: number, key: Uint32Array, at: number, length: number): boolean {
    for (let word = 0; word < KEY_WORDS; word++) {
      if ((this.words[own + word] ^ maskWord(key[at + word], length - 32 * word)) !== 0) return false;
    }
    return true;
  }
}

function covers(prefix: Prefix, key: Uint32Array, at: number): boolean {
  for (let word = 0, left = prefix.length; left > 0; word++, left -= 32) {
    if ((prefix.words[word] ^ maskWord(key[at + word], left)) !== 0) return false;
  }
  return true;
}

/** The first `bits` bits of a word; all for 32 and more, none for 0 and less. */
function maskWord(word: number, bits: number): number {
  if (bits >= 32) return word;
  return bits <= 0 ? 0 : word & (-1 << (32 - bits));
}

function hashPrefix(key: Uint32Array, at: number, length: number): number {
  let h = length;
  for (let word = 0, left = length; left > 0; word++, left -= 32) {
    h = Math.imul(h ^ maskWord(key[at + word], left), 0x9e3779b1);
    h ^= h >>> 15;
  }
  return h;
}

/** What a condition names, to group by. */
function* textsOf(condition: Condition | null): Generator<string> {
  if (condition === null) return;
  for (const { text } of condition.prefixes) yield text;
  for (const set of condition.sets) yield `set ${set}`;
}

/** By member, the sets that hold it, ascending. */
function membersToSets(sets: readonly (readonly number[])[]): Int32Array[] {
  const lists: number[][] = [];
  sets.forEach((members, set) => {
    for (const member of members) {
      while (lists.length <= member) lists.push([]);
      lists[member].push(set);
    }
  });
  return lists.map((list) => Int32Array.from(list));
}

/** Null for a rule that fits no packet. */
function compile(rule: GraphFirewallRule, tierNames: readonly string[]): CompiledRule | null {
  const hasPorts = rule.ports !== undefined || rule.sourcePorts !== undefined;
  if (hasPorts && rule.protocol === 'icmp') return null;
  return {
    protocol: protocolOf(rule.protocol, hasPorts),
    conditions: [
      conditionOf(
        rule.from?.map((text) => addressPrefix(text, rule.name)),
        rule.fromSets,
      ),
      conditionOf(
        rule.to?.map((text) => addressPrefix(text, rule.name)),
        rule.toSets,
      ),
      conditionOf(rule.ports?.flatMap((text) => portPrefixes(text, rule.name))),
      conditionOf(rule.sourcePorts?.flatMap((text) => portPrefixes(text, rule.name))),
      // A tier that the service does not have fits nothing.
      conditionOf(
        rule.tiers?.flatMap((name) => {
          const tier = tierNames.indexOf(name);
          return tier < 0 ? [] : [prefixOf([tier << 16, 0, 0, 0, 0], 16)];
        }),
      ),
      conditionOf(undefined, rule.memberSet === undefined ? undefined : [rule.memberSet]),
    ],
  };
}

function conditionOf(prefixes?: Prefix[], sets?: readonly number[]): Condition | null {
  return prefixes === undefined && sets === undefined ? null : { prefixes: prefixes ?? [], sets: sets ?? [] };
}

function protocolOf(name: GraphFirewallRule['protocol'], hasPorts: boolean): number {
  if (name === 'tcp') return TCP_ONLY;
  if (name === 'udp') return UDP_ONLY;
  if (name === 'icmp') return ICMP_EITHER;
  // Ports exist in TCP and UDP only; a Packet holds other numbers there for ICMP.
  return hasPorts ? TCP_OR_UDP : ANY_PROTOCOL;
}

function addressPrefix(text: string, rule: string): Prefix {
  const address = new Int32Array(4);
  const isIpv6 = text.includes(':');
  const whole = isIpv6 ? 128 : 32;
  const bits = text.includes('/') ? parsePrefix(text, address) : parseAddress(text, address) ? whole : -1;
  if (bits < 0) throw invalid(rule, text, 'is no address or prefix');
  return prefixOf([isIpv6 ? 6 : 4, ...address], 32 + (isIpv6 ? bits : 96 + bits));
}

/** The fewest prefixes that cover a range of ports. */
function portPrefixes(text: string, rule: string): Prefix[] {
  const range = parsePortRange(text);
  if (range === null) throw invalid(rule, text, 'is no port or range of ports');
  const { to } = range;
  let { from } = range;
  const prefixes: Prefix[] = [];
  while (from <= to) {
    let size = 1;
    while (from % (size * 2) === 0 && from + size * 2 - 1 <= to) size *= 2;
    prefixes.push(prefixOf([from << 16, 0, 0, 0, 0], 16 - Math.log2(size)));
    from += size;
  }
  return prefixes;
}

function prefixOf(words: number[], length: number): Prefix {
  const masked = Uint32Array.from(words, (word, index) => maskWord(word, length - 32 * index));
  return { words: masked, length, text: `${length} ${masked.join(' ')}` };
}

function invalid(rule: string, text: string, what: string): WeftError {
  return new WeftError('ERR_POLICY_INVALID', `firewall rule ${rule}: "${text}" ${what}; correct the policy`);
}
