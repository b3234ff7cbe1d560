/** What members get in the place of the path, query and host that clients ask for: the attribute `rewrites` of `http`. */
import { z } from 'zod';
import { isComparedForm, JudgedRequests } from './http-access-rules.ts';

/** `{id}` is one segment, `{rest*}` all that follows. */
const CAPTURE = /\{([A-Za-z]\w{0,31})(\*?)\}/g;

const PathTemplate = z
  .string()
  .max(512)
  .regex(
    /^(\/(\{[A-Za-z]\w{0,31}\*?\}|[\w.~!$&'()+,=:@%-]*))+$/,
    'must be a path of whole segments, without query, such as /users/{id}/orders/{rest*}',
  )
  .refine(
    (path) => isComparedForm(path),
    'must be as paths are compared: no //, no ;, no . or .. segments, and as %XX, in upper case, only blanks, bytes above ASCII and % ? # ;',
  )
  .refine((path) => !/\*\}./.test(path), 'may have {name*}, which is all that follows, at its end only')
  .refine((path) => {
    const names = [...path.matchAll(CAPTURE)].map(([, name]) => name);
    return new Set(names).size === names.length;
  }, 'names a part twice: names must differ');

/** Text whose captures stand in braces. */
const QueryText = z
  .string()
  .max(256)
  .regex(
    /^([\x20-\x7a\x7c\x7e]|\{[A-Za-z]\w{0,31}\})*$/,
    'must be visible characters and blanks; braces only around the name of a part of `path`',
  );

const ParameterName = z
  .string()
  .regex(/^[\x20-\x7e]{1,128}$/, 'must be the name of a parameter, as it is meant, not as it is encoded');

const QueryChanges = z.strictObject({
  remove: z
    .array(ParameterName)
    .max(32)
    .default([])
    .meta({ description: 'Parameters that are taken out, however they are spelled; `*` is all of them.' }),
  set: z
    .array(
      z.strictObject({
        name: ParameterName.meta({ description: 'The parameter.' }),
        value: QueryText.meta({
          description: 'Its value, as it is meant: what has to be encoded is. `{id}` is that part of `path`.',
        }),
      }),
    )
    .max(32)
    .default([])
    .meta({ description: 'Parameters that there are then, in the place of those of the same name.' }),
});

export const HttpRewrite = JudgedRequests.omit({ paths: true })
  .extend({
    path: PathTemplate.optional().meta({
      description:
        'Paths that it is for, as a whole: `{id}` is one segment, `{rest*}` at the end all that follows, be it nothing. Any where it is left out.',
    }),
    to: z
      .strictObject({
        path: PathTemplate.optional().meta({
          description: 'The path that members get, with the parts of `path` by their names.',
        }),
        host: z
          .string()
          .max(259)
          .regex(
            /^([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(:[1-9]\d{0,4})?$/i,
            'must be a host, perhaps with a port, such as shop.internal:8080',
          )
          .optional()
          .meta({ description: 'The Host that members get; that of the client stays in X-Forwarded-Host.' }),
        query: QueryChanges.optional().meta({ description: 'Changes of the query.' }),
      })
      .meta({ description: 'What members get.' }),
  })
  .superRefine(({ path, to }, context) => {
    const complain = (at: (string | number)[], message: string): void =>
      context.addIssue({ code: 'custom', path: ['to', ...at], message });
    if (to.path === undefined && to.host === undefined && to.query === undefined) {
      complain([], 'changes nothing: name path, host or query');
    }
    const known = new Map([...(path ?? '').matchAll(CAPTURE)].map(([, name, rest]) => [name!, rest!]));
    for (const [whole, name, rest] of (to.path ?? '').matchAll(CAPTURE)) {
      if (known.get(name!) === rest) continue;
      complain(['path'], `has ${whole}, which \`path\` has not: name it there in the same way`);
    }
    for (const [at, { value }] of (to.query?.set ?? []).entries()) {
      for (const [whole, name] of value.matchAll(CAPTURE)) {
        if (!known.has(name!))
          complain(['query', 'set', at, 'value'], `has ${whole}, which \`path\` has not`);
      }
    }
  });

export type HttpRewrite = z.output<typeof HttpRewrite>;

export const HttpRewrites = z.array(HttpRewrite).max(2000).default([]).meta({
  description:
    'The first of these that fits says what members get; rules, routes, the cache and the log go by what the client asked for. Location, Content-Location and the Path and Domain of cookies are mapped back, where each part of `path` is in `to.path` too. What members may read in two ways (`%2F`, `%2561`, encoded control characters) is refused.',
});
