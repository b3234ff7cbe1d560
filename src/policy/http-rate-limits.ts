/** Rate limits of an HTTP service: the attribute `rateLimits` of `http`. */
import { z } from 'zod';
import { DurationMs, Name } from './attributes.ts';
import { JudgedRequests } from './http-access-rules.ts';

export const HttpRateLimit = JudgedRequests.extend({
  name: Name.meta({ description: 'Names the limit in counters.' }),
  per: z.enum(['source', 'field', 'cookie', 'path', 'all']).default('source').meta({
    description:
      'Whose requests are counted together: those of one address, of one value of the field or cookie `key` (of one address where it is missing), of one path, or all that fit.',
  }),
  key: z
    .string()
    .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/, 'must be the name of a header field or cookie')
    .optional()
    .meta({
      description:
        'With `per: field` or `cookie`, its name. Clients choose what they send: limit addresses, too.',
    }),
  ipv4Bits: z
    .int()
    .min(8)
    .max(32)
    .default(32)
    .meta({ description: 'Addresses that begin with so many equal bits count as one.', unit: 'bits' }),
  ipv6Bits: z.int().min(16).max(128).default(64).meta({
    description: 'The same for IPv6, where a client has a whole /64 as a rule.',
    unit: 'bits',
  }),
  requests: z.int().min(1).max(1_000_000).meta({ description: 'So many on average within that time.' }),
  withinMs: DurationMs.default(1000).meta({ description: 'A second where it is left out.' }),
  burst: z.int().min(1).max(1_000_000).optional().meta({
    description: 'So many may come at once after a pause; as many as `requests` where this is left out.',
  }),
}).superRefine(({ per, key }, context) => {
  const needsKey = per === 'field' || per === 'cookie';
  if (needsKey === (key !== undefined)) return;
  context.addIssue({
    code: 'custom',
    path: ['key'],
    message: needsKey ? `is required with per: ${per}` : `belongs to per: field or cookie, not to ${per}`,
  });
});

export type HttpRateLimit = z.output<typeof HttpRateLimit>;

export const HttpRateLimits = z
  .strictObject({
    limits: z
      .array(HttpRateLimit)
      .min(1)
      .max(64)
      .refine(
        (limits) => new Set(limits.map(({ name }) => name)).size === limits.length,
        'must name each limit differently',
      )
      .meta({ description: 'All that fit a request have to let it through, in this order.' }),
    entries: z
      .int()
      .min(1024)
      .max(2 ** 22)
      .default(2 ** 16)
      .meta({
        description:
          'So many addresses and values are known at a time, 16 bytes each, to all workers together; where there are more, those that used up least are forgotten.',
      }),
  })
  .meta({
    description:
      'Answer 429 with Retry-After where requests come faster than allowed. Workers count together. Targets are judged as by `accessRules`.',
  });

export type HttpRateLimits = z.output<typeof HttpRateLimits>;
