/** Bodies: what of them is data, in whatever pieces they come, and what is refused. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { BodyDecoder, BY_LENGTH, CHUNKED, UNTIL_CLOSE } from '../../../src/engine-vm/http/body-decoder.ts';
import { chunk, frameChunk } from '../../../src/engine-vm/http/head-writer.ts';
import { REFUSALS } from '../../../src/engine-vm/http/refusals.ts';

const LIMITS = { headBytes: 8192, fields: 100, allowsEncodedSlash: false };

interface Outcome {
  data: string;
  rest: string;
  isDone: boolean;
  trailers: string | null;
  error: string | null;
}

/** Decodes a text that comes in pieces of these lengths, the last of them repeated. */
function decode(
  text: string,
  pieces: readonly number[],
  limit = 1 << 20,
  decoder = new BodyDecoder(),
): Outcome {
  decoder.begin(CHUNKED, 0, limit);
  let data = '';
  let at = 0;
  for (let n = 0; at < text.length && !decoder.isDone; n++) {
    const length = Math.min(pieces[Math.min(n, pieces.length - 1)]!, text.length - at);
    const bytes = Buffer.alloc(length + 80);
    bytes.write(text.slice(at, at + length), 10, 'latin1');
    const consumed = decoder.decode(bytes, 10, 10 + length, LIMITS);
    if (consumed < 0) {
      return { data, rest: '', isDone: false, trailers: null, error: REFUSALS[decoder.error]!.name };
    }
    data += bytes.toString('latin1', decoder.dataAt, decoder.dataEnd);
    at += consumed - 10;
    if (!decoder.isDone) assert.equal(consumed, 10 + length);
  }
  const trailers = decoder.trailers === null ? null : Buffer.from(decoder.trailers).toString('latin1');
  return { data, rest: text.slice(at), isDone: decoder.isDone, trailers, error: null };
}

describe('a chunked body', () => {
  const text = '5\r\nhello\r\n00a;x=y\r\n, chunked!\r\n0\r\nX-Sum: 1\r\n\r\nGET /next';

  it('is the same in pieces of every length', () => {
    for (let length = 1; length <= text.length; length++) {
      assert.deepEqual(decode(text, [length]), {
        data: 'hello, chunked!',
        rest: 'GET /next',
        isDone: true,
        trailers: 'X-Sum: 1\r\n\r\n',
        error: null,
      });
    }
  });

  const bad: [string, string][] = [
    ['\r\n', 'chunk-invalid'],
    ['5\nhello\r\n', 'chunk-invalid'],
    ['5\r\nhelloX', 'chunk-invalid'],
    ['5\r\nhello\n0\r\n\r\n', 'chunk-invalid'],
    ['-5\r\n', 'chunk-invalid'],
    ['0x5\r\nhello', 'chunk-invalid'],
    ['5 \r\nhello', 'chunk-invalid'],
    ['5 ;x\r\nhello', 'chunk-invalid'],
    ['5;a\nb\r\nhello', 'chunk-invalid'],
    ['ffffffffffffffff\r\n', 'chunk-invalid'],
    ['ffffffff\r\n', 'body-too-large'],
    [`5;${'a'.repeat(2000)}\r\nhello`, 'chunk-extension-too-long'],
    ['0\r\nA : b\r\n\r\n', 'trailer-invalid'],
    ['0\r\nContent-Length: 5\r\n\r\n', 'trailer-forbidden'],
    ['0\r\nHost: b\r\n\r\n', 'trailer-forbidden'],
    ['0\r\nX-Forwarded-For: b\r\n\r\n', 'trailer-forbidden'],
    [`0\r\n${'A: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n'.repeat(90)}`, 'trailer-invalid'],
  ];
  for (const [body, reason] of bad) {
    it(`is refused, ${reason}: ${JSON.stringify(body.slice(0, 40))}`, () => {
      for (const length of [1, 3, body.length]) assert.equal(decode(body, [length]).error, reason);
    });
  }

  it('comes out as it went in, framed in any chunks and cut anywhere', () => {
    const decoder = new BodyDecoder();
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 300 }), { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 10 }),
        (parts, pieces) => {
          let framed = '';
          for (const [n, part] of parts.entries()) {
            const bytes = Buffer.alloc(part.length + 64);
            bytes.write(part, 20, 'latin1');
            frameChunk(bytes, 20, 20 + part.length, n === parts.length - 1, null);
            framed += bytes.toString('latin1', chunk.at, chunk.end);
          }
          if (parts.length === 0) framed = '0\r\n\r\n';
          const { data, isDone, rest } = decode(`${framed}next`, pieces, 1 << 20, decoder);
          assert.deepEqual({ data, isDone, rest }, { data: parts.join(''), isDone: true, rest: 'next' });
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('a body by length', () => {
  it('ends there, and what follows is left', () => {
    const decoder = new BodyDecoder();
    decoder.begin(BY_LENGTH, 5, 100);
    assert.equal(decoder.decode(Buffer.from('hel'), 0, 3, LIMITS), 3);
    assert.equal(decoder.isDone, false);
    assert.equal(decoder.decode(Buffer.from('loGET'), 0, 5, LIMITS), 2);
    assert.equal(decoder.isDone, true);
    assert.equal(decoder.received, 5);
  });

  it('until the end of the connection is bounded by the limit only', () => {
    const decoder = new BodyDecoder();
    decoder.begin(UNTIL_CLOSE, 0, 4);
    assert.equal(decoder.decode(Buffer.from('abc'), 0, 3, LIMITS), 3);
    assert.equal(decoder.decode(Buffer.from('de'), 0, 2, LIMITS), -1);
    assert.equal(REFUSALS[decoder.error]!.name, 'body-too-large');
  });
});
