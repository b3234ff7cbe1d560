/** What calls of the REST services need, as the reference of vSphere's Automation API says it call by call. */
import { missingOf } from '../privileges.ts';
import type { Vcenter } from '../vcenter.ts';
import { RestError } from './rest-error.ts';

const ATTACH = ['InventoryService.Tagging.AttachTag', 'InventoryService.Tagging.ObjectAttachable'];

/** By method, path (ids are `*`, dialects alike) and action. What is not here may be called by whoever may read. */
const NEEDS: Readonly<Record<string, readonly string[]>> = {
  'POST content/local-library': ['ContentLibrary.CreateLocalLibrary'],
  'DELETE content/local-library/*': ['ContentLibrary.DeleteLocalLibrary'],
  'POST content/library/item': ['ContentLibrary.AddLibraryItem'],
  'DELETE content/library/item/*': ['ContentLibrary.DeleteLibraryItem'],
  'POST content/library/item/update-session': ['ContentLibrary.UpdateSession'],
  'DELETE content/library/item/update-session/*': ['ContentLibrary.UpdateSession'],
  'POST content/library/item/update-session/* complete': ['ContentLibrary.UpdateSession'],
  'POST content/library/item/update-session/* keep-alive': ['ContentLibrary.UpdateSession'],
  'POST content/library/item/update-session/* cancel': ['ContentLibrary.UpdateSession'],
  'POST content/library/item/update-session/* fail': ['ContentLibrary.UpdateSession'],
  'POST content/library/item/update-session/*/file': ['ContentLibrary.UpdateSession'],
  'POST content/library/item/updatesession/file': ['ContentLibrary.UpdateSession'],
  'POST content/library/item/updatesession/file/* add': ['ContentLibrary.UpdateSession'],
  'POST vcenter/ovf/library-item/* deploy': ['VApp.Import'],
  'POST vcenter/vm-template/library-items': ['ContentLibrary.AddLibraryItem'],
  'POST vcenter/vm-template/library-items/* deploy': [
    'VirtualMachine.Provisioning.DeployTemplate',
    'VirtualMachine.Inventory.CreateFromExisting',
    'Resource.AssignVMToPool',
  ],
  'POST tagging/category': ['InventoryService.Tagging.CreateCategory'],
  'DELETE tagging/category/*': ['InventoryService.Tagging.DeleteCategory'],
  'POST tagging/tag': ['InventoryService.Tagging.CreateTag'],
  'DELETE tagging/tag/*': ['InventoryService.Tagging.DeleteTag'],
  'POST tagging/tag-association/* attach': ATTACH,
  'POST tagging/tag-association/* detach': ATTACH,
  'POST tagging/tag-association attach': ATTACH,
  'POST tagging/tag-association detach': ATTACH,
};

/** Collections, as opposed to what is one of them: the words of a path that are no ids. */
const WORDS = new Set(Object.keys(NEEDS).flatMap((key) => (key.split(' ')[1] ?? '').split('/')));

/** Throws UNAUTHORIZED (403) where a privilege that the call needs is withheld. */
export function requireRestPrivileges(
  vcenter: Vcenter,
  method: string,
  path: readonly string[],
  action: string | null,
): void {
  const shape = path.map((part) => (WORDS.has(part) ? part : '*')).join('/');
  const needs = NEEDS[`${method} ${shape}${action === null ? '' : ` ${action}`}`] ?? [];
  const missing = missingOf(vcenter.datacenter.record.faults, needs);
  if (missing === undefined) return;
  throw new RestError(
    403,
    'UNAUTHORIZED',
    `Unauthorized: the user lacks the privilege ${missing}, which ${method} of ${shape} needs.`,
  );
}
