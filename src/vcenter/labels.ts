/** The custom attribute `weft.engine` of VMs and port groups. For people to read: what Weft goes by are the marks. */
import type { Label } from '../hypervisor/platform.ts';
import { isWeftError } from '../policy/errors.ts';
import { attributeKeys, attributeValues, defineAttribute, setAttribute } from './attributes.ts';
import { isShadowOf, readHostNetworks } from './host-networks.ts';
import { ENGINE_ATTRIBUTE } from './notes.ts';
import type { VcenterSession } from './session.ts';
import type { MoRef } from './vim/schema.ts';

export class VcenterLabels {
  readonly #session: VcenterSession;
  #key: number | null = null;

  constructor(session: VcenterSession) {
    this.#session = session;
  }

  /** Sets it where it is not so already. */
  async label({ object, engine }: Label, signal: AbortSignal): Promise<void> {
    try {
      const entity: MoRef | null =
        object.kind === 'vm'
          ? { type: 'VirtualMachine', value: object.id }
          : await this.#portGroup(object.host, object.name, signal);
      if (entity) await this.#set(entity, engine ?? '', signal);
    } catch (error) {
      // What is gone needs no label.
      if (!isWeftError(error, 'ERR_NOT_FOUND')) throw error;
    }
  }

  async #set(entity: MoRef, value: string, signal: AbortSignal): Promise<void> {
    this.#key ??=
      (await attributeKeys(this.#session, ENGINE_ATTRIBUTE, signal)).get(ENGINE_ATTRIBUTE) ?? null;
    if (this.#key === null && value === '') return;
    this.#key ??= await defineAttribute(this.#session, ENGINE_ATTRIBUTE, null, signal);
    const key = this.#key;
    const values = await attributeValues(this.#session, entity, signal);
    if ((values.get(key) ?? '') === value) return;
    await setAttribute(this.#session, entity, key, value, signal);
  }

  /** Null for a standard port group: vCenter shows one for all hosts that have it, and each has an engine of its own. */
  async #portGroup(host: string, segment: string, signal: AbortSignal): Promise<MoRef | null> {
    const { networks } = await readHostNetworks(this.#session, host, signal);
    const found = networks.find((one) => isShadowOf(one, host) && one.mark.segment === segment);
    return found?.ref ?? null;
  }
}
