/** `weft backup` and `weft restore`: the controller's store as one file. */
import { open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { WeftError } from '../policy/errors.ts';
import type { Terminal } from './terminal.ts';
import { connect, connectionOptions } from './verb.ts';

/** Adds `weft backup`. */
export function registerBackup(program: Command, terminal: Terminal): void {
  const verb = program
    .command('backup <file>')
    .description(
      "write everything that the controller's store holds to a file (mode 0600), or to - for stdout",
    );
  for (const option of connectionOptions()) verb.addOption(option);
  verb
    .addHelpText(
      'after',
      `
The file holds the private key of the certificate authority: keep it as you keep keys.
\`weft controller --backup FILE\` writes it by itself, whenever something has changed.

Example:
  weft backup /srv/backup/weft.json`,
    )
    .action(async (file: string, options: object) => {
      const client = await connect(options, terminal);
      const text = `${JSON.stringify(await client.backup())}\n`;
      if (file === '-') terminal.stdout.write(text);
      else {
        await writeWhole(file, text);
        terminal.stdout.write(`wrote ${file}: keep it as you keep keys, it holds the authority's\n`);
      }
    });
}

/** Adds `weft restore`. */
export function registerRestore(program: Command, terminal: Terminal): void {
  program
    .command('restore <file>')
    .description("put a backup in the place of a controller's store, while that controller does not run")
    .addOption(
      new Option('--state <directory>', 'the state directory of the controller').default(
        '/var/lib/weft/controller',
      ),
    )
    .option('--replace', 'replace what the store holds; it is kept beside it as store.json.replaced')
    .addHelpText(
      'after',
      `
Engines that ran when the backup was taken go on forwarding and come back by themselves; what changed since is planned
anew. Start the controller afterwards.

Example:
  weft restore /srv/backup/weft.json --state /var/lib/weft/controller`,
    )
    .action(async (file: string, { state, replace }: { state: string; replace?: boolean }) => {
      const [{ openEmbeddedStore }, { parseBackup, restoreBackup, takeBackup }] = await Promise.all([
        import('../state/embedded-store.ts'),
        import('../state/backup.ts'),
      ]);
      const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
        throw new WeftError('ERR_NOT_FOUND', `the backup ${file} cannot be read (${cause.code})`, { cause });
      });
      const backup = parseBackup(text, file);
      const store = await openEmbeddedStore(join(state, 'store.json'));
      try {
        if (replace && store.revision > 0) {
          await writeWhole(
            join(state, 'store.json.replaced'),
            `${JSON.stringify(await takeBackup(store, new Date()))}\n`,
          );
        }
        await restoreBackup(store, backup, replace === true);
      } finally {
        await store.close();
      }
      terminal.stdout.write(
        `restored ${backup.entries.length} entries of ${backup.takenAt} into ${state}; start the controller\n`,
      );
    });
}

/** Replaces a file as a whole, mode 0600: a reader sees the old one or the new one. Throws ERR_STORE_WRITE. */
export async function writeWhole(file: string, text: string): Promise<void> {
  const temporary = `${file}.${process.pid}.new`;
  try {
    await rm(temporary, { force: true });
    const handle = await open(temporary, 'wx', 0o600);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw new WeftError('ERR_STORE_WRITE', `${file} cannot be written: ${(cause as Error).message}`, {
      cause,
    });
  }
}
