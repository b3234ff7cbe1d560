/** The parser of heads: what it finds, what it refuses and why, wherever the bytes end. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { FIELD } from '../../../src/engine-vm/http/field-names.ts';
import { Head } from '../../../src/engine-vm/http/head.ts';
import type { HeadLimits } from '../../../src/engine-vm/http/parse-fields.ts';
import { parseRequestHead, parseResponseHead } from '../../../src/engine-vm/http/parse-head.ts';
import { REFUSALS } from '../../../src/engine-vm/http/refusals.ts';

const LIMITS: HeadLimits = { headBytes: 8192, fields: 100, allowsEncodedSlash: false };
const head = new Head();

/** Parses at an offset, between bytes that would be read as more of the head were it not for its end. */
function parse(
  text: string,
  { limits = LIMITS, kind = parseRequestHead, cut = text.length } = {},
): number | string {
  const bytes = new Uint8Array(text.length + 64).fill(65);
  for (let n = 0; n < text.length; n++) bytes[7 + n] = text.charCodeAt(n);
  const status = kind(bytes, 7, 7 + cut, head, limits);
  return status < 0 ? REFUSALS[-status]!.name : status === 0 ? 0 : status - 7;
}

const request = (line: string, ...fields: string[]): string =>
  [line, 'Host: a.example', ...fields, '', ''].join('\r\n');
const get = (...fields: string[]): string => request('GET / HTTP/1.1', ...fields);

describe('the head of a request', () => {
  it('is found where it lies', () => {
    const text = `POST /a/b?c=d HTTP/1.1\r\nHost: a.example:81\r\nContent-Length: 12\r\nX-Odd:  v \t\r\nEmpty:\r\n\r\n`;
    assert.equal(parse(`${text}hello`), text.length);
    assert.equal(head.methodName, 'POST');
    assert.equal(head.target, '/a/b?c=d');
    assert.equal(head.version, 11);
    assert.equal(head.contentLength, 12);
    assert.equal(head.value('host'), 'a.example:81');
    assert.equal(head.count, 4);
    assert.equal(head.text(head.valueAt[2]!, head.valueEnd[2]!), 'v');
    assert.equal(head.text(head.valueAt[3]!, head.valueEnd[3]!), '');
    assert.equal(head.find(FIELD.cookie), -1);
  });

  it('of an absolute URI is that of its path, and its host must be the one of Host', () => {
    assert.notEqual(parse(request('GET http://A.example/x?y HTTP/1.1')), 0);
    assert.equal(head.target, '/x?y');
    assert.equal(parse(request('GET http://b.example/x HTTP/1.1')), 'target-host-differs');
    assert.equal(parse(request('GET http://u@a.example/x HTTP/1.1')), 'target-invalid');
  });

  const good = [
    get('Connection: close, X-Mine', 'X-Mine: 1'),
    request('OPTIONS * HTTP/1.1'),
    request('GET /a.b/..c/d..?x=../.. HTTP/1.1'),
    request('GET /%7Euser/%C3%A9 HTTP/1.1'),
    'GET / HTTP/1.0\r\n\r\n',
    '\r\nGET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n',
    get('Transfer-Encoding: Chunked'),
    get('Expect: 100-Continue', 'Content-Length: 0'),
    request('PROPFIND / HTTP/1.1'),
  ];
  for (const text of good) {
    it(`is taken: ${JSON.stringify(text.slice(0, 60))}`, () => assert.equal(parse(text), text.length));
  }

  const bad: [string, string][] = [
    [request('GET  / HTTP/1.1'), 'request-line-invalid'],
    [request('GET /a b HTTP/1.1'), 'request-line-invalid'],
    [request('GET / HTTP/1.1 '), 'request-line-invalid'],
    [request('G(T / HTTP/1.1'), 'method-invalid'],
    [request(`${'M'.repeat(40)} / HTTP/1.1`), 'method-invalid'],
    [request('CONNECT a.example:443 HTTP/1.1'), 'method-refused'],
    [request('TRACE / HTTP/1.1'), 'method-refused'],
    ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'version-unsupported'],
    [request('GET / HTTP/1.2'), 'version-unsupported'],
    [request('GET / http/1.1'), 'request-line-invalid'],
    ['GET /\r\nHost: a\r\n\r\n', 'target-invalid'],
    [request('GET a HTTP/1.1'), 'target-invalid'],
    [request('GET /a\\b HTTP/1.1'), 'target-invalid'],
    [request('GET /a#b HTTP/1.1'), 'target-invalid'],
    [request('GET /\u00e9 HTTP/1.1'), 'target-invalid'],
    [request('GET /a\u0000b HTTP/1.1'), 'target-invalid'],
    [request('GET /%00 HTTP/1.1'), 'target-encoding-invalid'],
    [request('GET /%zz HTTP/1.1'), 'target-encoding-invalid'],
    [request('GET /a?%2 HTTP/1.1'), 'target-encoding-invalid'],
    [request('GET /%c0%ae%c0%ae/ HTTP/1.1'), 'target-encoding-invalid'],
    [request('GET /%e0%80%af HTTP/1.1'), 'target-encoding-invalid'],
    [request('GET /a%2fb HTTP/1.1'), 'target-slash-encoded'],
    [request('GET /a%5Cb HTTP/1.1'), 'target-slash-encoded'],
    [request('GET /a/../b HTTP/1.1'), 'target-dot-segment'],
    [request('GET /a/. HTTP/1.1'), 'target-dot-segment'],
    [request('GET /a/%2e%2E/b HTTP/1.1'), 'target-dot-segment'],
    [request('GET /a/..;x/b HTTP/1.1'), 'target-dot-segment'],
    [request('GET /.?x HTTP/1.1'), 'target-dot-segment'],
    ['GET / HTTP/1.1\nHost: a\n\n', 'line-end-invalid'],
    [get('A: b\nC: d'), 'line-end-invalid'],
    [get('A: b\rC: d'), 'line-end-invalid'],
    [get('A: b\r\n\rC: d'), 'line-end-invalid'],
    [get('A: b\u0000c'), 'field-value-invalid'],
    [get('A: b\u007fc'), 'field-value-invalid'],
    [get('A: b', ' c'), 'field-folded'],
    [get('A: b', '\tc'), 'field-folded'],
    [get('A : b'), 'field-name-invalid'],
    [get(': b'), 'field-name-invalid'],
    [get('A'), 'field-name-invalid'],
    [get('A b: c'), 'field-name-invalid'],
    [get('Content_Length: 5'), 'field-lookalike'],
    [get('X-Forwarded_For: 1.2.3.4'), 'field-lookalike'],
    ['GET / HTTP/1.1\r\nA: b\r\n\r\n', 'host-missing'],
    [get('Host: b.example'), 'host-duplicate'],
    ['GET / HTTP/1.1\r\nHost: a, b\r\n\r\n', 'host-invalid'],
    ['GET / HTTP/1.1\r\nHost: u@a\r\n\r\n', 'host-invalid'],
    ['GET / HTTP/1.1\r\nHost: a/b\r\n\r\n', 'host-invalid'],
    ['GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n', 'host-invalid'],
    ['GET / HTTP/1.1\r\nHost:\r\n\r\n', 'host-invalid'],
    ...['', '+5', '0x5', '1_0', '-1', '5, 5', '5 5', '18446744073709551616', '1e3'].map(
      (value): [string, string] => [get(`Content-Length: ${value}`), 'content-length-invalid'],
    ),
    [get('Content-Length: 5', 'Content-Length: 5'), 'content-length-duplicate'],
    [get('Content-Length: 5', 'Content-Length: 6'), 'content-length-duplicate'],
    [get('Content-Length: 5', 'Transfer-Encoding: chunked'), 'content-length-with-transfer-encoding'],
    [get('Transfer-Encoding: chunked', 'Content-Length: 5'), 'content-length-with-transfer-encoding'],
    [get('Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'), 'transfer-encoding-duplicate'],
    ...['gzip, chunked', 'xchunked', 'chunked, chunked', 'identity', '\u000bchunked', 'chunked;q=1'].map(
      (value): [string, string] => [
        get(`Transfer-Encoding: ${value}`),
        value.startsWith('\u000b') ? 'field-value-invalid' : 'transfer-encoding-unsupported',
      ],
    ),
    [get('Transfer-Encoding : chunked'), 'field-name-invalid'],
    ['POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n', 'transfer-encoding-in-http10'],
    [get('Connection: close, X-Forwarded-For'), 'connection-names-end-to-end'],
    [get('Connection: Content-Length'), 'connection-names-end-to-end'],
    [get('Connection: Cookie'), 'connection-names-end-to-end'],
    [get('Connection: a b'), 'connection-invalid'],
    [get('Expect: 200-ok'), 'expectation-unknown'],
    [request(`GET /${'a'.repeat(9000)} HTTP/1.1`), 'head-too-large'],
    [get(`A: ${'b'.repeat(9000)}`), 'head-too-large'],
    [get(...Array.from({ length: 120 }, (_, n) => `A${n}: b`)), 'too-many-fields'],
  ];
  for (const [text, reason] of bad) {
    it(`is refused, ${reason}: ${JSON.stringify(text.replaceAll(/(.)\1{20,}/g, '$1...').slice(0, 90))}`, () => {
      assert.equal(parse(text), reason);
    });
  }

  it('that is cut anywhere is waited for, or refused for what is refused in the whole', () => {
    for (const text of good) {
      for (let cut = 0; cut < text.length; cut++) assert.equal(parse(text, { cut }), 0, `${text} at ${cut}`);
    }
    for (const [text, reason] of bad) {
      if (text.length > 500) continue;
      for (let cut = 0; cut < text.length; cut++) {
        const status = parse(text, { cut });
        if (status !== 0) assert.equal(status, reason, `${JSON.stringify(text)} at ${cut}`);
      }
    }
  });

  it('keeps encoded slashes where the service allows them', () => {
    const limits = { ...LIMITS, allowsEncodedSlash: true };
    assert.notEqual(parse(request('GET /a%2fb HTTP/1.1'), { limits }), 'target-slash-encoded');
    assert.equal(parse(request('GET /a%2f..%2fb HTTP/1.1'), { limits }), 'target-dot-segment');
  });

  it('holds every field that was written, whatever they are', () => {
    const token = fc.stringMatching(/^[a-z!#$%&'*+.^_`|~-]{1,20}$/).map((name) => `q${name}`);
    const value = fc.stringMatching(/^([!-~]([ -~]{0,30}[!-~])?)?$/);
    fc.assert(
      fc.property(fc.array(fc.tuple(token, value), { maxLength: 30 }), (fields) => {
        const text = get(...fields.map(([name, content]) => `${name}: ${content}`));
        assert.equal(parse(text), text.length);
        const found = Array.from({ length: head.count }, (_, n) => [
          head.text(head.nameAt[n]!, head.nameEnd[n]!),
          head.text(head.valueAt[n]!, head.valueEnd[n]!),
        ]);
        assert.deepEqual(found.slice(1), fields);
      }),
      { numRuns: 300 },
    );
  });

  it('never reads or accepts more than there is, whatever the bytes', () => {
    const pieces = fc.constantFrom(
      ...[
        'GET ',
        '/',
        'HTTP/1.1',
        '\r\n',
        '\r',
        '\n',
        ':',
        ' ',
        'Host: a',
        'Content-Length: 3',
        '%2e',
        '\t',
        '\u0000',
      ],
      ...[
        'Transfer-Encoding: chunked',
        'Connection: ',
        'a',
        'HTTP/1.1\r\nHost: a\r\n',
        '\r\n\r\n',
        '\u00ff',
        '..',
      ],
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 25 }), (parts) => {
        const text = parts.join('');
        const status = parse(text);
        if (typeof status !== 'number' || status === 0) return;
        assert.ok(status <= text.length);
        assert.equal(text.slice(status - 4, status), '\r\n\r\n');
        assert.ok(!/\n|\r/.test(text.slice(0, status).replace(/^\r\n/, '').replaceAll('\r\n', '')));
      }),
      { numRuns: 3000 },
    );
  });
});

describe('the head of a response', () => {
  const response = (text: string) => parse(text, { kind: parseResponseHead });

  it('is found where it lies', () => {
    const text = 'HTTP/1.1 404 Not Here\r\nContent-Length: 3\r\nConnection: close\r\n\r\n';
    assert.equal(response(`${text}abc`), text.length);
    assert.equal(head.status, 404);
    assert.equal(head.text(head.reasonAt, head.reasonEnd), 'Not Here');
    assert.equal(head.contentLength, 3);
    for (let cut = 0; cut < text.length; cut++) {
      assert.equal(parse(text, { kind: parseResponseHead, cut }), 0, `at ${cut}`);
    }
    assert.equal(response('HTTP/1.0 200\r\n\r\n'), 16);
  });

  for (const text of [
    'HTTP/1.1 20 OK\r\n\r\n',
    'HTTP/1.1 2000 OK\r\n\r\n',
    'HTTP/2 200 OK\r\n\r\n',
    'HTTP/1.1 700 X\r\n\r\n',
    'HTTP/1.1 200 OK\nA: b\n\n',
    'HTTP/1.1 200 O\u0000K\r\n\r\n',
    'HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n',
    'garbage that is long enough',
  ]) {
    it(`is refused: ${JSON.stringify(text)}`, () => assert.equal(response(text), 'member-head-invalid'));
  }

  it('may not have two kinds of length', () => {
    const text = 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n';
    assert.equal(response(text), 'member-framing-invalid');
  });
});
