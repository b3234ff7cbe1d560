/**
 * The rules of a graph's firewalls, compiled in steps before the graph comes into force: 10,000 of them take a fifth of a
 * second, for which the data plane must not stand still.
 */
import type { GraphComponent, ServiceGraph } from '../../policy/graph.ts';
import { AddressClasses, keyOf } from './address-classes.ts';
import { placesOf, verdictsOf } from './firewall-verdicts.ts';
import { RuleClassifier } from './rule-classifier.ts';
import { RuleSchedule } from './rule-schedule.ts';

export interface PreparedFirewall {
  /** By rule; the default comes last. */
  verdicts: Uint8Array;
  /** Rules by name. */
  places: Map<string, number>;
  schedule: RuleSchedule;
  classifier: RuleClassifier;
}

export class PreparedRules {
  /** The graph that this is of: the very object. */
  readonly graph: ServiceGraph;
  readonly addressSets: AddressClasses;
  private readonly wallMs: () => number;
  private readonly firewalls = new Map<GraphComponent, PreparedFirewall>();

  /** `before`: the sets in force, which are not laid over each other again where none has changed. */
  constructor(graph: ServiceGraph, before: AddressClasses, wallMs: () => number) {
    const sets = graph.addressSets ?? [];
    this.graph = graph;
    this.addressSets = keyOf(sets) === before.key ? before : new AddressClasses(sets);
    this.wallMs = wallMs;
  }

  /** Compiles, with pauses. Throws ERR_POLICY_INVALID where a rule cannot be read. */
  *steps(): Generator<void, void> {
    const { graph, addressSets } = this;
    const memberSets = graph.memberSets ?? [];
    for (const { tiers, components } of graph.services) {
      const names = tiers.map(({ name }) => name);
      for (const component of components) {
        if (component.type !== 'firewall') continue;
        const { rules } = component;
        const schedule = new RuleSchedule(rules, this.wallMs());
        const context = { tiers: names, addressSets, memberSets };
        const classifier = new RuleClassifier(rules, context, schedule.isResting, true);
        yield* classifier.steps(rules, names);
        const verdicts = verdictsOf(component);
        yield;
        this.firewalls.set(component, { schedule, classifier, verdicts, places: placesOf(rules) });
        yield;
      }
    }
  }

  of(component: GraphComponent): PreparedFirewall | undefined {
    return this.firewalls.get(component);
  }
}
