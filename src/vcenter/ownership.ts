/**
 * Which controller drives a vCenter: a custom attribute of the root folder, where administrators see it too. vCenter
 * cannot make writing depend on what is there: whoever writes has to look again.
 */
import type { Owner, OwnerRecord } from '../hypervisor/platform.ts';
import { attributeKeys, attributeValues, defineAttribute, setAttribute } from './attributes.ts';
import type { VcenterSession } from './session.ts';

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
    return parseRecord((await attributeValues(this.#session, rootFolder, signal)).get(key) ?? '');
  }

  async write(record: OwnerRecord, before: OwnerRecord | null, signal: AbortSignal): Promise<boolean> {
    const { rootFolder } = await this.#session.connect(signal);
    const present = await this.read(signal);
    if (textOf(present) !== textOf(before)) return false;
    this.#key =
      (await this.#findKey(signal)) ?? (await defineAttribute(this.#session, ATTRIBUTE, 'Folder', signal));
    await setAttribute(this.#session, rootFolder, this.#key, textOf(record), signal);
    return true;
  }

  async #findKey(signal: AbortSignal): Promise<number | null> {
    this.#key ??= (await attributeKeys(this.#session, ATTRIBUTE, signal)).get(ATTRIBUTE) ?? null;
    return this.#key;
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
