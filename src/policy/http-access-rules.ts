/** Access rules of an HTTP service, a firewall by request: the attribute `accessRules` of `http`. */
import { z } from 'zod';
import { Name, Prefix } from './attributes.ts';
import { HttpRoute } from './http-routes.ts';

/** How rules and targets are compared: the one spelling that all others of a path are brought to. */
export function isComparedForm(path: string): boolean {
  if (/\/\/|;|\/\.{1,2}(\/|$)|%25[0-9a-f]{2}/i.test(path)) return false;
  return [...path.matchAll(/%(.{0,2})/g)].every(([, digits]) => {
    if (!/^[0-9A-F]{2}$/.test(digits!)) return false;
    const value = Number.parseInt(digits!, 16);
    const isPrintable = value > 32 && value < 127;
    return isPrintable ? '%?#;'.includes(String.fromCharCode(value)) : value === 32 || value > 127;
  });
}

/** What requests are told apart by, with paths as they are compared. */
export const JudgedRequests = HttpRoute.omit({ pool: true }).extend({
  paths: z
    .array(
      HttpRoute.shape.paths
        .unwrap()
        .element.refine(
          isComparedForm,
          'must be as paths are compared: no //, no ;, no . or .. segments, and as %XX, in upper case, only blanks, bytes above ASCII and % ? # ;',
        ),
    )
    .max(64)
    .default([])
    .meta({
      description:
        'Paths, with `*` at the end how they begin, held against the path that a member would see: decoded, slashes merged, parameters (`;x=y`) left out. Any where none is named.',
    }),
});

export const AccessRule = JudgedRequests.extend({
  name: Name.meta({ description: 'Names the rule in counters and in the access log.' }),
  action: z.enum(['allow', 'deny', 'log']).meta({
    description:
      '`allow` and `deny` decide; `log` names the rule in the access log, and the next rules decide.',
  }),
  from: z.array(Prefix).max(1000).default([]).meta({
    description:
      'Addresses of clients. Where `fromSets` is named too, one of them has to fit; any where neither is.',
  }),
  fromSets: z.array(Name).max(64).default([]).meta({ description: 'Address sets that hold the client.' }),
  status: z
    .union([400, 403, 404, 410, 429, 451, 503].map((status) => z.literal(status)))
    .default(403)
    .meta({ description: 'What `deny` answers.' }),
  isLogged: z.boolean().default(false).meta({
    description: 'The access log has each request that the rule decides, with its name, however few else.',
  }),
});

export type AccessRule = z.output<typeof AccessRule>;

export const AccessRules = z
  .strictObject({
    rules: z
      .array(AccessRule)
      .max(10_000)
      .default([])
      .superRefine((rules, context) => {
        const seen = new Set<string>();
        for (const [at, { name }] of rules.entries()) {
          if (seen.has(name)) {
            context.addIssue({
              code: 'custom',
              path: [at, 'name'],
              message: 'is the name of an earlier rule; names must differ',
            });
          }
          seen.add(name);
        }
      })
      .meta({ description: 'The first rule that fits decides.' }),
    defaultAction: z
      .enum(['allow', 'deny'])
      .default('allow')
      .meta({ description: 'What happens where none fits; `deny` answers 403.' }),
    ignoresCase: z.boolean().default(false).meta({
      description: 'Paths and queries fit whatever their case, for members that do not tell it apart.',
    }),
  })
  .meta({
    description:
      'A firewall by request. What members may read in two ways (`%2F`, `%2561`, encoded control characters) is refused, and fields by which frameworks take another target, method or host than was judged (X-Original-URL, X-HTTP-Method-Override, ...) are taken out.',
  });

export type AccessRules = z.output<typeof AccessRules>;
