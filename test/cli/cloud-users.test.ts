/** Who asks the console from a vSphere Client, with a simulated vCenter that issues sessions and tickets. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, request, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openPageCertificate } from '../../src/pki/page-certificate.ts';
import { readThumbprint } from '../../src/vcenter/transport.ts';
import { eventually } from '../lab/lab-under-test.ts';
import { type PaperVcenter, startPaperVcenter } from '../vcenter/paper-vcenter.ts';
import { type ConsoleFixture, openConsole } from './console-fixture.ts';

/** What a reverse proxy in front of a vCenter does to a ticket that passes it. */
type Meddle = (ticket: string) => string | Promise<string>;

describe('users of a vSphere Client', function () {
  this.timeout(30_000);
  let paper: PaperVcenter;
  let fixture: ConsoleFixture;
  const others: { stop(): Promise<void> }[] = [];

  beforeEach(async () => {
    paper = await startPaperVcenter();
    fixture = await openConsole();
  });
  afterEach(async () => {
    await fixture?.close();
    await paper?.stop();
    for (const one of others.splice(0)) await one.stop();
  });

  /** Somebody logs in at the vSphere Client: the token of his session. */
  const logIn = () =>
    paper.vcenter.sessions.open(paper.user, { userAgent: 'browser', address: '127.0.0.1' }).token;
  const guid = (of = paper) => of.vcenter.state.instanceUuid;
  const page = (token: string, of: string = guid()) => ({
    'vmware-api-session-id': token,
    'weft-vcenter-guid': of,
  });
  const withhold = (privilege: string) =>
    void paper.record.faults.push({ id: `fault-${privilege}`, kind: 'privilege', privilege });
  const another = async (): Promise<PaperVcenter> => {
    const made = await startPaperVcenter();
    others.push(made);
    return made;
  };
  /** A reverse proxy in front of the vCenter, with a certificate of its own. */
  const proxied = async (meddle: Meddle) => {
    const directory = await mkdtemp(join(tmpdir(), 'weft-proxy-'));
    const pair = await openPageCertificate(directory, ['127.0.0.1'], Date.now());
    const server: Server = createServer({ key: pair.key, cert: pair.certificate }, (incoming, response) => {
      const { method, url: path, headers } = incoming;
      const outgoing = request(
        new URL(path ?? '/', paper.url),
        { method, headers, rejectUnauthorized: false },
        (answer) => {
          const parts: Buffer[] = [];
          answer.on('data', (part: Buffer) => parts.push(part));
          answer.once('end', async () => {
            let body = Buffer.concat(parts).toString('utf8');
            const { session_clone_ticket: ticket } = /clone-ticket/.test(path ?? '')
              ? (JSON.parse(body) as { session_clone_ticket?: string })
              : {};
            if (ticket !== undefined) body = JSON.stringify({ session_clone_ticket: await meddle(ticket) });
            const { 'set-cookie': cookies, 'content-type': type } = answer.headers;
            response.writeHead(answer.statusCode ?? 502, {
              ...(type ? { 'content-type': type } : {}),
              ...(cookies ? { 'set-cookie': cookies } : {}),
              'content-length': Buffer.byteLength(body),
            });
            response.end(body);
          });
        },
      );
      outgoing.once('error', () => response.destroy());
      incoming.pipe(outgoing);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const { thumbprint } = await readThumbprint(url, AbortSignal.timeout(10_000));
    others.push({
      async stop() {
        const closed = new Promise<void>((resolve) => server.close(() => resolve()));
        server.closeAllConnections();
        await closed;
        await rm(directory, { recursive: true });
      },
    });
    return { url, thumbprint, user: paper.user, password: paper.password };
  };

  it('are known by a ticket that their vCenter issues, and see what is in their cloud', async () => {
    await fixture.addCloud('vc1', paper);
    const before = paper.vcenter.sessions.views().length;
    const token = logIn();
    const { status, body } = await fixture.ask('data/overview', page(token));
    assert.equal(status, 200, JSON.stringify(body));
    assert.deepEqual(body.caller, { name: paper.user, mayOperate: false });
    const { hosts, members } = body.status as { hosts: unknown[]; members: unknown[] };
    assert.deepEqual([hosts, members], [[], []], 'what stands in other clouds is not shown');
    assert.equal(paper.vcenter.sessions.views().length, before + 2, "a clone beside the user's own session");
    // The clone is used again.
    assert.equal((await fixture.ask('data/overview', page(token))).status, 200);
    assert.equal(paper.vcenter.sessions.views().length, before + 2);
    assert.doesNotMatch(fixture.consoleLogged(), new RegExp(token), 'no token is in the log');
  });

  it('get 401 for a session that their vCenter does not know, or not any more', async () => {
    await fixture.addCloud('vc1', paper);
    const unknown = await fixture.ask('data/overview', page('0'.repeat(40)));
    assert.deepEqual([unknown.status, unknown.body.code], [401, 'ERR_UNAUTHENTICATED']);
    assert.match(unknown.body.message ?? '', /log in there again/);
    const token = logIn();
    paper.vcenter.sessions.end(paper.vcenter.sessions.find(token)!);
    assert.equal((await fixture.ask('data/overview', page(token))).status, 401);
    assert.equal((await fixture.ask('data/overview', {})).status, 401);
    // Whoever logs in again is let in, also after refusals.
    assert.equal((await fixture.ask('data/overview', page(logIn()))).status, 200);
  });

  it('get 401 for a ticket that is false, and for one that somebody has used', async () => {
    let meddle: Meddle = () => 'cst-VCT-00000000-0000-0000-0000-000000000000--tp-00';
    await fixture.addCloud('vc1', await proxied((ticket) => meddle(ticket)));
    const refused = async () => {
      const { status, body } = await fixture.ask('data/overview', page(logIn()));
      assert.deepEqual([status, body.code], [401, 'ERR_UNAUTHENTICATED'], String(body.message));
      assert.match(body.message ?? '', /does not take the ticket.*log in there again/);
      assert.doesNotMatch(body.message ?? '', /password/);
    };
    await refused();
    meddle = (ticket) => {
      assert.ok(paper.vcenter.sessions.redeem(ticket), 'it was good until now');
      return ticket;
    };
    await refused();
    meddle = (ticket) => ticket;
    assert.equal((await fixture.ask('data/overview', page(logIn()))).status, 200, 'the way itself is good');
  });

  it('get 401 for a ticket whose session has ended before it is used', async () => {
    await fixture.addCloud('vc1', paper);
    paper.record.faults.push({
      ...{ id: 'fault-1', kind: 'vcenter', call: 'CloneSession', object: null, percent: 100, count: 1 },
      ...{ delayMs: 0, effect: 'expire-session' },
    });
    const { status, body } = await fixture.ask('data/overview', page(logIn()));
    assert.deepEqual([status, body.code], [401, 'ERR_UNAUTHENTICATED'], String(body.message));
    assert.deepEqual(paper.record.faults, [], 'the ticket was issued, and tried');
  });

  it('are cloned anew where the clone has ended, as long as their own session lives', async () => {
    await fixture.addCloud('vc1', paper);
    const token = logIn();
    assert.equal((await fixture.ask('data/overview', page(token))).status, 200);
    const { sessions } = paper.vcenter;
    const endClones = () => {
      const own = sessions.find(token)?.key;
      for (const { key } of sessions.views()) if (key !== own) sessions.end(sessions.byKey(String(key))!);
    };
    endClones();
    assert.equal((await fixture.ask('data/overview', page(token))).status, 200);
    sessions.endAll();
    assert.equal((await fixture.ask('data/overview', page(token))).status, 401);
  });

  it('get 403 where they lack the privilege, which is named', async () => {
    await fixture.addCloud('vc1', paper);
    await fixture.applySample();
    const change = { name: 'web', isEnabled: false };
    // Nobody has a privilege that no extension has registered.
    const early = await fixture.ask('data/service', page(logIn()), change);
    assert.deepEqual([early.status, early.body.code], [403, 'ERR_FORBIDDEN']);
    assert.match(early.body.message ?? '', /needs the privilege Weft\.Operate/);
    withhold('System.Read');
    for (const path of ['data/overview', 'data/vm?id=vm-1', 'data/host?id=host-11']) {
      const { status, body } = await fixture.ask(path, page(logIn()));
      assert.deepEqual([status, body.code], [403, 'ERR_FORBIDDEN'], path);
      assert.match(body.message ?? '', /needs the privilege System\.Read/);
    }
    paper.record.faults.length = 0;
    assert.equal((await fixture.ask('data/overview', page(logIn()))).status, 200);
    const missing = await fixture.ask('data/vm?id=vm-999', page(logIn()));
    assert.equal(missing.status, 403, 'what he cannot see is not there for him');
    const kept = await fixture.call('GET', '/api/v1/virtual-service/web');
    assert.notEqual((kept.json() as { spec: { isEnabled?: boolean } }).spec.isEnabled, false);
  });

  it('get a 400 that says what to do where the page names no vCenter and there is not exactly one', async () => {
    const answers: (string | undefined)[] = [];
    const askOnly = async (token: string) => {
      const { status, body } = await fixture.ask('data/overview', page(token, 'only'));
      return { status, code: body.code, message: body.message };
    };
    for (const clouds of [[], ['vc1'], ['vc1', 'vc2', 'vc3']]) {
      for (const name of clouds) await fixture.addCloud(name, name === 'vc1' ? paper : await another());
      const known = await askOnly(logIn());
      const stranger = await askOnly('0'.repeat(40));
      if (clouds.length === 1) {
        assert.equal(known.status, 200);
        assert.equal(stranger.status, 401);
        continue;
      }
      for (const { status, code, message } of [known, stranger]) {
        assert.deepEqual([status, code], [400, 'ERR_BODY_INVALID']);
        assert.match(message ?? '', /weft plugin update CLOUD.*open the page of a VM or a host/);
        answers.push(message);
      }
    }
    // With no vCenter and with three, to a user and to a stranger, the answer is one and the same.
    assert.equal(answers.length, 4);
    assert.equal(new Set(answers).size, 1);
    assert.doesNotMatch(answers.join(), /vc\d|127\.0\.0\.1|\d/);
  });

  it('are asked for at no other vCenter than that of their page', async () => {
    const second = await another();
    await fixture.addCloud('vc1', paper);
    await fixture.addCloud('vc2', second);
    const token = logIn();
    const before = second.vcenter.sessions.views().length;
    assert.equal((await fixture.ask('data/overview', page(token, 'only'))).status, 400);
    assert.equal((await fixture.ask('data/overview', page(token, guid(second)))).status, 401);
    assert.equal(second.vcenter.sessions.views().length, before);
    assert.equal((await fixture.ask('data/overview', page(token))).status, 200);
  });

  it('stand, on a page without an object, in the vCenter whose registration led there', async () => {
    const second = await another();
    await fixture.addCloud('vc1', paper);
    await fixture.addCloud('vc2', second);
    const under = (of: PaperVcenter) => `vc/${guid(of)}/`;
    assert.equal((await fixture.ask(`${under(paper)}plugin.json`)).status, 200);
    assert.equal((await fixture.ask(`${under(paper)}pages/overview.html`)).status, 200);
    const token = logIn();
    const own = await fixture.ask(`${under(paper)}data/overview`, page(token, 'only'));
    assert.equal(own.status, 200);
    assert.deepEqual((own.body.status as { clouds: unknown[] }).clouds, []);
    // A path is a hint as good as a header: it does not make a session good elsewhere, and yields to an object.
    assert.equal((await fixture.ask(`${under(second)}data/overview`, page(token, 'only'))).status, 401);
    assert.equal((await fixture.ask(`${under(second)}data/overview`, page(token))).status, 200);
    const nobody = '11111111-2222-3333-4444-555555555555';
    assert.equal((await fixture.ask(`vc/${nobody}/data/overview`, page(token, 'only'))).status, 404);
    assert.equal((await fixture.ask(`${under(paper)}data/overview`, {})).status, 401);
  });

  it('learn nothing of a vCenter that does not answer, and are not kept out by it', async () => {
    const down = await another();
    await fixture.addCloud('vc0', down);
    await fixture.addCloud('vc1', paper);
    await others.pop()!.stop();
    assert.equal((await fixture.ask('data/overview', page(logIn()))).status, 200);
    const { status, body, text } = await fixture.ask('data/overview', page('0'.repeat(40), guid(down)));
    assert.deepEqual([status, body.code], [404, 'ERR_NOT_FOUND']);
    assert.doesNotMatch(text, /127\.0\.0\.1|vc0|vc1/);
    await eventually(async () => /vc0.*the GUID of a vCenter is not known/.test(fixture.consoleLogged()));
  });

  it('are not told where the vCenter of their page stands while it fails', async () => {
    await fixture.addCloud('vc1', paper);
    assert.equal((await fixture.ask('data/overview', page(logIn()))).status, 200);
    paper.record.faults.push({
      ...{ id: 'fault-1', kind: 'vcenter', call: 'CloneSession', object: null, percent: 100, count: 1 },
      ...{ delayMs: 0, effect: 'lose-reply' },
    });
    const { status, body } = await fixture.ask('data/overview', page(logIn()));
    assert.deepEqual([status, body.code], [503, 'ERR_HYPERVISOR_UNREACHABLE']);
    assert.doesNotMatch(body.message ?? '', /127\.0\.0\.1|vc1/);
    assert.match(fixture.consoleLogged(), /the session of a user of the vSphere Client was not cloned/);
  });
});
