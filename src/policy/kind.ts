/**
 * What a policy kind is: a name, a schema of its spec, and the references it holds.
 *
 * The schema is the single source of the TypeScript type, validation, REST, the OpenAPI document, the CLI's
 * `weft spec`, forms and docs. A kind is one file in this folder and one line in registry.ts.
 */
import type { z } from 'zod';

/** A reference from one object to another: where it stands and what it points to. */
export interface Reference {
  /** JSON path inside the referring object, for example `$.spec.tiers[0].pool`. */
  path: string;
  kind: string;
  name: string;
}

export interface Kind<Spec extends z.ZodType = z.ZodType> {
  /** Kebab-case singular, as in documents and URLs: `virtual-service`. */
  readonly name: string;
  /** One sentence for listings and help. */
  readonly summary: string;
  readonly spec: Spec;
  /** Every reference the spec holds. */
  references(spec: z.output<Spec>): Reference[];
}

/** A stored object. `spec` is intent, written by users; `status` is observation, written by the controller. */
export interface PolicyObject<Spec = unknown, Status = unknown> {
  kind: string;
  name: string;
  /** The store revision of the last change of `spec`; sent back in If-Match. */
  revision: number;
  spec: Spec;
  status?: Status;
}

/** Keeps the Spec type parameter of a kind without writing it twice. */
export function defineKind<Spec extends z.ZodType>(kind: Kind<Spec>): Kind<Spec> {
  return kind;
}
