/**
 * Update sessions of content libraries: the files of an item on their way. They end with the daemon, as vCenter's end
 * after some minutes without a word. Disks are counted and hashed; of a descriptor the text is kept.
 */
import { createHash, randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import { readDescriptor } from './ovf.ts';
import { alreadyExists, notFound, RestError } from './rest/rest-error.ts';
import type { LibraryItemRecord } from './state.ts';

const MAX_SESSIONS = 50;
const MAX_FILES = 32;
const MAX_FILE_BYTES = 16 * 2 ** 30;
const MAX_TEXT_BYTES = 1 << 20;

export interface UploadedFile {
  name: string;
  size: number | null;
  sha256: string | null;
  status: 'WAITING_FOR_TRANSFER' | 'TRANSFERRING' | 'READY' | 'ERROR';
  transferred: number;
  /** In the address of the upload. */
  secret: string;
  content: { size: number; sha256: string; text: string | null } | null;
  error: string | null;
}

export interface UpdateSession {
  id: string;
  item: string;
  state: 'ACTIVE' | 'DONE' | 'ERROR' | 'CANCELED';
  progress: number;
  error: string | null;
  files: UploadedFile[];
}

export class LibraryUploads {
  readonly #sessions = new Map<string, UpdateSession>();

  ids(): string[] {
    return [...this.#sessions.keys()];
  }

  /** Throws NOT_FOUND. */
  session(id: string): UpdateSession {
    const found = this.#sessions.get(id);
    if (found) return found;
    throw notFound(`update session ${id}`);
  }

  /** One at a time fills an item. */
  open(item: string): UpdateSession {
    const busy = [...this.#sessions.values()].find((one) => one.item === item && one.state === 'ACTIVE');
    if (busy) throw new RestError(400, 'RESOURCE_BUSY', `item ${item} is being filled by session ${busy.id}`);
    for (const [id, { state }] of this.#sessions) {
      if (this.#sessions.size < MAX_SESSIONS) break;
      if (state !== 'ACTIVE') this.#sessions.delete(id);
    }
    if (this.#sessions.size >= MAX_SESSIONS)
      throw new RestError(400, 'RESOURCE_BUSY', `there are ${MAX_SESSIONS} update sessions`);
    const session: UpdateSession = {
      id: randomUUID(),
      item,
      state: 'ACTIVE',
      progress: 0,
      error: null,
      files: [],
    };
    this.#sessions.set(session.id, session);
    return session;
  }

  drop(id: string): void {
    this.session(id);
    this.#sessions.delete(id);
  }

  /** A file that the client is about to send. */
  add(id: string, file: { name: string; size: number | null; sha256: string | null }): UploadedFile {
    const session = this.#active(id);
    const present = session.files.find((one) => one.name === file.name);
    if (present?.status === 'READY') throw alreadyExists(`file ${file.name}`);
    if (!/^[\w][\w. ()+-]{0,200}$/.test(file.name))
      throw new RestError(400, 'INVALID_ARGUMENT', `${file.name} is no plain file name`);
    if (session.files.length >= MAX_FILES)
      throw new RestError(400, 'RESOURCE_BUSY', `an item has at most ${MAX_FILES} files`);
    const made: UploadedFile = {
      ...file,
      status: 'WAITING_FOR_TRANSFER',
      transferred: 0,
      secret: randomUUID(),
      content: null,
      error: null,
    };
    session.files = [...session.files.filter((one) => one.name !== file.name), made];
    return made;
  }

  /** Takes the bytes of a file. Where the connection breaks, the file waits again. */
  async receive(secret: string, body: Readable): Promise<void> {
    const session = [...this.#sessions.values()].find((one) =>
      one.files.some((file) => file.secret === secret),
    );
    const file = session?.files.find((one) => one.secret === secret);
    if (!session || !file) throw notFound('such file to upload');
    this.#active(session.id);
    file.status = 'TRANSFERRING';
    file.transferred = 0;
    const hash = createHash('sha256');
    const isText = /\.(ovf|mf|cert)$/.test(file.name);
    const parts: Buffer[] = [];
    try {
      for await (const chunk of body as AsyncIterable<Buffer>) {
        file.transferred += chunk.length;
        if (file.transferred > (isText ? MAX_TEXT_BYTES : MAX_FILE_BYTES))
          throw new RestError(400, 'INVALID_ARGUMENT', `${file.name} is too large`);
        hash.update(chunk);
        if (isText) parts.push(chunk);
      }
    } catch (error) {
      file.status = 'WAITING_FOR_TRANSFER';
      throw error;
    }
    file.content = {
      size: file.transferred,
      sha256: hash.digest('hex'),
      text: isText ? Buffer.concat(parts).toString('utf8') : null,
    };
    const isWrong =
      (file.size !== null && file.size !== file.content.size) ||
      (file.sha256 !== null && file.sha256.toLowerCase() !== file.content.sha256);
    file.status = isWrong ? 'ERROR' : 'READY';
    if (isWrong) file.error = `${file.name} is not what its size and checksum say`;
  }

  /** Puts the files into the item, or ends in an error that the session tells. */
  complete(id: string, item: LibraryItemRecord): void {
    const session = this.#active(id);
    session.error = problemOf(session, item);
    session.state = session.error === null ? 'DONE' : 'ERROR';
    if (session.error !== null) return;
    item.files = session.files.map(({ name, content }) => ({
      name,
      size: content!.size,
      sha256: content!.sha256,
    }));
    item.descriptor = session.files.find(({ name }) => name.endsWith('.ovf'))?.content?.text ?? null;
  }

  #active(id: string): UpdateSession {
    const session = this.session(id);
    if (session.state === 'ACTIVE') return session;
    throw new RestError(400, 'NOT_ALLOWED_IN_CURRENT_STATE', `update session ${id} is ${session.state}`);
  }
}

/** Why the files are no package, or null. */
function problemOf({ files }: UpdateSession, item: LibraryItemRecord): string | null {
  const bad = files.find((one) => one.status !== 'READY');
  if (bad) return bad.error ?? `${bad.name} was not uploaded`;
  if (item.type !== 'ovf') return `the lab keeps OVF packages, not ${item.type}`;
  const text = files.find(({ name }) => name.endsWith('.ovf'))?.content?.text;
  if (text == null) return 'the package has no descriptor';
  try {
    const missing = readDescriptor(text, '').files.find(
      ({ href }) => !files.some(({ name }) => name === href),
    );
    if (missing) return `the package has no file ${missing.href}`;
  } catch (error) {
    return (error as Error).message;
  }
  const manifest = files.find(({ name }) => name.endsWith('.mf'))?.content?.text ?? '';
  for (const [, name, hash] of manifest.matchAll(/^SHA256\s?\((.+?)\)\s*=\s*([0-9a-f]{64})/gim)) {
    const file = files.find((one) => one.name === name);
    if (file?.content?.sha256 !== hash!.toLowerCase()) return `${name} is not what the manifest says`;
  }
  return null;
}
