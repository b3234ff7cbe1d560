/** What a controller keeps of its policy in the lab: the daemon writes it beside its inventory, as a whole. */
import type { TextKeeper } from '../hypervisor/platform.ts';
import { WeftError } from '../policy/errors.ts';
import type { LabSession } from './session.ts';

/** As much as one request to the daemon carries. */
export const MOST_COPY_CHARACTERS = 500_000;

export class LabPolicyCopy implements TextKeeper {
  readonly mostCharacters = MOST_COPY_CHARACTERS;
  readonly #session: LabSession;

  constructor(session: LabSession) {
    this.#session = session;
  }

  async read(signal: AbortSignal): Promise<string | null> {
    return (await this.#session.call<{ text: string | null }>('GET', '/policy-copy', signal)).text;
  }

  async write(text: string, signal: AbortSignal): Promise<void> {
    if (text.length > this.mostCharacters) {
      throw new WeftError(
        'ERR_HYPERVISOR_REFUSED',
        `the lab keeps at most ${this.mostCharacters} characters, not ${text.length}`,
      );
    }
    await this.#session.call('PUT', '/policy-copy', signal, { text });
  }
}
