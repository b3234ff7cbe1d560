/**
 * The first listing of a large vCenter: its objects read in parts, several at once. A property filter tells the same,
 * but one page after the other; it is set up after this, when somebody already works with the listing.
 */
import { listOf, ObjectMirror, WATCHED } from './inventory-objects.ts';
import type { VcenterSession } from './session.ts';
import { faultName } from './vim/faults.ts';
import type { MoRef, Vim } from './vim/schema.ts';

/** Up to so many objects, one filter alone is as quick, and half the work. */
export const LARGE = 1000;
const PART_OBJECTS = 100;
const PARTS_AT_ONCE = 4;
const ATTEMPTS = 3;

/** Everything in the view and `more`, or null where that is no more than `limit`; `alive` after each part. Throws as `VcenterSession.call`. */
export async function readLarge(
  session: VcenterSession,
  view: MoRef,
  more: readonly MoRef[],
  limit: number,
  signal: AbortSignal,
  alive: () => void = () => undefined,
): Promise<ObjectMirror | null> {
  const inView = async (): Promise<MoRef[]> =>
    listOf<MoRef>((await session.properties([view], ['view'], signal)).get(view.value)?.view);
  const refs = [...(await inView()), ...more];
  if (refs.length <= limit) return null;
  const mirror = new ObjectMirror();
  const parts: MoRef[][] = [];
  for (let at = 0; at < refs.length; at += PART_OBJECTS) parts.push(refs.slice(at, at + PART_OBJECTS));
  const work = async (): Promise<void> => {
    for (let part = parts.shift(); part; part = parts.shift()) {
      for (let attempt = 1; ; attempt++) {
        try {
          await readPart(session, part, mirror, signal);
          alive();
          break;
        } catch (error) {
          if (faultName(error) !== 'ManagedObjectNotFound' || attempt >= ATTEMPTS) throw error;
          // One that is gone fails the whole part: those that are left are asked for again.
          const left = new Set([...(await inView()), ...more].map((ref) => ref.value));
          part = part.filter((ref) => left.has(ref.value));
        }
      }
    }
  };
  await Promise.all(Array.from({ length: PARTS_AT_ONCE }, work));
  return mirror;
}

async function readPart(
  session: VcenterSession,
  part: readonly MoRef[],
  mirror: ObjectMirror,
  signal: AbortSignal,
): Promise<void> {
  if (part.length === 0) return;
  const { propertyCollector } = session.content;
  const types = new Set(part.map((ref) => ref.type));
  const propSet = Object.entries(WATCHED)
    .filter(([type]) => types.has(type))
    .map(([type, pathSet]): Vim<'PropertySpec'> => ({ type, all: false, pathSet: [...pathSet] }));
  const objectSet = part.map((obj) => ({ obj }));
  const request = { specSet: [{ propSet, objectSet }], options: { maxObjects: PART_OBJECTS } };
  let page = await session.call(propertyCollector, 'RetrievePropertiesEx', request, signal);
  for (;;) {
    for (const { obj, propSet: values = [] } of page?.objects ?? []) mirror.put(obj, values);
    const token: string | undefined = page?.token;
    if (token === undefined || token === '') return;
    page = await session.call(propertyCollector, 'ContinueRetrievePropertiesEx', { token }, signal);
  }
}
