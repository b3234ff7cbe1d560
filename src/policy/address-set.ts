/** The kind `address-set`: prefixes under one name, which firewall rules and access rules use by that name. */
import { z } from 'zod';
import { Prefix } from './attributes.ts';
import { defineKind } from './kind.ts';

/** The most prefixes of one set. */
export const MAX_SET_PREFIXES = 100_000;

export const AddressSetSpec = z
  .strictObject({
    description: z.string().max(300).default('').meta({ description: 'What the set is for.' }),
    prefixes: z
      .array(Prefix)
      .max(MAX_SET_PREFIXES)
      .default([])
      .meta({ description: 'Prefixes or addresses of both families, in any order.' }),
  })
  .meta({ description: 'Prefixes under one name, for firewall rules and access rules of HTTP.' });

export type AddressSetSpec = z.output<typeof AddressSetSpec>;

export const addressSet = defineKind({
  name: 'address-set',
  summary: 'named prefixes that firewall rules and access rules use by their name',
  spec: AddressSetSpec,
  references: () => [],
});
