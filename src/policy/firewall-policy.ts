/** The kind `firewall-policy`: ordered rules that a virtual service applies before it balances. */
import { z } from 'zod';
import { Name, PortRange, Prefix } from './attributes.ts';
import { defineKind } from './kind.ts';

export const FirewallAction = z
  .enum(['allow', 'deny', 'reject'])
  .meta({ description: '`deny` is silent, `reject` answers with a TCP reset or an ICMP error.' });

export const FirewallRule = z.strictObject({
  name: Name.meta({ description: 'Names the rule in counters, traces and logs.' }),
  action: FirewallAction,
  from: z.array(Prefix).optional().meta({ description: 'Source prefixes; any where none is named.' }),
  to: z
    .array(Prefix)
    .optional()
    .meta({ description: 'Destination prefixes (service addresses); any where none is named.' }),
  protocol: z
    .enum(['any', 'tcp', 'udp', 'icmp'])
    .default('any')
    .meta({ description: 'The transport protocol.' }),
  ports: z.array(PortRange).optional().meta({ description: 'Destination ports; any where none is named.' }),
  sourcePorts: z.array(PortRange).optional().meta({ description: 'Source ports; any where none is named.' }),
});

export type FirewallRule = z.output<typeof FirewallRule>;

export const FirewallPolicySpec = z
  .strictObject({
    rules: z
      .array(FirewallRule)
      .max(10_000)
      .default([])
      .meta({ description: 'The first rule that fits decides.' }),
    defaultAction: FirewallAction.default('deny').meta({ description: 'What happens when no rule fits.' }),
  })
  .superRefine((spec, context) => {
    const seen = new Map<string, number>();
    spec.rules.forEach((rule, index) => {
      const before = seen.get(rule.name);
      if (before !== undefined) {
        context.addIssue({
          code: 'custom',
          path: ['rules', index, 'name'],
          message: `is also the name of rule ${before}; names must differ`,
        });
      }
      seen.set(rule.name, index);
    });
  })
  .meta({ description: 'Ordered rules that a virtual service applies to every packet.' });

export type FirewallPolicySpec = z.output<typeof FirewallPolicySpec>;

export const firewallPolicy = defineKind({
  name: 'firewall-policy',
  summary: 'ordered allow, deny and reject rules',
  spec: FirewallPolicySpec,
  references: () => [],
});
