/** The index of an OVA's tar archive. Only regular files with plain names; everything else that tar can say is refused. */
import type { FileHandle } from 'node:fs/promises';

export interface TarEntry {
  name: string;
  /** Of its content, in the archive. */
  offset: number;
  sizeBytes: number;
}

/** Ends the reading with an error that says why. */
export type Refuse = (why: string) => never;

/** The entries in archive order. Content is not read. */
export async function readTarIndex(
  handle: FileHandle,
  archiveBytes: number,
  refuse: Refuse,
  signal: AbortSignal,
): Promise<TarEntry[]> {
  const entries: TarEntry[] = [];
  const names = new Set<string>();
  let position = 0;
  for (;;) {
    signal.throwIfAborted();
    const header = Buffer.alloc(BLOCK_BYTES);
    const { bytesRead } = await handle.read(header, 0, BLOCK_BYTES, position);
    if (bytesRead < BLOCK_BYTES) return refuse('it is cut off: the end of the archive is missing');
    position += BLOCK_BYTES;
    if (header.equals(ZEROS)) break;
    const { name, sizeBytes } = readHeader(header, refuse);
    // Names differing in case only are one file on some systems.
    const folded = name.toLowerCase();
    if (names.has(folded)) refuse(`it holds ${name} twice`);
    names.add(folded);
    if (entries.length === MAX_ENTRIES) refuse(`it holds more than ${MAX_ENTRIES} files`);
    entries.push({ name, offset: position, sizeBytes });
    position += Math.ceil(sizeBytes / BLOCK_BYTES) * BLOCK_BYTES;
    if (position > archiveBytes) refuse(`it is cut off in ${name}`);
  }
  await requireEnd(handle, position, archiveBytes, refuse);
  return entries;
}

const BLOCK_BYTES = 512;
const MAX_ENTRIES = 32;
const ZEROS = Buffer.alloc(BLOCK_BYTES);
/** Archives are filled up to whole records. */
const MAX_TRAILER_BYTES = 1 << 20;

const FORBIDDEN: Record<string, string> = {
  '1': 'a hard link',
  '2': 'a symbolic link',
  '3': 'a device',
  '4': 'a device',
  '5': 'a directory',
  '6': 'a pipe',
  '7': 'a contiguous file',
  S: 'a sparse file',
  L: 'a name in an extension header',
  K: 'a link name in an extension header',
  x: 'an extension header',
  g: 'an extension header',
};

function readHeader(header: Buffer, refuse: Refuse): { name: string; sizeBytes: number } {
  const sum = header.reduce((total, byte, index) => total + (index >= 148 && index < 156 ? 0x20 : byte), 0);
  if (octal(header, 148, 8) !== sum) refuse('a header of the archive is damaged');
  const magic = header.toString('latin1', 257, 265);
  if (magic !== 'ustar\x0000' && magic !== 'ustar  \0') refuse('it is not a ustar archive');

  const nameField = header.subarray(0, 100);
  const end = nameField.indexOf(0);
  const name = nameField.toString('latin1', 0, end < 0 ? 100 : end);
  const type = String.fromCharCode(header[156]!);
  if (type !== '0' && type !== '\0') {
    refuse(`it holds ${FORBIDDEN[type] ?? 'an entry of an unknown type'}, where only regular files belong`);
  }
  if (!/^[A-Za-z0-9_][A-Za-z0-9_. ()+-]*$/.test(name) || header[345] !== 0) {
    refuse(
      `it holds a file with the name ${JSON.stringify(name)}: only plain names without a path belong there`,
    );
  }
  const sizeBytes = octal(header, 124, 12);
  if (sizeBytes === null) return refuse(`the size of ${name} cannot be read`);
  return { name, sizeBytes };
}

/** Octal digits, ended by NUL or space; null where there is anything else, as in GNU's binary form. */
function octal(header: Buffer, offset: number, length: number): number | null {
  const text = header.toString('latin1', offset, offset + length);
  const digits = /^ *([0-7]+)[\0 ]*$/.exec(text)?.[1];
  return digits === undefined ? null : Number.parseInt(digits, 8);
}

async function requireEnd(
  handle: FileHandle,
  position: number,
  archiveBytes: number,
  refuse: Refuse,
): Promise<void> {
  const length = archiveBytes - position;
  if (length < BLOCK_BYTES) refuse('it is cut off: the end of the archive is missing');
  if (length > MAX_TRAILER_BYTES) refuse('there is more behind the end of the archive');
  const trailer = Buffer.alloc(length);
  await handle.read(trailer, 0, length, position);
  if (!trailer.every((byte) => byte === 0)) refuse('there is something behind the end of the archive');
}
