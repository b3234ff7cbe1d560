/** A strict reader of pcapng files: throws at whatever the format does not allow, or Weft does not write. */
import assert from 'node:assert/strict';

export interface ReadFrame {
  port: number;
  micros: number;
  bytes: Buffer;
  length: number;
  comment: string;
  isSent: boolean;
}

export interface ReadFile {
  comment: string;
  interfaces: { name: string; about: string; snap: number }[];
  frames: ReadFrame[];
  statistics: { port: number; received: number; dropped: number; comment: string }[];
}

export function readPcapng(file: Buffer): ReadFile {
  const read: ReadFile = { comment: '', interfaces: [], frames: [], statistics: [] };
  for (let at = 0, first = true; at < file.length; first = false) {
    assert.ok(at + 12 <= file.length, `a block at ${at} is cut short`);
    const type = file.readUInt32LE(at);
    const length = file.readUInt32LE(at + 4);
    assert.equal(length % 4, 0, `block at ${at}: length ${length}`);
    assert.ok(length >= 12 && at + length <= file.length, `the block at ${at} is cut short`);
    assert.equal(file.readUInt32LE(at + length - 4), length, `block at ${at}: its two lengths differ`);
    assert.equal(first, type === 0x0a0d0d0a, 'the section header comes first, and once');
    readBlock(type, file.subarray(at + 8, at + length - 4), read);
    at += length;
  }
  return read;
}

function readBlock(type: number, body: Buffer, read: ReadFile): void {
  switch (type) {
    case 0x0a0d0d0a:
      assert.deepEqual(
        [body.readUInt32LE(0), body.readUInt16LE(4), body.readUInt16LE(6)],
        [0x1a2b3c4d, 1, 0],
      );
      assert.equal(body.readBigInt64LE(8), -1n);
      read.comment = text(optionsOf(body.subarray(16)), 1);
      return;
    case 1: {
      assert.deepEqual([body.readUInt16LE(0), body.readUInt16LE(2)], [1, 0], 'Ethernet, nothing reserved');
      const options = optionsOf(body.subarray(8));
      assert.deepEqual(options.get(9), Buffer.of(6), 'microseconds');
      read.interfaces.push({ name: text(options, 2), about: text(options, 3), snap: body.readUInt32LE(4) });
      return;
    }
    case 5: {
      const options = optionsOf(body.subarray(12));
      const number = (code: number) => Number(options.get(code)!.readBigUInt64LE(0));
      const port = body.readUInt32LE(0);
      read.statistics.push({ port, received: number(4), dropped: number(5), comment: text(options, 1) });
      return;
    }
    case 6: {
      const port = body.readUInt32LE(0);
      const described = read.interfaces[port];
      assert.ok(described, `interface ${port} is described before its frames`);
      const captured = body.readUInt32LE(12);
      const length = body.readUInt32LE(16);
      assert.ok(captured <= length && captured <= described.snap, `${captured} of ${length} bytes`);
      const bytes = body.subarray(20, 20 + captured);
      const options = optionsOf(body.subarray(20 + ((captured + 3) & ~3)));
      const flags = options.get(2)!.readUInt32LE(0);
      assert.ok(flags === 1 || flags === 2, `flags ${flags}`);
      const micros = body.readUInt32LE(4) * 0x1_0000_0000 + body.readUInt32LE(8);
      read.frames.push({ port, micros, bytes, length, comment: text(options, 1), isSent: flags === 2 });
      return;
    }
    default:
      assert.fail(`a block of type ${type}`);
  }
}

function text(options: Map<number, Buffer>, code: number): string {
  const value = options.get(code)?.toString('utf8') ?? '';
  assert.ok(!value.includes('\0'));
  return value;
}

function optionsOf(bytes: Buffer): Map<number, Buffer> {
  const options = new Map<number, Buffer>();
  for (let at = 0; ; ) {
    assert.ok(at + 4 <= bytes.length, 'options end with an end');
    const code = bytes.readUInt16LE(at);
    const length = bytes.readUInt16LE(at + 2);
    at += 4;
    if (code === 0) {
      assert.deepEqual([length, at], [0, bytes.length]);
      return options;
    }
    assert.ok(at + length <= bytes.length, `option ${code} is cut short`);
    assert.ok(!options.has(code), `option ${code} comes twice`);
    options.set(code, bytes.subarray(at, at + length));
    at += (length + 3) & ~3;
  }
}
