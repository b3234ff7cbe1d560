/** Finding folders and templates by what people call them, in the mirror of vCenter's objects. */
import { folderOf, unescapeName } from './inventory-listing.ts';
import type { MirroredObject } from './inventory-objects.ts';
import type { MoRef } from './vim/schema.ts';

/** The mirror, as far as a lookup needs it. */
export interface Lookup {
  object(id: string): MirroredObject | undefined;
  objects(type: string): MirroredObject[];
}

/** The VM folder at a path in the words of `Vm.folder`, `/datacenter/folder/folder`; undefined where there is none. */
export function folderAt(lookup: Lookup, path: string): MoRef | undefined {
  const wanted = `/${path.split('/').filter(Boolean).join('/')}`;
  const mirror = { get: (id: string) => lookup.object(id) };
  const found = lookup
    .objects('Folder')
    .filter(({ ref }) => isForVms(lookup, ref) && folderOf(ref, mirror) === wanted);
  return found[0]?.ref;
}

/** Templates of that name, or at that folder and name; each with its path. */
export function templatesNamed(lookup: Lookup, text: string): { ref: MoRef; path: string }[] {
  const mirror = { get: (id: string) => lookup.object(id) };
  const isPath = text.includes('/');
  const wanted = isPath ? `/${text.split('/').filter(Boolean).join('/')}` : text;
  return lookup.objects('VirtualMachine').flatMap(({ ref, properties }) => {
    if (properties['config.template'] !== true) return [];
    const name = unescapeName(String(properties.name ?? ''));
    const path = `${folderOf(properties.parent, mirror)}/${name}`;
    return (isPath ? path : name) === wanted ? [{ ref, path }] : [];
  });
}

/** Whether VMs can be put into a folder: one of those below the hidden folder `vm` of a datacenter, or it itself. */
function isForVms(lookup: Lookup, ref: MoRef): boolean {
  let at = lookup.object(ref.value);
  // Bounded: a peer could tell of a circle.
  for (let depth = 0; at && depth < 64; depth++) {
    const parent = at.properties.parent as MoRef | undefined;
    if (parent?.type === 'Datacenter') return at.properties.name === 'vm';
    at = lookup.object(parent?.value ?? '');
  }
  return false;
}
