import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:https';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connect as tlsConnect } from 'node:tls';
import { WebSocket } from 'ws';
import { openAuthority } from '../../src/pki/authority.ts';
import { generateKey, keyPem } from '../../src/pki/certificate.ts';
import { createRequest } from '../../src/pki/certificate-request.ts';
import { listenHub } from '../../src/state/hub-listener.ts';
import { checkControllerIdentity, type Identity } from '../../src/state/identity.ts';
import { SILENT } from '../../src/state/log.ts';
import type { SharedState } from '../../src/state/shared.ts';
import { connectShared } from '../../src/state/shared-client.ts';
import { eventually } from '../contract/shared.ts';
import { HubFixture, issueIdentity } from './hub-fixture.ts';

describe('the hub among strangers', () => {
  let fixture: HubFixture;
  let witness: SharedState;
  /** What the hub logs at `warn` and above. */
  let logged: string[];

  beforeEach(async () => {
    logged = [];
    const record = (...parts: unknown[]) => logged.push(JSON.stringify(parts));
    fixture = await HubFixture.open({ log: { ...SILENT, warn: record, error: record } });
    witness = await fixture.connect('witness');
    await eventually(() => witness.isConnected, 'the witness connects');
  });
  afterEach(async () => {
    witness.put('connections/witness', 'alive');
    await eventually(() => fixture.hub.get('connections/witness')?.value === 'alive', 'the hub still works');
    assert.ok(!logged.some((line) => line.includes('could not answer')), logged.join('\n'));
    await fixture.dispose();
  });

  const opening = (identity: Partial<Identity>, query = 'epoch=1&boot=x', path = '/shared') =>
    new WebSocket(`${fixture.url.replace('https', 'wss')}${path}?${query}`, {
      ...(identity.certificate && { cert: identity.certificate, key: identity.key }),
      ca: fixture.authority.ca,
      checkServerIdentity: checkControllerIdentity as unknown as () => boolean,
    });

  /** The status that an attempt to open the WebSocket is refused with. */
  const statusOf = async (socket: WebSocket): Promise<number> => {
    const failed = once(socket, 'error');
    failed.catch(() => {});
    const [, response] = (await Promise.race([
      once(socket, 'unexpected-response'),
      once(socket, 'open').then(() => [undefined, { statusCode: 101 }]),
    ])) as [unknown, { statusCode: number; destroy?(): void }];
    socket.on('error', () => {});
    socket.terminate();
    return response.statusCode;
  };

  const post = (
    path: string,
    body: string | Buffer,
    identity?: Identity,
    method = 'POST',
  ): Promise<{ status: number; text: string }> =>
    new Promise((resolve, reject) => {
      const outgoing = request(`${fixture.url}${path}`, {
        method,
        ca: fixture.authority.ca,
        checkServerIdentity: checkControllerIdentity,
        agent: false,
        ...(identity && { cert: identity.certificate, key: identity.key }),
      });
      outgoing.on('error', reject);
      outgoing.on('response', (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => {
          text += part;
        });
        response.on('end', () => resolve({ status: response.statusCode!, text }));
      });
      outgoing.end(body);
    });

  it('lets nobody in without an engine certificate of its own CA that is valid now', async () => {
    const good = await fixture.identity('a');
    const rogue = await openAuthority(join(fixture.directory, 'rogue'));
    const past = await openAuthority(join(fixture.directory, 'past'), {
      now: () => Date.now() - 3 * 86_400_000,
    });
    const server = await fixture.authority.serverCredentials();
    assert.equal(await statusOf(opening(good)), 101);
    assert.equal(await statusOf(opening({})), 401);
    assert.equal(await statusOf(opening(await issueIdentity(rogue, 'a'))), 401);
    assert.equal(await statusOf(opening(await issueIdentity(past, 'a'))), 401);
    assert.equal(await statusOf(opening(server)), 401, "the hub's own certificate is not for clients");
    assert.equal(await statusOf(opening(good, 'epoch=-1&boot=x')), 400);
    assert.equal(await statusOf(opening(good, 'epoch=1e300&boot=x')), 400);
    assert.equal(await statusOf(opening(good, 'epoch=1&boot=%0d%0a')), 400);
    assert.equal(await statusOf(opening(good, '', '/other')), 404);
    await rogue.close();
    await past.close();
  });

  it('refuses a certificate that has expired', async () => {
    let skewMs = -3 * 86_400_000;
    const directory = join(fixture.directory, 'own');
    const authority = await openAuthority(directory, { now: () => Date.now() + skewMs });
    const expired = await issueIdentity(authority, 'a');
    skewMs = 0;
    const valid = await issueIdentity(authority, 'a');
    const listener = await listenHub({
      authority,
      host: '127.0.0.1',
      port: 0,
      log: SILENT,
      admit: () => undefined,
      onSocket: (socket) => socket.terminate(),
    });
    const to = (identity: Identity) =>
      new WebSocket(`wss://127.0.0.1:${listener.address().port}/shared?epoch=1&boot=x`, {
        cert: identity.certificate,
        key: identity.key,
        ca: authority.ca,
        checkServerIdentity: checkControllerIdentity as unknown as () => boolean,
      });
    assert.equal(await statusOf(to(expired)), 401);
    assert.equal(await statusOf(to(valid)), 101);
    await listener.close();
    await authority.close();
  });

  it('speaks nothing older than TLS 1.3', async () => {
    const socket = tlsConnect({
      port: fixture.hub.address().port,
      host: '127.0.0.1',
      ca: fixture.authority.ca,
      checkServerIdentity: checkControllerIdentity,
      maxVersion: 'TLSv1.2',
    });
    const [error] = (await once(socket, 'error')) as [Error];
    assert.match(error.message, /protocol version/i);
  });

  it('cuts a revoked engine off at once and lets it in no more', async () => {
    const client = await fixture.connect('a');
    await eventually(() => client.isConnected, 'a connects');
    await fixture.authority.revoke('a');
    await eventually(() => !client.isConnected, 'a is cut off', 1000);
    assert.equal(await statusOf(opening(await fixture.identity('a'))), 403);
    assert.ok(witness.isConnected);
  });

  for (const [what, send, code, reason] of [
    ['text that is not JSON', '{"type":', 1008, /malformed/],
    ['an unknown message', '{"type":"become-controller"}', 1008, /malformed/],
    ['a message of wrong shape', '{"type":"put","entries":[{"key":5}]}', 1008, /entries\.0\.key/],
    ['a negative number', '{"type":"put","entries":[{"key":"x","seq":-1}]}', 1008, /seq/],
    [
      'too many entries',
      JSON.stringify({ type: 'put', entries: Array(20_001).fill({ key: 'x', seq: 1 }) }),
      1008,
      /.*/,
    ],
    ['a bottomless nest', `{"type":"put","entries":${'['.repeat(100_000)}`, 1008, /nested/],
    ['binary', Buffer.from([1, 2, 3]), 1008, /binary/],
    ['text that is not UTF-8', { raw: Buffer.from([0xff, 0xfe]) }, 1007, /.*/],
    ['a message that is too long', 'x'.repeat(3 << 20), 1009, /.*/],
  ] as const) {
    it(`closes a link that sends ${what}, with a reason`, async () => {
      const socket = opening(await fixture.identity('a'));
      await once(socket, 'open');
      socket.on('error', () => {});
      if (typeof send === 'object' && 'raw' in send) socket.send(send.raw, { binary: false });
      else socket.send(send, { binary: typeof send !== 'string' });
      const [closeCode, text] = (await once(socket, 'close')) as [number, Buffer];
      // Where much was still on its way, the reset may overtake the close frame.
      if (closeCode !== 1006 || code !== 1009) assert.equal(closeCode, code);
      assert.match(text.toString('utf8'), reason);
      await eventually(() => fixture.hub.connected().length === 1, 'the hub has forgotten it');
    });
  }

  it('closes a link that sends too fast, and serves the others meanwhile', async () => {
    const socket = opening(await fixture.identity('a'));
    await once(socket, 'open');
    socket.on('error', () => {});
    const closed = once(socket, 'close') as Promise<[number]>;
    for (let n = 0; n < 20_000; n++) socket.send('{"type":"unsubscribe","prefix":"x"}');
    const from = performance.now();
    fixture.hub.put('graph/witness', 1);
    witness.subscribe('graph/', () => {});
    await eventually(() => witness.get('graph/witness'), 'the witness is served');
    assert.ok(performance.now() - from < 1500);
    assert.ok([4000, 1006].includes((await closed)[0]));
  });

  it('bounds subscriptions, leases of others, and pings', async () => {
    const socket = opening(await fixture.identity('a'));
    await once(socket, 'open');
    const replies: string[] = [];
    socket.on('message', (data) => replies.push(String(data)));
    for (const key of ['controller', 'graph/a', 'connections/b', 'health/', 'health/a/b']) {
      socket.send(JSON.stringify({ type: 'lease', key, ttlMs: 1000, attempt: 1 }));
    }
    await eventually(
      () => replies.filter((text) => text.includes('ERR_WRITER_REFUSED')).length >= 4,
      'refused',
    );
    assert.ok(!replies.some((text) => text.includes('"isHeld":true') && !text.includes('"health/"')));
    for (let id = 0; id < 300; id++)
      socket.send(JSON.stringify({ type: 'subscribe', prefix: `session/${id}`, id }));
    const [code] = (await once(socket, 'close')) as [number];
    assert.equal(code, 4000);
    const pinging = opening(await fixture.identity('b'));
    await once(pinging, 'open');
    pinging.on('error', () => {});
    const closed = once(pinging, 'close');
    for (let n = 0; n < 10_000; n++) pinging.ping();
    await closed;
  });

  it('believes no answer of an engine that was not asked', async () => {
    const honest = await fixture.connect('honest');
    honest.onRequest(async () => {
      await delay(200);
      return 'truth';
    });
    await eventually(() => honest.isConnected, 'it connects');
    const liar = opening(await fixture.identity('liar'));
    await once(liar, 'open');
    const asking = fixture.hub.request('honest', 'explain', null, 2000);
    for (let id = 0; id < 50; id++) liar.send(JSON.stringify({ type: 'reply', id, result: 'lie' }));
    assert.equal(await asking, 'truth');
    liar.terminate();
  });

  it('holds an engine to its number of entries', async () => {
    await fixture.dispose();
    fixture = await HubFixture.open({ maxEntriesPerEngine: 10 });
    witness = await fixture.connect('witness');
    const greedy = await fixture.connect('greedy');
    for (let n = 0; n < 50; n++) greedy.put(`session/s/${n}/greedy`, 1, { ttlMs: 60_000 });
    await eventually(() => greedy.list('session/').length === 10, 'the rest is refused');
    assert.equal(fixture.hub.list('session/').length, 10);
    assert.ok(greedy.isConnected);
  });

  it('answers strange requests to enrol with an error and says no secrets in its log', async () => {
    const token = await fixture.authority.createToken('a', 60_000);
    const csr = createRequest('a', await generateKey(2048));
    const asking = (fields: object) => JSON.stringify({ token, engine: 'a', csr, ...fields });
    for (const [body, status] of [
      ['', 400],
      ['{"token":', 400],
      ['null', 400],
      ['['.repeat(10_000), 400],
      [JSON.stringify({ token, engine: 'a' }), 400],
      [asking({ admin: true }), 400],
      [asking({ csr: 5 }), 400],
      [asking({ csr: 'x'.repeat(9000) }), 400],
      ['x'.repeat(1 << 20), 413],
      [asking({ token: 'wrong' }), 403],
      [asking({ engine: 'b' }), 403],
      [asking({ engine: '__proto__' }), 403],
    ] as const) {
      const answer = await post('/enrol', body).catch((error: Error) => error);
      // The answer to an endless body may be lost with the connection.
      if (answer instanceof Error) assert.equal(status, 413);
      else {
        assert.equal(answer.status, status, body.slice(0, 80));
        assert.match(answer.text, /"code":"ERR_/);
      }
    }
    assert.equal((await post('/enrol', '', undefined, 'GET')).status, 404);
    assert.equal((await post('/nothing', '')).status, 404);
    assert.equal((await post('/renew', JSON.stringify({ csr }))).status, 401);
    assert.equal((await post('/enrol', asking({}))).status, 200);
    const other = createRequest('a', await generateKey(2048));
    assert.equal((await post('/enrol', asking({ csr: other }))).status, 403, 'a stolen token is of no use');
    assert.ok(!logged.some((line) => line.includes(token)));
  });

  it('counts nobody as enrolling who has hung up', async () => {
    const socket = () =>
      tlsConnect({
        port: fixture.hub.address().port,
        host: '127.0.0.1',
        ca: fixture.authority.ca,
        checkServerIdentity: checkControllerIdentity,
      });
    for (let n = 0; n < 80; n++) {
      const half = socket();
      half.on('error', () => {});
      await once(half, 'secureConnect');
      half.write('POST /enrol HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"to');
      setTimeout(() => half.destroy(), 20);
    }
    await delay(100);
    assert.equal((await post('/enrol', '{}')).status, 400);
  });

  it('does not let one engine renew as another', async () => {
    const key = await generateKey(2048);
    const a = await fixture.identity('a');
    assert.equal((await post('/renew', JSON.stringify({ csr: createRequest('b', key) }), a)).status, 403);
    assert.equal((await post('/renew', JSON.stringify({ csr: createRequest('a', key) }), a)).status, 200);
  });

  it('takes up a new certificate before the old one expires, without dropping a link', async function () {
    this.timeout(15_000);
    await fixture.dispose();
    fixture = await HubFixture.open({}, { serverLifeMs: 3000 });
    witness = await fixture.connect('witness');
    await eventually(() => witness.isConnected, 'it connects');
    let drops = 0;
    witness.onConnection((isConnected) => {
      if (!isConnected) drops++;
    });
    await delay(4500);
    const late = await fixture.connect('late');
    await eventually(() => late.isConnected, 'a newcomer sees a valid certificate');
    assert.equal(drops, 0);
  });

  it('cuts an engine off when its certificate expires', async function () {
    this.timeout(15_000);
    await fixture.dispose();
    fixture = await HubFixture.open({}, { engineLifeMs: 2500 });
    witness = await fixture.connect('witness');
    await eventually(() => witness.isConnected, 'it connects');
    await eventually(() => !witness.isConnected, 'it is cut off', 5000);
    witness = await fixture.connect('other');
    await delay(100);
    await fixture.authority.close();
    await fixture.dispose();
    fixture = await HubFixture.open();
    witness = await fixture.connect('witness');
    await eventually(() => witness.isConnected, 'the fixture for afterEach');
  });
});

describe('an engine among strangers', () => {
  let fixture: HubFixture;

  beforeEach(async () => {
    fixture = await HubFixture.open();
  });
  afterEach(() => fixture.dispose());

  it('speaks with nobody but the controller of its CA', async () => {
    const identity = await fixture.identity('a');
    const rogue = await openAuthority(join(fixture.directory, 'rogue'));
    const open = (credentials: { certificate: string; key: string; ca: string }) =>
      listenHub({
        // One who has an engine's certificate, or another CA's, and plays the controller.
        authority: {
          ...fixture.authority,
          serverCredentials: async () => ({ ...credentials, expiresAt: Infinity, renewAt: Infinity }),
          isRevoked: () => false,
        } as never,
        host: '127.0.0.1',
        port: 0,
        log: SILENT,
        admit: () => undefined,
        onSocket: (socket) => socket.send('{"type":"welcome","hub":"evil"}'),
      });
    const impostors = [await open(await rogue.serverCredentials()), await open(await fixture.identity('b'))];
    for (const impostor of impostors) {
      const client = connectShared({
        url: `https://127.0.0.1:${impostor.address().port}`,
        identity,
        writer: 'a',
        epoch: 1,
      });
      await delay(400);
      assert.equal(client.isConnected, false);
      await client.close();
      await impostor.close();
    }
    await rogue.close();
  });

  it('takes up a renewed identity at its next connection', async () => {
    const key = await generateKey(2048);
    const first = await fixture.identity('a');
    let asked = 0;
    let identity = first;
    const client = await fixture.connect('a', 1, {
      identity: () => {
        asked++;
        return identity;
      },
    });
    await eventually(() => client.isConnected, 'it connects');
    await fixture.authority.revoke('a');
    await eventually(() => !client.isConnected, 'it is cut off');
    const token = await fixture.authority.createToken('a', 60_000);
    const issued = await fixture.authority.enrol({ token, engine: 'a', csrPem: createRequest('a', key) });
    identity = { ...issued, key: keyPem(key) };
    await eventually(() => client.isConnected, 'it is back');
    assert.ok(asked >= 2);
  });

  it('refuses keys and values that do not fit', async () => {
    const client = await fixture.connect('a');
    assert.throws(() => client.put('', 1), /1 to 512/);
    assert.throws(() => client.put('x'.repeat(513), 1), /1 to 512/);
    assert.throws(() => client.put('connections/a', 'x'.repeat(300_000)), /takes 262144/);
    assert.throws(() => client.put('connections/a', undefined), /not JSON/);
  });
});
