/** Custom attributes of VMs. */
import { readOne } from './objects.ts';
import type { VcenterSession } from './session.ts';
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
