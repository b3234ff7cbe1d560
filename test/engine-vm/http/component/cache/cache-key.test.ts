/** What belongs to the key of a stored response, and which requests have none. */
import assert from 'node:assert/strict';
import { CacheKey } from '../../../../../src/engine-vm/http/component/cache/cache-key.ts';
import { Head } from '../../../../../src/engine-vm/http/head.ts';
import { parseRequestHead } from '../../../../../src/engine-vm/http/parse-head.ts';

const limits = { headBytes: 8192, fields: 100, allowsEncodedSlash: false };

function keyOf(target: string, fields: string[], trusts = false, forwarded = '', pool = ''): string | null {
  const text = [`GET ${target} HTTP/1.1`, ...fields, '', ''].join('\r\n');
  const bytes = Buffer.from(text, 'latin1');
  const head = new Head();
  assert.ok(parseRequestHead(bytes, 0, bytes.length, head, limits) > 0, text);
  const key = new CacheKey(trusts);
  return key.build(head, Buffer.from(forwarded), pool) ? key.text : null;
}

describe('the key of a stored response', () => {
  it('is host and target, the host in lower case, the target as it is', () => {
    assert.equal(keyOf('/A?b&a', ['Host: SHOP.example:80']), 'shop.example:80/A?b&a');
    assert.equal(keyOf('http://shop.example/a', ['Host: shop.example']), 'shop.example/a');
  });

  it('keeps apart what came by TLS', () => {
    const fields = ['Host: a'];
    const by = (scheme: string): string =>
      keyOf('/', fields, false, `X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: ${scheme}\r\n`)!;
    assert.equal(by('http'), 'a/');
    assert.notEqual(by('https'), by('http'));
  });

  it('keeps apart what routes send to several pools', () => {
    assert.notEqual(keyOf('/', ['Host: a'], false, '', 'beta'), keyOf('/', ['Host: a']));
  });

  it('holds what clients say of themselves only where that goes to members', () => {
    const fields = ['Host: a', 'X-Forwarded-Host: Evil', 'X-Forwarded-Proto: https'];
    assert.equal(keyOf('/', fields), 'a/');
    assert.equal(keyOf('/', fields, true), 'a/\nevil\rhttps');
    assert.equal(keyOf('/', ['Host: a', 'Forwarded: host=b'], true), null);
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
