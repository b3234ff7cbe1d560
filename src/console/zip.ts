/** A ZIP archive of a few small files, stored without compression (PKWARE APPNOTE 6.3.10, sections 4.3.7 to 4.3.16). */
import { crc32 } from 'node:zlib';

/** The archive; names stand at its root, in the order given. The same files give the same bytes. */
export function zipOf(files: readonly { name: string; content: Buffer }[]): Buffer {
  const local: Buffer[] = [];
  const central: Buffer[] = [];
  let at = 0;
  for (const { name, content } of files) {
    const title = Buffer.from(name, 'utf8');
    // Version 2.0, UTF-8 names, stored, 1 January 1980; then checksum, sizes, length of the name, no extra field.
    const shared = Buffer.alloc(26);
    shared.writeUInt16LE(20, 0);
    shared.writeUInt16LE(0x0800, 2);
    shared.writeUInt16LE(0x0021, 8);
    shared.writeUInt32LE(crc32(content), 10);
    shared.writeUInt32LE(content.length, 14);
    shared.writeUInt32LE(content.length, 18);
    shared.writeUInt16LE(title.length, 22);
    const entry = Buffer.alloc(14);
    entry.writeUInt32LE(at, 10);
    local.push(Buffer.from('PK\x03\x04', 'latin1'), shared, title, content);
    central.push(Buffer.from('PK\x01\x02\x14\x00', 'latin1'), shared, entry, title);
    at += 4 + shared.length + title.length + content.length;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 0, 'latin1');
  end.writeUInt16LE(files.length, 8);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...local, directory, end]);
}
