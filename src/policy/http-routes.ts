/** Content switching of a virtual service: the attribute `routes` of `http`, which sends requests to further pools. */
import { z } from 'zod';
import { Name } from './attributes.ts';

const Value = z
  .string()
  .max(512)
  .regex(/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/, 'must be visible characters, blanks only in between');

const match = (what: string, name: z.ZodString) =>
  z
    .array(
      z.strictObject({
        name: name.meta({ description: `The ${what}.` }),
        value: Value.optional().meta({
          description: `Its value; with \`*\` at the end, how it begins. Any value where it is left out.`,
        }),
      }),
    )
    .max(8)
    .default([]);

const Token = z
  .string()
  .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/, 'must be a token: letters, digits, - and _');

export const HttpRoute = z.strictObject({
  hosts: z
    .array(
      z
        .string()
        .max(253)
        .regex(
          /^(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*$|^\[[0-9a-f:.]+\]$/i,
          'must be a host without port, such as shop.example or *.shop.example',
        ),
    )
    .max(64)
    .default([])
    .meta({
      description:
        'Hosts that requests name, whatever the port; `*.shop.example` stands for every name below shop.example. Any where none is named.',
    }),
  paths: z
    .array(
      z
        .string()
        .max(512)
        .regex(/^\/[\x21-\x29\x2b-\x3e\x40-\x7e]*\*?$/, 'must begin with /, without query; * may end it'),
    )
    .max(64)
    .default([])
    .meta({
      description:
        'Paths, as they are written in requests (members may take `//a` or `/%61` for `/a`, so this is no access control); with `*` at the end, how they begin. Any where none is named.',
    }),
  methods: z
    .array(Token)
    .max(16)
    .default([])
    .meta({ description: 'Methods, such as GET. Any where none is named.' }),
  fields: match('header field', Token).meta({ description: 'Header fields that requests must all have.' }),
  cookies: match('cookie', Token).meta({ description: 'Cookies that requests must all have.' }),
  query: match(
    'parameter',
    z
      .string()
      .regex(/^[\x21\x22\x24\x25\x27-\x3c\x3e-\x7e]{1,128}$/, 'must be a parameter as it is written in URLs'),
  ).meta({ description: 'Parameters of the query that requests must all have, as they are written there.' }),
  pool: Name.meta({ description: 'The pool whose members get such requests.' }),
});

export const HttpRoutes = z.array(HttpRoute).max(2000).default([]).meta({
  description:
    'Content switching: the first of these that fits a request names the pool that gets it; where none fits, it is the pool of the tier.',
});

export type HttpRoute = z.output<typeof HttpRoute>;
