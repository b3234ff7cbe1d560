/**
 * The type table of the simulated vCenter: which types there are, which fields in which order, which properties and
 * methods a managed object has. Written down as text in the files beside this one and read here once.
 *
 *   Type < Base: field type, optional? type, list type[], reference &ManagedObject
 *   ManagedObject.Method(parameter type, ...) -> result
 *
 * A type that is named in a field but not written down itself is one that the simulated vCenter does not know: its
 * field keeps its place in the order, and a value for it is refused.
 */
import { CORE_TYPES } from './core.ts';
import { CUSTOMIZATION_TYPES } from './customization.ts';
import { ENUMERATIONS } from './enumerations.ts';
import { FAULT_TYPES } from './faults.ts';
import { HOST_TYPES } from './hosts.ts';
import { IMPORT_TYPES } from './import.ts';
import { MACHINE_TYPES } from './machines.ts';
import { MANAGED_OBJECTS } from './managed-objects.ts';
import { METHODS } from './methods.ts';
import { NETWORK_TYPES } from './networks.ts';

/** A field, parameter, property or result. `type` is a data type, an enumeration or a simple type. */
export interface Member {
  name: string;
  type: string;
  /** A reference to a managed object of `type` (or one derived from it) instead of a value. */
  isReference: boolean;
  isList: boolean;
  isOptional: boolean;
}

export interface MethodType {
  owner: string;
  name: string;
  parameters: Member[];
  /** null: nothing is returned. */
  result: Member | null;
}

interface TypeEntry {
  base: string;
  own: Member[];
}

const ROOTS = `
DataObject
DynamicData < DataObject
DynamicProperty < DataObject: name PropertyPath, val anyType
MethodFault < DataObject: faultCause? LocalizedMethodFault, faultMessage? LocalizableMessage[]
RuntimeFault < MethodFault
`;

const dataTypes = readTypes(
  ROOTS,
  CORE_TYPES,
  HOST_TYPES,
  NETWORK_TYPES,
  MACHINE_TYPES,
  CUSTOMIZATION_TYPES,
  IMPORT_TYPES,
  FAULT_TYPES,
);
const managedTypes = readTypes('ManagedObject', MANAGED_OBJECTS);
const enumerations = new Map(
  statements(ENUMERATIONS).map((line) => {
    const [name, values] = line.split(': ');
    return [name!, new Set(values!.split(' '))];
  }),
);
const methods = new Map(
  statements(METHODS).map((line) => [line.slice(line.indexOf('.') + 1, line.indexOf('(')), readMethod(line)]),
);
const fieldsOf = new Map<string, readonly Member[]>();

/** True where the table has the data type. */
export function isDataType(type: string): boolean {
  return dataTypes.has(type);
}

/** True where the table has the managed object type. */
export function isManagedType(type: string): boolean {
  return managedTypes.has(type);
}

/** Values of an enumeration, or undefined where the type is none. */
export function enumeration(type: string): ReadonlySet<string> | undefined {
  return enumerations.get(type);
}

/** The method of that name, on whichever managed object. */
export function methodType(name: string): MethodType | undefined {
  return methods.get(name);
}

/** Fields of a data type in the order of the wire: inherited ones first. */
export function fields(type: string): readonly Member[] {
  return membersOf(dataTypes, type);
}

/** The property of a managed object type, inherited ones included. */
export function property(type: string, name: string): Member | undefined {
  return properties(type).find((one) => one.name === name);
}

/** All properties of a managed object type. */
export function properties(type: string): readonly Member[] {
  return membersOf(managedTypes, type);
}

/** True where `type` is `base` or derived from it, both data types or both managed objects. */
export function isKindOf(type: string, base: string): boolean {
  for (let at: string | undefined = type; at; at = (dataTypes.get(at) ?? managedTypes.get(at))?.base) {
    if (at === base) return true;
  }
  return false;
}

/** Data types that are derived from one, in whichever depth. */
export function dataTypesOf(base: string): string[] {
  return [...dataTypes.keys()].filter((type) => type !== base && isKindOf(type, base));
}

function membersOf(table: Map<string, TypeEntry>, type: string): readonly Member[] {
  const known = fieldsOf.get(type);
  if (known) return known;
  const entry = table.get(type);
  if (!entry) return [];
  const all = [...membersOf(table, entry.base), ...entry.own];
  fieldsOf.set(type, all);
  return all;
}

/** Statements of a text: a line that begins with a blank continues the one before. */
function statements(text: string): string[] {
  return text
    .trim()
    .replaceAll(/\n\s+/g, ' ')
    .split('\n')
    .filter((line) => line !== '');
}

function readTypes(...texts: string[]): Map<string, TypeEntry> {
  const table = new Map<string, TypeEntry>();
  for (const line of texts.flatMap(statements)) {
    const [head, members] = line.split(': ');
    const [name, base] = head!.split(' < ');
    table.set(name!, { base: base ?? '', own: members ? members.split(', ').map(readMember) : [] });
  }
  return table;
}

function readMember(text: string): Member {
  const [name, type] = text.split(' ');
  return {
    name: name!.replace('?', ''),
    type: type!.replace(/^&/, '').replace(/\[\]$/, ''),
    isReference: type!.startsWith('&'),
    isList: type!.endsWith('[]'),
    isOptional: name!.endsWith('?') || type!.endsWith('[]'),
  };
}

function readMethod(line: string): MethodType {
  const [, owner, name, parameters, result] = /^(\w+)\.(\w+)\((.*)\) -> (\S+)$/.exec(line)!;
  return {
    owner: owner!,
    name: name!,
    parameters: parameters ? parameters.split(', ').map(readMember) : [],
    result: result === 'void' ? null : readMember(`returnval ${result!.replace('?', '')}`),
  };
}
