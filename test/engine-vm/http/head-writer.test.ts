/** Heads that are changed where they stand are the ones that would be built apart. */
import assert from 'node:assert/strict';
import { after, describe, it } from 'mocha';
import { Head } from '../../../src/engine-vm/http/head.ts';
import { HeadWriter, line } from '../../../src/engine-vm/http/head-writer.ts';
import { parseRequestHead, parseResponseHead } from '../../../src/engine-vm/http/parse-head.ts';
import { BUFFER_BYTES, SocketBuffers } from '../../../src/engine-vm/kernel/socket-buffers.ts';

const LIMITS = { headBytes: 8192, fields: 100, allowsEncodedSlash: false };

describe('heads that go on', () => {
  const buffers = new SocketBuffers(8);
  after(() => buffers.close());
  const writer = new HeadWriter(buffers);
  const head = new Head();

  /** What goes on of a head and the four bytes behind it. `shift` puts the head so far from the start of its buffer. */
  function send(text: string, mayStay: boolean, added: readonly string[], shift = 512): string {
    const buffer = buffers.take();
    const at = buffer * BUFFER_BYTES + shift;
    const bytes = Buffer.from(`${text}body`, 'latin1');
    buffers.bytes.set(bytes, at);
    const isRequest = !text.startsWith('HTTP/');
    const parse = isRequest ? parseRequestHead : parseResponseHead;
    const end = parse(buffers.bytes, at, at + bytes.length, head, LIMITS);
    assert.ok(end > 0, `${text} is no head`);
    if (isRequest) writer.request(head, mayStay, true, false);
    else writer.response(head, mayStay, false);
    for (const one of added) writer.add(line(one));
    writer.finish();
    const from = writer.putBefore(buffer, end);
    buffers.give(buffer);
    if (from < 0) return 'no room';
    return Buffer.from(buffers.bytes.subarray(from, end + 4)).toString('latin1');
  }

  const fields = [
    'Host: a.example\r\n',
    'Connection: close, x-hop\r\n',
    'X-Hop: 1\r\n',
    'X-Forwarded-For: 1.2.3.4\r\n',
    'Accept: */*\r\n',
    'TE: trailers\r\n',
  ];
  const additions = [[], ['Via: 1.1 weft\r\n'], ['A: 1\r\n', `B: ${'b'.repeat(200)}\r\n`]];
  const firstLines = [
    'GET /a?b=c HTTP/1.1\r\n',
    'POST / HTTP/1.0\r\n',
    'GET http://a.example/x HTTP/1.1\r\n',
    'HTTP/1.1 200 OK\r\n',
    'HTTP/1.0 404 \r\n',
    'HTTP/1.1 200\r\n',
  ];

  it('are the same whether they stay or are built apart, for every choice and order of fields', () => {
    let seen = 0;
    for (const first of firstLines) {
      for (let choice = 0; choice < 64; choice++) {
        for (let turned = 0; turned < fields.length; turned++) {
          const order = [...fields.slice(turned), ...fields.slice(0, turned)];
          const chosen = order.filter((one) => one.startsWith('Host') || (choice >> fields.indexOf(one)) & 1);
          for (const added of additions) {
            const text = `${first}${chosen.join('')}\r\n`;
            const staying = send(text, true, added);
            assert.equal(staying, send(text, false, added), text);
            assert.ok(staying.endsWith(`${added.join('')}\r\nbody`), staying);
            seen++;
          }
        }
      }
    }
    assert.equal(seen, 6 * 64 * 6 * 3);
  });

  it('move no byte where nothing is added or stays behind', () => {
    const text = 'GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n';
    assert.equal(send(text, true, [], 0), `${text}body`);
  });

  it('are built apart where their buffer has no room in front', () => {
    const added = [`A: ${'a'.repeat(100)}\r\n`];
    const text = 'GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n';
    assert.equal(send(text, true, added, 64), 'no room');
    assert.equal(send(text, true, added, 256), send(text, false, added, 256));
  });
});
