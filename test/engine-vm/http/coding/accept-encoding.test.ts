/** Which coding a client gets for what it says. */
import assert from 'node:assert/strict';
import {
  ANY,
  BR,
  chooseCoding,
  GZIP,
  IDENTITY,
  readAcceptEncoding,
  ZSTD,
} from '../../../../src/engine-vm/http/coding/accept-encoding.ts';
import { Head } from '../../../../src/engine-vm/http/head.ts';
import { parseRequestHead } from '../../../../src/engine-vm/http/parse-head.ts';

const limits = { headBytes: 8192, fields: 100, allowsEncodedSlash: false };

function accept(...values: string[]): number {
  const fields = values.map((value) => `Accept-Encoding: ${value}\r\n`).join('');
  const bytes = Buffer.from(`GET / HTTP/1.1\r\nHost: a\r\n${fields}\r\n`);
  const head = new Head();
  assert.ok(parseRequestHead(bytes, 0, bytes.length, head, limits) > 0);
  return readAcceptEncoding(head);
}

const TABLE: [values: string[], accepted: number, chosen: number][] = [
  [[], ANY | IDENTITY | GZIP | BR | ZSTD, 0],
  [[''], IDENTITY, 0],
  [['gzip'], IDENTITY | GZIP, GZIP],
  [['GZIP, Deflate'], IDENTITY | GZIP, GZIP],
  [['x-gzip'], IDENTITY | GZIP, GZIP],
  [['gzip, br'], IDENTITY | GZIP | BR, BR],
  [['gzip', 'br'], IDENTITY | GZIP | BR, BR],
  [['gzip;q=1.0, br;q=0.5'], IDENTITY | GZIP | BR, GZIP],
  [['gzip ; q=0.2 ,\tbr;Q=0.123,'], IDENTITY | GZIP | BR, GZIP],
  [['gzip;q=0'], IDENTITY, 0],
  [['*'], IDENTITY | GZIP | BR | ZSTD, ZSTD],
  [['*;q=0.5, zstd;q=0'], IDENTITY | GZIP | BR, BR],
  [['identity;q=0, gzip'], GZIP, GZIP],
  [['*;q=0, gzip'], GZIP, GZIP],
  [['identity, gzip;q=0.5'], IDENTITY | GZIP, 0],
  [['identity;q=0.5, gzip;q=0.5'], IDENTITY | GZIP, GZIP],
  [['gzip;q=2'], IDENTITY, 0],
  [['gzip;q=0.1234'], IDENTITY, 0],
  [['gzip;x=1'], IDENTITY, 0],
  [['gzipped, zs'], IDENTITY, 0],
];

describe('Accept-Encoding', () => {
  for (const [values, accepted, chosen] of TABLE) {
    it(`reads ${JSON.stringify(values)}`, () => {
      assert.equal(accept(...values), accepted);
      assert.equal(chooseCoding(accepted, [ZSTD, BR, GZIP]), chosen);
    });
  }
});
