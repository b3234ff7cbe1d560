/** The kind `virtual-service`: addresses, port and protocol, an ordered chain of service components, one or more tiers. */
import { z } from 'zod';
import { Address, DurationMs, Name, Port } from './attributes.ts';
import { BALANCING_METHODS, isFlowMethod } from './balancing-methods.ts';
import { HttpService } from './http-service.ts';
import { clientTlsReferences } from './http-tls.ts';
import { defineKind } from './kind.ts';

export const LoadBalancing = z.strictObject({
  type: z.literal('load-balancer').meta({ description: 'Chooses the member of each new flow.' }),
  method: z.enum(BALANCING_METHODS).default('topological').meta({
    description:
      '`topological` takes the least L = C x (1 + H); the others are the usual ones. `least-response-time` and `peak-ewma` go by the time that members take to respond: only with `http`.',
  }),
  persistence: z
    .discriminatedUnion('type', [
      z.strictObject({ type: z.literal('none').meta({ description: 'Every flow is balanced afresh.' }) }),
      z.strictObject({
        type: z
          .literal('source-address')
          .meta({ description: 'A client address keeps its member, on every engine.' }),
        timeoutMs: DurationMs.default(300_000).meta({
          description: 'How long after the last flow, or request, the session ends.',
        }),
      }),
      z.strictObject({
        type: z.literal('header').meta({
          description: 'Requests with the same value of a header field keep their member: only with `http`.',
        }),
        name: z
          .string()
          .regex(/^[A-Za-z0-9-]{1,64}$/, 'must be the name of a header field')
          .meta({ description: 'The field.' }),
        timeoutMs: DurationMs.default(300_000).meta({
          description: 'How long after the last request the session ends.',
        }),
      }),
    ])
    .default({ type: 'none' })
    .meta({ description: 'Whether a client comes back to the member that it had.' }),
});

export const ServiceComponent = z.discriminatedUnion('type', [
  z.strictObject({
    type: z
      .literal('firewall')
      .meta({ description: 'Passes, drops or rejects by rule; established flows included.' }),
    policy: Name.meta({ description: 'The firewall policy.' }),
  }),
  LoadBalancing,
]);

export type ServiceComponent = z.output<typeof ServiceComponent>;

export const Tier = z.strictObject({
  name: Name.meta({ description: 'Names the tier in traces and counters.' }),
  addresses: z.array(Address).max(64).default([]).meta({
    description:
      'Service addresses; only a tier behind one with `handsOn` needs none. An address that a member owns is served in line; one that no VM owns is announced by an engine (ARP, ND).',
  }),
  port: Port.meta({ description: 'The service port.' }),
  pool: Name.meta({ description: 'The pool that serves this tier.' }),
  handsOn: z
    .strictObject({
      failMode: z.enum(['open', 'closed']).default('closed').meta({
        description:
          'While no member of the tier is up: `closed` refuses new flows, `open` gives them to the next tier.',
      }),
    })
    .optional()
    .meta({
      description:
        'Members process packets and send the same ones on to the service address (routers, filters, inspection): they get them unchanged, by MAC, and the engine beside them gives what they send on to a member of the next tier of the list.',
    }),
});

export const VirtualServiceSpec = z
  .strictObject({
    engineGroup: Name.meta({ description: 'The engine group whose engines carry the service.' }),
    protocol: z.enum(['tcp', 'udp']).default('tcp').meta({ description: 'The transport protocol.' }),
    tiers: z.array(Tier).min(1).max(8).meta({
      description: 'The tiers, the client-facing one first; each is a pool behind addresses of its own.',
    }),
    components: z
      .array(ServiceComponent)
      .min(1)
      .max(16)
      .default([{ type: 'load-balancer', method: 'topological', persistence: { type: 'none' } }])
      .meta({ description: 'The chain each new flow walks, in this order.' }),
    attraction: z.enum(['arp', 'bgp']).default('arp').meta({
      description:
        'How packets to addresses that no VM owns come to an engine: `arp` has one engine at a time answer for an address on its link (ARP, ND), `bgp` has all engines of the service tell the routers of their engine group (`bgp`), which spread flows over them.',
    }),
    delivery: z.enum(['translated', 'dsr']).default('translated').meta({
      description:
        'What members get: `translated` packets for their own address, `dsr` (direct server return) packets as clients sent them, told apart by MAC alone: members bear the service addresses on their loopback, answer no ARP for them, and serve the tier port.',
    }),
    returnPath: z.enum(['direct', 'engine']).default('direct').meta({
      description:
        "How answers go back to the client: `direct` from the member's host, past the engine that chose the member; `engine` through that engine, which translates the client's address into its own, so that members see the engine's.",
    }),
    http: HttpService.optional(),
    synCookies: z.enum(['off', 'auto', 'always']).default('off').meta({
      description:
        'Whether engines answer SYNs themselves, with a cookie instead of an entry, and ask a member only once the client has proven that it exists: `auto` while the service is under a flood of them, `always`. Connections begun so have no window scaling, SACK or timestamps, and are forwarded by TypeScript.',
    }),
    whenTableFull: z.enum(['refuse', 'hash']).default('refuse').meta({
      description:
        "What becomes of new flows where an engine's flow table (`maxFlows`) is full: `refuse` drops them (`flow-table-full`), `hash` forwards them without a record to the member that a hash of the flow chooses, among members with an engine beside them. These are not counted as connections.",
    }),
    hosts: z.array(z.string().min(1)).min(1).optional().meta({
      description:
        'Only engines on these hosts carry the service; every host that runs members where none is named.',
    }),
    isEnabled: z
      .boolean()
      .default(true)
      .meta({ description: 'A disabled service keeps its definition and serves nothing.' }),
  })
  .superRefine((spec, context) => {
    const balancers = spec.components.filter((component) => component.type === 'load-balancer').length;
    if (balancers !== 1) {
      context.addIssue({
        code: 'custom',
        path: ['components'],
        message: `must hold exactly one load-balancer, holds ${balancers}`,
      });
    }
    if (spec.delivery === 'dsr' && spec.returnPath === 'engine') {
      context.addIssue({
        code: 'custom',
        path: ['returnPath'],
        message: 'must be direct with delivery dsr: members answer clients themselves',
      });
    }
    spec.components.forEach((component, index) => {
      if (spec.http !== undefined || component.type !== 'load-balancer') return;
      if (isFlowMethod(component.method)) return;
      context.addIssue({
        code: 'custom',
        path: ['components', index, 'method'],
        message: `must be another one without http: ${component.method} goes by the time of responses`,
      });
    });
    spec.components.forEach((component, index) => {
      if (component.type !== 'load-balancer') return;
      const { type } = component.persistence;
      const path = ['components', index, 'persistence'];
      if (type === 'header' && spec.http === undefined) {
        context.addIssue({
          code: 'custom',
          path,
          message: 'must not be by header without http: flows have none',
        });
      }
      if (type !== 'none' && spec.http?.sessionCookie !== undefined) {
        context.addIssue({
          code: 'custom',
          path,
          message: 'must be none with http.sessionCookie: a client has one member only',
        });
      }
    });
    if (spec.http !== undefined) {
      for (const [path, isWrong, message] of [
        ['protocol', spec.protocol !== 'tcp', 'must be tcp with http'],
        [
          'returnPath',
          spec.returnPath !== 'direct',
          'must be direct with http: members answer the proxy anyway',
        ],
        [
          'synCookies',
          spec.synCookies !== 'off',
          'must be off with http: the stack that ends connections has its own',
        ],
        [
          'whenTableFull',
          spec.whenTableFull !== 'refuse',
          'must be refuse with http: connections end in the engine',
        ],
        [
          'delivery',
          spec.delivery !== 'translated',
          'must be translated with http: the proxy itself speaks to members',
        ],
      ] as const) {
        if (isWrong) context.addIssue({ code: 'custom', path: [path], message });
      }
      if (spec.tiers[0]?.handsOn !== undefined) {
        context.addIssue({
          code: 'custom',
          path: ['tiers', 0, 'handsOn'],
          message: 'must not be with http: the proxy speaks to members itself',
        });
      }
    }
    if (spec.synCookies !== 'off' && (spec.protocol !== 'tcp' || spec.delivery === 'dsr')) {
      context.addIssue({
        code: 'custom',
        path: ['synCookies'],
        message:
          spec.protocol === 'tcp'
            ? 'must be off with delivery dsr: answers need not pass the engine that would have to shift them'
            : 'must be off with protocol udp: only TCP has SYNs',
      });
    }
    if (spec.whenTableFull === 'hash' && spec.tiers.some(({ handsOn }) => handsOn !== undefined)) {
      context.addIssue({
        code: 'custom',
        path: ['whenTableFull'],
        message: 'must be refuse with tiers that hand packets on: each step needs a record of the flow',
      });
    }
    if (spec.whenTableFull === 'hash' && spec.returnPath === 'engine') {
      context.addIssue({
        code: 'custom',
        path: ['whenTableFull'],
        message: 'must be refuse with returnPath engine: translation both ways needs a record of the flow',
      });
    }
    if (spec.tiers.some((tier) => tier.handsOn !== undefined)) {
      const message = 'with tiers that hand packets on (handsOn): each engine on their way needs its flow';
      if (spec.synCookies !== 'off')
        context.addIssue({ code: 'custom', path: ['synCookies'], message: `must be off ${message}` });
      if (spec.whenTableFull === 'hash')
        context.addIssue({ code: 'custom', path: ['whenTableFull'], message: `must be refuse ${message}` });
    }
    const names = new Set<string>();
    spec.tiers.forEach((tier, index) => {
      if (names.has(tier.name)) {
        context.addIssue({
          code: 'custom',
          path: ['tiers', index, 'name'],
          message: 'is the name of an earlier tier; names must differ',
        });
      }
      names.add(tier.name);
      checkChain(spec.tiers, index, (path, message) => {
        context.addIssue({ code: 'custom', path: ['tiers', index, path], message });
      });
    });
  })
  .meta({
    description: 'One service: addresses and port, a chain of service components, one or more tiers.',
  });

/** What a tier must be to get packets, and to hand them on. */
function checkChain(
  tiers: readonly z.output<typeof Tier>[],
  index: number,
  complain: (path: keyof z.output<typeof Tier>, message: string) => void,
): void {
  const tier = tiers[index]!;
  const before = tiers[index - 1];
  const next = tiers[index + 1];
  const isBehind = before?.handsOn !== undefined;
  if (tier.addresses.length === 0 && !isBehind) {
    complain('addresses', 'must name an address: no tier before this one hands packets on to it');
  }
  if (tier.handsOn && next === undefined) {
    complain('handsOn', 'needs a tier behind this one, which packets are handed on to');
  }
  if (isBehind && before.port !== tier.port) {
    complain(
      'port',
      `must be ${before.port}, the port of tier "${before.name}", whose members hand the same packets on`,
    );
  }
  for (let at = index - 1; at >= 0 && tiers[at]?.handsOn !== undefined; at--) {
    const earlier = tiers[at]!;
    if (earlier.pool !== tier.pool) continue;
    complain('pool', `must not be that of tier "${earlier.name}", which hands packets on to this one`);
  }
}

/** The pools that the service sends to: those of its tiers, then those of its routes. */
export function poolsOf({ tiers, http }: VirtualServiceSpec): string[] {
  return [...new Set([...tiers, ...(http?.routes ?? [])].map(({ pool }) => pool))];
}

export type VirtualServiceSpec = z.output<typeof VirtualServiceSpec>;

export type ReturnPath = VirtualServiceSpec['returnPath'];

export type SynCookieChoice = VirtualServiceSpec['synCookies'];

export interface VirtualServiceStatus {
  state: 'serving' | 'observing' | 'deploying' | 'degraded' | 'disabled';
  /** Hosts whose engines are concerned, and what each engine has acknowledged. */
  engines: { engine: string; host: string; graphRevision: number; state: string }[];
  /** What asks for attention although the service is carried. */
  alerts: ServiceAlert[];
  message: string;
}

export interface ServiceAlert {
  /**
   * `flood`: more new connections come than the engine takes for one service, so it refuses some, or answers with cookies.
   * `table-full`: new flows find no room in the engine's flow table, so they are dropped, or forwarded by hash
   * (`whenTableFull`).
   */
  type: 'flood' | 'table-full';
  engine: string;
  /** When it began, by the engine's clock. */
  since: string;
  /** SYNs are answered with cookies because of it. */
  hasCookies?: true;
}

export const virtualService = defineKind({
  name: 'virtual-service',
  summary: 'addresses, port, protocol, a chain of service components and one or more tiers',
  spec: VirtualServiceSpec,
  references: (spec) => [
    { path: '$.spec.engineGroup', kind: 'engine-group', name: spec.engineGroup },
    ...spec.tiers.map((tier, index) => ({
      path: `$.spec.tiers[${index}].pool`,
      kind: 'pool',
      name: tier.pool,
    })),
    ...(spec.http?.routes ?? []).map((route, index) => ({
      path: `$.spec.http.routes[${index}].pool`,
      kind: 'pool',
      name: route.pool,
    })),
    ...(spec.http?.accessRules?.rules ?? []).flatMap(({ fromSets }, index) =>
      fromSets.map((name, place) => ({
        path: `$.spec.http.accessRules.rules[${index}].fromSets[${place}]`,
        kind: 'address-set',
        name,
      })),
    ),
    ...clientTlsReferences(spec.http?.tls, '$.spec.http.tls'),
    ...spec.components.flatMap((component, index) =>
      component.type === 'firewall'
        ? [{ path: `$.spec.components[${index}].policy`, kind: 'firewall-policy', name: component.policy }]
        : [],
    ),
  ],
});
