/** Values of vim25 as they are in memory: between the wire (codec.ts) and the methods. They survive JSON. */

/** A reference to a managed object: `{ $ref: 'VirtualMachine', id: 'vm-7' }`. */
export interface MoRef {
  $ref: string;
  id: string;
}

/** A data object. `$type` names its type where that is not the declared one; what came over the wire always has it. */
export interface Struct {
  $type?: string;
  [field: string]: Value | undefined;
}

export type Value = string | number | boolean | MoRef | Struct | Value[];

export function moRef(type: string, id: string): MoRef {
  return { $ref: type, id };
}

export function isMoRef(value: Value | undefined): value is MoRef {
  return typeof value === 'object' && !Array.isArray(value) && '$ref' in value;
}

export function isStruct(value: Value | undefined): value is Struct {
  return typeof value === 'object' && !Array.isArray(value) && !('$ref' in value);
}

/** A moment as vim25 writes it. */
export function dateTime(timeMs: number): string {
  return new Date(timeMs).toISOString();
}
