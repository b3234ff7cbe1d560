/**
 * bpf(2): maps, programs and links, as far as the fast path needs them; and the few lines of ELF that a compiled
 * program is read from (one program section, relocations to maps by name).
 *
 * Sources: linux include/uapi/linux/bpf.h (union bpf_attr), Documentation/bpf/llvm_reloc.rst.
 */
import ffi from 'node:ffi';
import { mkdirSync, readFileSync, statfsSync } from 'node:fs';
import { WeftError } from '../../policy/errors.ts';
import { kernelError, libc, setOption } from './libc.ts';

/** Kinds of map, attach types and flags, by the kernel's numbers. */
export const BPF_MAP_TYPE_ARRAY = 2;
export const BPF_MAP_TYPE_PERCPU_ARRAY = 6;
export const BPF_MAP_TYPE_XSKMAP = 17;
export const BPF_F_MMAPABLE = 1 << 10;
export const BPF_XDP = 37;
export const BPF_TCX_INGRESS = 46;
/** A filter of a socket is attached to no link, and its attach type says nothing. */
export const BPF_SOCKET_FILTER = 0;

const MAP_CREATE = 0;
const MAP_LOOKUP_ELEM = 1;
const MAP_UPDATE_ELEM = 2;
const PROG_LOAD = 5;
const OBJ_PIN = 6;
const OBJ_GET = 7;
const LINK_CREATE = 28;
const LINK_UPDATE = 29;
/** By attach type. */
const PROG_TYPES: Readonly<Record<number, number>> = {
  [BPF_SOCKET_FILTER]: 1,
  [BPF_TCX_INGRESS]: 3,
  [BPF_XDP]: 6,
};
const SYSCALL_NUMBERS: Readonly<Record<string, bigint>> = { x64: 321n, arm64: 280n };
const ATTRIBUTE_BYTES = 144;
const LOG_BYTES = 1 << 16;
const SOL_SOCKET = 1;
const SO_ATTACH_BPF = [50, 'SO_ATTACH_BPF'] as const;
const LD_IMM64 = 0x18;
const PSEUDO_MAP_FD = 1;
/** statfs(2) of a bpf file system. */
const BPF_FS_MAGIC = 0xcafe4a11;
const MS_NOSUID_NODEV_NOEXEC = 2n | 4n | 8n;

const attribute = new Uint8Array(ATTRIBUTE_BYTES);
const attributeView = new DataView(attribute.buffer);
/** What the kernel reads or writes during a call: nobody else may remember it, and its memory must not be freed. */
let held: Uint8Array[] = [];

/** Where the kernel finds these bytes during the call that is being prepared. */
export function addressOf(bytes: Uint8Array): bigint {
  held.push(bytes);
  return ffi.getRawPointer(bytes);
}

/** One call of bpf(2); `fill` writes the attribute. Returns as the system call does. */
export function bpf(command: number, fill: (view: DataView) => void): number {
  const number = SYSCALL_NUMBERS[process.arch];
  if (number === undefined) {
    throw new WeftError('ERR_KERNEL', `the fast path knows no bpf(2) on processors of kind ${process.arch}`);
  }
  held = [];
  attribute.fill(0);
  fill(attributeView);
  const address = ffi.getRawPointer(attribute);
  return Number(libc.syscall(number, BigInt(command), address, BigInt(ATTRIBUTE_BYTES), 0n, 0n, 0n));
}

export interface MapShape {
  /** For people and bpftool, at most 15 characters. */
  name: string;
  type: number;
  keyBytes: number;
  valueBytes: number;
  entries: number;
  flags: number;
}

/** Makes a map; its fd is the caller's to close. Throws ERR_KERNEL. */
export function createMap(shape: MapShape): number {
  const fd = bpf(MAP_CREATE, (view) => {
    view.setUint32(0, shape.type, true);
    view.setUint32(4, shape.keyBytes, true);
    view.setUint32(8, shape.valueBytes, true);
    view.setUint32(12, shape.entries, true);
    view.setUint32(16, shape.flags, true);
    writeName(view, 28, shape.name);
  });
  if (fd < 0) throw kernelError('bpf MAP_CREATE', `map ${shape.name}`);
  return fd;
}

/** The value at an index of an array map, all CPUs of a per-CPU one behind each other. Throws ERR_KERNEL. */
export function readMap(fd: number, index: number, value: Uint8Array): void {
  const key = new Uint8Array(Uint32Array.of(index).buffer);
  const result = bpf(MAP_LOOKUP_ELEM, (view) => {
    view.setUint32(0, fd, true);
    view.setBigUint64(8, addressOf(key), true);
    view.setBigUint64(16, addressOf(value), true);
  });
  if (result < 0) throw kernelError('bpf MAP_LOOKUP_ELEM', `map ${fd}`);
}

/** Writes a 32-bit word at an index of a map: of a map of sockets, the fd of one. Throws ERR_KERNEL. */
export function writeMap(fd: number, index: number, word: number): void {
  const key = new Uint8Array(Uint32Array.of(index).buffer);
  const value = new Uint8Array(Uint32Array.of(word).buffer);
  const result = bpf(MAP_UPDATE_ELEM, (view) => {
    view.setUint32(0, fd, true);
    view.setBigUint64(8, addressOf(key), true);
    view.setBigUint64(16, addressOf(value), true);
  });
  if (result < 0) throw kernelError('bpf MAP_UPDATE_ELEM', `map ${fd}`);
}

/** An array map as memory that the program sees at once. `unmap` ends every view of it. */
export function mapMemory(fd: number, bytes: number, name: string): { buffer: ArrayBuffer; unmap(): void } {
  const size = BigInt(Math.ceil(bytes / 4096) * 4096);
  const address = libc.mmap(0n, size, 3, 1, fd, 0n);
  if (address === 0xffff_ffff_ffff_ffffn) throw kernelError('mmap', `map ${name}`);
  const buffer = ffi.toArrayBuffer(address, Number(size), false) as ArrayBuffer;
  return {
    buffer,
    unmap() {
      // Detached first, so that a stale view reads nothing where it would otherwise kill the process.
      structuredClone(buffer, { transfer: [buffer] });
      libc.munmap(address, size);
    },
  };
}

export interface CompiledProgram {
  instructions: Uint8Array;
  license: string;
}

/** Reads the program of an object file, with the maps' fds put in by name. Throws ERR_KERNEL where it is none. */
export function readProgram(object: Uint8Array, maps: Readonly<Record<string, number>>): CompiledProgram {
  const view = new DataView(object.buffer, object.byteOffset, object.byteLength);
  const refuse = (why: string) => new WeftError('ERR_KERNEL', `the compiled program is damaged: ${why}`);
  if (object.length < 64 || view.getUint32(0) !== 0x7f454c46) throw refuse('it is no ELF file');
  const headers = Number(view.getBigUint64(40, true));
  const count = view.getUint16(60, true);
  const nameSection = view.getUint16(62, true);
  const section = (index: number) => {
    const at = headers + index * 64;
    return {
      name: view.getUint32(at, true),
      type: view.getUint32(at + 4, true),
      offset: Number(view.getBigUint64(at + 24, true)),
      size: Number(view.getBigUint64(at + 32, true)),
      link: view.getUint32(at + 40, true),
    };
  };
  const text = (table: { offset: number }, at: number): string => {
    const from = table.offset + at;
    return Buffer.from(object.subarray(from, object.indexOf(0, from))).toString('latin1');
  };
  const names = section(nameSection);
  const byName = new Map(
    Array.from({ length: count }, (_, index) => [text(names, section(index).name), section(index)]),
  );
  const program = byName.get('program');
  const relocations = byName.get('.relprogram');
  const license = byName.get('license');
  if (!program || !relocations || !license) throw refuse('a section is missing');
  const instructions = Uint8Array.from(object.subarray(program.offset, program.offset + program.size));
  const code = new DataView(instructions.buffer);
  const symbols = section(relocations.link);
  const strings = section(symbols.link);
  for (let at = relocations.offset; at < relocations.offset + relocations.size; at += 16) {
    const offset = Number(view.getBigUint64(at, true));
    const symbol = symbols.offset + view.getUint32(at + 12, true) * 24;
    const name = text(strings, view.getUint32(symbol, true));
    const fd = maps[name];
    if (fd === undefined || code.getUint8(offset) !== LD_IMM64) throw refuse(`nobody knows ${name}`);
    code.setUint8(offset + 1, (code.getUint8(offset + 1) & 0x0f) | (PSEUDO_MAP_FD << 4));
    code.setInt32(offset + 4, fd, true);
    code.setInt32(offset + 12, 0, true);
  }
  return { instructions, license: text(license, 0) };
}

/** Gives a program to the kernel's verifier. Throws ERR_KERNEL with the verifier's last words. */
export function loadProgram(program: CompiledProgram, attachType: number, name: string): number {
  const license = Buffer.from(`${program.license}\0`, 'latin1');
  const load = (log: Uint8Array | null): number =>
    bpf(PROG_LOAD, (view) => {
      view.setUint32(0, PROG_TYPES[attachType]!, true);
      view.setUint32(4, program.instructions.length / 8, true);
      view.setBigUint64(8, addressOf(program.instructions), true);
      view.setBigUint64(16, addressOf(license), true);
      if (log !== null) {
        view.setUint32(24, 1, true);
        view.setUint32(28, log.length, true);
        view.setBigUint64(32, addressOf(log), true);
      }
      writeName(view, 48, name);
      view.setUint32(68, attachType, true);
    });
  const fd = load(null);
  if (fd >= 0) return fd;
  const log = new Uint8Array(LOG_BYTES);
  const again = load(log);
  if (again >= 0) return again;
  const error = kernelError('bpf PROG_LOAD', `program ${name}`);
  const said = Buffer.from(log)
    .toString('latin1')
    .replaceAll('\0', '')
    .trim()
    .split('\n')
    .slice(-4)
    .join(' | ');
  throw said === '' ? error : new WeftError('ERR_KERNEL', `${error.message}: ${said}`);
}

/** Attaches a program to an interface; it stays until the link's fd is closed. Throws ERR_KERNEL. */
export function attachProgram(program: number, ifindex: number, attachType: number, object: string): number {
  const fd = bpf(LINK_CREATE, (view) => {
    view.setUint32(0, program, true);
    view.setUint32(4, ifindex, true);
    view.setUint32(8, attachType, true);
  });
  if (fd < 0) throw kernelError('bpf LINK_CREATE', object);
  return fd;
}

/** Has a socket take only the frames that a program lets pass, for as long as the socket lives. Throws ERR_KERNEL. */
export function attachFilter(program: number, socket: number, object: string): void {
  setOption(socket, SOL_SOCKET, SO_ATTACH_BPF, [program], object);
}

/** Puts another program in the place of a link's, without a packet in between. Throws ERR_KERNEL. */
export function replaceProgram(link: number, program: number): void {
  const result = bpf(LINK_UPDATE, (view) => {
    view.setUint32(0, link, true);
    view.setUint32(4, program, true);
  });
  if (result < 0) throw kernelError('bpf LINK_UPDATE', `link ${link}`);
}

/** Gives a map, program or link a name in a bpf file system, by which it outlives this process. Throws ERR_KERNEL. */
export function pin(fd: number, path: string): void {
  const name = Buffer.from(`${path}\0`);
  const result = bpf(OBJ_PIN, (view) => {
    view.setBigUint64(0, addressOf(name), true);
    view.setUint32(8, fd, true);
  });
  if (result < 0) throw kernelError('bpf OBJ_PIN', path);
}

/** Opens what `pin` named; its fd is the caller's to close. Throws ERR_KERNEL. */
export function openPin(path: string): number {
  const name = Buffer.from(`${path}\0`);
  const fd = bpf(OBJ_GET, (view) => {
    view.setBigUint64(0, addressOf(name), true);
  });
  if (fd < 0) throw kernelError('bpf OBJ_GET', path);
  return fd;
}

/** Makes the directory a bpf file system of its own, where it is not in one already. Throws ERR_KERNEL. */
export function mountBpf(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (statfsSync(directory).type === BPF_FS_MAGIC) return;
  if (libc.mount('weft', directory, 'bpf', MS_NOSUID_NODEV_NOEXEC, 'mode=0700') < 0) {
    throw kernelError('mount bpf', directory);
  }
}

/** How many values a per-CPU map holds at each index. */
export function possibleCpus(): number {
  const ranges = readFileSync('/sys/devices/system/cpu/possible', 'latin1').trim().split(',');
  return Number(ranges.at(-1)!.split('-').at(-1)) + 1;
}

function writeName(view: DataView, at: number, name: string): void {
  for (let i = 0; i < Math.min(name.length, 15); i++) view.setUint8(at + i, name.charCodeAt(i));
}
