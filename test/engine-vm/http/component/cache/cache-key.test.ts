/** What belongs to the key of a stored response, and which requests have none. */
import assert from 'node:assert/strict';
import type { ClientOrigin } from '../../../../../src/engine-vm/http/client-origin.ts';
import { CacheKey } from '../../../../../src/engine-vm/http/component/cache/cache-key.ts';
import { Head } from '../../../../../src/engine-vm/http/head.ts';
import { parseRequestHead } from '../../../../../src/engine-vm/http/parse-head.ts';

const limits = { headBytes: 8192, fields: 100, allowsEncodedSlash: false };

/** As trusted proxies told. */
const told = (host: string, port = ''): ClientOrigin => ({
  address: '10.0.0.1',
  sourceHash: 0,
  lines: new Uint8Array(0),
  host,
  port,
});

function keyOf(
  target: string,
  fields: string[],
  forwarded = '',
  pool = '',
  origin: ClientOrigin | null = null,
): string | null {
  const text = [`GET ${target} HTTP/1.1`, ...fields, '', ''].join('\r\n');
  const bytes = Buffer.from(text, 'latin1');
  const head = new Head();
  assert.ok(parseRequestHead(bytes, 0, bytes.length, head, limits) > 0, text);
  const key = new CacheKey();
  return key.build(head, Buffer.from(forwarded), pool, origin) ? key.text : null;
}

describe('the key of a stored response', () => {
  it('is host and target, the host in lower case, the target as it is', () => {
    assert.equal(keyOf('/A?b&a', ['Host: SHOP.example:80']), 'shop.example:80/A?b&a');
    assert.equal(keyOf('http://shop.example/a', ['Host: shop.example']), 'shop.example/a');
  });

  it('keeps apart what came by TLS', () => {
    const fields = ['Host: a'];
    const by = (scheme: string): string =>
      keyOf('/', fields, `X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: ${scheme}\r\n`)!;
    assert.equal(by('http'), 'a/');
    assert.notEqual(by('https'), by('http'));
  });

  it('keeps apart what routes send to several pools', () => {
    assert.notEqual(keyOf('/', ['Host: a'], '', 'beta'), keyOf('/', ['Host: a']));
  });

  it('is of the host that trusted proxies name, with Host and port where they are others', () => {
    const of = (host: string, origin: ClientOrigin | null) => keyOf('/x', [`Host: ${host}`], '', '', origin)!;
    assert.equal(of('a', told('A')), 'a/x');
    assert.equal(of('a', told('')), 'a/x');
    const keys = [
      of('a', null),
      of('inner', told('a')),
      of('inner2', told('a')),
      of('a', told('a', '8443')),
      of('inner', told('a', '8443')),
      of('a', told('inner')),
    ];
    assert.equal(new Set(keys).size, keys.length);
    for (const key of keys.slice(0, 5)) {
      assert.ok(key.startsWith('a/x') && !(key.charCodeAt(3) >= 32), 'it is purged by its own address');
    }
    assert.equal(keyOf('/x', [`Host: ${'a'.repeat(200)}`], '', '', told('b'.repeat(2000))), null);
  });

  it('holds nothing that clients say of themselves: members are not told of it', () => {
    assert.equal(keyOf('/', ['Host: a', 'X-Forwarded-Host: Evil', 'X-Forwarded-Proto: https']), 'a/');
  });

  it('is none where a field may stand for another method, host or target', () => {
    for (const name of [
      'X-HTTP-Method-Override',
      'x-original-url',
      'X-Rewrite-URL',
      'X-Host',
      'X-Forwarded-Scheme',
    ]) {
      assert.equal(keyOf('/', ['Host: a', `${name}: b`]), null, name);
    }
    assert.equal(keyOf(`/${'a'.repeat(3000)}`, ['Host: a']), null);
  });
});
