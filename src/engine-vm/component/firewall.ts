/**
 * The service component `firewall`: ordered rules, the first that fits decides, else the policy's default. Every
 * packet from clients is judged, those of established flows too, so that a new rule also ends running flows.
 */
import type { Packet } from '../../packet/packet.ts';
import type { GraphComponent } from '../../policy/graph.ts';
import { dropIndex } from '../drops.ts';
import { type Component, type Decision, DROP, PASS, REJECT, type Verdict } from './component.ts';
import { RuleClassifier } from './rule-classifier.ts';

type Spec = Extract<GraphComponent, { type: 'firewall' }>;

const VERDICTS: Record<Spec['defaultAction'], Verdict> = { allow: PASS, deny: DROP, reject: REJECT };
const DENY = dropIndex('firewall-deny');
const REJECTED = dropIndex('firewall-reject');

export class Firewall implements Component {
  readonly type = 'firewall';
  readonly judgesEstablished = true;

  private readonly spec: Spec;
  private readonly classifier: RuleClassifier;
  /** By rule; the default comes last. */
  private readonly verdicts: Uint8Array;
  private readonly packets: Float64Array;

  /**
   * `previous`: the firewall before it in the same place; counters go on for rules of the same name.
   * Throws ERR_POLICY_INVALID where a rule cannot be read.
   */
  constructor(spec: Spec, previous?: Component) {
    this.spec = spec;
    this.classifier = new RuleClassifier(spec.rules);
    this.verdicts = Uint8Array.of(
      ...spec.rules.map((rule) => VERDICTS[rule.action]),
      VERDICTS[spec.defaultAction],
    );
    this.packets = new Float64Array(spec.rules.length + 1);
    if (previous instanceof Firewall && previous.spec.policy === spec.policy) {
      const before = new Map(previous.spec.rules.map((rule, index) => [rule.name, previous.packets[index]]));
      spec.rules.forEach((rule, index) => {
        this.packets[index] = before.get(rule.name) ?? 0;
      });
      this.packets[spec.rules.length] = previous.packets[previous.spec.rules.length];
    }
  }

  process(packet: Packet, decision: Decision): Verdict {
    const rule = this.classifier.find(packet);
    const place = rule < 0 ? this.packets.length - 1 : rule;
    decision.rule = rule;
    if (!decision.isTrace) this.packets[place]++;
    const verdict = this.verdicts[place] as Verdict;
    if (verdict === DROP) decision.reason = DENY;
    else if (verdict === REJECT) decision.reason = REJECTED;
    return verdict;
  }

  describe(decision: Decision): string {
    const { policy, rules, defaultAction } = this.spec;
    const rule = rules[decision.rule];
    return rule
      ? `policy ${policy}, rule ${rule.name} (${decision.rule + 1} of ${rules.length}): ${rule.action}`
      : `policy ${policy}, no rule fits: ${defaultAction} by default`;
  }

  /** Packets by rule name, and under `default` those that no rule fits (with those of a rule of that name). */
  counters(): Record<string, number> {
    const { rules } = this.spec;
    const counters: Record<string, number> = {};
    rules.forEach((rule, index) => {
      counters[rule.name] = this.packets[index];
    });
    counters.default = (counters.default ?? 0) + this.packets[rules.length];
    return counters;
  }
}
