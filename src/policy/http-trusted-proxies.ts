/** Proxies in front of an HTTP service that say who the client is: the attributes `trustedProxies` and `requestId` of `http`. */
import { z } from 'zod';
import { Prefix } from './attributes.ts';

export const TrustedProxies = z
  .strictObject({
    from: z.array(Prefix).min(1).max(256).meta({
      description:
        'Their addresses. The client is the first address, seen from here, that is none of these: for rules, limits, balancing by address, the log and members.',
    }),
    fields: z.enum(['x-forwarded', 'forwarded']).default('x-forwarded').meta({
      description:
        'What they write: X-Forwarded-For, -Proto, -Host and -Port, or Forwarded (RFC 7239). Only that is believed: the other would be what clients sent them.',
    }),
  })
  .meta({
    description:
      'Proxies in front that tell of clients in header fields. From all others such fields go no further.',
  });

export const RequestId = z
  .strictObject({
    field: z
      .string()
      .regex(/^[A-Za-z][A-Za-z0-9-]{0,63}$/, 'must be letters, digits and -')
      .refine(
        (name) =>
          !/^(connection|content-|transfer-|host$|te$|trailer$|upgrade$|expect$|cookie$|authorization$|forwarded$|x-forwarded-|proxy-|keep-alive$|via$|date$)/i.test(
            name,
          ),
        'is a field that means something else',
      )
      .default('X-Request-Id')
      .meta({ description: 'The field that members get it in, and `trustedProxies` send it in.' }),
    toClients: z.boolean().default(false).meta({ description: 'Responses have it, too.' }),
  })
  .meta({
    description:
      'Give each request an id, random, or that of a trusted proxy: in the access log (`id`) and for members.',
  });

export type RequestId = z.output<typeof RequestId>;
