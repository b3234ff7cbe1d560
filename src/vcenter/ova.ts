/**
 * Reading the appliance's OVA before it is given to vCenter: everything in it is checked first, strictly, because an
 * archive that comes from a download, a share or a stolen signing key is a stranger's input.
 *
 * Accepted is what `weft image build` and ovftool write: regular files with plain names, the descriptor first, a
 * manifest that names every file's SHA-256 and nothing else, and exactly the files that the descriptor refers to.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { WeftError } from '../policy/errors.ts';
import { readDescriptor } from './ova-descriptor.ts';
import { checkManifest, checkSignature } from './ova-signature.ts';
import { readTarIndex, type TarEntry } from './ova-tar.ts';

export interface OvaFile {
  /** As the descriptor and `fileItem.path` name it. */
  name: string;
  sizeBytes: number;
  /** Lower-case hex. */
  sha256: string;
}

export interface OvaDemands {
  /** PEM of CAs, one of which must vouch for the signature; null takes unsigned ones as well. */
  signedBy: readonly string[] | null;
  /** Milliseconds; what the validity of certificates is held against. */
  now: number;
  /** Of the whole archive. Default 16 GiB. */
  maxBytes?: number;
}

/** An OVA that has been checked, open for reading. */
export interface Ova {
  descriptor: string;
  /** The files that the descriptor refers to, in its order. */
  files: readonly OvaFile[];
  /** Everything in it in the order of the archive: descriptor, manifest, certificate, files. */
  parts: readonly OvaFile[];
  /** SHA-256 of the manifest, which names the SHA-256 of all else: the same for the same appliance. */
  contentHash: string;
  /** The subject of the signer's certificate; null where it is not signed. */
  signer: string | null;
  /**
   * The content of a part. It is hashed again while it is read, and the last piece is followed by ERR_IMAGE_INVALID
   * where the archive was changed since it was checked.
   */
  read(name: string, signal: AbortSignal): AsyncGenerator<Buffer, void, void>;
  close(): Promise<void>;
}

/** Opens and checks an OVA as a whole. Throws ERR_IMAGE_INVALID with what is wrong, and the signal's reason. */
export async function openOva(file: string, demands: OvaDemands, signal: AbortSignal): Promise<Ova> {
  const handle = await open(file, 'r').catch((cause: NodeJS.ErrnoException) => {
    throw new WeftError(
      'ERR_IMAGE_INVALID',
      `the appliance ${file} cannot be opened (${cause.code}): build it with \`weft image build\`, and name it in the cloud`,
      { cause },
    );
  });
  try {
    return await checkOva(handle, file, demands, signal);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** `Ova.contentHash` of a file that may be large, by its manifest alone: nothing else of it is read or checked. */
export async function readContentHash(file: string, signal: AbortSignal): Promise<string> {
  const handle = await open(file, 'r');
  try {
    const refuse = (why: string): never => {
      throw new WeftError('ERR_IMAGE_INVALID', `the appliance ${file} is refused: ${why}`);
    };
    const { size } = await handle.stat();
    const [, manifest] = await readTarIndex(handle, size, refuse, signal);
    if (!manifest?.name.endsWith('.mf') || manifest.sizeBytes > MAX_MANIFEST_BYTES)
      return refuse('its second file is not the manifest');
    const hash = createHash('sha256');
    for await (const part of readEntry(handle, manifest, signal)) hash.update(part);
    return hash.digest('hex');
  } finally {
    await handle.close();
  }
}

const DEFAULT_MAX_BYTES = 16 * 2 ** 30;
const MAX_DESCRIPTOR_BYTES = 4 << 20;
const MAX_MANIFEST_BYTES = 1 << 20;
const MAX_CERTIFICATE_BYTES = 256 << 10;
const READ_BYTES = 1 << 20;

async function checkOva(
  handle: FileHandle,
  file: string,
  demands: OvaDemands,
  signal: AbortSignal,
): Promise<Ova> {
  const refuse = (why: string): never => {
    throw new WeftError('ERR_IMAGE_INVALID', `the appliance ${file} is refused: ${why}`);
  };
  const stat = await handle.stat();
  if (!stat.isFile()) refuse('it is not a file');
  if (stat.size > (demands.maxBytes ?? DEFAULT_MAX_BYTES))
    refuse(`it has ${stat.size} bytes, which is too much`);
  const entries = await readTarIndex(handle, stat.size, refuse, signal);

  const [first, ...rest] = entries;
  if (!first?.name.endsWith('.ovf')) return refuse('its first file is not the descriptor (.ovf)');
  const base = first.name.slice(0, -'.ovf'.length);
  const manifestEntry = rest[0]?.name === `${base}.mf` ? rest.shift() : undefined;
  if (!manifestEntry) return refuse(`its second file is not the manifest (${base}.mf)`);
  const certificateEntry = rest[0]?.name === `${base}.cert` ? rest.shift() : undefined;

  const whole = async (entry: TarEntry, maxBytes: number): Promise<Buffer> => {
    if (entry.sizeBytes > maxBytes) refuse(`${entry.name} has ${entry.sizeBytes} bytes, which is too much`);
    const parts: Buffer[] = [];
    for await (const part of readEntry(handle, entry, signal)) parts.push(part);
    return Buffer.concat(parts);
  };
  const manifest = await whole(manifestEntry, MAX_MANIFEST_BYTES);
  // The signature first: nothing that a stranger wrote is interpreted where a signer of ours was demanded.
  const certificate = certificateEntry && (await whole(certificateEntry, MAX_CERTIFICATE_BYTES));
  const signer = certificate
    ? checkSignature(certificate, { name: manifestEntry.name, content: manifest }, demands, refuse)
    : null;
  if (signer === null && demands.signedBy !== null) {
    refuse(
      'it is not signed, and this cloud takes signed ones only (build it with `weft image build --signer`)',
    );
  }

  const described = [first, ...rest];
  const hashes = checkManifest(
    manifest,
    described.map((entry) => entry.name),
    refuse,
  );
  for (const entry of described) {
    const hash = createHash('sha256');
    for await (const part of readEntry(handle, entry, signal)) hash.update(part);
    if (hash.digest('hex') !== hashes.get(entry.name)) {
      refuse(`${entry.name} is not what the manifest says: it was damaged or changed`);
    }
  }

  const descriptor = (await whole(first, MAX_DESCRIPTOR_BYTES)).toString('utf8');
  const references = readDescriptor(descriptor, refuse);
  const found = new Map(rest.map((entry) => [entry.name, entry]));
  for (const { name, sizeBytes } of references) {
    const entry = found.get(name);
    if (!entry) return refuse(`the descriptor refers to ${name}, which is not in it`);
    if (sizeBytes !== null && entry.sizeBytes !== sizeBytes) {
      refuse(`${name} has ${entry.sizeBytes} bytes, and the descriptor says ${sizeBytes}`);
    }
  }
  const extra = rest.find((entry) => !references.some(({ name }) => name === entry.name));
  if (extra) refuse(`it holds ${extra.name}, to which the descriptor does not refer`);

  const parts = entries.map((entry) => ({
    entry,
    file: { name: entry.name, sizeBytes: entry.sizeBytes, sha256: hashes.get(entry.name) ?? '' },
  }));
  for (const { entry, file: part } of parts) {
    if (entry === manifestEntry) part.sha256 = createHash('sha256').update(manifest).digest('hex');
    if (entry === certificateEntry) part.sha256 = createHash('sha256').update(certificate!).digest('hex');
  }

  return {
    descriptor,
    signer,
    parts: parts.map((one) => one.file),
    contentHash: createHash('sha256').update(manifest).digest('hex'),
    files: references.map(({ name }) => ({
      name,
      sizeBytes: found.get(name)!.sizeBytes,
      sha256: hashes.get(name)!,
    })),
    read: async function* (name, readSignal) {
      const found = parts.find(({ entry }) => entry.name === name);
      if (!found) throw new WeftError('ERR_NOT_FOUND', `the appliance ${file} has no file ${name}`);
      const hash = createHash('sha256');
      for await (const part of readEntry(handle, found.entry, readSignal)) {
        hash.update(part);
        yield part;
      }
      if (hash.digest('hex') !== found.file.sha256) refuse(`${name} was changed while it was read`);
    },
    close: () => handle.close(),
  };
}

async function* readEntry(
  handle: FileHandle,
  entry: TarEntry,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, void> {
  for (let done = 0; done < entry.sizeBytes; ) {
    signal.throwIfAborted();
    const bytes = Buffer.allocUnsafe(Math.min(READ_BYTES, entry.sizeBytes - done));
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, entry.offset + done);
    if (bytesRead === 0) {
      throw new WeftError('ERR_IMAGE_INVALID', `the appliance became shorter while ${entry.name} was read`);
    }
    done += bytesRead;
    yield bytes.subarray(0, bytesRead);
  }
}
