/** What is looked up of a firewall's rules besides which one fits: verdicts by place, and places by name. */
import type { GraphComponent } from '../../policy/graph.ts';
import { DROP, PASS, REJECT, type Verdict } from './component.ts';

type Spec = Extract<GraphComponent, { type: 'firewall' }>;

const VERDICTS: Record<Spec['rules'][number]['action'], Verdict> = {
  allow: PASS,
  deny: DROP,
  reject: REJECT,
  'rate-limit': PASS,
};

/** The verdicts of the rules; the default's comes last. */
export function verdictsOf({ rules, defaultAction }: Spec): Uint8Array {
  const verdicts = new Uint8Array(rules.length + 1);
  for (let index = 0; index < rules.length; index++) verdicts[index] = VERDICTS[rules[index].action];
  verdicts[rules.length] = VERDICTS[defaultAction];
  return verdicts;
}

/** The places of rules by their names. */
export function placesOf(rules: Spec['rules']): Map<string, number> {
  const places = new Map<string, number>();
  for (let index = 0; index < rules.length; index++) places.set(rules[index].name, index);
  return places;
}
