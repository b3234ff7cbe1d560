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
  /** Attributes that are texts of several lines. */
  readonly texts?: readonly string[];
  /**
   * What is wrong with a spec besides its schema, where it is new or changed: what is stored and grows old stays
   * readable. A secret is in it, given or kept.
   */
  check?(spec: z.output<Spec>, nowMs: number): SpecProblem[];
  /** An attribute that is taken and kept apart, sealed, and that nobody gets back. */
  readonly secret?: KindSecret<z.output<Spec>>;
}

export interface SpecProblem {
  /** Inside the spec. */
  path: readonly (string | number)[];
  message: string;
}

export interface KindSecret<Spec> {
  readonly attribute: string;
  /** The spec as it is stored and shown, and the secret where one was given. */
  take(spec: Spec): { spec: Spec; secret: string | null };
  with(spec: Spec, secret: string): Spec;
  /** What to do where an object of that name has none. */
  remedy(name: string): string;
}

/** A spec as it may be shown: without a secret. */
export function withoutSecret(kind: Kind, spec: unknown): unknown {
  return kind.secret === undefined ? spec : kind.secret.take(spec).spec;
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
