/** What clients may not do to a proxy by HTTP/2: floods that cost them nothing, messages that are malformed. */
import assert from 'node:assert/strict';
import { ProxySite } from '../proxy-site.ts';
import { RecordingOrigin } from '../recording-origin.ts';
import { block, frame, GET, number, RawClient } from './raw-client.ts';

const PROTOCOL_ERROR = 1;
const CANCEL = 8;
const CALM = 11;

describe('HTTP/2 floods and malformed requests', () => {
  const origin = new RecordingOrigin();
  let site: ProxySite;

  before(async () => {
    site = await ProxySite.start([await origin.listen()], { bodyTimeoutMs: 1000 });
  });
  after(async () => {
    await site.stop();
    await origin.close();
  });

  const head = (stream: number, flags = 5): Buffer => frame(1, flags, stream, block(GET));
  const post = frame(1, 4, 1, block([[':method', 'POST'], ...GET.slice(1)]));
  const many = (count: number, make: (n: number) => Buffer): Buffer[] =>
    Array.from({ length: count }, (_, n) => make(n));
  const FLOODS: Record<string, () => Buffer[]> = {
    'streams that are reset at once': () =>
      many(3000, (n) => Buffer.concat([head(2 * n + 1), frame(3, 0, 2 * n + 1, number(CANCEL))])),
    PING: () => many(5000, () => frame(6, 0, 0, Buffer.alloc(8))),
    SETTINGS: () => many(5000, () => frame(4, 0, 0)),
    PRIORITY: () => many(5000, () => frame(2, 0, 1, Buffer.alloc(5))),
    WINDOW_UPDATE: () => [post, ...many(5000, () => frame(8, 0, 1, number(1)))],
    'empty DATA': () => [post, ...many(5000, () => frame(0, 0, 1))],
    CONTINUATION: () => [frame(1, 1, 1, block(GET)), ...many(50, () => frame(9, 0, 1, block([['a', 'b']])))],
    'CONTINUATION that is empty': () => [frame(1, 1, 1, block(GET)), ...many(50, () => frame(9, 0, 1))],
  };
  for (const [name, make] of Object.entries(FLOODS)) {
    it(`sends a client away that floods with ${name}`, async () => {
      const client = await RawClient.open(site);
      client.send(...make());
      const { payload } = await client.take(7);
      assert.equal(payload.readUInt32BE(4), CALM);
      client.close();
    });
  }

  it('does not unfold a block that names one large entry again and again', async () => {
    const client = await RawClient.open(site);
    const entry = Buffer.concat([
      Buffer.from([0x40, 1, 97, 0x7f, ...[0x80 | ((3000 - 127) % 128), (3000 - 127) >> 7]]),
      Buffer.alloc(3000, 98),
    ]);
    client.send(frame(1, 5, 1, Buffer.concat([block(GET), entry, Buffer.alloc(10_000, 0xbe)])));
    const answer = await client.take(0);
    assert.match(answer.payload.toString(), /^431 .*head-too-large/);
    client.close();
  });

  it('gives up a response for which its client opens no window', async () => {
    const client = await RawClient.open(site, Buffer.from([0, 4, 0, 0, 0, 0]));
    client.send(frame(1, 5, 1, block([...GET.slice(0, 2), [':path', '/large'], GET[3]])));
    const { payload } = await client.take(3, 8000);
    assert.equal(payload.readUInt32BE(0), CANCEL);
    client.close();
  });

  const path = (value: string): [string, string][] => [
    [':method', 'GET'],
    [':scheme', 'http'],
    [':path', value],
    [':authority', 'test'],
  ];
  const MALFORMED: [string, string, readonly (readonly [string, string])[]][] = [
    ['a name in upper case', 'field-name-invalid', [...GET, ['X-A', '1']]],
    ['a line end in a value', 'field-value-invalid', [...GET, ['x-a', 'b\r\nevil: 1']]],
    ['a NUL in a value', 'field-value-invalid', [...GET, ['x-a', 'b\0']]],
    ['a blank before a value', 'field-value-invalid', [...GET, ['x-a', ' b']]],
    ['Connection', 'connection-field-in-http2', [...GET, ['connection', 'close']]],
    ['Transfer-Encoding', 'connection-field-in-http2', [...GET, ['transfer-encoding', 'chunked']]],
    ['TE of more than trailers', 'connection-field-in-http2', [...GET, ['te', 'gzip']]],
    ['a pseudo-field twice', 'pseudo-field-invalid', [...GET, [':path', '/b']]],
    ['a pseudo-field that is none', 'pseudo-field-invalid', [...GET, [':protocol', 'x']]],
    ['a pseudo-field behind fields', 'pseudo-field-invalid', [['x-a', '1'], ...GET]],
    ['no path', 'pseudo-field-invalid', [GET[0], GET[1], GET[3]]],
    ['an empty path', 'pseudo-field-invalid', path('')],
    ['a path with a blank', 'target-invalid', path('/a b')],
    ['a path that is a URI', 'target-invalid', path('http://evil/')],
    ['another Host', 'target-host-differs', [...GET, ['host', 'evil']]],
    ['a user in the authority', 'host-invalid', [...GET.slice(0, 3), [':authority', 'a@b']]],
    ['no authority', 'host-missing', GET.slice(0, 3)],
    ['a length without a body', 'content-length-mismatch', [...GET, ['content-length', '3']]],
  ];
  for (const [what, reason, fields] of MALFORMED) {
    it(`refuses a request with ${what}`, async () => {
      origin.take();
      const client = await RawClient.open(site);
      client.send(frame(1, 5, 1, block(fields)));
      const { payload } = await client.take(3);
      assert.equal(payload.readUInt32BE(0), PROTOCOL_ERROR);
      assert.match((await client.take(0)).payload.toString(), new RegExp(reason));
      assert.equal(origin.take().length, 0);
      client.close();
    });
  }

  it('refuses CONNECT with 405', async () => {
    const client = await RawClient.open(site);
    client.send(frame(1, 5, 1, block([[':method', 'CONNECT'], GET[3]])));
    assert.match((await client.take(0)).payload.toString(), /^405 .*method-refused/);
    client.close();
  });
});
