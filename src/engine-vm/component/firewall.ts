/**
 * The service component `firewall`: ordered rules, the first that fits decides, else the policy's default. Packets
 * from clients are judged, those of established flows too: once after each change of the rules, and one by one where
 * the rule limits packets or bytes.
 */
import type { Packet } from '../../packet/packet.ts';
import type { EngineFirewall, Explanation } from '../../policy/answers.ts';
import type { GraphComponent } from '../../policy/graph.ts';
import { TokenBucket } from '../dataplane/token-bucket.ts';
import { dropIndex } from '../drops.ts';
import { AddressClasses } from './address-classes.ts';
import { type Component, type Decision, DROP, PASS, REJECT, type Verdict } from './component.ts';
import {
  FirewallLog,
  LOG_ALLOWED,
  LOG_DENIED,
  LOG_LIMITED,
  LOG_REJECTED,
  type LogWriter,
} from './firewall-log.ts';
import { placesOf, verdictsOf } from './firewall-verdicts.ts';
import type { PreparedFirewall } from './prepared-rules.ts';
import { RateLimiter } from './rate-limiter.ts';
import { RuleClassifier } from './rule-classifier.ts';
import { RuleSchedule } from './rule-schedule.ts';

type Spec = Extract<GraphComponent, { type: 'firewall' }>;

const DENY = dropIndex('firewall-deny');
const REJECTED = dropIndex('firewall-reject');
const LIMITED = dropIndex('firewall-limit');

/** What a firewall uses of its engine. */
export interface FirewallContext {
  readonly service: string;
  /** Names of the service's tiers, by position. */
  readonly tiers: readonly string[];
  readonly addressSets: AddressClasses;
  /** Indices into `members`. */
  readonly memberSets: readonly (readonly number[])[];
  /** Names of the graph's members. */
  readonly members: readonly string[];
  readonly log: FirewallLog;
  /** Monotonic. */
  nowMs(): number;
  /** Wall clock. */
  wallMs(): number;
}

/** A context of nothing: no tiers, no sets, the clock at 0. */
export const BARE_CONTEXT: FirewallContext = {
  service: '',
  tiers: [],
  addressSets: new AddressClasses(),
  memberSets: [],
  members: [],
  log: new FirewallLog(),
  nowMs: () => 0,
  wallMs: () => 0,
};

/** How much a rule logs, and how much it has left. */
interface RuleLogging {
  every: number;
  seen: number;
  lines: TokenBucket;
}

export class Firewall implements Component, LogWriter {
  readonly type = 'firewall';
  readonly judgesEstablished = true;
  readonly service: string;
  readonly policy: string;

  private readonly spec: Spec;
  private readonly context: FirewallContext;
  private readonly classifier: RuleClassifier;
  private readonly schedule: RuleSchedule;
  /** Null where no rule limits anything, or logs anything. */
  private readonly limiter: RateLimiter | null;
  private readonly logging: (RuleLogging | null)[] | null;
  /** By rule; the default comes last. */
  private readonly verdicts: Uint8Array;
  private readonly packets: Float64Array;
  /** Of these, dropped because a limit was exceeded. */
  private readonly limited: Float64Array;

  /**
   * `previous`: the firewall before it in the same place; counters and buckets go on for rules of the same name.
   * `prepared`: the rules of the same component, where they are compiled already.
   * Throws ERR_POLICY_INVALID where a rule cannot be read.
   */
  constructor(
    spec: Spec,
    context: FirewallContext = BARE_CONTEXT,
    previous?: Component,
    prepared?: PreparedFirewall,
  ) {
    this.spec = spec;
    this.context = context;
    this.service = context.service;
    this.policy = spec.policy;
    const { rules } = spec;
    this.schedule = prepared?.schedule ?? new RuleSchedule(rules, context.wallMs());
    this.classifier = prepared?.classifier ?? new RuleClassifier(rules, context, this.schedule.isResting);
    this.verdicts = prepared?.verdicts ?? verdictsOf(spec);
    this.packets = new Float64Array(rules.length + 1);
    this.limited = new Float64Array(rules.length + 1);
    const before = previous instanceof Firewall && previous.policy === spec.policy ? previous : null;
    this.limiter = rules.some((rule) => rule.limit !== undefined)
      ? new RateLimiter(rules, before?.limiter ?? undefined)
      : null;
    this.logging = rules.some((rule) => rule.log !== undefined)
      ? rules.map(({ log }) =>
          log === undefined ? null : { every: log.every, seen: 0, lines: new TokenBucket(log.perSecond) },
        )
      : null;
    if (before !== null) this.goOn(before, prepared);
  }

  process(packet: Packet, decision: Decision): Verdict {
    const rule = this.classifier.find(packet, decision.tier, decision.member);
    const place = rule < 0 ? this.packets.length - 1 : rule;
    decision.rule = rule;
    if (!decision.isTrace) this.packets[place]++;
    let verdict = this.verdicts[place] as Verdict;
    let outcome = LOG_ALLOWED;
    if (verdict === DROP) {
      decision.reason = DENY;
      outcome = LOG_DENIED;
    } else if (verdict === REJECT) {
      decision.reason = REJECTED;
      outcome = LOG_REJECTED;
    } else if (this.limiter !== null && rule >= 0) {
      if (this.limiter.countsPackets(rule)) decision.isMetered = true;
      if (!decision.isTrace && !this.limiter.take(rule, packet, decision.isNewFlow, this.context.nowMs())) {
        this.limited[place]++;
        decision.reason = LIMITED;
        verdict = DROP;
        outcome = LOG_LIMITED;
      }
    }
    if (this.logging !== null && rule >= 0 && (decision.isNewFlow || verdict !== PASS)) {
      this.note(rule, outcome, packet, decision);
    }
    return verdict;
  }

  /** Takes the time; true where a rule began or ended to be in force. */
  advance(): boolean {
    return this.schedule.advance(this.context.wallMs());
  }

  describe(decision: Decision): string {
    const { policy, rules, defaultAction } = this.spec;
    const rule = rules[decision.rule];
    const place = rule ? decision.rule : rules.length;
    const so = `${this.packets[place]} packets judged by it so far`;
    if (!rule) return `policy ${policy}, no rule fits: ${defaultAction} by default; ${so}`;
    const limited = rule.limit === undefined ? '' : `, ${this.limited[place]} of them over the limit`;
    return `policy ${policy}, rule ${rule.name} (${decision.rule + 1} of ${rules.length}): ${rule.action}; ${so}${limited}`;
  }

  /**
   * Packets by rule name, where there were any, under `default` those that no rule fits (with those of a rule of that
   * name), and under `<rule>:limited` those over its limit.
   */
  counters(): Record<string, number> {
    const { rules } = this.spec;
    const counters: Record<string, number> = {};
    for (let index = 0; index < rules.length; index++) {
      if (this.packets[index] > 0) counters[rules[index].name] = this.packets[index];
      if (this.limited[index] > 0) counters[`${rules[index].name}:limited`] = this.limited[index];
    }
    const unmatched = this.packets[rules.length];
    if (unmatched > 0) counters.default = (counters.default ?? 0) + unmatched;
    return counters;
  }

  /** Adds the counters to those of other firewalls of the policy. Packets that no rule fits stand under ''. */
  tally(into: Pick<EngineFirewall, 'packets' | 'limited'>): void {
    const { rules } = this.spec;
    for (let index = 0; index <= rules.length; index++) {
      const name = rules[index]?.name ?? '';
      if (this.packets[index] > 0) into.packets[name] = (into.packets[name] ?? 0) + this.packets[index];
      if (this.limited[index] > 0) into.limited[name] = (into.limited[name] ?? 0) + this.limited[index];
    }
  }

  /** The rules that judged any packet, in order, the default last. */
  hits(): NonNullable<Explanation['rules']> {
    const { policy, rules, defaultAction } = this.spec;
    const hits: NonNullable<Explanation['rules']> = [];
    for (let index = 0; index <= rules.length; index++) {
      if (this.packets[index] === 0) continue;
      const { name, action } = rules[index] ?? { name: 'default', action: defaultAction };
      hits.push({ policy, rule: name, action, packets: this.packets[index], limited: this.limited[index] });
    }
    return hits;
  }

  ruleName(rule: number): string {
    return this.spec.rules[rule]?.name ?? 'default';
  }

  memberName(member: number): string | null {
    return this.context.members[member] ?? null;
  }

  private note(rule: number, outcome: number, packet: Packet, decision: Decision): void {
    const logging = this.logging === null ? null : this.logging[rule];
    if (logging === null || decision.isTrace) return;
    if (logging.seen++ % logging.every !== 0 || !logging.lines.take(this.context.nowMs())) return;
    this.context.log.write(this, rule, outcome, packet, decision.member, this.context.wallMs());
  }

  /** Takes over what was counted, while frames wait: only rules that have counted anything are looked for. */
  private goOn(before: Firewall, prepared: PreparedFirewall | undefined): void {
    const { rules } = before.spec;
    let places = prepared?.places ?? null;
    for (let index = 0; index < rules.length; index++) {
      if (before.packets[index] === 0) continue;
      places ??= placesOf(this.spec.rules);
      const place = places.get(rules[index].name);
      if (place === undefined) continue;
      this.packets[place] = before.packets[index];
      this.limited[place] = before.limited[index];
    }
    this.packets[this.spec.rules.length] = before.packets[rules.length];
  }
}
