/** A managed object as the property collector sees it: a reference, and properties that are computed when asked for. */
import { fields, isKindOf, type Member, property } from '../schema/notation.ts';
import { VimFault } from '../wire/fault.ts';
import { isStruct, type MoRef, type Struct, type Value } from '../wire/values.ts';

export interface ManagedObject {
  ref: MoRef;
  properties: Record<string, () => Value | undefined>;
}

/**
 * The value at a path such as `runtime.powerState`, with what the type table says of it; undefined where it is not
 * set. Throws InvalidProperty where the type has no such property.
 */
export function valueAt(object: ManagedObject, path: string): { value: Value; member: Member } | undefined {
  const [first, ...rest] = path.split('.');
  const own = property(object.ref.$ref, first!);
  if (!own) throw noProperty(path);
  let member: Member = own;
  let value = object.properties[first!]?.();
  for (const name of rest) {
    const type: string = isStruct(value) && value.$type ? value.$type : member.type;
    const next: Member | undefined = member.isList || member.isReference ? undefined : memberOf(type, name);
    if (!next) throw noProperty(path);
    member = next;
    value = isStruct(value) ? value[name] : undefined;
  }
  if (value === undefined) return undefined;
  return { value, member };
}

/** The field of a type, or of one derived from it that is not known until there is a value. */
function memberOf(type: string, name: string): Member | undefined {
  return fields(type).find((one) => one.name === name);
}

/** True where the object is of the type. */
export function isOf(object: ManagedObject, type: string): boolean {
  return isKindOf(object.ref.$ref, type);
}

/** What every entity of the inventory has. */
export function entity(about: {
  name: string;
  parent: MoRef | undefined;
  customValues: Struct[];
  availableFields: Struct[];
  recentTasks: MoRef[];
  /** Identity and health. */
  status?: string;
}): ManagedObject['properties'] {
  return {
    name: () => about.name,
    parent: () => about.parent,
    overallStatus: () => about.status ?? 'green',
    configStatus: () => 'green',
    customValue: () => about.customValues,
    value: () => about.customValues,
    availableField: () => about.availableFields,
    effectiveRole: () => [-1],
    recentTask: () => about.recentTasks,
    alarmActionsEnabled: () => true,
    permission: () => [],
    disabledMethod: () => [],
    tag: () => [],
    declaredAlarmState: () => [],
    triggeredAlarmState: () => [],
    configIssue: () => [],
  };
}

function noProperty(path: string): VimFault {
  return new VimFault('InvalidProperty', `The property ${path} does not exist`, { name: path });
}
