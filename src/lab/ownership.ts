/** Which controller drives the lab. The daemon keeps it, and refuses mutations in the name of any other. */
import type { Owner, OwnerRecord } from '../hypervisor/platform.ts';
import type { LabSession } from './session.ts';

export class LabOwner implements Owner {
  readonly isAtomic = true;
  readonly #session: LabSession;

  constructor(session: LabSession) {
    this.#session = session;
  }

  async read(signal: AbortSignal): Promise<OwnerRecord | null> {
    return (await this.#session.call<{ owner: OwnerRecord | null }>('GET', '/owner', signal)).owner;
  }

  async write(record: OwnerRecord, before: OwnerRecord | null, signal: AbortSignal): Promise<boolean> {
    const body = { owner: record, before };
    const { isWritten } = await this.#session.call<{ isWritten: boolean }>('PUT', '/owner', signal, body);
    // From now on what is asked for is asked for in that name.
    if (isWritten && record.ousted === null) this.#session.life = record.life;
    return isWritten;
  }
}
