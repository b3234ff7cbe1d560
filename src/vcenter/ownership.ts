/**
 * Which controller drives a vCenter: a custom attribute of the root folder, where administrators see it too. vCenter
 * cannot make writing depend on what is there: whoever writes has to look again.
 */
import type { Owner, OwnerRecord } from '../hypervisor/platform.ts';
import { WeftError } from '../policy/errors.ts';
import { readOne } from './objects.ts';
import type { VcenterSession } from './session.ts';
import { faultName } from './vim/faults.ts';
import type { MoRef, Vim } from './vim/schema.ts';

const ATTRIBUTE = 'weft.owner';
/** Custom attributes have up to 255 characters. */
const MOST_NAME = 60;

export class VcenterOwner implements Owner {
  readonly isAtomic = false;
  readonly #session: VcenterSession;
  #key: number | null = null;

  constructor(session: VcenterSession) {
    this.#session = session;
  }

  async read(signal: AbortSignal): Promise<OwnerRecord | null> {
    const { rootFolder } = await this.#session.connect(signal);
    const key = await this.#findKey(signal);
    if (key === null) return null;
    const { customValue } = await readOne(this.#session, rootFolder, ['customValue'], signal);
    const values = (customValue ?? []) as Vim<'CustomFieldValue'>[];
    const found = values.find((one) => one.key === key && one.$type === 'CustomFieldStringValue');
    return parseRecord(String((found as { value?: string } | undefined)?.value ?? ''));
  }

  async write(record: OwnerRecord, before: OwnerRecord | null, signal: AbortSignal): Promise<boolean> {
    const { rootFolder } = await this.#session.connect(signal);
    const present = await this.read(signal);
    if (textOf(present) !== textOf(before)) return false;
    const key = (await this.#findKey(signal)) ?? (await this.#makeKey(signal));
    const value = textOf(record);
    await this.#session.call(this.#manager(), 'SetField', { entity: rootFolder, key, value }, signal);
    return true;
  }

  async #findKey(signal: AbortSignal): Promise<number | null> {
    if (this.#key !== null) return this.#key;
    await this.#session.connect(signal);
    const { field } = await readOne(this.#session, this.#manager(), ['field'], signal);
    const found = ((field ?? []) as Vim<'CustomFieldDef'>[]).find(({ name }) => name === ATTRIBUTE);
    this.#key = found?.key ?? null;
    return this.#key;
  }

  async #makeKey(signal: AbortSignal): Promise<number> {
    try {
      const args = { name: ATTRIBUTE, moType: 'Folder' };
      this.#key = (await this.#session.call(this.#manager(), 'AddCustomFieldDef', args, signal)).key;
    } catch (error) {
      // Somebody else was at it.
      if (faultName(error) !== 'DuplicateName') throw error;
    }
    const key = await this.#findKey(signal);
    if (key !== null) return key;
    throw new WeftError(
      'ERR_HYPERVISOR_REFUSED',
      `vCenter has a custom attribute ${ATTRIBUTE}, and does not list it`,
    );
  }

  #manager(): MoRef {
    const { customFieldsManager } = this.#session.content;
    if (customFieldsManager) return customFieldsManager;
    throw new WeftError('ERR_HYPERVISOR_UNSUPPORTED', 'this vCenter has no custom attributes');
  }
}

function textOf(record: OwnerRecord | null): string {
  if (record === null) return '';
  const { instance, life, name, beatAt, ousted } = record;
  return JSON.stringify({ instance, life, name: name.slice(0, MOST_NAME), beatAt, ousted });
}

/** Null for an empty value, and for what somebody else wrote there: it is claimed like an empty one. */
function parseRecord(text: string): OwnerRecord | null {
  try {
    const { instance, life, name, beatAt, ousted } = JSON.parse(text) as Partial<OwnerRecord>;
    const isText = (value: unknown): value is string => typeof value === 'string' && value !== '';
    if (!isText(instance) || !isText(life)) return null;
    return {
      instance,
      life,
      name: isText(name) ? name : 'an unknown machine',
      beatAt: isText(beatAt) ? beatAt : new Date(0).toISOString(),
      ousted: isText(ousted) ? ousted : null,
    };
  } catch {
    return null;
  }
}
