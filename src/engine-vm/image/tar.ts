/** Writing ustar archives (POSIX.1-1988): headers, padding, end. Regular files only, which is all that an OVA holds. */
import { WeftError } from '../../policy/errors.ts';

export const BLOCK_BYTES = 512;

/** Eleven octal digits. */
export const MAX_ENTRY_BYTES = 0o77777777777;

/** The header of a regular file. `modifiedAt` in milliseconds. Throws ERR_USAGE where ustar cannot say it. */
export function tarHeader(name: string, sizeBytes: number, modifiedAt: number): Buffer {
  if (Buffer.byteLength(name) > 100) {
    throw new WeftError('ERR_USAGE', `the file name ${name} is longer than 100 bytes: shorten it`);
  }
  if (sizeBytes > MAX_ENTRY_BYTES) {
    throw new WeftError(
      'ERR_USAGE',
      `${name} has ${sizeBytes} bytes, and an OVA holds files up to 8 GiB: make the disk's content smaller`,
    );
  }
  const header = Buffer.alloc(BLOCK_BYTES);
  const octal = (value: number, offset: number, digits: number): void => {
    header.write(value.toString(8).padStart(digits, '0'), offset, digits, 'latin1');
  };
  header.write(name, 0, 100, 'utf8');
  octal(0o644, 100, 7);
  octal(0, 108, 7);
  octal(0, 116, 7);
  octal(sizeBytes, 124, 11);
  octal(Math.max(0, Math.floor(modifiedAt / 1000)), 136, 11);
  header.write('        ', 148, 8, 'latin1');
  header.write('0', 156, 1, 'latin1');
  header.write('ustar\x0000', 257, 8, 'latin1');
  header.write('root', 265, 32, 'latin1');
  header.write('root', 297, 32, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 8, 'latin1');
  return header;
}

/** The zeros after a file's content. */
export function tarPadding(sizeBytes: number): Buffer {
  return Buffer.alloc((BLOCK_BYTES - (sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES);
}

/** The end of an archive: two blocks of zeros. */
export function tarEnd(): Buffer {
  return Buffer.alloc(2 * BLOCK_BYTES);
}
