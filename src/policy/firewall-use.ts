/** What is wrong with how services use firewall policies: neither object shows it alone. Pure. */
import type { Problem } from './errors.ts';
import type { FirewallPolicySpec } from './firewall-policy.ts';
import { nearestName } from './nearest-name.ts';
import type { PolicyItem } from './refs.ts';
import type { VirtualServiceSpec } from './virtual-service.ts';

/** Rules that name a tier which no service of the policy has, or members where none is chosen yet. */
export function firewallProblems(items: readonly PolicyItem[]): Problem[] {
  const problems: Problem[] = [];
  const services = items.filter(({ kind }) => kind === 'virtual-service');
  for (const { name, spec } of items.filter(({ kind }) => kind === 'firewall-policy')) {
    const { rules } = spec as FirewallPolicySpec;
    const uses = services.flatMap((service) =>
      (service.spec as VirtualServiceSpec).components.flatMap((component, index) =>
        component.type === 'firewall' && component.policy === name ? [{ service, index }] : [],
      ),
    );
    if (uses.length === 0) continue;
    const tiers = [
      ...new Set(
        uses.flatMap(({ service }) => (service.spec as VirtualServiceSpec).tiers.map((tier) => tier.name)),
      ),
    ];
    const where = `firewall-policy "${name}"`;
    rules.forEach((rule, place) => {
      rule.tiers?.forEach((tier, index) => {
        if (tiers.includes(tier)) return;
        const nearest = nearestName(tier, tiers);
        problems.push({
          path: `$.spec.rules[${place}].tiers[${index}]`,
          message: `no service that uses the policy has a tier "${tier}": ${nearest === undefined ? `there are ${tiers.join(', ')}` : `did you mean ${nearest}?`}`,
          where,
        });
      });
    });
    const place = rules.findIndex((rule) => rule.memberTags !== undefined);
    if (place < 0) continue;
    for (const { service, index } of uses) {
      const { components } = service.spec as VirtualServiceSpec;
      if (components.findIndex(({ type }) => type === 'load-balancer') < index) continue;
      problems.push({
        path: `$.spec.components[${index}]`,
        message: `rule "${rules[place]?.name}" of firewall-policy "${name}" has memberTags, but no member is chosen before the load balancer: put the firewall behind it`,
        where: `virtual-service "${service.name}"`,
      });
    }
  }
  return problems;
}
