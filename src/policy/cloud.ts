/** The kind `cloud`: one hypervisor manager, or the built-in lab. */
import { z } from 'zod';
import { defineKind } from './kind.ts';

export const CloudSpec = z
  .strictObject({
    platform: z.enum(['lab']).meta({ description: 'The hypervisor platform that drives this cloud.' }),
    address: z
      .string()
      .min(1)
      .meta({ description: 'Where the platform is reached: for the lab, the path of its control socket.' }),
    pollIntervalMs: z
      .int()
      .min(100)
      .max(3_600_000)
      .default(5000)
      .meta({ description: 'How often the whole inventory is read again beside the watch.', unit: 'ms' }),
  })
  .meta({ description: 'One hypervisor manager, or the built-in lab.' });

export type CloudSpec = z.output<typeof CloudSpec>;

export interface CloudStatus {
  state: 'connected' | 'unreachable';
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
