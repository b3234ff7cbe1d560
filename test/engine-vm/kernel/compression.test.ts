/** Coders against node:zlib, with input and output cut anywhere. */
import assert from 'node:assert/strict';
import * as zlib from 'node:zlib';
import fc from 'fast-check';
import {
  type CodingName,
  createDecoder,
  createEncoder,
  ENDED,
  FINISH,
  FLUSH,
  INVALID,
  MORE,
  RUN,
  TAKEN,
} from '../../../src/engine-vm/kernel/compression.ts';
import { SocketBuffers } from '../../../src/engine-vm/kernel/socket-buffers.ts';

const NODE = {
  gzip: { encode: zlib.gzipSync, decode: zlib.gunzipSync },
  br: {
    encode: (bytes: Buffer) =>
      zlib.brotliCompressSync(bytes, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 4 } }),
    decode: zlib.brotliDecompressSync,
  },
  zstd: { encode: zlib.zstdCompressSync, decode: zlib.zstdDecompressSync },
};

/** Text that compresses, noise that does not, and both. */
const bodies = fc
  .array(
    fc.oneof(
      fc.string({ maxLength: 200 }).map((text) => Buffer.from(text.repeat(20))),
      fc.uint8Array({ maxLength: 4000 }).map((bytes) => Buffer.from(bytes)),
    ),
    { maxLength: 12 },
  )
  .map((parts) => Buffer.concat(parts));

describe('coders', () => {
  const buffers = new SocketBuffers(8);
  const input = buffers.reserve(100_000);
  const output = buffers.reserve(100_000);
  after(() => buffers.close());

  /** Runs a body through a coder in pieces, with so much room for output at a time. */
  function run(
    coder: ReturnType<typeof createEncoder>,
    body: Buffer,
    piece: number,
    room: number,
    operation: number,
  ): { bytes: Buffer; result: number } {
    const parts: Buffer[] = [];
    let result = TAKEN;
    for (let from = 0; ; from += piece) {
      const to = Math.min(body.length, from + piece);
      const isLast = to === body.length;
      buffers.bytes.set(body.subarray(from, to), input);
      let at = input;
      const end = input + to - from;
      do {
        result = coder.code(at, end, output, output + room, isLast ? FINISH : operation);
        at = coder.read;
        parts.push(Buffer.from(buffers.bytes.slice(output, coder.written)));
      } while (result === MORE);
      if (isLast || result === INVALID) return { bytes: Buffer.concat(parts), result };
    }
  }

  for (const coding of ['gzip', 'br', 'zstd'] as CodingName[]) {
    it(`encodes ${coding} that node:zlib decodes, and decodes its own, cut anywhere`, () => {
      const encoder = createEncoder(coding, buffers, 4);
      const decoder = createDecoder(coding, buffers);
      const { encode, decode } = NODE[coding];
      fc.assert(
        fc.property(
          bodies,
          fc.integer({ min: 1, max: 20_000 }),
          fc.integer({ min: 1, max: 20_000 }),
          fc.constantFrom(RUN, FLUSH),
          (body, piece, room, operation) => {
            // A byte at a time takes long for nothing.
            const cut = Math.max(piece, body.length >> 7, 1);
            const encoded = run(encoder, body, cut, Math.max(room, 16), operation);
            encoder.reset();
            assert.equal(encoded.result, TAKEN);
            assert.deepEqual(Buffer.from(decode(encoded.bytes)), body);
            const decoded = run(decoder, encode(body), piece, room, RUN);
            decoder.reset();
            assert.equal(decoded.result, ENDED);
            assert.deepEqual(decoded.bytes, body);
          },
        ),
        { numRuns: 60 },
      );
      encoder.close();
      decoder.close();
    });

    it(`hands out with FLUSH of ${coding} all that came`, () => {
      const encoder = createEncoder(coding, buffers, 4);
      const decoder = createDecoder(coding, buffers);
      const text = 'data: 1\n\n';
      for (let n = 0; n < 3; n++) {
        buffers.bytes.set(Buffer.from(text), input);
        assert.equal(encoder.code(input, input + text.length, output, output + 1000, FLUSH), TAKEN);
        const at = output + 2000;
        assert.equal(decoder.code(output, encoder.written, at, at + 1000, RUN), TAKEN);
        assert.equal(Buffer.from(buffers.bytes.slice(at, decoder.written)).toString(), text);
      }
      encoder.close();
      decoder.close();
    });

    it(`knows what is no ${coding}`, () => {
      const decoder = createDecoder(coding, buffers);
      for (const noise of ['no such coding at all, whatever it is', '\xff\xff\xff\xff\xff\xff\xff\xff']) {
        assert.equal(run(decoder, Buffer.from(noise, 'latin1'), 1000, 1000, RUN).result, INVALID);
        decoder.reset();
      }
      decoder.close();
    });
  }
});
