/** `weft controller --backup FILE`: writes a backup whenever the store has changed, at most once in a few seconds. */
import { takeBackup } from '../state/backup.ts';
import type { Store } from '../state/store.ts';
import { writeWhole } from './backup.ts';

/** The part of a pino logger that is used. */
interface Log {
  warn(fields: object, message: string): void;
}

const INTERVAL_MS = 5000;

/** Begins to keep the file. `close` writes what is new once more. A file that cannot be written is logged, and tried again. */
export function keepBackup(store: Store, file: string, log: Log): { close(): Promise<void> } {
  let written = -1;
  let work: Promise<void> = Promise.resolve();
  const write = async (): Promise<void> => {
    if (store.revision === written) return;
    const backup = await takeBackup(store, new Date());
    try {
      await writeWhole(file, `${JSON.stringify(backup)}\n`);
      written = backup.revision;
    } catch (error) {
      log.warn({ file, error: String(error) }, 'the backup could not be written; it is tried again');
    }
  };
  const next = (): void => {
    work = work
      .then(write)
      .catch((error: unknown) => log.warn({ error: String(error) }, 'no backup was taken'));
  };
  next();
  const timer = setInterval(next, INTERVAL_MS);
  return {
    async close() {
      clearInterval(timer);
      next();
      await work;
    },
  };
}
