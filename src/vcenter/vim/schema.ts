/**
 * The part of vim25 that Weft uses, as one table: the single source of types, field order and array-ness, for the
 * codec and for TypeScript.
 *
 * Notation of a field: `'string'` required, `'string?'` optional, `'VirtualDevice[]?'` none or more. Scalars are those
 * of {@link Scalars}; `MoRef` is a reference to a managed object; `any` carries its type on the wire. Enumerations are
 * `string`. The order is that of the wire (vCenter refuses another), inherited fields first. What is not listed is
 * skipped when it is read and left out when it is written, which vCenter understands as "unchanged"; so a type that is
 * sent back as it was read must be listed with every field that matters. A test holds the table to the definitions
 * that govmomi keeps of the same types.
 */
import { APPLIANCE_METHODS, APPLIANCE_TYPES } from './appliance-schema.ts';
import { CUSTOMIZATION_METHODS, CUSTOMIZATION_TYPES } from './customization-schema.ts';
import { NETWORK_METHODS, NETWORK_TYPES } from './network-schema.ts';
import { SESSION_METHODS, SESSION_TYPES } from './session-schema.ts';
import { VIRTUAL_MACHINE_METHODS, VIRTUAL_MACHINE_TYPES } from './virtual-machine-schema.ts';

export const VIM_TYPES = {
  ...SESSION_TYPES,
  ...VIRTUAL_MACHINE_TYPES,
  ...NETWORK_TYPES,
  ...CUSTOMIZATION_TYPES,
  ...APPLIANCE_TYPES,
} as const;

export const VIM_METHODS = {
  ...SESSION_METHODS,
  ...VIRTUAL_MACHINE_METHODS,
  ...NETWORK_METHODS,
  ...CUSTOMIZATION_METHODS,
  ...APPLIANCE_METHODS,
} as const;

type Types = typeof VIM_TYPES;
type Methods = typeof VIM_METHODS;

/** The name of a data object type of the table. */
export type TypeName = keyof Types;
/** The name of a method on the wire, for example `ReconfigVM_Task`. */
export type MethodName = keyof Methods;
/** The methods that answer with a task. */
export type TaskName = Extract<MethodName, `${string}_Task`>;

/** A reference to a managed object: `{ type: 'VirtualMachine', value: 'vm-12' }`. */
export interface MoRef {
  type: string;
  value: string;
}

/** What scalars are in JavaScript. A `long` beyond 2^53 loses its last digits; `base64` and `dateTime` stay text. */
interface Scalars {
  string: string;
  boolean: boolean;
  int: number;
  long: number;
  short: number;
  byte: number;
  double: number;
  float: number;
  dateTime: string;
  base64: string;
  MoRef: MoRef;
  any: unknown;
}

type BaseOf<T extends TypeName> = Types[T] extends { base: infer B extends TypeName } ? B : never;
type IsA<T extends TypeName, Ancestor extends TypeName> = T extends Ancestor
  ? true
  : [BaseOf<T>] extends [never]
    ? false
    : IsA<BaseOf<T>, Ancestor>;
type Derived<T extends TypeName> = {
  [K in TypeName]: K extends T ? never : IsA<K, T> extends true ? K : never;
}[TypeName];

type Bare<F extends string> = F extends `${infer B}?` ? Bare<B> : F extends `${infer B}[]` ? B : F;
type One<B extends string> = B extends keyof Scalars ? Scalars[B] : B extends TypeName ? Vim<B> : never;
type Value<F extends string> = F extends `${string}[]` | `${string}[]?` ? One<Bare<F>>[] : One<Bare<F>>;

type Fields<F> = {
  [K in keyof F as F[K] extends `${string}?` ? never : K]: F[K] extends string ? Value<F[K]> : never;
} & {
  [K in keyof F as F[K] extends `${string}?` ? K : never]?: F[K] extends string
    ? Value<F[K]> | undefined
    : never;
};
// One type at a time: the fields of all with those of all bases would be more than the compiler can hold.
type AllFields<T extends TypeName> = T extends TypeName
  ? Fields<Types[T]['fields']> & ([BaseOf<T>] extends [never] ? unknown : AllFields<BaseOf<T>>)
  : never;

/** An object of exactly this type. `$type` is set on everything that is read with a type of its own on the wire. */
export type VimExactly<T extends TypeName> = AllFields<T> & { $type?: T | undefined };

/**
 * An object of the type, or of one derived from it; then `$type` says which, and is required when it is written.
 * A type that the table does not list is read as the listed one it stands for, with `$type` as on the wire; it
 * cannot be written.
 */
export type Vim<T extends TypeName> =
  | VimExactly<T>
  | { [K in Derived<T>]: AllFields<K> & { $type: K } }[Derived<T>];

/** The arguments of a method, without `_this`. */
export type Arguments<M extends MethodName> = Fields<Methods[M]['args']>;

/** What a method answers; an array where the table says so, `undefined` where an optional result is absent. */
export type Result<M extends MethodName> = Methods[M]['returns'] extends infer R
  ? R extends string
    ? R extends `${string}[]` | `${string}[]?`
      ? Value<R>
      : R extends `${string}?`
        ? Value<R> | undefined
        : Value<R>
    : undefined
  : never;

/** A field as the codec reads it. */
export interface Field {
  name: string;
  /** Scalar, `MoRef`, `any`, or a type of the table. */
  type: string;
  isArray: boolean;
  isOptional: boolean;
}

/** Reads the notation. */
export function parseField(name: string, notation: string): Field {
  const isOptional = notation.endsWith('?');
  const rest = isOptional ? notation.slice(0, -1) : notation;
  const isArray = rest.endsWith('[]');
  return { name, type: isArray ? rest.slice(0, -2) : rest, isArray, isOptional };
}

const fieldTables = new Map<string, readonly Field[]>();

/** Every field of a type in wire order, or undefined where the table does not list the type. */
export function fieldsOf(type: string): readonly Field[] | undefined {
  const known = fieldTables.get(type);
  if (known || !isTypeName(type)) return known;
  const entry: { base?: string; fields: Record<string, string> } = VIM_TYPES[type];
  const inherited = entry.base === undefined ? [] : (fieldsOf(entry.base) ?? []);
  const own = Object.entries(entry.fields).map(([name, notation]) => parseField(name, notation));
  const fields = [...inherited, ...own];
  fieldTables.set(type, fields);
  return fields;
}

/** Whether the table lists the type. */
export function isTypeName(type: string): type is TypeName {
  return Object.hasOwn(VIM_TYPES, type);
}

/** Whether `type` is `ancestor` or derived from it. */
export function isKindOf(type: string, ancestor: string): boolean {
  for (let at: string | undefined = type; at !== undefined; ) {
    if (at === ancestor) return true;
    at = isTypeName(at) ? (VIM_TYPES[at] as { base?: string }).base : undefined;
  }
  return false;
}
