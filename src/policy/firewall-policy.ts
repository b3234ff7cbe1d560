/** The kind `firewall-policy`: ordered rules that a virtual service applies before it balances. */
import { z } from 'zod';
import { Name, PortRange, Prefix } from './attributes.ts';
import { defineKind } from './kind.ts';
import { WeeklyWindows } from './time-window.ts';

export const FirewallAction = z
  .enum(['allow', 'deny', 'reject'])
  .meta({ description: '`deny` is silent, `reject` answers with a TCP reset or an ICMP error.' });

const Rate = z.int().min(1).max(1_000_000_000_000);

export const RateLimit = z
  .strictObject({
    packetsPerSecond: Rate.optional().meta({ description: 'Packets that clients send.' }),
    bytesPerSecond: Rate.optional().meta({ description: 'Bytes of the frames that clients send.' }),
    connectionsPerSecond: Rate.optional().meta({
      description: 'New flows; what belongs to a flow that has begun is not limited by it.',
    }),
    burstMs: z
      .int()
      .min(10)
      .max(60_000)
      .default(1000)
      .meta({ unit: 'ms', description: 'How much may come at once: so much time of each rate.' }),
    per: z.enum(['rule', 'source']).default('rule').meta({
      description: 'Whether the rates are of all clients together, or of each address (IPv6: each /64).',
    }),
  })
  .refine(
    (limit) =>
      limit.packetsPerSecond !== undefined ||
      limit.bytesPerSecond !== undefined ||
      limit.connectionsPerSecond !== undefined,
    { message: 'needs at least one of packetsPerSecond, bytesPerSecond, connectionsPerSecond' },
  );

export type RateLimit = z.output<typeof RateLimit>;

export const RuleLog = z.strictObject({
  every: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(1)
    .meta({ description: 'One of so many flows (or refused packets) is logged.' }),
  perSecond: z
    .int()
    .min(1)
    .max(100)
    .default(10)
    .meta({ description: 'The most lines a second and engine; the others are only counted.' }),
});

const tags = z.array(z.string().min(1).max(300)).min(1).max(100);
const sets = z.array(Name).min(1).max(100);

export const FirewallRule = z
  .strictObject({
    name: Name.meta({ description: 'Names the rule in counters, traces and logs.' }),
    action: z.enum(['allow', 'deny', 'reject', 'rate-limit']).meta({
      description:
        '`deny` is silent, `reject` answers with a TCP reset or an ICMP error, `rate-limit` allows what keeps within `limit` and drops the rest.',
    }),
    from: z.array(Prefix).optional().meta({
      description:
        'Source prefixes. Where `fromSets` or `fromTags` are named too, one of the three has to fit; any source where none is named.',
    }),
    fromSets: sets.optional().meta({ description: 'Address sets that hold the source.' }),
    fromTags: tags.optional().meta({
      description:
        'The source is an address of a VM that carries every one of these tags, as `category=name` or by the bare name; * stands for any characters.',
    }),
    to: z.array(Prefix).optional().meta({
      description:
        'Destination prefixes (service addresses); any where neither these nor `toSets` are named.',
    }),
    toSets: sets.optional().meta({ description: 'Address sets that hold the destination.' }),
    memberTags: tags.optional().meta({
      description:
        'The member that was chosen carries every one of these tags; only for firewalls that stand behind the load balancer.',
    }),
    tiers: z
      .array(Name)
      .min(1)
      .max(8)
      .optional()
      .meta({ description: 'Tiers of the service; any where none is named.' }),
    protocol: z
      .enum(['any', 'tcp', 'udp', 'icmp'])
      .default('any')
      .meta({ description: 'The transport protocol.' }),
    ports: z.array(PortRange).optional().meta({ description: 'Destination ports; any where none is named.' }),
    sourcePorts: z
      .array(PortRange)
      .optional()
      .meta({ description: 'Source ports; any where none is named.' }),
    times: WeeklyWindows.optional().meta({
      description: 'When the rule is in force; always where it is not said.',
    }),
    limit: RateLimit.optional().meta({
      description: 'The rates of `rate-limit`; each engine counts by itself.',
    }),
    log: RuleLog.optional().meta({
      description: 'Log the first packet of each flow, and what is refused: `weft firewall NAME` shows it.',
    }),
  })
  .superRefine((rule, context) => {
    if (rule.action === 'rate-limit' && rule.limit === undefined) {
      context.addIssue({
        code: 'custom',
        path: ['limit'],
        message: 'is required for the action rate-limit, for example { connectionsPerSecond: 100 }',
      });
    }
    if (rule.action !== 'rate-limit' && rule.limit !== undefined) {
      context.addIssue({
        code: 'custom',
        path: ['limit'],
        message: `belongs to the action rate-limit, not to ${rule.action}`,
      });
    }
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
  summary: 'ordered allow, deny, reject and rate-limit rules',
  spec: FirewallPolicySpec,
  references: (spec) =>
    spec.rules.flatMap((rule, index) =>
      (['fromSets', 'toSets'] as const).flatMap((field) =>
        (rule[field] ?? []).map((name, place) => ({
          path: `$.spec.rules[${index}].${field}[${place}]`,
          kind: 'address-set',
          name,
        })),
      ),
    ),
});
