/** Reading single objects of vCenter at a moment, where the inventory's mirror may be behind. */
import { isWeftError, WeftError } from '../policy/errors.ts';
import type { VcenterSession } from './session.ts';
import type { MoRef } from './vim/schema.ts';

/** Properties of one object. Throws ERR_NOT_FOUND where it is gone. */
export async function readOne(
  session: VcenterSession,
  ref: MoRef,
  paths: readonly string[],
  signal: AbortSignal,
): Promise<Record<string, unknown>> {
  const found = (await session.properties([ref], paths, signal)).get(ref.value);
  if (!found) throw new WeftError('ERR_NOT_FOUND', `there is no ${ref.type} ${ref.value} in this vCenter`);
  return found;
}

/** Properties of those objects that are there, by id. Objects go while others are read: that is no error here. */
export async function readThere(
  session: VcenterSession,
  refs: readonly MoRef[],
  paths: readonly string[],
  signal: AbortSignal,
): Promise<Map<string, Record<string, unknown>>> {
  try {
    return await session.properties(refs, paths, signal);
  } catch (error) {
    // One that is gone fails the reading of all: the halves are read for themselves.
    if (!isWeftError(error, 'ERR_NOT_FOUND')) throw error;
    if (refs.length <= 1) return new Map();
  }
  const middle = refs.length >> 1;
  const first = await readThere(session, refs.slice(0, middle), paths, signal);
  const second = await readThere(session, refs.slice(middle), paths, signal);
  return new Map([...first, ...second]);
}
