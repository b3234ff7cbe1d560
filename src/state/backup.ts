/**
 * Backup and restore of a store: every entry, as one JSON document. It holds the private key of the certificate
 * authority and the keys of engine groups, which is what lets a restored controller speak to the engines that run.
 */
import { z } from 'zod';
import { WeftError } from '../policy/errors.ts';
import type { Store } from './store.ts';

const Backup = z.strictObject({
  format: z.literal('weft-backup'),
  version: z.literal(1),
  /** ISO 8601, UTC. */
  takenAt: z.string(),
  /** Of the store it was taken from. */
  revision: z.int().min(0),
  entries: z.array(z.strictObject({ key: z.string().min(1), value: z.unknown() })),
});

export type Backup = z.output<typeof Backup>;

/** Everything that the store holds, as of one revision. */
export async function takeBackup(store: Store, now: Date): Promise<Backup> {
  const { revision } = store;
  const entries = (await store.list('')).map(({ key, value }) => ({ key, value }));
  return { format: 'weft-backup', version: 1, takenAt: now.toISOString(), revision, entries };
}

/** Reads the text of a backup. Throws ERR_BODY_INVALID where it is none, or was cut off. */
export function parseBackup(text: string, file: string): Backup {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new WeftError('ERR_BODY_INVALID', `${file} is no backup, or only the beginning of one`, { cause });
  }
  const backup = Backup.safeParse(parsed);
  if (backup.success) return backup.data;
  throw new WeftError('ERR_BODY_INVALID', `${file} is no backup that this version of Weft can read`);
}

/**
 * Makes the store hold what the backup holds, and nothing else, in one write. Throws ERR_STORE_WRITE, and
 * ERR_REVISION_CONFLICT where the store holds something and that is not to be replaced.
 */
export async function restoreBackup(store: Store, backup: Backup, isReplacing: boolean): Promise<void> {
  const kept = new Set(backup.entries.map(({ key }) => key));
  const present = await store.list('');
  if (present.length > 0 && !isReplacing) {
    throw new WeftError(
      'ERR_REVISION_CONFLICT',
      `the store holds ${present.length} entries already: give --replace to put the backup in their place`,
    );
  }
  await store.write([
    ...present.filter(({ key }) => !kept.has(key)).map(({ key }) => ({ key, delete: true as const })),
    ...backup.entries,
  ]);
}
