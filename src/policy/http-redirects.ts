/** Redirects of an HTTP service: the attribute `redirects` of `http`. */
import { isIPv6 } from 'node:net';
import { z } from 'zod';
import { HttpRoute } from './http-routes.ts';

export const HttpRedirect = HttpRoute.omit({ pool: true }).extend({
  to: z
    .string()
    .max(1024)
    .regex(
      /^https?:\/\/(\{host\}|[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?(\{path\}|\/([\x21\x23-\x3b\x3d\x3f-\x5b\x5d\x5f\x61-\x7a\x7e])*)(\{path\})?(\{query\})?$/,
      'must be such as https://shop.example/new{query} or https://{host}{path}{query}: a scheme, a host, then a path',
    )
    .refine(
      (to) => Number(/^https?:\/\/(?:\[[^\]]*\]|[^/:]+):(\d+)/.exec(to)?.[1] ?? 1) <= 65_535,
      'must name a port from 1 to 65535',
    )
    .refine((to) => !/:0+(\/|\{|$)/.test(to), 'must name a port from 1 to 65535')
    .refine(
      (to) => isIPv6(/^https?:\/\/\[([^\]]*)\]/.exec(to)?.[1] ?? '::'),
      'must name an IPv6 address between [ and ]',
    )
    .meta({
      description:
        'Where to. `{host}`, without port, `{path}` and `{query}`, with its question mark, are those that the client asked for; behind `trustedProxies` the host is the one that they name.',
    }),
  status: z
    .union([z.literal(301), z.literal(302), z.literal(307), z.literal(308)])
    .default(308)
    .meta({
      description: '301 and 308 may be remembered by clients; with 307 and 308 the method stays.',
    }),
});

export const HttpRedirects = z.array(HttpRedirect).max(2000).default([]).meta({
  description: 'The first of these that fits a request is its answer: it goes to no member.',
});
