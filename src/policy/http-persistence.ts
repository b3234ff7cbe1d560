/** How clients of an HTTP service come back to the member that they had: the attribute `sessionCookie` of `http`. */
import { z } from 'zod';

export const SessionCookie = z
  .strictObject({
    name: z
      .string()
      .regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be letters, digits, - and _')
      .default('weft')
      .meta({ description: 'Of the cookie; for the pool of a route, `-` and the name of the pool follow.' }),
    path: z
      .string()
      .max(256)
      .regex(/^\/[\x21-\x3a\x3c-\x7e]*$/, 'must begin with /, without blanks and semicolons')
      .default('/')
      .meta({ description: 'Its attribute Path.' }),
    maxAgeSeconds: z.int().min(1).max(34_560_000).optional().meta({
      description: 'Its attribute Max-Age; it ends with the browser where this is left out.',
      unit: 's',
    }),
    sameSite: z
      .enum(['Strict', 'Lax', 'None'])
      .default('Lax')
      .meta({ description: 'Its attribute SameSite.' }),
    keyFile: z.string().min(1).max(4096).optional().meta({
      description:
        'A file of 32 random bytes or more, of which the key comes that signs: cookies then mean the same to all proxies that have it, and after a restart. Where it is left out the key is made when the proxy starts.',
    }),
    isSecure: z
      .boolean()
      .default(false)
      .meta({ description: 'Its attribute Secure: browsers send it by HTTPS alone.' }),
  })
  .refine(({ sameSite, isSecure }) => sameSite !== 'None' || isSecure, {
    path: ['sameSite'],
    message: 'None needs isSecure: true: browsers throw such a cookie away otherwise',
  })
  .meta({
    description:
      'Persistence: a client gets a cookie (HttpOnly) that stands for its member, signed by a key of this proxy, and comes back to that member while it takes requests.',
  });

export type SessionCookie = z.output<typeof SessionCookie>;
