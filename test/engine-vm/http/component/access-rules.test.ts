/** Access rules: which requests they let through, whatever the spelling, and that members see no other. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { planProxy } from '../../../../src/engine-vm/http/settings.ts';
import { packPrefixes } from '../../../../src/packet/packed-prefixes.ts';
import { HttpService } from '../../../../src/policy/http-service.ts';
import { parseDocuments } from '../../../../src/policy/parse.ts';
import { ProxySite, request } from '../proxy-site.ts';
import { RecordingOrigin } from '../recording-origin.ts';

describe('access rules', () => {
  const origin = new RecordingOrigin();
  let port: number;
  before(async () => {
    port = await origin.listen();
  });
  after(() => origin.close());
  afterEach(() => origin.take());

  const start = (accessRules: Record<string, unknown>, more = {}): Promise<ProxySite> =>
    ProxySite.start([port], { accessRules, ...more });
  const ask = async (site: ProxySite, text: string, fields: readonly string[] = []): Promise<number> =>
    Number((await site.talk(request(text, fields))).slice(9, 12));

  it('deny a path however it is spelled, and let nothing of it through', async () => {
    const site = await start(
      { rules: [{ name: 'admin', action: 'deny', paths: ['/admin', '/admin/*'], status: 404 }] },
      { allowsEncodedSlash: true },
    );
    for (const path of [
      '/admin',
      '//admin',
      '/%61dmin/x',
      '/admin;a=b/x',
      '/;/admin',
      '/admin/?x',
      '/adm%69n',
    ])
      assert.equal(await ask(site, `GET ${path}`), 404, path);
    for (const path of ['/%2561dmin', '/admin%2fx', '/x%5c', '/x/../admin', '/x/%2e%2e/admin', '/x%0a'])
      assert.equal(await ask(site, `GET ${path}`), 400, path);
    assert.deepEqual(origin.take(), []);
    for (const path of ['/administrator', '/Admin', '/x?/admin', '/x//%2Dy'])
      assert.equal(await ask(site, `GET ${path}`), 200, path);
    assert.deepEqual(
      origin.take().map(({ line }) => line.split(' ')[1]),
      ['/administrator', '/Admin', '/x?/admin', '/x//%2Dy'],
    );
    const [figures] = await site.workers.figures();
    assert.deepEqual(figures!.components['access-rules'], { 'rule admin': 7, default: 4, ambiguous: 4 });
    assert.equal(figures!.refusals['access-denied'], 7);
    await site.stop();
  });

  it('take the first that fits: allow, deny, by default', async () => {
    const site = await start({
      rules: [
        { name: 'health', action: 'allow', paths: ['/health'] },
        { name: 'secret', action: 'deny', fields: [{ name: 'X-Evil' }], status: 410 },
        { name: 'writes', action: 'deny', methods: ['POST', 'DELETE'] },
        { name: 'cookie', action: 'deny', cookies: [{ name: 'role', value: 'ba*' }], status: 429 },
        { name: 'action', action: 'deny', query: [{ name: 'action', value: 'drop table' }], status: 451 },
        { name: 'host', action: 'allow', hosts: ['test'] },
      ],
      defaultAction: 'deny',
    });
    const cases: [string, string[], number][] = [
      ['GET /health', ['X-Evil: 1'], 200],
      ['GET /a', ['x-evil:'], 410],
      ['POST /a', ['Content-Length: 0'], 403],
      ['GET /a', ['Cookie: a=b; role=bad'], 429],
      ['GET /a?x=1&%61ction=drop+table', [], 451],
      ['GET /a?action=drop%20table', [], 451],
      ['GET /a?action=drop', [], 200],
    ];
    for (const [text, fields, status] of cases) assert.equal(await ask(site, text, fields), status, text);
    assert.match(await site.talk(request('GET /a').replace('Host: test', 'Host: other')), /^HTTP\/1.1 403/);
    await site.stop();
  });

  it('know clients by address and by address set', async () => {
    const rules = [
      { name: 'own', action: 'deny', from: ['10.0.0.0/8', '127.0.0.1'], paths: ['/list'] },
      { name: 'set', action: 'deny', fromSets: ['blocked'], status: 410 },
    ];
    const documents = `
kind: virtual-service
name: shop
spec:
  engineGroup: any
  tiers: [{ name: web, addresses: [127.0.0.1], port: 80, pool: web }]
  http: { accessRules: { rules: ${JSON.stringify(rules)} } }
---
kind: pool
name: web
spec: { cloud: any, members: { addresses: [127.0.0.1] }, port: 80 }
`;
    assert.throws(() => planProxy(parseDocuments(documents, 'x'), {}), /needs address-set "blocked"/);
    const set = '---\nkind: address-set\nname: blocked\nspec: { prefixes: [127.0.0.0/8] }\n';
    const { settings } = planProxy(parseDocuments(documents + set, 'x'), {});
    const site = await start({});
    const reload = (addressSets: Record<string, string>): Promise<void> =>
      site.workers.reload({ ...site.settings, http: settings.http, addressSets });
    await reload(settings.addressSets!);
    assert.deepEqual([await ask(site, 'GET /list'), await ask(site, 'GET /a')], [403, 410]);
    await reload({ blocked: packPrefixes(['192.0.2.0/24', '2001:db8::/32']) });
    assert.deepEqual([await ask(site, 'GET /list'), await ask(site, 'GET /a')], [403, 200]);
    const [figures] = await site.workers.figures();
    assert.equal(figures!.components['access-rules']!['rule own'], 2, 'a reload forgets no count');
    await site.stop();
  });

  it('name themselves in the log where they are told to', async () => {
    const site = await start({
      rules: [
        { name: 'watched', action: 'log', paths: ['/w*'] },
        { name: 'no', action: 'deny', paths: ['/wx'] },
        { name: 'shown', action: 'allow', paths: ['/s'], isLogged: true },
      ],
    });
    for (const path of ['/w', '/wx', '/s', '/']) await ask(site, `GET ${path}`);
    await site.stop();
    assert.deepEqual(
      site.log.map((one) => [one.status, one.reason, (one as { rule?: string }).rule]),
      [
        [200, undefined, 'watched'],
        [403, 'access-denied', 'watched'],
        [200, undefined, 'shown'],
        [200, undefined, undefined],
      ],
    );
  });

  it('let members see no field that would take another target than was judged', async () => {
    const site = await start({ rules: [{ name: 'a', action: 'deny', paths: ['/admin'] }] });
    await ask(site, 'GET /', ['X-Original-URL: /admin', 'X-HTTP-Method-Override: PUT', 'X-Other: 1']);
    const names = origin.take()[0]!.fields.map(([name]) => name);
    assert.ok(names.includes('x-other'));
    assert.ok(!names.includes('x-original-url') && !names.includes('x-http-method-override'));
    await site.stop();
  });

  it('decide alike among thousands, as they do one by one', async () => {
    const paths = ['/a', '/a/*', '/b', '/b*', '/c/d', '/*', '/e'];
    const rule = fc.record({
      action: fc.constantFrom('allow' as const, 'deny' as const, 'log' as const),
      paths: fc.subarray(paths, { maxLength: 2 }),
      methods: fc.subarray(['GET', 'PUT'], { maxLength: 1 }),
      from: fc.subarray(['127.0.0.0/8', '10.0.0.0/8'], { maxLength: 1 }),
    });
    const site = await start({});
    await fc.assert(
      fc.asyncProperty(
        fc.array(rule, { maxLength: 30 }),
        fc.constantFrom('/a', '/a/x', '/b', '/bb', '/c/d', '/z'),
        fc.constantFrom('GET', 'PUT'),
        async (rules, path, method) => {
          const fit = rules.find(
            (one) =>
              one.action !== 'log' &&
              (one.paths.length === 0 ||
                one.paths.some((p) => (p.endsWith('*') ? path.startsWith(p.slice(0, -1)) : p === path))) &&
              (one.methods.length === 0 || one.methods.includes(method)) &&
              (one.from.length === 0 || one.from.includes('127.0.0.0/8')),
          );
          const named = rules.map((one, n) => ({ ...one, name: `r${n}` }));
          await site.workers.reload({
            ...site.settings,
            http: HttpService.parse({ accessRules: { rules: named } }),
          });
          assert.equal(await ask(site, `${method} ${path}`), fit?.action === 'deny' ? 403 : 200);
        },
      ),
      { numRuns: 100 },
    );
    await site.stop();
  });

  it('are refused where a path could never fit, or a name stands twice', () => {
    const isRefused = (rules: unknown): boolean => !HttpService.safeParse({ accessRules: { rules } }).success;
    for (const path of [
      '//a',
      '/a;b',
      '/a/../b',
      '/a/.',
      '/%61',
      '/%2f',
      '/%c3',
      '/%2561',
      '/a%',
      '/%0A',
      'a',
    ])
      assert.ok(isRefused([{ name: 'x', action: 'deny', paths: [path] }]), path);
    for (const path of ['/%C3%A4', '/a%20b', '/.well-known/*', '/a/.*', '/%25', '/a*'])
      assert.ok(!isRefused([{ name: 'x', action: 'deny', paths: [path] }]), path);
    assert.ok(
      isRefused([
        { name: 'x', action: 'deny' },
        { name: 'x', action: 'allow' },
      ]),
    );
  });
});
