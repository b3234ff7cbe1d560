import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inflateRawSync } from 'node:zlib';
import type { CloudUser, ObjectName } from '../../src/console/caller.ts';
import { readConsoleFiles } from '../../src/console/files.ts';
import { type RunningConsole, serveConsole } from '../../src/console/server.ts';
import { openPageCertificate, readPageCertificate } from '../../src/pki/page-certificate.ts';
import { WeftError } from '../../src/policy/errors.ts';

const TOKEN = 'a-token-for-tests-0123456789';
const GUID = '11111111-2222-3333-4444-555555555555';

interface Answer {
  status: number;
  headers: Record<string, unknown>;
  body: Buffer;
  json(): Record<string, unknown>;
}

describe('the web console', () => {
  let directory: string;
  let server: RunningConsole;
  let rights: Set<string>;
  let opened: [string, string][];
  let closed: number;
  let asked: string[];
  let service: { spec: Record<string, unknown>; revision: number };

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'weft-console-'));
    rights = new Set(['read vm-1', 'read root']);
    opened = [];
    asked = [];
    closed = 0;
    service = { spec: { engineGroup: 'edge', isEnabled: true }, revision: 7 };
    server = await serveConsole({
      ...(await openPageCertificate(directory, ['127.0.0.1'], Date.now())),
      host: '127.0.0.1',
      port: 0,
      token: TOKEN,
      async rest(method, path, body, headers) {
        asked.push(`${method} ${path}${headers?.['if-match'] ?? ''}`);
        if (path.startsWith('/api/v1/vm/')) return { name: '<img src=x onerror=alert(1)>' };
        if (path === '/api/v1/engine-group/edge') return { spec: { cloud: 'vc1' } };
        if (path === '/api/v1/engine-group/far') return { spec: { cloud: 'vc2' } };
        if (path === '/api/v1/virtual-service/web') {
          if (method === 'PUT') service = { ...(body as typeof service), revision: 8 };
          return service;
        }
        return {
          clouds: [{ name: 'vc1' }, { name: 'vc2' }],
          hosts: [
            { name: 'h1', cloud: 'vc1' },
            { name: 'x1', cloud: 'vc2' },
          ],
          engines: [
            { id: 'edge-h1', host: 'h1' },
            { id: 'edge-x1', host: 'x1' },
          ],
          members: [
            { member: 'vc1/vm-1/4000', pool: 'shop' },
            { member: 'vc2/vm-9/4000', pool: 'shop' },
          ],
        };
      },
      async openCloudUser(guid, token): Promise<CloudUser> {
        opened.push([guid, token]);
        if (guid !== GUID) throw new WeftError('ERR_NOT_FOUND', 'no cloud of this controller');
        if (token !== 'session') throw new WeftError('ERR_UNAUTHENTICATED', 'log in again');
        return {
          name: 'jane@vsphere.local',
          cloud: 'vc1',
          may: async (what: string, object: ObjectName | null) =>
            rights.has(`${what} ${object?.id ?? 'root'}`),
          close: async () => void closed++,
        };
      },
      log: { info() {}, warn() {} },
    });
  });
  afterEach(async () => {
    await server.close();
    await rm(directory, { recursive: true });
  });

  const call = (path: string, headers: Record<string, string> = {}, method = 'GET', body?: unknown) =>
    new Promise<Answer>((resolve, reject) => {
      const outgoing = request(
        { host: '127.0.0.1', port: server.port, path, method, headers, rejectUnauthorized: false },
        (incoming) => {
          const parts: Buffer[] = [];
          incoming.on('data', (part: Buffer) => parts.push(part));
          incoming.once('end', () => {
            const whole = Buffer.concat(parts);
            resolve({
              status: incoming.statusCode ?? 0,
              headers: incoming.headers,
              body: whole,
              json: () => JSON.parse(whole.toString('utf8')),
            });
          });
        },
      );
      outgoing.once('error', reject);
      outgoing.end(body === undefined ? undefined : JSON.stringify(body));
    });
  const jane = { 'vmware-api-session-id': 'session', 'weft-vcenter-guid': GUID };
  const operator = { authorization: `Bearer ${TOKEN}` };

  it('serves the manifest alone and in an archive that the clients of 9.x want', async () => {
    const manifest = await call('/plugin.json');
    assert.deepEqual(
      manifest.json(),
      JSON.parse(await readFile(join(import.meta.dirname, '../../plugin-manifest.json'), 'utf8')),
    );
    const { body } = await call('/plugin.zip');
    // Read from the central directory, as archivers do.
    const end = body.length - 22;
    assert.equal(body.readUInt32LE(end), 0x06054b50);
    const names: string[] = [];
    for (let at = body.readUInt32LE(end + 16); at < end; ) {
      assert.equal(body.readUInt32LE(at), 0x02014b50);
      const [method, size] = [body.readUInt16LE(at + 10), body.readUInt32LE(at + 20)];
      const name = body.toString('utf8', at + 46, at + 46 + body.readUInt16LE(at + 28));
      const local = body.readUInt32LE(at + 42);
      const start = local + 30 + body.readUInt16LE(local + 26) + body.readUInt16LE(local + 28);
      const raw = body.subarray(start, start + size);
      const content = (method === 8 ? inflateRawSync(raw) : raw).toString('utf8');
      if (name === 'plugin.json') assert.equal(content, manifest.body.toString('utf8'));
      else assert.deepEqual((JSON.parse(content) as { manifests: unknown }).manifests, ['plugin.json']);
      names.push(name);
      at += 46 + name.length;
    }
    assert.deepEqual(names, ['plugin-multi-manifest.json', 'plugin.json']);
  });

  it('serves every page that the manifest names, scripts without types, and nothing else of the disk', async () => {
    const { files } = readConsoleFiles();
    const named = [
      ...files
        .get('plugin.json')!
        .body.toString('utf8')
        .matchAll(/"uri": "([^"?#]+)/g),
    ];
    assert.ok(named.length >= 7);
    for (const [, uri] of named) assert.equal((await call(`/${uri}`)).status, 200, uri);
    const page = await call('/pages/vm.html');
    for (const [, address] of page.body.toString('utf8').matchAll(/(?:src|href)="([^"]+)"/g)) {
      assert.match(
        address!,
        /^(\/api\/ui\/htmlClientSdk\.js|[a-z]+\.(ts|css|png))$/,
        'relative addresses only',
      );
    }
    const script = await call('/pages/vm.ts');
    assert.equal(script.headers['content-type'], 'text/javascript; charset=utf-8');
    assert.doesNotMatch(script.body.toString('utf8'), /: VmView|import type/);
    assert.match(String(page.headers['content-security-policy']), /^default-src 'none'; script-src 'self';/);
    assert.doesNotMatch(String(page.headers['content-security-policy']), /unsafe|https?:|\*/);
    for (const path of [
      '/pages/../server.ts',
      '/pages/%2e%2e/server.ts',
      '/pages/tsconfig.json',
      '/nothing',
    ]) {
      assert.equal((await call(path)).status, 404, path);
    }
    const again = await call('/pages/vm.html', { 'if-none-match': String(page.headers.etag) });
    assert.equal(again.status, 304);
    assert.equal((await call('/pages/vm.html', {}, 'POST', {})).status, 405);
  });

  it('answers nobody who does not say who he is, and no foreign vCenter', async () => {
    assert.equal((await call('/data/overview')).status, 401);
    assert.equal(
      (await call('/data/overview', { authorization: 'Bearer wrong-token-0123456789' })).status,
      401,
    );
    assert.equal((await call('/data/overview', { ...jane, 'vmware-api-session-id': 'old' })).status, 401);
    assert.equal(
      (await call('/data/overview', { ...jane, 'weft-vcenter-guid': 'vc.evil.example' })).status,
      401,
    );
    assert.deepEqual(
      opened.map(([guid]) => guid),
      [GUID],
      'an address is not even looked up',
    );
    const foreign = await call('/data/overview', { ...jane, 'weft-vcenter-guid': GUID.replace('1', '9') });
    assert.equal(foreign.status, 404);
    assert.deepEqual(asked, []);
  });

  it('shows a user what he may read in his vCenter, and of his cloud only', async () => {
    assert.equal((await call('/data/vm?id=vm-1&cloud=vc2', jane)).status, 200);
    assert.equal(asked.at(-1), 'GET /api/v1/vm/vc1/vm-1', 'the cloud is that of his session');
    const refused = await call('/data/vm?id=vm-2', jane);
    assert.equal(refused.status, 403);
    assert.match(String(refused.json().message), /jane@vsphere\.local may not read on vm-2.*System\.Read/);
    const { status, caller } = (await call('/data/overview', jane)).json() as {
      status: Record<string, { name?: string; id?: string; member?: string }[]>;
      caller: object;
    };
    assert.deepEqual(
      status.engines!.map(({ id }) => id),
      ['edge-h1'],
    );
    assert.deepEqual(
      status.members!.map(({ member }) => member),
      ['vc1/vm-1/4000'],
    );
    assert.deepEqual(caller, { name: 'jane@vsphere.local', mayOperate: false });
    assert.equal(opened.length, 1, 'his session is cloned once');
    assert.equal((await call('/data/vm?id=../../x', operator)).status, 400);
  });

  it('lets only who has the privilege change a service, of his cloud, as it was when it was read', async () => {
    const change = (name: string, headers: Record<string, string>) =>
      call('/data/service', headers, 'POST', { name, isEnabled: false });
    assert.equal((await change('web', jane)).status, 403);
    rights.add('operate root');
    assert.equal((await change('web', jane)).status, 200);
    assert.equal(asked.at(-1), 'PUT /api/v1/virtual-service/web"7"');
    assert.deepEqual(service.spec, { engineGroup: 'edge', isEnabled: false });
    service = { spec: { engineGroup: 'far', isEnabled: true }, revision: 9 };
    assert.equal((await change('web', jane)).status, 403);
    assert.equal((await change('web', operator)).status, 200);
    assert.equal((await call('/data/service', operator, 'POST', { name: 7 })).status, 400);
    const large = await call('/data/service', operator, 'POST', { name: 'x'.repeat(100_000) });
    assert.equal(large.status, 413);
  });

  it('ends cloned sessions when it closes', async () => {
    await call('/data/overview', jane);
    await server.close();
    assert.equal(closed, 1);
    server = await serveConsole({
      ...(await openPageCertificate(directory, ['127.0.0.1'], Date.now())),
      host: '127.0.0.1',
      port: 0,
      token: TOKEN,
      rest: async () => ({}),
      openCloudUser: async () => assert.fail('nobody asks'),
      log: { info() {}, warn() {} },
    });
  });

  it('keeps its certificate, so that what is pinned stays right, and takes another one from files', async () => {
    const now = Date.now();
    const first = await openPageCertificate(directory, ['127.0.0.1'], now);
    assert.deepEqual(await openPageCertificate(directory, ['127.0.0.1'], now), first);
    assert.notDeepEqual(await openPageCertificate(directory, ['weft.example.org'], now), first);
    const later = now + 6 * 365 * 86_400_000;
    assert.notDeepEqual(await openPageCertificate(directory, ['weft.example.org'], later), first);
    const { writeFile } = await import('node:fs/promises');
    const [certificate, key] = [join(directory, 'c.pem'), join(directory, 'k.pem')];
    await writeFile(certificate, first.certificate);
    await writeFile(key, first.key);
    assert.equal((await readPageCertificate(certificate, key)).key, first.key);
    await assert.rejects(readPageCertificate(certificate, certificate), { code: 'ERR_USAGE' });
  });
});
