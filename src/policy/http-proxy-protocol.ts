/** The PROXY protocol of an HTTP service, from proxies in front and to members: the attribute `proxyProtocol` of `http`. */
import { z } from 'zod';
import { Prefix } from './attributes.ts';

export const ProxyProtocol = z
  .strictObject({
    from: z.array(Prefix).max(256).default([]).meta({
      description:
        'Proxies in front: connections from these addresses must begin with a PROXY header, of version 1 or 2, and it says who the client is. From others such a header is refused like any request that is none.',
    }),
    toMembers: z.enum(['none', 'v1', 'v2']).default('none').meta({
      description:
        'The header that members get in front of each connection, in that version, or none. A connection to a member then serves one connection of a client only. Health monitors send none.',
    }),
  })
  .meta({ description: 'The PROXY protocol.' });

export type ProxyProtocol = z.output<typeof ProxyProtocol>;
