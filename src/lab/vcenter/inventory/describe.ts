/** The part of an entity's properties that only the vCenter itself knows: custom fields, tasks. */

import { isKindOf } from '../schema/notation.ts';
import type { Vcenter } from '../vcenter.ts';
import type { MoRef, Struct } from '../wire/values.ts';
import { entity, type ManagedObject } from './object.ts';

/** Properties that every entity has. */
export function entityOf(
  vcenter: Vcenter,
  ref: MoRef,
  name: string,
  parent: MoRef | undefined,
): ManagedObject['properties'] {
  return entity({
    name,
    parent,
    customValues: vcenter.customValues(ref.id),
    availableFields: customFieldDefs(vcenter, ref.$ref),
    recentTasks: vcenter.tasks.recentOf(ref.id),
  });
}

/** Definitions of custom fields, of those for one type where it is named. */
export function customFieldDefs(vcenter: Vcenter, type?: string): Struct[] {
  return vcenter.state.customFields
    .filter((field) => type === undefined || field.managedType === null || isKindOf(type, field.managedType))
    .map((field) => ({
      $type: 'CustomFieldDef',
      key: field.key,
      name: field.name,
      type: 'string',
      ...(field.managedType ? { managedObjectType: field.managedType } : {}),
    }));
}
