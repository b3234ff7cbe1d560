/** The kind `pool`: the target-application instances, chosen live from the inventory, and how their health is known. */
import { z } from 'zod';
import { DurationMs, Name, Port } from './attributes.ts';
import { AutoscaleSpec, type AutoscaleStatus } from './autoscale.ts';
import { defineKind } from './kind.ts';
import { MemberSelector } from './member-selector.ts';
import { MemberTls, memberTlsReferences } from './pool-tls.ts';

const rounds = {
  intervalMs: DurationMs.min(50).default(1000).meta({ description: 'Time between two probes of a member.' }),
  timeoutMs: DurationMs.min(10)
    .default(800)
    .meta({ description: 'When an unanswered probe counts as failed.' }),
  rise: z
    .int()
    .min(1)
    .max(100)
    .default(2)
    .meta({ description: 'Successes in a row that bring a member up.' }),
  fall: z
    .int()
    .min(1)
    .max(100)
    .default(2)
    .meta({ description: 'Failures in a row that take a member down.' }),
};

export const HealthMonitor = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('ping').meta({ description: 'An ICMP echo.' }), ...rounds }),
  z.strictObject({
    type: z.literal('tcp').meta({ description: 'A TCP connection to the member.' }),
    ...rounds,
    port: Port.optional().meta({ description: "The port to connect to; the pool's where none is named." }),
  }),
  z.strictObject({
    type: z.literal('http').meta({ description: 'An HTTP/1.1 request to the member.' }),
    ...rounds,
    port: Port.optional().meta({ description: "The port to connect to; the pool's where none is named." }),
    path: z
      .string()
      .regex(/^\/[\x21-\x7e]*$/, 'must start with / and hold no blanks')
      .default('/')
      .meta({ description: 'The request target.' }),
    host: z
      .string()
      .regex(/^[\w.:[\]-]+$/)
      .optional()
      .meta({ description: 'The Host header; the member address where none is named.' }),
    tls: z.boolean().optional().meta({
      description:
        'Ask by TLS. Whether the certificate is good is judged where requests are proxied, not here.',
    }),
    expectStatus: z
      .array(z.int().min(100).max(599))
      .min(1)
      .default([200])
      .meta({ description: 'Status codes that count as healthy.' }),
  }),
]);

export type HealthMonitor = z.output<typeof HealthMonitor>;

export const PoolSpec = z
  .strictObject({
    cloud: Name.meta({ description: 'The cloud whose inventory the members are chosen from.' }),
    members: MemberSelector,
    port: Port.meta({ description: 'The port on which members serve.' }),
    tls: MemberTls.optional(),
    healthMonitors: z.array(HealthMonitor).max(8).default([]).meta({
      description: 'A member is up while all of these say so; with none, every member is taken to be up.',
    }),
    weights: z
      .array(
        z.strictObject({
          names: z.string().min(1).meta({ description: 'A pattern over VM names.' }),
          weight: z.int().min(0).max(1000).meta({ description: 'Share of new flows; 0 takes none.' }),
        }),
      )
      .default([])
      .meta({
        description:
          'Weights of members for the weighted methods; the first pattern that fits counts, else 1.',
      }),
    drain: z
      .array(z.string().min(1))
      .default([])
      .meta({ description: 'VM name patterns of members that keep their flows but get no new ones.' }),
    autoscale: AutoscaleSpec.optional().meta({
      description:
        'Let Weft clone members when the load asks for more, and remove its clones when it does not. Without it, clones that are there stay.',
    }),
  })
  .meta({ description: 'The instances of an application that serve one tier.' });

export type PoolSpec = z.output<typeof PoolSpec>;

export interface PoolStatus {
  members: {
    vm: string;
    host: string;
    health: 'up' | 'down' | 'unknown';
    reason: string;
    /** The load, some seconds old; null where nobody can say. CPU is a share of all the VM has. */
    connections: number | null;
    cpuPercent: number | null;
    memoryBytes: number | null;
    receivedBytesPerSecond: number | null;
    sentBytesPerSecond: number | null;
  }[];
  monitor: string | null;
  /** Null where the pool does not scale. */
  autoscale: AutoscaleStatus | null;
  message: string;
}

export const pool = defineKind({
  name: 'pool',
  summary: 'the application instances that serve one tier, and how their health is known',
  spec: PoolSpec,
  references: (spec) => [
    { path: '$.spec.cloud', kind: 'cloud', name: spec.cloud },
    ...memberTlsReferences(spec.tls, '$.spec.tls'),
  ],
});
