/** Custom attributes: their definitions, by name, and their values. */
import { WeftError } from '../policy/errors.ts';
import { readOne } from './objects.ts';
import type { VcenterSession } from './session.ts';
import { faultName } from './vim/faults.ts';
import type { MoRef, Vim } from './vim/schema.ts';

/** Gives a VM every custom attribute that another has, but for those with which Weft marks its own. */
export async function copyAttributes(
  session: VcenterSession,
  from: MoRef,
  to: MoRef,
  signal: AbortSignal,
): Promise<void> {
  const { customFieldsManager } = await session.connect(signal);
  if (!customFieldsManager) return;
  const { customValue } = await readOne(session, from, ['customValue'], signal);
  const values = (customValue ?? []) as Vim<'CustomFieldValue'>[];
  if (values.length === 0) return;
  const { field } = await readOne(session, customFieldsManager, ['field'], signal);
  const ours = new Set(
    ((field ?? []) as Vim<'CustomFieldDef'>[])
      .filter(({ name }) => name.startsWith('weft.'))
      .map(({ key }) => key),
  );
  for (const one of values) {
    if (one.$type !== 'CustomFieldStringValue' || ours.has(one.key)) continue;
    const { key, value } = one;
    await session.call(customFieldsManager, 'SetField', { entity: to, key, value }, signal);
  }
}

/** The keys of the attributes whose name begins so, by name. Throws ERR_HYPERVISOR_UNSUPPORTED. */
export async function attributeKeys(
  session: VcenterSession,
  prefix: string,
  signal: AbortSignal,
): Promise<Map<string, number>> {
  const { field } = await readOne(session, await managerOf(session, signal), ['field'], signal);
  const fields = (field ?? []) as Vim<'CustomFieldDef'>[];
  return new Map(fields.filter(({ name }) => name.startsWith(prefix)).map(({ name, key }) => [name, key]));
}

/** Defines an attribute, for one type of object or, with null, for all; answers the key of one that is there. */
export async function defineAttribute(
  session: VcenterSession,
  name: string,
  moType: string | null,
  signal: AbortSignal,
): Promise<number> {
  const manager = await managerOf(session, signal);
  const args = { name, ...(moType === null ? {} : { moType }) };
  try {
    return (await session.call(manager, 'AddCustomFieldDef', args, signal)).key;
  } catch (error) {
    // Somebody else was at it, or a reply was lost.
    if (faultName(error) !== 'DuplicateName') throw error;
  }
  const key = (await attributeKeys(session, name, signal)).get(name);
  if (key !== undefined) return key;
  throw new WeftError(
    'ERR_HYPERVISOR_REFUSED',
    `vCenter has a custom attribute ${name}, and does not list it`,
  );
}

/** The values of an object's attributes by key; empty ones are left out. */
export async function attributeValues(
  session: VcenterSession,
  entity: MoRef,
  signal: AbortSignal,
): Promise<Map<number, string>> {
  const { customValue } = await readOne(session, entity, ['customValue'], signal);
  const values = (customValue ?? []) as Vim<'CustomFieldValue'>[];
  const texts = values.flatMap((one): [number, string][] =>
    one.$type === 'CustomFieldStringValue' && one.value !== '' ? [[one.key, one.value]] : [],
  );
  return new Map(texts);
}

/** Sets an attribute of an object; the empty text takes it away. */
export async function setAttribute(
  session: VcenterSession,
  entity: MoRef,
  key: number,
  value: string,
  signal: AbortSignal,
): Promise<void> {
  await session.call(await managerOf(session, signal), 'SetField', { entity, key, value }, signal);
}

async function managerOf(session: VcenterSession, signal: AbortSignal): Promise<MoRef> {
  const { customFieldsManager } = await session.connect(signal);
  if (customFieldsManager) return customFieldsManager;
  throw new WeftError('ERR_HYPERVISOR_UNSUPPORTED', 'this vCenter has no custom attributes');
}
