/**
 * The file of the embedded store: a lowdb adapter that replaces the whole file durably, and knows a damaged one.
 *
 * Lines of JSON: a header `{"format":"weft-store","version":1,"revision":R,"entries":N}`, one `["key",revision,value]`
 * per entry, and a last line with the SHA-256 of everything before it. A write goes to a temporary file, is synced,
 * renamed over the old one, and the directory is synced: whenever the machine dies, the file is a whole old or a
 * whole new state.
 */
import { createHash } from 'node:crypto';
import { open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Adapter } from 'lowdb';
import { WeftError } from '../policy/errors.ts';

/** Everything in the store as of one revision. Never changed in place once written. */
export interface StoreState {
  revision: number;
  entries: Map<string, StoredEntry>;
}

export interface StoredEntry {
  revision: number;
  /** The entry's line in the file, so that neither a write nor a read walks through a shared object. */
  line: string;
}

/** The calls that touch the medium; tests hand in ones that fail. */
export interface FileCalls {
  open: typeof open;
  rename: typeof rename;
}

const FORMAT = 'weft-store';
const VERSION = 1;
const CHUNK_CHARACTERS = 1 << 20;

/** The line of an entry whose value is the given JSON text. */
export function entryLine(key: string, revision: number, json: string): string {
  return `[${JSON.stringify(key)},${revision},${json}]`;
}

/** A fresh copy of the value in an entry's line. */
export function entryValue(line: string): unknown {
  return (JSON.parse(line) as [string, number, unknown])[2];
}

export class StoreFile implements Adapter<StoreState> {
  readonly #file: string;
  readonly #calls: FileCalls;

  constructor(file: string, calls: FileCalls = { open, rename }) {
    this.#file = file;
    this.#calls = calls;
  }

  /**
   * The state in the file, or null where there is none yet. A damaged file is renamed, never deleted:
   * ERR_STORE_CORRUPT, which also meets the next start until somebody has decided what to do; a controller that
   * silently began again with an empty store would tear everything down.
   */
  async read(): Promise<StoreState | null> {
    const directory = dirname(this.#file);
    const name = basename(this.#file);
    const names = await readdir(directory);
    for (const left of names) {
      if (left.startsWith(`${name}.new-`)) await rm(join(directory, left), { force: true });
    }
    let content: Buffer;
    try {
      content = await readFile(this.#file);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
      const aside = names.filter((other) => other.startsWith(`${name}.corrupt-`)).sort();
      if (aside.length === 0) return null;
      throw new WeftError(
        'ERR_STORE_CORRUPT',
        `the store ${this.#file} was damaged and stands aside as ${join(directory, aside.at(-1)!)}: ` +
          `put a backup at ${this.#file}, or move the damaged file to another directory to begin with an empty store`,
      );
    }
    try {
      return parse(content);
    } catch (cause) {
      if (cause instanceof WeftError) throw cause;
      // Colons and dots are awkward in file names.
      const aside = `${this.#file}.corrupt-${new Date().toISOString().replaceAll(/[:.]/g, '-')}`;
      await rename(this.#file, aside);
      await this.#syncDirectory();
      throw new WeftError(
        'ERR_STORE_CORRUPT',
        `the store ${this.#file} is damaged (${(cause as Error).message}); it was set aside as ${aside}: ` +
          `put a backup at ${this.#file}, or move the damaged file to another directory to begin with an empty store`,
        { cause },
      );
    }
  }

  /** Resolves once the state is durable. Rejects with what the medium says; then the file may be old or new. */
  async write(state: StoreState): Promise<void> {
    const temporary = `${this.#file}.new-${process.pid}`;
    try {
      const handle = await this.#calls.open(temporary, 'w', 0o600);
      try {
        const hash = createHash('sha256');
        for (const chunk of chunks(state)) {
          const bytes = Buffer.from(chunk);
          hash.update(bytes);
          await handle.writeFile(bytes);
        }
        await handle.writeFile(`${JSON.stringify({ sha256: hash.digest('hex') })}\n`);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await this.#calls.rename(temporary, this.#file);
    } catch (cause) {
      await rm(temporary, { force: true }).catch(() => {});
      throw cause;
    }
    await this.#syncDirectory();
  }

  async #syncDirectory(): Promise<void> {
    const handle = await this.#calls.open(dirname(this.#file), 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
}

function* chunks(state: StoreState): Generator<string> {
  const header = { format: FORMAT, version: VERSION, revision: state.revision, entries: state.entries.size };
  let lines = [JSON.stringify(header)];
  let length = 0;
  for (const entry of state.entries.values()) {
    lines.push(entry.line);
    length += entry.line.length;
    if (length < CHUNK_CHARACTERS) continue;
    yield `${lines.join('\n')}\n`;
    lines = [];
    length = 0;
  }
  if (lines.length > 0) yield `${lines.join('\n')}\n`;
}

function parse(content: Buffer): StoreState {
  const end = content.length - 1;
  if (content[end] !== 0x0a) throw new Error('it is cut short');
  const start = content.lastIndexOf(0x0a, end - 1) + 1;
  const trailer = JSON.parse(content.toString('utf8', start, end)) as { sha256?: unknown };
  const digest = createHash('sha256').update(content.subarray(0, start)).digest('hex');
  if (trailer.sha256 !== digest) throw new Error('its checksum does not match');

  const lines = content.toString('utf8', 0, start).split('\n');
  lines.pop();
  const header = JSON.parse(lines[0] ?? '') as {
    format?: unknown;
    version?: unknown;
    revision: number;
    entries: number;
  };
  if (header.format !== FORMAT) throw new Error('it is not a store file');
  if (header.version !== VERSION) {
    throw new WeftError(
      'ERR_STORE_CORRUPT',
      `the store has format version ${String(header.version)}, this program reads ${VERSION}: start the later version of Weft that wrote it; the file was left in place`,
    );
  }
  const entries = new Map<string, StoredEntry>();
  for (const line of lines.slice(1)) {
    const [key, revision] = JSON.parse(line) as [string, number, unknown];
    entries.set(key, { revision, line });
  }
  if (entries.size !== header.entries) throw new Error('entries are missing');
  return { revision: header.revision, entries };
}
