/** The attribute `autoscale` of a pool: how many members it has, what decides that, and how another one is made. */
import { z } from 'zod';
import { DurationMs } from './attributes.ts';

const vm = z.string().min(1).max(80).optional().meta({
  description: 'Name of the VM that clones shall be like; a member of the pool where none is named.',
});

export const CloneFrom = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('full').meta({ description: 'A copy of every disk of a VM, as it is then.' }),
    vm,
  }),
  z.strictObject({
    kind: z.literal('linked').meta({
      description: 'Disks shared with a snapshot of a VM: there in seconds, and it needs the snapshot.',
    }),
    vm,
    snapshot: z
      .string()
      .min(1)
      .max(80)
      .optional()
      .meta({ description: 'Name of the snapshot; the current one where none is named.' }),
  }),
  z.strictObject({
    kind: z.literal('template').meta({ description: 'A template of the platform.' }),
    template: z
      .string()
      .min(1)
      .max(400)
      .meta({ description: 'Its name, or its folder and name, such as Datacenter/vm/golden.' }),
  }),
  z.strictObject({
    kind: z.literal('library-item').meta({ description: 'A VM template or OVF item of a content library.' }),
    library: z.string().min(1).max(80).meta({ description: 'Name of the content library.' }),
    item: z.string().min(1).max(80).meta({ description: 'Name of the item.' }),
  }),
]);

export const AutoscaleSpec = z
  .strictObject({
    min: z
      .int()
      .min(0)
      .max(1000)
      .default(1)
      .meta({ description: 'The fewest members; clones make up for what is missing.' }),
    max: z.int().min(1).max(1000).meta({
      description: 'The most members, those that Weft did not make included. Only clones are ever removed.',
    }),
    size: z.int().min(0).max(1000).optional().meta({
      description:
        'So many members, whatever the load: what `weft scale POOL N` sets, and `weft scale POOL auto` takes away.',
    }),
    source: CloneFrom.default({ kind: 'full' }).meta({ description: 'What clones are made from.' }),
    targets: z
      .strictObject({
        connectionsPerMember: z.int().min(1).max(1_000_000).optional().meta({
          description: 'Open connections that one member shall handle, on average.',
        }),
        cpuPercent: z.int().min(5).max(95).optional().meta({
          description: 'CPU that one member shall use, on average, as a share of all it has.',
        }),
      })
      .default({})
      .meta({ description: 'What load a member shall carry; the target that asks for most members counts.' }),
    tolerancePercent: z.int().min(0).max(50).default(10).meta({
      description: 'How far the load may be off its target before anything is done.',
    }),
    scaleOut: z
      .strictObject({
        afterMs: DurationMs.default(15_000).meta({
          description: 'So long the load must have been too high.',
        }),
        cooldownMs: DurationMs.default(60_000).meta({ description: 'Between two growths.' }),
        step: z
          .int()
          .min(1)
          .max(100)
          .default(2)
          .meta({ description: 'The most clones that are made at a time.' }),
      })
      .prefault({})
      .meta({ description: 'How a pool grows.' }),
    scaleIn: z
      .strictObject({
        afterMs: DurationMs.default(300_000).meta({
          description: 'So long one member fewer must have been enough.',
        }),
        cooldownMs: DurationMs.default(300_000).meta({
          description: 'After a growth or a removal, until the next removal.',
        }),
        step: z
          .int()
          .min(1)
          .max(100)
          .default(1)
          .meta({ description: 'The most clones that leave at a time.' }),
      })
      .prefault({})
      .meta({ description: 'How a pool shrinks.' }),
    readyTimeoutMs: DurationMs.min(1000).default(900_000).meta({
      description:
        'A clone that its health monitors do not call up in that time after it was made is removed, and the next one waits longer each time.',
    }),
    drainTimeoutMs: DurationMs.default(300_000).meta({
      description: 'A clone that leaves keeps its connections for so long; those that are left then are cut.',
    }),
    namePrefix: z
      .string()
      .max(40)
      .regex(
        /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/,
        'must be lower-case letters, digits and hyphens, and start and end with a letter or digit',
      )
      .optional()
      .meta({
        description: 'Clones are called `<prefix>-<number>`; the name of the pool where none is given.',
      }),
    hosts: z.array(z.string().min(1)).min(1).optional().meta({
      description:
        'Patterns over the names of the hosts that clones may be put on; all of the cloud where none are given.',
    }),
    folder: z.string().min(1).max(400).optional().meta({
      description: 'Inventory folder of clones; that of their model where none is named.',
    }),
    datastore: z.string().min(1).max(80).optional().meta({
      description: 'Datastore of clones; the platform chooses where none is named.',
    }),
    segment: z.string().min(1).max(80).optional().meta({
      description: 'Production segment of the first NIC of clones; that of their model where none is named.',
    }),
    customisation: z.string().min(1).max(80).optional().meta({
      description: 'Name of a guest customisation specification that the platform keeps.',
    }),
    tags: z.array(z.string().min(1)).max(32).default([]).meta({
      description: 'Tags that clones get besides those of their model. They must exist.',
    }),
  })
  .superRefine((spec, context) => {
    const refuse = (path: string[], message: string): void => {
      context.addIssue({ code: 'custom', path, message });
    };
    if (spec.min > spec.max) refuse(['min'], `must not be more than max (${spec.max})`);
    if (spec.size !== undefined && (spec.size < spec.min || spec.size > spec.max)) {
      refuse(
        ['size'],
        `must lie between min (${spec.min}) and max (${spec.max}): choose another size, or change the bounds`,
      );
    }
    const { connectionsPerMember, cpuPercent } = spec.targets;
    const hasTarget = connectionsPerMember !== undefined || cpuPercent !== undefined;
    if (!hasTarget && spec.size === undefined && spec.min !== spec.max) {
      refuse(
        ['targets'],
        'needs connectionsPerMember, cpuPercent or both, unless size is given: nothing else says how many members there shall be',
      );
    }
  });

export type AutoscaleSpec = z.output<typeof AutoscaleSpec>;

/** What a decision rested on. Null stands for what nobody could say. */
export interface ScaleFigures {
  /** Members there are or will be: those that leave are not counted. */
  size: number;
  /** Members that are up and take new connections. */
  serving: number;
  /** Clones that are being made. */
  coming: number;
  /** Clones that drain or are being removed. */
  leaving: number;
  /** Average over the serving members of which it is known. */
  connectionsPerMember: number | null;
  cpuPercent: number | null;
}

/** One change of size, or what kept it from happening. */
export interface ScaleDecision {
  /** ISO 8601. */
  at: string;
  from: number;
  to: number;
  reason: string;
  figures: ScaleFigures;
}

export interface CloneStatus {
  vm: string;
  host: string;
  phase: 'cloning' | 'starting' | 'ready' | 'draining' | 'removing';
  /** Since when it is in that phase; ISO 8601. */
  since: string;
  message: string;
}

/** What is observed of `autoscale`, in the status of its pool. */
export interface AutoscaleStatus {
  /** `steady` `growing` `shrinking`; `held` where something keeps it from what it should be. */
  state: 'steady' | 'growing' | 'shrinking' | 'held';
  /** The size that it shall have now. */
  wanted: number;
  /** One sentence: why it is as it is. */
  message: string;
  figures: ScaleFigures;
  clones: CloneStatus[];
  /** The latest changes, newest first. */
  decisions: ScaleDecision[];
}
