/**
 * One process of the proxy takes the place of another (docs/design/l7-operation.md): it takes over the listening sockets
 * and what signs cookies and tickets, and the other one then drains.
 */
import { readFileSync, writeSync } from 'node:fs';
import { WeftError } from '../../policy/errors.ts';
import {
  closeListeners,
  descriptorsOf,
  type TakenListeners,
  takeListeners,
} from '../kernel/listener-takeover.ts';
import { memoryFile } from '../kernel/memory-file.ts';

/** What signs for a service, as base64: clients bring back what the process before has signed. */
export interface ServiceKeys {
  readonly cookieKey: string;
  readonly ticketSecret: string;
}

const NAME = 'weft-proxy-keys';

/** What a process that is replaced leaves. */
export interface Legacy {
  readonly listeners: TakenListeners;
  /** By the name of the service. */
  readonly keys: ReadonlyMap<string, ServiceKeys>;
}

/**
 * Takes over from a process that has a proxy: both accept connections from then on, until the other is told to drain.
 * Listeners that nobody uses in the end are to be closed (`closeListeners`). Throws ERR_NOT_FOUND, ERR_KERNEL.
 */
export function takeOver(pid: number): Legacy {
  const keys = new Map<string, ServiceKeys>();
  const files = descriptorsOf(pid).filter(({ target }) => target.startsWith(`/memfd:${NAME} `));
  if (files.length === 0) {
    throw new WeftError('ERR_NOT_FOUND', `process ${pid} is no weft proxy: see \`pgrep -af 'weft.* proxy'\``);
  }
  const listeners = takeListeners(pid);
  try {
    for (const { fd } of files) {
      const text = readFileSync(`/proc/${pid}/fd/${fd}`, 'utf8');
      for (const [name, own] of Object.entries(JSON.parse(text) as Record<string, ServiceKeys>)) {
        keys.set(name, own);
      }
    }
  } catch (cause) {
    closeListeners(listeners);
    throw new WeftError('ERR_KERNEL', `the keys of process ${pid} cannot be read`, { cause });
  }
  return { listeners, keys };
}

/** The keys of this process, in memory that only a successor of the same rights can read. */
export class KeyFile {
  readonly #fd = memoryFile(NAME);
  #length = 0;

  /** Keys by the name of the service. */
  write(keys: Readonly<Record<string, ServiceKeys>>): void {
    const text = JSON.stringify(keys);
    // White space behind the end of JSON is none of it: a reader in between sees the one or the other.
    const bytes = Buffer.from(text.padEnd(this.#length));
    this.#length = text.length;
    writeSync(this.#fd.fd, bytes, 0, bytes.length, 0);
  }

  close(): void {
    this.#fd.close();
  }
}
