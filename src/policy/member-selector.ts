/** How a pool chooses its members: criteria over the inventory, and what to leave out. Part of the kind `pool`. */
import { z } from 'zod';
import { Prefix } from './attributes.ts';

/** The criteria there are, in the order in which they are written and explained. */
export const CRITERIA = ['tags', 'names', 'folders', 'segments', 'addresses', 'attributes'] as const;
export type CriterionName = (typeof CRITERIA)[number];

const words = z.array(z.string().min(1).max(300)).max(1000);
const attribute = z
  .string()
  .max(600)
  .regex(/^[^=]+=/, 'must be like owner=web, or owner=* for any value');

const INCLUDED = {
  tags: words.optional().meta({
    description:
      'VMs that carry every one of these tags, as `category=name` or by the bare name; * stands for any characters, here and in all lists of text below.',
  }),
  names: words.optional().meta({ description: 'VMs whose name matches one of these patterns.' }),
  folders: words.optional().meta({ description: 'VMs in one of these inventory folders or below.' }),
  segments: words.optional().meta({
    description: 'VMs with a NIC on one of these segments (port groups); they serve on that NIC.',
  }),
  addresses: z.array(Prefix).max(1000).optional().meta({
    description: 'VMs with a guest address in one of these prefixes; they serve on the NIC that has it.',
  }),
  attributes: z.array(attribute).max(1000).optional().meta({
    description: 'VMs whose custom attributes are all of these, each as `name=value`.',
  }),
};

const EXCLUDED = {
  tags: words.optional().meta({ description: 'VMs that carry any of these tags.' }),
  names: words.optional().meta({ description: 'VMs whose name matches any of these patterns.' }),
  folders: words.optional().meta({ description: 'VMs in any of these folders or below.' }),
  segments: words.optional().meta({ description: 'VMs with a NIC on any of these segments.' }),
  addresses: z
    .array(Prefix)
    .max(1000)
    .optional()
    .meta({ description: 'VMs with a guest address in any of these prefixes.' }),
  attributes: z.array(attribute).max(1000).optional().meta({
    description: 'VMs with any of these custom attributes, each as `name=value`.',
  }),
};

export const MemberSelector = z
  .strictObject({
    ...INCLUDED,
    exclude: z.strictObject(EXCLUDED).optional().meta({
      description:
        'VMs that are left out although they fulfil the rest: those that fulfil any one entry in here.',
    }),
  })
  .refine((selector) => CRITERIA.some((name) => (selector[name]?.length ?? 0) > 0), {
    message: `needs at least one of ${CRITERIA.join(', ')}: an empty selector would choose every VM`,
  })
  .meta({ description: 'Which VMs are members: those that fulfil every criterion that is given.' });

export type MemberSelector = z.output<typeof MemberSelector>;
