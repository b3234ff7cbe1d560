/**
 * Builds the engine appliance's OVA (DSP0243, Open Virtualization Format 1.1): descriptor, manifest, certificate and
 * disk in one ustar archive, in that order, so that a reader can refuse before the disk has arrived.
 *
 * The same input gives the same bytes.
 */
import { createHash, randomBytes } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { WeftError } from '../../policy/errors.ts';
import { readDescriptorTemplate, stampDescriptor } from './descriptor.ts';
import { type ImageSigner, manifestText, signatureText } from './signature.ts';
import { tarEnd, tarHeader, tarPadding } from './tar.ts';
import { type DiskSource, writeVmdk } from './vmdk.ts';

export interface OvaOptions {
  /**
   * The raw disk image of the appliance. Null for a blank disk of 1 MiB: such an OVA imports everywhere and boots
   * nowhere, and its product name says so.
   */
  disk: string | null;
  /** The file to write. It appears whole or not at all. */
  file: string;
  version: string;
  /** Null leaves the OVA unsigned. */
  signer: ImageSigner | null;
  /** Milliseconds; the time that the archive's entries bear. */
  modifiedAt: number;
}

export interface OvaSummary {
  sizeBytes: number;
  /** In archive order. */
  entries: { name: string; sizeBytes: number; sha256: string }[];
  diskCapacityBytes: number;
  isSigned: boolean;
}

/** Throws ERR_USAGE for an image that cannot be packed or a file that cannot be written, and the signal's reason. */
export async function buildOva(options: OvaOptions, signal: AbortSignal): Promise<OvaSummary> {
  const { file } = options;
  const suffix = randomBytes(4).toString('hex');
  const [diskPart, ovaPart] = [`${file}.${suffix}.vmdk`, `${file}.${suffix}.new`];
  try {
    const disk = await packDisk(options.disk, diskPart, signal);
    const summary = await packArchive(options, diskPart, disk, ovaPart, signal);
    await rename(ovaPart, file);
    return summary;
  } catch (error) {
    const { code, path } = error as NodeJS.ErrnoException;
    if (typeof code !== 'string' || error instanceof WeftError || path === undefined) throw error;
    throw new WeftError('ERR_USAGE', `${path} cannot be opened or written (${code})`, { cause: error });
  } finally {
    await Promise.all([rm(diskPart, { force: true }), rm(ovaPart, { force: true })]);
  }
}

const NAME = 'weft-engine';
const DISK = `${NAME}-disk1.vmdk`;
const BLANK_BYTES = 1 << 20;
const COPY_BYTES = 1 << 20;

interface PackedDisk {
  sizeBytes: number;
  sha256: string;
  capacityBytes: number;
  populatedBytes: number;
}

async function packDisk(image: string | null, part: string, signal: AbortSignal): Promise<PackedDisk> {
  const source = image === null ? null : await open(image, 'r');
  try {
    const target = await open(part, 'wx');
    try {
      const hash = createHash('sha256');
      const packed = await writeVmdk(
        source ? await imageSource(source, image!) : blankSource(),
        DISK,
        async (bytes) => {
          hash.update(bytes);
          await target.writeFile(bytes);
        },
        signal,
      );
      return {
        sizeBytes: packed.writtenBytes,
        sha256: hash.digest('hex'),
        capacityBytes: packed.capacityBytes,
        populatedBytes: packed.populatedBytes,
      };
    } finally {
      await target.close();
    }
  } finally {
    await source?.close();
  }
}

async function imageSource(handle: FileHandle, name: string): Promise<DiskSource> {
  const stat = await handle.stat();
  if (!stat.isFile()) throw new WeftError('ERR_USAGE', `${name} is not a file: name a raw disk image`);
  const start = Buffer.alloc(4);
  await handle.read(start, 0, 4, 0);
  // An image in a format of its own, wrapped as if it were raw, would only show at the first boot.
  for (const [magic, format] of [
    ['KDMV', 'a VMDK'],
    ['QFI\xfb', 'a qcow2 image'],
    ['conectix', 'a VHD'],
    ['vhdxfile', 'a VHDX'],
  ] as const) {
    if (start.toString('latin1') === magic.slice(0, 4)) {
      throw new WeftError(
        'ERR_USAGE',
        `${name} is ${format}, not a raw image: convert it (qemu-img convert -O raw)`,
      );
    }
  }
  return {
    sizeBytes: stat.size,
    read: async (offset, length) => {
      const bytes = Buffer.alloc(Math.max(0, Math.min(length, stat.size - offset)));
      let filled = 0;
      while (filled < bytes.length) {
        const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, offset + filled);
        if (bytesRead === 0) throw new WeftError('ERR_USAGE', `${name} became shorter while it was read`);
        filled += bytesRead;
      }
      return bytes;
    },
  };
}

function blankSource(): DiskSource {
  return {
    sizeBytes: BLANK_BYTES,
    read: async (offset, length) => Buffer.alloc(Math.max(0, Math.min(length, BLANK_BYTES - offset))),
  };
}

async function packArchive(
  options: OvaOptions,
  diskPart: string,
  disk: PackedDisk,
  part: string,
  signal: AbortSignal,
): Promise<OvaSummary> {
  const descriptor = Buffer.from(
    stampDescriptor(await readDescriptorTemplate(), {
      product: options.disk === null ? 'Weft engine (blank disk: does not boot)' : 'Weft engine',
      version: options.version,
      fullVersion: options.disk === null ? `${options.version}-blank` : options.version,
      diskFile: DISK,
      diskFileSize: disk.sizeBytes,
      diskCapacity: disk.capacityBytes,
      diskPopulatedSize: disk.populatedBytes,
    }),
  );
  const manifest = Buffer.from(
    manifestText([
      { name: `${NAME}.ovf`, sha256: sha256(descriptor) },
      { name: DISK, sha256: disk.sha256 },
    ]),
  );
  const small: [string, Buffer][] = [
    [`${NAME}.ovf`, descriptor],
    [`${NAME}.mf`, manifest],
  ];
  if (options.signer) {
    small.push([`${NAME}.cert`, Buffer.from(signatureText(`${NAME}.mf`, manifest, options.signer))]);
  }

  let sizeBytes = 0;
  const target = await open(part, 'wx', 0o644);
  try {
    const write = async (bytes: Buffer): Promise<void> => {
      sizeBytes += bytes.length;
      await target.writeFile(bytes);
    };
    for (const [name, content] of small) {
      await write(tarHeader(name, content.length, options.modifiedAt));
      await write(content);
      await write(tarPadding(content.length));
    }
    await write(tarHeader(DISK, disk.sizeBytes, options.modifiedAt));
    const source = await open(diskPart, 'r');
    try {
      for await (const bytes of source.createReadStream({ highWaterMark: COPY_BYTES, autoClose: false })) {
        signal.throwIfAborted();
        await write(bytes as Buffer);
      }
    } finally {
      await source.close();
    }
    await write(tarPadding(disk.sizeBytes));
    await write(tarEnd());
    await target.sync();
  } finally {
    await target.close();
  }
  return {
    sizeBytes,
    entries: [
      ...small.map(([name, content]) => ({ name, sizeBytes: content.length, sha256: sha256(content) })),
      { name: DISK, sizeBytes: disk.sizeBytes, sha256: disk.sha256 },
    ],
    diskCapacityBytes: disk.capacityBytes,
    isSigned: options.signer !== null,
  };
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
