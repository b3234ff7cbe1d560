/** The kind `cloud`: one hypervisor manager, or the built-in lab. */
import { z } from 'zod';
import { defineKind } from './kind.ts';

const pollIntervalMs = z
  .int()
  .min(100)
  .max(3_600_000)
  .default(5000)
  .meta({ description: 'How often the whole inventory is read again beside the watch.', unit: 'ms' });

const LabCloud = z.strictObject({
  platform: z.literal('lab').meta({ description: 'The built-in lab.' }),
  address: z.string().min(1).meta({
    description:
      'Where the platform is reached: for the lab the path of its control socket, for vCenter https://host or https://host:port.',
  }),
  pollIntervalMs,
});

const Vlan = z.int().min(1).max(4094);

const VcenterCloud = z.strictObject({
  platform: z.literal('vcenter').meta({ description: 'VMware vCenter 6.7 or later.' }),
  address: z
    .string()
    .max(300)
    .refine(isHttpsOrigin, 'must be like https://vcenter.example.org, without user, path or query'),
  credentials: z.string().max(4096).regex(/^\//, 'must be an absolute path').meta({
    description:
      "A file on the controller's machine, mode 0600, of two lines: `user: NAME` and `password: TEXT`. It is read at every login and kept nowhere.",
  }),
  thumbprint: z
    .string()
    .regex(
      /^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$/,
      'must be a SHA-256 thumbprint: 32 pairs of hexadecimal digits',
    )
    .meta({
      description:
        "The SHA-256 thumbprint of vCenter's certificate, which `weft cloud trust ADDRESS` shows. A peer with any other is not spoken to.",
    }),
  managementNetwork: z
    .string()
    .min(1)
    .max(80)
    .meta({ description: 'The port group on which engines reach the controller.' }),
  ova: z
    .string()
    .max(4096)
    .regex(/^\//, 'must be an absolute path')
    .meta({ description: "The engine appliance's OVA, a file on the controller's machine." }),
  contentLibrary: z.string().min(1).max(80).optional().meta({
    description:
      'The local content library that the appliance is uploaded to once, as an item named after its content, and that engines are deployed from; where none is named, each engine is uploaded for itself.',
  }),
  signedBy: z.array(z.string().max(65_536)).min(1).max(16).optional().meta({
    description:
      'CA certificates (PEM), one of which must have signed the OVA; unsigned ones are taken where none is named.',
  }),
  engineSize: z
    .enum(['small', 'medium', 'large'])
    .default('small')
    .meta({ description: 'The deployment size of engines whose group names none.' }),
  engineFolder: z.string().min(1).max(80).optional().meta({
    description:
      "The VM folder for engines, directly in the datacenter; the datacenter's own where none is named.",
  }),
  pinEngines: z.boolean().default(true).meta({
    description:
      'Whether rules of the cluster keep each engine on its host and engines of one segment apart, with DRS off and the highest restart priority for their VMs (needs Host.Inventory.EditCluster).',
  }),
  datastore: z.string().min(1).max(80).optional().meta({
    description: 'The datastore for engines; the one with the most free space where none is named.',
  }),
  shadowVlans: z
    .strictObject({
      first: Vlan.meta({ description: 'The first VLAN id.' }),
      last: Vlan.meta({ description: 'The last VLAN id.' }),
    })
    .refine(({ first, last }) => first <= last, 'first must not be above last')
    .meta({ description: 'VLAN ids that nothing else uses; each shadow segment takes one.' }),
  uplinkAttribute: z.string().min(1).max(80).default('weft.uplinks').meta({
    description:
      'Custom attribute of hosts that names the physical switches above them, the outermost first: `spine/tor-a`.',
  }),
  rackCategory: z.string().min(1).max(80).default('rack').meta({
    description: 'Tag category that names the rack of a host.',
  }),
  uplinkSources: z
    .array(z.enum(['attribute', 'rack-tag', 'hints', 'cluster']))
    .min(1)
    .max(4)
    .default(['attribute', 'rack-tag', 'hints', 'cluster'])
    .meta({
      description:
        "Where the switches above a host are known from; the first that says something counts: `attribute` (uplinkAttribute), `rack-tag` (rackCategory), `hints` (what the host's NICs hear by LLDP or CDP), `cluster` (hosts of one cluster are neighbours; always the last resort).",
    }),
  hintDevices: z.array(z.string().min(1).max(80)).min(1).max(64).optional().meta({
    description:
      'Patterns of the physical NICs whose hints count, such as `vmnic2`; all where none is named. Name them where another NIC hears a switch that all racks share.',
  }),
  pollIntervalMs,
});

export const CloudSpec = z
  .discriminatedUnion('platform', [LabCloud, VcenterCloud])
  .meta({ description: 'One hypervisor manager, or the built-in lab.' });

export type CloudSpec = z.output<typeof CloudSpec>;
/** The spec of a cloud of platform `vcenter`. */
export type VcenterCloudSpec = z.output<typeof VcenterCloud>;

export interface CloudStatus {
  /** `held`: something of an earlier controller is there, and nothing is done until it is adopted. */
  state: 'connected' | 'held' | 'unreachable' | 'foreign';
  message: string;
  hosts: number;
  vms: number;
}

export const cloud = defineKind({
  name: 'cloud',
  summary: 'one hypervisor manager, or the built-in lab',
  spec: CloudSpec,
  references: () => [],
});

function isHttpsOrigin(text: string): boolean {
  try {
    const { protocol, username, password, pathname, search, hash } = new URL(text);
    return protocol === 'https:' && `${username}${password}${search}${hash}` === '' && pathname === '/';
  } catch {
    return false;
  }
}
