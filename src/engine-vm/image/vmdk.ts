/**
 * Writing a streamOptimized VMDK from a raw image (VMware, Virtual Disk Format 5.0, "Stream-Optimized Compressed
 * Sparse Extents"): grains of 64 KiB, each deflated behind a marker, grain tables, the grain directory at the end,
 * and a footer. Grains of zeros are left out. It is written front to back, so it may go to a pipe.
 */
import { promisify } from 'node:util';
import { crc32, deflate } from 'node:zlib';
import { WeftError } from '../../policy/errors.ts';

/** Where the raw image comes from. */
export interface DiskSource {
  sizeBytes: number;
  /** Up to `length` bytes from `offset`; fewer only at the end. */
  read(offset: number, length: number): Promise<Buffer>;
}

export interface VmdkSummary {
  /** The size of the disk that the guest sees, a whole number of grains. */
  capacityBytes: number;
  /** Of the grains that are there. */
  populatedBytes: number;
  /** Of the file. */
  writtenBytes: number;
}

/**
 * Writes the disk. `write` takes the next bytes of the file, in order. `fileName` goes into the descriptor.
 * Throws ERR_USAGE for an empty image, and the signal's reason.
 */
export async function writeVmdk(
  source: DiskSource,
  fileName: string,
  write: (bytes: Buffer) => Promise<void>,
  signal: AbortSignal,
): Promise<VmdkSummary> {
  if (source.sizeBytes === 0)
    throw new WeftError('ERR_USAGE', 'the raw image is empty: there is no disk in it');
  const grains = Math.ceil(source.sizeBytes / GRAIN_BYTES);
  const capacitySectors = grains * GRAIN_SECTORS;
  let sector = 0;
  const emit = async (bytes: Buffer): Promise<void> => {
    await write(bytes);
    sector += bytes.length / SECTOR_BYTES;
  };

  await emit(head(capacitySectors, fileName));
  const tableSectors: number[] = [];
  let populated = 0;
  let table = new Uint32Array(TABLE_ENTRIES);
  const endTable = async (): Promise<void> => {
    if (table.every((entry) => entry === 0)) {
      tableSectors.push(0);
      return;
    }
    await emit(marker(TABLE_BYTES / SECTOR_BYTES, MARKER_TABLE));
    tableSectors.push(sector);
    await emit(littleEndian(table));
    table = new Uint32Array(TABLE_ENTRIES);
  };

  for (let first = 0; first < grains; first += BATCH_GRAINS) {
    signal.throwIfAborted();
    const raw = await source.read(first * GRAIN_BYTES, BATCH_GRAINS * GRAIN_BYTES);
    const packed = await Promise.all(batchGrains(raw).map(packGrain));
    for (const [index, bytes] of packed.entries()) {
      const grain = first + index;
      if (bytes) {
        table[grain % TABLE_ENTRIES] = sector;
        populated++;
        await emit(grainRecord(grain * GRAIN_SECTORS, bytes));
      }
      if (grain % TABLE_ENTRIES === TABLE_ENTRIES - 1) await endTable();
    }
  }
  if (grains % TABLE_ENTRIES !== 0) await endTable();

  const directory = littleEndian(Uint32Array.from(tableSectors));
  const directorySectors = Math.ceil(directory.length / SECTOR_BYTES);
  await emit(marker(directorySectors, MARKER_DIRECTORY));
  const directorySector = sector;
  await emit(Buffer.concat([directory], directorySectors * SECTOR_BYTES));
  await emit(marker(1, MARKER_FOOTER));
  await emit(header(capacitySectors, BigInt(directorySector)));
  await emit(Buffer.alloc(SECTOR_BYTES));
  return {
    capacityBytes: capacitySectors * SECTOR_BYTES,
    populatedBytes: populated * GRAIN_BYTES,
    writtenBytes: sector * SECTOR_BYTES,
  };
}

const deflated = promisify(deflate);

const SECTOR_BYTES = 512;
const GRAIN_SECTORS = 128;
const GRAIN_BYTES = GRAIN_SECTORS * SECTOR_BYTES;
const TABLE_ENTRIES = 512;
const TABLE_BYTES = TABLE_ENTRIES * 4;
/** Read and deflated together: 2 MiB. */
const BATCH_GRAINS = 32;
const ZEROS = Buffer.alloc(GRAIN_BYTES);

const MARKER_TABLE = 1;
const MARKER_DIRECTORY = 2;
const MARKER_FOOTER = 3;

/** `KDMV`. */
const MAGIC = 0x564d444b;
/** Newline test is valid, grains are compressed, there are markers. */
const FLAGS = 0x30001;
const DESCRIPTOR_SECTORS = 20;
const OVERHEAD_SECTORS = 128;
/** In the header: the directory is at the end, look into the footer. */
const DIRECTORY_AT_END = 0xffff_ffff_ffff_ffffn;
const DEFLATE = 1;

function header(capacitySectors: number, directorySector: bigint): Buffer {
  const bytes = Buffer.alloc(SECTOR_BYTES);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt32LE(3, 4);
  bytes.writeUInt32LE(FLAGS, 8);
  bytes.writeBigUInt64LE(BigInt(capacitySectors), 12);
  bytes.writeBigUInt64LE(BigInt(GRAIN_SECTORS), 20);
  bytes.writeBigUInt64LE(1n, 28);
  bytes.writeBigUInt64LE(BigInt(DESCRIPTOR_SECTORS), 36);
  bytes.writeUInt32LE(TABLE_ENTRIES, 44);
  bytes.writeBigUInt64LE(0n, 48);
  bytes.writeBigUInt64LE(directorySector, 56);
  bytes.writeBigUInt64LE(BigInt(OVERHEAD_SECTORS), 64);
  bytes.write('\n \r\n', 73, 'latin1');
  bytes.writeUInt16LE(DEFLATE, 77);
  return bytes;
}

function head(capacitySectors: number, fileName: string): Buffer {
  const bytes = Buffer.alloc(OVERHEAD_SECTORS * SECTOR_BYTES);
  header(capacitySectors, DIRECTORY_AT_END).copy(bytes);
  bytes.write(descriptor(capacitySectors, fileName), SECTOR_BYTES, 'utf8');
  return bytes;
}

function descriptor(capacitySectors: number, fileName: string): string {
  // Only tells one version of a parent disk from another; a constant of the input keeps builds reproducible.
  const id = crc32(`${fileName} ${capacitySectors}`) % 0xffff_fffe;
  const cylinders = Math.min(65_535, Math.ceil(capacitySectors / (255 * 63)));
  return `# Disk DescriptorFile
version=1
CID=${id.toString(16).padStart(8, '0')}
parentCID=ffffffff
createType="streamOptimized"

# Extent description
RW ${capacitySectors} SPARSE "${fileName}"

# The Disk Data Base
#DDB

ddb.adapterType = "lsilogic"
ddb.geometry.cylinders = "${cylinders}"
ddb.geometry.heads = "255"
ddb.geometry.sectors = "63"
ddb.virtualHWVersion = "14"
`;
}

function marker(sectors: number, type: number): Buffer {
  const bytes = Buffer.alloc(SECTOR_BYTES);
  bytes.writeBigUInt64LE(BigInt(sectors), 0);
  bytes.writeUInt32LE(type, 12);
  return bytes;
}

function grainRecord(sector: number, packed: Buffer): Buffer {
  const bytes = Buffer.alloc(Math.ceil((12 + packed.length) / SECTOR_BYTES) * SECTOR_BYTES);
  bytes.writeBigUInt64LE(BigInt(sector), 0);
  bytes.writeUInt32LE(packed.length, 8);
  packed.copy(bytes, 12);
  return bytes;
}

/** The grains of a batch, the last one filled up with zeros. */
function batchGrains(raw: Buffer): Buffer[] {
  const grains: Buffer[] = [];
  for (let offset = 0; offset < raw.length; offset += GRAIN_BYTES) {
    const grain = raw.subarray(offset, offset + GRAIN_BYTES);
    grains.push(grain.length === GRAIN_BYTES ? grain : Buffer.concat([grain], GRAIN_BYTES));
  }
  return grains;
}

async function packGrain(grain: Buffer): Promise<Buffer | null> {
  return grain.equals(ZEROS) ? null : await deflated(grain);
}

function littleEndian(numbers: Uint32Array): Buffer {
  const bytes = Buffer.alloc(numbers.length * 4);
  numbers.forEach((number, index) => {
    bytes.writeUInt32LE(number, index * 4);
  });
  return bytes;
}
