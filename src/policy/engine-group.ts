/** The kind `engine-group`: how engines are sized, placed, addressed and what happens when one falls silent. */
import { BlockList, isIP } from 'node:net';
import { z } from 'zod';
import type { PathFigures } from './answers.ts';
import { Address, DurationMs, Name, Prefix } from './attributes.ts';
import { defineKind } from './kind.ts';

const AutonomousSystem = z.int().min(1).max(4_294_967_294);

export const EngineGroupSpec = z
  .strictObject({
    cloud: Name.meta({ description: 'The cloud whose hosts carry the engines.' }),
    size: z.enum(['small', 'medium', 'large']).optional().meta({
      description:
        "The deployment size of this group's engines, where the platform has sizes; the cloud's `engineSize` where none is named. Engines that are there keep theirs until they are deployed afresh.",
    }),
    mode: z.enum(['in-line', 'mirror']).default('in-line').meta({
      description:
        "What engines do with their members' traffic: `in-line` bends it through them, `mirror` has the virtual switch copy it to them, and they only observe: connections per member are counted, and which verdicts each firewall rule would have given; nothing is dropped, balanced, answered or announced.",
    }),
    failMode: z.enum(['open', 'closed']).default('open').meta({
      description:
        'What happens to the traffic of a host whose engine is silent: `open` puts its ports back on the production segment, `closed` holds the traffic until an engine is back.',
    }),
    dataAddresses: z
      .strictObject({
        prefix: Prefix.meta({ description: 'The production network, for example 10.77.0.0/24.' }),
        first: Address.meta({ description: 'The first address that engines may use.' }),
        last: Address.meta({ description: 'The last address that engines may use.' }),
        gateway: Address.optional().meta({
          description:
            'The router of that network. With it, engines and members outside of the prefix are reached by way of the router: balanced packets for such an engine travel in VXLAN. Without it, all are taken to be on one link.',
        }),
        hosts: z.array(z.string().min(1)).min(1).optional().meta({
          description:
            'Only engines on these hosts use the range: one range for each network, where hosts are in several. Every host where none is named.',
        }),
      })
      .array()
      .min(1)
      .max(64)
      .meta({
        description:
          'Addresses on the production network, one per engine and family: the source of health probes, and of connections to members that have no engine beside them.',
      }),
    bgp: z
      .strictObject({
        localAs: AutonomousSystem.meta({ description: 'The autonomous system of the engines.' }),
        peers: z
          .strictObject({
            address: Address.meta({ description: 'Its address in the network of the data addresses.' }),
            as: AutonomousSystem.meta({ description: 'Its autonomous system.' }),
          })
          .array()
          .min(1)
          .max(32)
          .meta({
            description: 'Routers. An engine speaks with those in the networks of its own data addresses.',
          }),
        holdTimeSeconds: z.int().min(3).max(240).default(3).meta({
          description: 'A router that hears nothing of an engine for so long takes its routes away.',
        }),
        bfd: z.boolean().default(true).meta({
          description:
            'Whether engines also offer BFD, by which a router finds within `deadAfterMs` that one is gone.',
        }),
      })
      .optional()
      .meta({
        description:
          'With whom engines speak BGP, for services whose attraction is `bgp`; needs BIRD 2 on the engine.',
      }),
    siteMtu: z.int().min(1280).max(9000).default(1500).meta({
      description:
        'The largest IP packet that the networks between engines carry, where a router is between them; what is encapsulated is kept below it.',
    }),
    probeIntervalMs: DurationMs.min(20)
      .default(100)
      .meta({ description: 'How often engines probe each other through the data path.' }),
    deadAfterMs: DurationMs.min(100)
      .default(500)
      .meta({ description: 'How long a data path may be silent before it counts as dead.' }),
    maxFlows: z.int().min(1024).max(4_194_304).default(65_536).meta({
      description: 'How many flows an engine keeps; beyond that new flows are dropped and counted.',
    }),
    timeouts: z
      .strictObject({
        tcpHalfOpenMs: DurationMs.default(10_000).meta({
          description: 'A connection whose client has not answered yet.',
        }),
        tcpEstablishedMs: DurationMs.default(3_600_000).meta({ description: 'An established connection.' }),
        tcpClosingMs: DurationMs.default(5_000).meta({
          description: 'What is kept of a closed connection for its last packets.',
        }),
        udpMs: DurationMs.default(60_000).meta({ description: 'A flow of datagrams.' }),
      })
      .prefault({})
      .meta({ description: 'How long a flow may be silent before the engine forgets it.' }),
    fastPath: z.enum(['auto', 'xdp', 'tc', 'off']).default('auto').meta({
      description:
        'How the kernel forwards packets of known flows: `xdp` is for frames that come whole from a wire, `tc` for virtual interfaces whose segmentation and checksums are still to be done, `off` leaves every packet to TypeScript, `auto` chooses by the interfaces.',
    }),
    maxEngines: z
      .int()
      .min(1)
      .max(1000)
      .default(1000)
      .meta({ description: 'The most engines this group may have.' }),
  })
  .superRefine((spec, context) => {
    spec.dataAddresses.forEach((range, index) => {
      const wrong = rangeProblem(range);
      if (wrong) {
        context.addIssue({
          code: 'custom',
          path: ['dataAddresses', index, wrong.field],
          message: wrong.message,
        });
      }
    });
    const hostsOf: Record<number, (readonly string[] | undefined)[]> = { 4: [], 6: [] };
    spec.dataAddresses.forEach(({ first, gateway, hosts, prefix }, index) => {
      const family = isIP(first);
      if (hostsOf[family]?.some((others) => !others || !hosts || others.some((one) => hosts.includes(one)))) {
        context.addIssue({
          code: 'custom',
          path: ['dataAddresses', index],
          message: `is for a host that an earlier IPv${family} range is for: name different hosts in each`,
        });
      }
      hostsOf[family]?.push(hosts);
      if (gateway !== undefined && (isIP(gateway) !== family || !isInPrefix(gateway, prefix))) {
        context.addIssue({
          code: 'custom',
          path: ['dataAddresses', index, 'gateway'],
          message: `must lie in ${prefix}: a router of that network`,
        });
      }
    });
    if (spec.deadAfterMs <= spec.probeIntervalMs) {
      context.addIssue({
        code: 'custom',
        path: ['deadAfterMs'],
        message: `must be longer than probeIntervalMs (${spec.probeIntervalMs} ms), or every engine counts as dead`,
      });
    }
  })
  .meta({ description: 'A set of engines that are sized, placed and treated alike.' });

export type EngineGroupSpec = z.output<typeof EngineGroupSpec>;

export type FlowTimeouts = EngineGroupSpec['timeouts'];

export type BgpSettings = NonNullable<EngineGroupSpec['bgp']>;

export type FastPathChoice = EngineGroupSpec['fastPath'];

export interface EngineGroupStatus {
  engines: number;
  ready: number;
  /** Of all its engines, some seconds old; null while none of them has said anything. */
  path: PathFigures | null;
  message: string;
}

export const engineGroup = defineKind({
  name: 'engine-group',
  summary: 'how engines are sized, placed and treated when one falls silent',
  spec: EngineGroupSpec,
  references: (spec) => [{ path: '$.spec.cloud', kind: 'cloud', name: spec.cloud }],
});

type Range = EngineGroupSpec['dataAddresses'][number];

function isInPrefix(address: string, prefix: string): boolean {
  const [network = '', bits] = prefix.split('/');
  const family = isIP(network) === 6 ? 'ipv6' : 'ipv4';
  const list = new BlockList();
  if (bits !== undefined) list.addSubnet(network, Number(bits), family);
  return list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

/** A range that lies outside its prefix or ends before it begins. */
function rangeProblem({ prefix, first, last }: Range): { field: keyof Range; message: string } | null {
  const slash = prefix.indexOf('/');
  if (slash < 0) return { field: 'prefix', message: 'needs a prefix length, for example 10.77.0.0/24' };
  const version = isIP(prefix.slice(0, slash));
  const family = version === 4 ? 'ipv4' : 'ipv6';
  const network = new BlockList();
  network.addSubnet(prefix.slice(0, slash), Number(prefix.slice(slash + 1)), family);
  for (const [field, address] of [
    ['first', first],
    ['last', last],
  ] as const) {
    if (isIP(address) !== version || !network.check(address, family)) {
      return { field, message: `must lie in ${prefix}` };
    }
  }
  try {
    new BlockList().addRange(first, last, family);
    return null;
  } catch {
    return { field: 'last', message: `must not come before first (${first})` };
  }
}
