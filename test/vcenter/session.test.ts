/** The session with a vCenter that is slow, forgetful, hostile or an impostor. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { isWeftError } from '../../src/policy/errors.ts';
import { VcenterSession } from '../../src/vcenter/session.ts';
import { MAX_ANSWER_BYTES, normalThumbprint, readThumbprint } from '../../src/vcenter/transport.ts';
import {
  envelope,
  fault,
  type HostileVcenter,
  loginAnswer,
  type Responder,
  startHostileVcenter,
} from './hostile-vcenter.ts';

const never = new AbortController().signal;
const root = { type: 'ServiceInstance', value: 'ServiceInstance' };
const time = envelope(
  '<CurrentTimeResponse xmlns="urn:vim25"><returnval>2026-01-01T00:00:00Z</returnval></CurrentTimeResponse>',
);

describe('the session with vCenter', () => {
  let vcenter: HostileVcenter;
  let session: VcenterSession;
  let respond: Responder;
  const logged: string[] = [];

  before(async () => {
    vcenter = await startHostileVcenter((method, response, request, body) => {
      const answer = loginAnswer(method);
      if (answer !== null) {
        response.setHeader('Set-Cookie', `vmware_soap_session="s${vcenter.calls.length}"; Path=/; HttpOnly`);
        response.end(answer);
      } else respond(method, response, request, body);
    });
  });
  after(() => vcenter.stop());
  beforeEach(() => {
    vcenter.calls.length = 0;
    logged.length = 0;
    respond = (_method, response) => response.end(time);
    session = open();
  });
  afterEach(async () => {
    respond = (_method, response) => response.end(time);
    await session.close();
  });

  const open = (options: Partial<ConstructorParameters<typeof VcenterSession>[0]> = {}) =>
    new VcenterSession({
      address: vcenter.url,
      user: 'weft',
      password: () => 'very-secret',
      thumbprint: vcenter.thumbprint,
      log: {
        debug: (fields, message) => logged.push(JSON.stringify({ ...fields, message })),
        warn: (fields, message) => logged.push(JSON.stringify({ ...fields, message })),
      },
      ...options,
    });
  const now = (signal = never) => session.call(root, 'CurrentTime', {}, signal);
  const refused = async (work: Promise<unknown>, code: Parameters<typeof isWeftError>[1], says: RegExp) =>
    assert.rejects(work, (error) => {
      assert.ok(isWeftError(error, code), `${String(error)} has code ${code}`);
      assert.match(error.message, says);
      assert.doesNotMatch(error.message, /very-secret/);
      return true;
    });

  it('logs in once for many calls, names each in the log, and never the password', async () => {
    assert.deepEqual(await Promise.all([now(), now(), now()]), Array(3).fill('2026-01-01T00:00:00Z'));
    assert.deepEqual(vcenter.calls.slice(0, 2), ['RetrieveServiceContent', 'Login']);
    assert.equal(vcenter.calls.filter((call) => call === 'Login').length, 1);
    assert.ok(logged.some((line) => /"operationId":"weft-[0-9a-f]+-\d+","method":"CurrentTime"/.test(line)));
    assert.ok(!logged.some((line) => /very-secret|vmware_soap_session/.test(line)));
  });

  it('logs in again in the middle of an operation when vCenter forgot the session', async () => {
    await now();
    const cookies: unknown[] = [];
    respond = (_method, response, request) => {
      cookies.push(request.headers.cookie);
      if (cookies.length > 1) response.end(time);
      else response.writeHead(500).end(fault('NotAuthenticated'));
    };
    assert.equal(await now(), '2026-01-01T00:00:00Z');
    assert.equal(session.generation, 2);
    assert.notEqual(cookies[0], cookies[1]);
  });

  it('says what to check when the login is refused, and does not try again by itself', async () => {
    const stubborn = await startHostileVcenter((method, response) =>
      method === 'Login'
        ? response.writeHead(500).end(fault('InvalidLogin'))
        : response.end(loginAnswer(method)),
    );
    const other = open({ address: stubborn.url, thumbprint: stubborn.thumbprint });
    await refused(other.connect(never), 'ERR_HYPERVISOR_REFUSED', /InvalidLogin.*credentials/);
    assert.equal(stubborn.calls.filter((call) => call === 'Login').length, 1);
    await other.close();
    await stubborn.stop();
  });

  it('translates faults to stable codes and names the missing privilege', async () => {
    for (const [name, code, says, inner] of [
      ['ManagedObjectNotFound', 'ERR_NOT_FOUND', /CurrentTime on ServiceInstance/, ''],
      ['NotSupported', 'ERR_HYPERVISOR_UNSUPPORTED', /NotSupported/, ''],
      [
        'NoPermission',
        'ERR_HYPERVISOR_REFUSED',
        /privilege Network\.Assign/,
        '<object type="Network">n</object><privilegeId>Network.Assign</privilegeId>',
      ],
      ['ResourceInUse', 'ERR_HYPERVISOR_REFUSED', /try again/, ''],
      ['FaultOfTomorrow', 'ERR_HYPERVISOR_REFUSED', /FaultOfTomorrow/, '<new>1</new>'],
    ] as const) {
      respond = (_method, response) => response.writeHead(500).end(fault(name, inner));
      await refused(now(), code, says);
    }
  });

  it('asks again when a reply to a question got lost, and never repeats a change by itself', async () => {
    await now();
    let broken = 1;
    respond = (_method, response) => {
      if (broken-- > 0) response.destroy();
      else response.end(time);
    };
    assert.equal(await now(), '2026-01-01T00:00:00Z');
    broken = 1;
    const rename = session.call(root, 'Rename_Task', { newName: 'x' }, never);
    await refused(rename, 'ERR_HYPERVISOR_UNREACHABLE', /does not answer/);
    assert.equal(vcenter.calls.filter((call) => call === 'Rename_Task').length, 1);
  });

  it('ends a call with the reason of the signal, and by its deadline', async () => {
    respond = () => undefined;
    const abort = new AbortController();
    const reason = new Error('enough');
    const call = now(abort.signal);
    setTimeout(() => abort.abort(reason), 50);
    await assert.rejects(call, (error) => error === reason);
    await session.close();
    session = open({ deadlineMs: 100 });
    await refused(now(), 'ERR_TIMEOUT', /did not answer CurrentTime/);
  });

  it('has no more calls under way than it may', async () => {
    let running = 0;
    let most = 0;
    respond = (_method, response) => {
      most = Math.max(most, ++running);
      setTimeout(() => {
        running--;
        response.end(time);
      }, 10);
    };
    await session.close();
    session = open({ maxConcurrent: 3 });
    await Promise.all(Array.from({ length: 20 }, () => now()));
    assert.equal(most, 3);
  });

  it('sends nothing to a peer with another certificate', async () => {
    const impostor = await startHostileVcenter((_method, response) => response.end(time));
    const other = open({ address: impostor.url });
    await refused(other.connect(never), 'ERR_HYPERVISOR_UNREACHABLE', /thumbprint .*not the pinned/);
    assert.deepEqual(impostor.calls, []);
    await other.close();
    await impostor.stop();
  });

  it('shows the thumbprint of an address for confirmation, and takes it in every usual form', async () => {
    const { thumbprint, subject } = await readThumbprint(vcenter.url, never);
    assert.equal(thumbprint, vcenter.thumbprint);
    assert.match(subject, /vcenter\.test/);
    assert.equal(normalThumbprint(thumbprint.replaceAll(':', '').toLowerCase()), thumbprint);
    assert.throws(() => normalThumbprint('AA:BB'), /32 pairs/);
    await refused(
      readThumbprint('https://127.0.0.1:1', never),
      'ERR_HYPERVISOR_UNREACHABLE',
      /does not answer/,
    );
  });

  it('follows no redirect', async () => {
    let visits = 0;
    const elsewhere = await startHostileVcenter((_method, response) => {
      visits++;
      response.end(time);
    });
    let plainVisits = 0;
    const plain = createServer((_request, response) => {
      plainVisits++;
      response.end(time);
    });
    await new Promise<void>((done) => plain.listen(0, '127.0.0.1', done));
    const { port } = plain.address() as AddressInfo;
    for (const Location of [elsewhere.url, `http://127.0.0.1:${port}/sdk`, '/sdk']) {
      for (const status of [301, 302, 307, 308]) {
        respond = (_method, response) => response.writeHead(status, { Location }).end();
        await refused(now(), 'ERR_HYPERVISOR_REFUSED', /redirect/);
      }
    }
    assert.deepEqual([visits, plainVisits], [0, 0]);
    await elsewhere.stop();
    await new Promise((done) => plain.close(done));
    assert.throws(() => open({ address: 'http://127.0.0.1' }), /https/);
  });

  it('sends nothing more to a vCenter that shows another certificate than before', async () => {
    const first = await startHostileVcenter((method, response) => response.end(loginAnswer(method) ?? time));
    const other = open({ address: first.url, thumbprint: first.thumbprint });
    const call = () => other.call(root, 'CurrentTime', {}, never);
    assert.equal(await call(), '2026-01-01T00:00:00Z');
    await first.stop();
    const impostor = await startHostileVcenter((_method, response) => response.end(time), first.url);
    await refused(call(), 'ERR_HYPERVISOR_UNREACHABLE', /thumbprint .*not the pinned/);
    assert.deepEqual(impostor.calls, []);
    await other.close();
    await impostor.stop();
  });

  it('keeps the password out of errors and their causes, whatever happens to the login', async () => {
    const rude = await startHostileVcenter((method, response) =>
      method === 'Login' ? response.destroy() : response.end(loginAnswer(method)),
    );
    const other = open({ address: rude.url, thumbprint: rude.thumbprint });
    await assert.rejects(other.connect(never), (error) => {
      assert.doesNotMatch(inspect(error, { depth: 20, showHidden: true }), /very-secret/);
      return isWeftError(error, 'ERR_HYPERVISOR_UNREACHABLE');
    });
    assert.ok(!logged.some((line) => line.includes('very-secret')));
    await other.close();
    await rude.stop();
  });

  it('asks three times in all, each time after a longer pause of a length of its own', async () => {
    await now();
    const arrivals = new Map<string, number[]>();
    respond = (_method, response, _request, body) => {
      const mine = /<opId[^>]*>|operationID[^>]*>([^<]+)/i.exec(body)?.[1] ?? '';
      arrivals.set(mine, [...(arrivals.get(mine) ?? []), performance.now()]);
      response.destroy();
    };
    const started = performance.now();
    const ends = await Promise.all(
      Array.from({ length: 8 }, () => now().catch(() => performance.now() - started)),
    );
    assert.equal(vcenter.calls.filter((one) => one === 'CurrentTime').length, 1 + 8 * 3);
    const times = ends.map(Number);
    // 100 to 300 ms, then 200 to 600 ms.
    assert.ok(Math.min(...times) >= 300, `${Math.min(...times)} ms`);
    assert.ok(Math.max(...times) - Math.min(...times) > 20, 'they do not come back together');
  });

  it('keeps a session alive that nobody uses, and ends with it', async () => {
    await session.close();
    session = open({ keepAliveMs: 30 });
    await session.connect(never);
    const asked = () => vcenter.calls.filter((one) => one === 'CurrentTime').length;
    while (asked() < 3) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.equal(session.generation, 1);
    await session.close();
    const before = asked();
    await new Promise((resolve) => setTimeout(resolve, 120));
    assert.equal(asked(), before);
    assert.equal(vcenter.calls.at(-1), 'Logout');
  });

  it('ends a call by its deadline when the answer trickles in', async () => {
    await session.close();
    session = open({ deadlineMs: 300 });
    await session.connect(never);
    respond = (_method, response) => {
      response.writeHead(200);
      const timer = setInterval(() => response.write(' '), 20);
      response.on('close', () => clearInterval(timer));
    };
    await refused(now(), 'ERR_TIMEOUT', /did not answer CurrentTime/);
  });

  it('refuses headers without end', async () => {
    await now();
    respond = (_method, response) => {
      response.writeHead(200, { 'X-Long': 'x'.repeat(1 << 20) });
      response.end(time);
    };
    await refused(now(), 'ERR_HYPERVISOR_UNREACHABLE', /./);
  });

  it('takes little time and memory for an answer that is as large as may be, whatever is in it', async function () {
    this.timeout(60_000);
    const size = MAX_ANSWER_BYTES - 4096;
    const fill = (part: string) => part.repeat(Math.floor(size / part.length));
    for (const [what, answer] of [
      ['elements', time.replace('<returnval>', `${fill('<a/>')}<returnval>`)],
      ['attributes', time.replace('<returnval>', `<returnval ${fill('a="b" ')}>`)],
      ['namespaces', time.replace('<returnval>', `<returnval ${fill('xmlns:n="u" ')}>`)],
      ['nesting', time.replace('<returnval>', `${fill('<a>')}<returnval>`)],
      ['entities', time.replace('2026', fill('&amp;'))],
      ['a name', time.replace('<returnval>', `<${fill('a')}>`)],
    ] as const) {
      const before = process.memoryUsage().rss;
      respond = (_method, response) => response.end(answer);
      await now().catch((error: unknown) => assert.ok(isWeftError(error), `${what}: ${String(error)}`));
      const grown = process.memoryUsage().rss - before;
      assert.ok(grown < 12 * MAX_ANSWER_BYTES, `${what}: ${grown >> 20} MiB`);
    }
  });

  const deep = 100_000;
  for (const [what, answer, says] of [
    [
      'entities that expand',
      `<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>${time.replace('2026', '&b;')}`,
      /document type/,
    ],
    [
      'entities that load a file',
      `<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>${time.replace('2026', '&x;')}`,
      /document type/,
    ],
    ['an entity that is not declared', time.replace('2026', '&x;'), /entity/],
    [
      'elements nested without end',
      envelope(`<a>`.repeat(deep) + `</a>`.repeat(deep)),
      /nested deeper|no answer/,
    ],
    ['nesting in what is skipped', time.replace('2026', `${'<a>'.repeat(deep)}`), /./],
    [
      'another namespace for the envelope',
      time.replace('schemas.xmlsoap.org/soap', 'www.w3.org/2003/05/soap'),
      /not a SOAP 1.1 envelope/,
    ],
    ['another namespace for the answer', time.replace('urn:vim25', 'urn:evil'), /no answer to CurrentTime/],
    [
      'the answer to another call',
      time.replaceAll('CurrentTimeResponse', 'LoginResponse'),
      /no answer to CurrentTime/,
    ],
    ['two answers', time.replace('</soapenv:Body>', '<x/></soapenv:Body>'), /follows the answer/],
    ['a page of HTML', '<html><body>Welcome</body></html>', /not a SOAP/],
    ['a document that ends early', time.slice(0, -30), /ends inside|does not end/],
    ['a prefix from nowhere', time.replace('<returnval>', '<returnval y:type="z">'), /prefix|./],
    ['nothing', '', /no XML/],
  ] as const) {
    it(`refuses ${what}`, async () => {
      respond = (_method, response) => response.end(answer);
      const outcome = now();
      if (what === 'a prefix from nowhere') return assert.rejects(outcome);
      await refused(outcome, 'ERR_HYPERVISOR_REFUSED', says);
    });
  }

  it('stops reading an answer of a gigabyte, with bounded memory', async function () {
    this.timeout(30_000);
    const before = process.memoryUsage().rss;
    const chunk = Buffer.alloc(1 << 20, 0x20);
    let sent = 0;
    respond = (_method, response) => {
      const pour = () => {
        while (sent < 1 << 30 && !response.destroyed) {
          sent += chunk.length;
          if (!response.write(chunk)) return;
        }
      };
      response.on('drain', pour);
      response.on('error', () => undefined);
      pour();
    };
    await refused(now(), 'ERR_HYPERVISOR_REFUSED', /more than \d+ MiB/);
    assert.ok(sent < 3 * MAX_ANSWER_BYTES, `${sent} bytes were taken`);
    assert.ok(process.memoryUsage().rss - before < 5 * MAX_ANSWER_BYTES);
  });

  it('does not unpack a compressed answer', async () => {
    respond = (_method, response) => response.writeHead(200, { 'Content-Encoding': 'gzip' }).end(time);
    assert.equal(await now(), '2026-01-01T00:00:00Z');
  });
});
