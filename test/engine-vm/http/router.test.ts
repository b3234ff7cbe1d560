/** Content switching: the compiled routes say what evaluation in order says, and requests come to the pool they name. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Head } from '../../../src/engine-vm/http/head.ts';
import { JudgedTarget } from '../../../src/engine-vm/http/judged-target.ts';
import { parseRequestHead } from '../../../src/engine-vm/http/parse-head.ts';
import { Router } from '../../../src/engine-vm/http/router.ts';
import { planProxy } from '../../../src/engine-vm/http/settings.ts';
import { HttpRoute } from '../../../src/policy/http-routes.ts';
import { HttpService } from '../../../src/policy/http-service.ts';
import { parseDocuments } from '../../../src/policy/parse.ts';
import { freePort, ProxySite, request, settingsOf } from './proxy-site.ts';
import { RecordingOrigin } from './recording-origin.ts';

interface Asked {
  method: string;
  host: string;
  path: string;
  query: string;
  fields: [string, string][];
}

const fits = (text: string, wanted: string): boolean =>
  wanted.endsWith('*') ? text.startsWith(wanted.slice(0, -1)) : text === wanted;

/** The first route that fits, by strings. */
function evaluate(routes: readonly HttpRoute[], asked: Asked): string | null {
  const host = asked.host.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '');
  const pairs = (text: string, separator: string) =>
    text.split(separator).map((one) => one.trim().split(/=(.*)/s) as [string, string?]);
  const has = (list: [string, string?][], { name, value }: { name: string; value?: string | undefined }) =>
    list.some(
      ([is, what]) => is === name && (value === undefined || (what !== undefined && fits(what, value))),
    );
  const fields = asked.fields.map(([name, value]): [string, string] => [name.toLowerCase(), value]);
  const cookies = fields.filter(([name]) => name === 'cookie').flatMap(([, value]) => pairs(value, ';'));
  const fit = routes.find(
    (route) =>
      (route.hosts.length === 0 ||
        route.hosts.some((one) =>
          one.startsWith('*.')
            ? host.endsWith(one.slice(1).toLowerCase()) && host.length > one.length - 1
            : host === one.toLowerCase(),
        )) &&
      (route.paths.length === 0 || route.paths.some((one) => fits(asked.path, one))) &&
      (route.methods.length === 0 || route.methods.includes(asked.method)) &&
      route.fields.every((one) => has(fields, { ...one, name: one.name.toLowerCase() })) &&
      route.cookies.every((one) => has(cookies, one)) &&
      route.query.every((one) => has(pairs(asked.query, '&'), one)),
  );
  return fit?.pool ?? null;
}

const head = new Head();

function parse({ method, host, path, query, fields }: Asked): Head {
  const target = query === '' ? path : `${path}?${query}`;
  const lines = [`${method} ${target} HTTP/1.1`, `Host: ${host}`, ...fields.map(([n, v]) => `${n}: ${v}`)];
  const bytes = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  const limits = { headBytes: 8192, fields: 100, allowsEncodedSlash: false };
  const status = parseRequestHead(bytes, 0, bytes.length, head, limits);
  assert.equal(status, bytes.length);
  return head;
}

const some = <T>(of: readonly T[], most: number) => fc.array(fc.constantFrom(...of), { maxLength: most });
const pairOf = (names: readonly string[]) =>
  fc.record(
    { name: fc.constantFrom(...names), value: fc.constantFrom('1', '2', '12', '1*') },
    { requiredKeys: ['name'] },
  );
const PATHS = ['/', '/a', '/a/', '/a/b', '/ab', '/b', '/a/b/c'];
const route = fc
  .record({
    hosts: some(['a.b', 'A.b', 'c.a.b', '*.b', '*.a.b', 'b', '[::1]'], 2),
    paths: some([...PATHS, ...PATHS.map((path) => `${path}*`)], 2),
    methods: some(['GET', 'POST', 'PURGE'], 1),
    fields: fc.array(pairOf(['X-A', 'x-b']), { maxLength: 1 }),
    cookies: fc.array(pairOf(['k', 'kk']), { maxLength: 1 }),
    query: fc.array(pairOf(['q', 'qq']), { maxLength: 1 }),
    pool: fc.constantFrom('p0', 'p1', 'p2', 'p3'),
  })
  .map((one) => HttpRoute.parse(one));
const pairText = fc.constantFrom('k=1', 'kk=12', 'k=2', 'k', 'q=1', 'qq=2', 'q', 'kk=1');
const asked: fc.Arbitrary<Asked> = fc.record({
  method: fc.constantFrom('GET', 'POST', 'PURGE'),
  host: fc.constantFrom('a.b', 'a.B:80', 'c.a.b', 'd.c.a.b', 'b', 'x.b', '[::1]:8', '[::1]', 'xa.b'),
  path: fc.constantFrom(...PATHS, '/abc', '/a/c'),
  query: fc.array(pairText, { maxLength: 3 }).map((all) => all.join('&')),
  fields: fc.array(
    fc.oneof(
      fc.tuple(fc.constantFrom('x-a', 'X-B'), fc.constantFrom('1', '12', '3')),
      fc
        .array(pairText, { minLength: 1, maxLength: 3 })
        .map((all): [string, string] => ['Cookie', all.join('; ')]),
    ),
    { maxLength: 3 },
  ),
});

describe('routes', () => {
  it('choose what evaluation in order chooses', () => {
    const pools = ['p0', 'p1', 'p2', 'p3'];
    fc.assert(
      fc.property(
        fc.array(route, { minLength: 1, maxLength: 30 }),
        fc.array(asked, { minLength: 20 }),
        (routes, all) => {
          const router = Router.of(routes, pools)!;
          for (const one of all) {
            const index = router.choose(parse(one));
            assert.equal(index < 0 ? null : pools[index], evaluate(routes, one), JSON.stringify(one));
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it('are found one after the other, by the address sets that hold the client, too', () => {
    const sets = fc.subarray([0, 1, 2, 3, 700]);
    const judged = new JudgedTarget(false);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(route, sets), { minLength: 1, maxLength: 30 }),
        fc.array(fc.tuple(asked, sets), { minLength: 10 }),
        (all, requests) => {
          const routes = all.map(([one, sources]) => ({ ...one, sources }));
          const router = Router.of(routes, [])!;
          for (const [one, held] of requests) {
            const expected = routes.flatMap((each, n) => {
              const isFrom = each.sources.length === 0 || each.sources.some((set) => held.includes(set));
              return isFrom && evaluate([each], one) !== null ? [n] : [];
            });
            const request = parse(one);
            assert.equal(judged.read(request), 0);
            const found: number[] = [];
            for (let at = -1; ; found.push(at)) {
              at = router.find(request, at, judged, Int32Array.from(held));
              if (at < 0) break;
            }
            assert.deepEqual(found, expected, JSON.stringify(one));
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('are none where the policy has none', () => {
    assert.equal(Router.of([], []), null);
  });

  it('must not tell by cookies what a cache stores', () => {
    const routes = [{ cookies: [{ name: 'a' }], pool: 'p' }];
    assert.equal(HttpService.safeParse({ routes }).success, true);
    const judged = HttpService.safeParse({ routes, cache: {} });
    assert.match(judged.error?.issues[0]?.message ?? '', /must not ask for fields or cookies with cache/);
  });

  it('refer to pools, which a proxy has to have', async () => {
    const service = `kind: virtual-service
name: shop
spec:
  engineGroup: any
  tiers: [{ name: web, addresses: [127.0.0.1], port: 8080, pool: web }]
  http: { routes: [{ paths: [/api/*], pool: api }, { paths: [/own], pool: web }] }
---
kind: pool
name: web
spec: { cloud: any, members: { addresses: [127.0.0.2] }, port: 3000 }
`;
    assert.throws(
      () => planProxy(parseDocuments(service, 'shop.yaml'), {}),
      /virtual-service "shop" needs pool "api"/,
    );
    const api = `---
kind: pool
name: api
spec: { cloud: any, members: { addresses: [127.0.0.3] }, port: 3001 }
`;
    const { settings } = planProxy(parseDocuments(service + api, 'shop.yaml'), {});
    assert.deepEqual(
      settings.pools?.map(({ name, members }) => [name, members.map((member) => member.name)]),
      [['api', ['127.0.0.3:3001']]],
    );
  });
});

describe('the proxy with routes', () => {
  const origins = [new RecordingOrigin(), new RecordingOrigin(), new RecordingOrigin()];
  let ports: number[];
  let site: ProxySite;
  const poolOf = (name: string, port: number) => ({ name, members: settingsOf(0, [port]).members });

  before(async () => {
    ports = await Promise.all(origins.map((origin) => origin.listen()));
    site = await ProxySite.start([ports[0]!]);
  });
  after(async () => {
    await site.stop();
    await Promise.all(origins.map((origin) => origin.close()));
  });

  const reload = async (pools: { name: string; port: number }[], routes: unknown[]): Promise<void> => {
    const settings = settingsOf(site.port, [ports[0]!], { routes });
    await site.workers.reload({ ...settings, pools: pools.map(({ name, port }) => poolOf(name, port)) });
  };
  const taken = (): string[][] =>
    origins.map((origin) => origin.take().map(({ line }) => line.split(' ')[1]!));

  it('sends requests to the pool that the first fitting route names, from one connection', async () => {
    await reload(
      [
        { name: 'api', port: ports[1]! },
        { name: 'static', port: ports[2]! },
      ],
      [
        { paths: ['/i/*'], pool: 'static' },
        { hosts: ['*.test', 'test'], paths: ['/api/*'], pool: 'api' },
        { cookies: [{ name: 'b', value: 'new' }], pool: 'api' },
      ],
    );
    const get = (path: string, ...fields: string[]) =>
      ['GET ', path, ' HTTP/1.1\r\nHost: test\r\n', ...fields, '\r\n'].join('');
    await site.talk(
      get('/') + get('/api/1') + get('/i/api/') + get('/c', 'Cookie: a=1; b=new\r\n') + request('GET /last'),
    );
    assert.deepEqual(taken(), [['/', '/last'], ['/api/1', '/c'], ['/i/api/']]);
  });

  it('refuses by name where the pool has nobody, though others have', async () => {
    await reload([{ name: 'api', port: await freePort() }], [{ paths: ['/api/*'], pool: 'api' }]);
    assert.match(await site.talk(request('GET /api/2')), /^HTTP\/1.1 502 [\s\S]*member-connect/);
    await reload([], []);
    assert.match(await site.talk(request('GET /api/3')), /^HTTP\/1.1 200 /);
    assert.deepEqual(taken()[0], ['/api/3']);
  });
});
