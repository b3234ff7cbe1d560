import assert from 'node:assert/strict';
import { ERROR_CODES, WeftError } from '../../src/policy/errors.ts';
import { KINDS, kindNamed } from '../../src/policy/registry.ts';
import { type ApiFixture, openApi } from './fixture.ts';
import { STATUS } from './in-memory-backend.ts';

describe('questions over REST', () => {
  let fixture: ApiFixture;
  beforeEach(async () => {
    fixture = await openApi();
    await fixture.applySample();
  });
  afterEach(() => fixture.close());

  it('says what a firewall policy does, with as much of its log as is asked for', async () => {
    await fixture.store.write([
      { key: 'policy/firewall-policy/lan', value: kindNamed('firewall-policy').spec.parse({}) },
    ]);
    const answer = await fixture.call('GET', '/api/v1/firewall/lan?log=3');
    assert.equal(answer.statusCode, 200, answer.body);
    assert.equal(answer.json().rules[1].limited, 40);
    assert.deepEqual(fixture.backend.explained.at(-1), ['lan', '3']);
    for (const log of ['1001', '-1', 'x', '']) {
      const refused = await fixture.call('GET', `/api/v1/firewall/lan?log=${log}`);
      assert.deepEqual([refused.statusCode, refused.json().code], [400, 'ERR_BODY_INVALID'], log);
    }
    assert.equal((await fixture.call('GET', '/api/v1/firewall/gone')).json().code, 'ERR_NOT_FOUND');
  });

  it('plan hands complete, checked changes to the controller and changes nothing', async () => {
    const before = fixture.store.revision;
    const answer = await fixture.call('POST', '/api/v1/plan', [
      { kind: 'pool', name: 'two', spec: { cloud: 'lab', members: { names: ['x'] }, port: 1 } },
      { kind: 'virtual-service', name: 'web', delete: true },
    ]);
    assert.equal(answer.statusCode, 200, answer.body);
    assert.equal(answer.json().steps.length, 2);
    const [changes] = fixture.backend.planned;
    assert.deepEqual((changes![0] as { spec: { drain: [] } }).spec.drain, []);
    assert.deepEqual(changes![1], { kind: 'virtual-service', name: 'web', delete: true });
    assert.equal(fixture.store.revision, before);
    assert.deepEqual((await fixture.call('POST', '/api/v1/plan')).json(), { steps: [] });
  });

  it('plan refuses what apply would refuse', async () => {
    const answer = await fixture.call('POST', '/api/v1/plan', [{ kind: 'pool', name: 'shop', delete: true }]);
    assert.equal(answer.json().code, 'ERR_REFERENCED');
    assert.deepEqual(fixture.backend.planned, []);
  });

  it('explain tells of pools that there are, and names the nearest of those there are', async () => {
    assert.equal((await fixture.call('GET', '/api/v1/explain/pool/shop?vm=app%201')).json().pool, 'shop');
    assert.equal((await fixture.call('GET', '/api/v1/explain/pool/shop')).statusCode, 200);
    assert.deepEqual(fixture.backend.explained, [
      ['shop', 'app 1'],
      ['shop', null],
    ]);
    const unknown = await fixture.call('GET', '/api/v1/explain/pool/shpo');
    assert.equal(unknown.statusCode, 404);
    assert.match(unknown.json().message, /did you mean "shop"/);
    assert.equal((await fixture.call('GET', '/api/v1/explain/pool/shop?vm=a&vm=b')).statusCode, 400);
    assert.deepEqual((await fixture.call('GET', '/api/v1/explain/host/h1')).json(), []);
  });

  it('explain and trace are about services there are, from addresses that are addresses', async () => {
    assert.deepEqual((await fixture.call('GET', '/api/v1/explain/web?from=10.0.0.1')).json(), []);
    assert.deepEqual(fixture.backend.explained, [['web', '10.0.0.1']]);
    assert.equal((await fixture.call('GET', '/api/v1/explain/nope')).statusCode, 404);
    assert.equal((await fixture.call('GET', '/api/v1/explain/web?from=x')).statusCode, 400);
    assert.equal(
      (await fixture.call('GET', '/api/v1/explain/web?from=1.1.1.1&from=1.1.1.2')).statusCode,
      400,
    );
    const trace = { service: 'web', from: 'fd77::9', port: 80 };
    assert.equal((await fixture.call('POST', '/api/v1/trace', trace)).json().outcome, 'bridged');
    assert.deepEqual(fixture.backend.traced, [trace]);
    assert.equal(
      (await fixture.call('POST', '/api/v1/trace', { ...trace, service: 'nope' })).statusCode,
      404,
    );
    const bad = await fixture.call('POST', '/api/v1/trace', { service: 'web', from: 'here', prot: 3 });
    assert.deepEqual(
      bad.json().problems.map(({ path }: { path: string }) => path),
      ['$.from', '$.prot'],
    );
  });

  it('purge takes URLs that can be ones, of services that have a cache', async () => {
    const purge = (service: string, body: object) => fixture.call('POST', `/api/v1/purge/${service}`, body);
    assert.match((await purge('web', { urls: ['*'] })).json().message, /has no http\.cache/);
    const { spec } = (await fixture.call('GET', '/api/v1/virtual-service/web')).json();
    const change = { kind: 'virtual-service', name: 'web', spec: { ...spec, http: { cache: {} } } };
    const changed = await fixture.call('POST', '/api/v1/apply', { documents: [change] });
    assert.equal(changed.statusCode, 200, changed.body);
    const urls = ['shop.example/a?b', 'https://[::1]:8443/x/*', '*'];
    assert.deepEqual((await purge('web', { urls })).json(), { purged: 0, engines: [], failures: [] });
    assert.deepEqual(fixture.backend.purged, [{ service: 'web', urls }]);
    for (const bad of ['', 'shop.example', '/a', 'ftp://a/b', 'a b/', 'a/#b', 'u@a/b', 'a/\u00e9', '*/a', 3])
      assert.equal((await purge('web', { urls: [bad] })).statusCode, 400, String(bad));
    assert.equal((await purge('web', { urls: [] })).statusCode, 400);
    assert.equal((await purge('nope', { urls })).statusCode, 404);
  });

  it('figures are of services there are, and metrics are text', async () => {
    const { engines } = (await fixture.call('GET', '/api/v1/figures/web?names=true')).json();
    assert.equal(engines[0].engine, 'e1');
    assert.equal((await fixture.call('GET', '/api/v1/figures/web?names=1')).statusCode, 400);
    assert.equal((await fixture.call('GET', '/api/v1/figures/nope')).statusCode, 404);
    const metrics = await fixture.call('GET', '/api/v1/metrics');
    assert.match(String(metrics.headers['content-type']), /^text\/plain; version=0\.0\.4/);
    assert.match(metrics.body, /^weft_http_connections_total\{service="web",engine="e1"\} 0$/m);
  });

  it('flows narrows by a query whose every part is checked, of services there are', async () => {
    const flows = (query: string) => fixture.call('GET', `/api/v1/flows${query}`);
    assert.deepEqual((await flows('')).json().flows, []);
    const nothing = { engine: null, service: null, client: null, member: null, state: null, protocol: null };
    assert.deepEqual(fixture.backend.listed, [{ ...nothing, sort: 'bytes', limit: 100 }]);
    await flows(
      '?engine=edge-h1&service=web&client=10.0.0.0/8&member=a&state=closing&protocol=udp&sort=age&limit=7',
    );
    assert.deepEqual(fixture.backend.listed[1], {
      engine: 'edge-h1',
      service: 'web',
      client: '10.0.0.0/8',
      member: 'a',
      state: 'closing',
      protocol: 'udp',
      sort: 'age',
      limit: 7,
    });
    const unknown = await flows('?service=wbe');
    assert.equal(unknown.statusCode, 404);
    assert.match(unknown.json().message, /did you mean "web"/);
    for (const [query, path] of [
      ['limit=0', '$.limit'],
      ['limit=1001', '$.limit'],
      ['limit=1e9', '$.limit'],
      ['limit=', '$.limit'],
      ['client=nobody', '$.client'],
      ['client=10.0.0.0/33', '$.client'],
      ['state=open', '$.state'],
      ['protocol=icmp', '$.protocol'],
      ['sort=size', '$.sort'],
      ['engine=', '$.engine'],
      [`engine=${'x'.repeat(200)}`, '$.engine'],
      ['service=a&service=b', '$.service'],
      ['sevice=web', '$.sevice'],
      ['__proto__=1&limit=2', null],
    ] as const) {
      const answer = await flows(`?${query}`);
      if (path === null) assert.ok(answer.statusCode < 500, query);
      else {
        assert.equal(answer.statusCode, 400, query);
        assert.deepEqual(
          answer.json().problems.map((one: { path: string }) => one.path),
          [path],
          query,
        );
      }
    }
  });

  it('status is what the controller says, and its errors keep their code', async () => {
    assert.deepEqual(
      (await fixture.call('GET', '/api/v1/status')).json(),
      JSON.parse(JSON.stringify(STATUS)),
    );
    fixture.backend.error = new WeftError('ERR_ENGINE_UNREACHABLE', 'engine edge-h1 is not connected');
    const answer = await fixture.call('GET', '/api/v1/status');
    assert.deepEqual([answer.statusCode, answer.json().code], [503, 'ERR_ENGINE_UNREACHABLE']);
  });

  it('spec gives the attributes of each kind', async () => {
    const { kinds } = (await fixture.call('GET', '/api/v1/spec')).json();
    assert.deepEqual(
      kinds.map(({ name }: { name: string }) => name),
      KINDS.map(({ name }) => name),
    );
    const { attributes } = (await fixture.call('GET', '/api/v1/spec/pool')).json();
    assert.ok(attributes.some(({ path }: { path: string }) => path === 'healthMonitors[].intervalMs'));
    assert.equal((await fixture.call('GET', '/api/v1/spec/poool')).statusCode, 404);
  });

  it('no kind has the name of another route', () => {
    for (const { name } of KINDS) {
      assert.ok(!['apply', 'plan', 'explain', 'trace', 'status', 'spec', 'watch'].includes(name));
    }
  });
});

describe('the OpenAPI document', () => {
  it('names every route there is and only those, and all its references resolve', async () => {
    const fixture = await openApi();
    try {
      const document = (await fixture.call('GET', '/api/openapi.json')).json();
      assert.match(document.openapi, /^3\.1/);
      for (const [, name] of JSON.stringify(document).matchAll(/#\/components\/schemas\/([\w-]+)/g)) {
        assert.ok(document.components.schemas[name!], name);
      }
      const documented = Object.entries<Record<string, unknown>>(document.paths).flatMap(
        ([path, operations]) =>
          ['get', 'put', 'post', 'delete']
            .filter((method) => operations[method] !== undefined)
            .map((method) => `${method.toUpperCase()} ${asRegistered(path)}`),
      );
      const routes = routesOf(fixture.api.printRoutes({ commonPrefix: false })).filter(
        (route) => !route.startsWith('HEAD'),
      );
      assert.deepEqual([...new Set(documented)].sort(), [...new Set(routes)].sort());
      for (const kind of KINDS) assert.ok(document.paths[`/api/v1/${kind.name}/{name}`], kind.name);
      const statuses = new Set(Object.values(ERROR_CODES).map(({ status }) => String(status)));
      for (const [path, operations] of Object.entries(document.paths as Record<string, PathItem>)) {
        for (const [method, operation] of Object.entries(operations)) {
          if (Array.isArray(operation)) continue;
          const where = `${method} ${path}`;
          assert.equal(typeof operation.summary, 'string', where);
          const answers = Object.keys(operation.responses);
          assert.ok(
            answers.some((status) => status.startsWith('2')),
            where,
          );
          for (const answer of answers) {
            assert.ok(answer.startsWith('2') || statuses.has(answer), `${where}: ${answer}`);
            assert.equal(typeof operation.responses[answer]!.description, 'string', where);
          }
          if (path !== '/healthz') {
            for (const status of ['401', '403', '429', '500']) assert.ok(answers.includes(status), where);
          }
          const named = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
          const given = [...(operations.parameters ?? []), ...(operation.parameters ?? [])];
          assert.deepEqual(
            given.filter((parameter) => parameter.in === 'path').map(({ name }) => name),
            named,
            where,
          );
        }
      }
    } finally {
      await fixture.close();
    }
  });

  it('answers only with errors that it documents', async () => {
    const fixture = await openApi();
    try {
      await fixture.applySample();
      const document = (await fixture.call('GET', '/api/openapi.json')).json();
      const calls: [string, string, string, unknown?][] = [
        ['GET', '/api/v1/pool/none', '/api/v1/pool/{name}'],
        ['GET', '/api/v1/pool/-', '/api/v1/pool/{name}'],
        ['PUT', '/api/v1/pool/x', '/api/v1/pool/{name}', { kind: 'pool', name: 'x', spec: {} }],
        ['PUT', '/api/v1/pool/x', '/api/v1/pool/{name}', [1]],
        ['DELETE', '/api/v1/pool/shop', '/api/v1/pool/{name}'],
        ['DELETE', '/api/v1/pool/none', '/api/v1/pool/{name}'],
        ['POST', '/api/v1/apply', '/api/v1/apply', { documents: 1 }],
        ['POST', '/api/v1/apply', '/api/v1/apply', [{ kind: 'none', name: 'x', spec: {} }]],
        ['POST', '/api/v1/apply', '/api/v1/apply', [{ kind: 'pool', name: 'none', delete: true }]],
        ['POST', '/api/v1/apply', '/api/v1/apply', [{ kind: 'pool', name: 'shop', delete: true }]],
        ['POST', '/api/v1/apply', '/api/v1/apply', new Array(1001).fill(0)],
        ['POST', '/api/v1/plan', '/api/v1/plan', [{ kind: 'pool', name: 'none', delete: true }]],
        ['GET', '/api/v1/explain/none', '/api/v1/explain/{service}'],
        ['GET', '/api/v1/explain/web?from=x', '/api/v1/explain/{service}'],
        ['GET', '/api/v1/explain/pool/none', '/api/v1/explain/pool/{name}'],
        ['GET', '/api/v1/explain/pool/shop?vm=', '/api/v1/explain/pool/{name}'],
        ['POST', '/api/v1/trace', '/api/v1/trace', { service: 'none', from: '10.77.0.9' }],
        ['POST', '/api/v1/trace', '/api/v1/trace', {}],
        ['POST', '/api/v1/purge/none', '/api/v1/purge/{service}', { urls: ['*'] }],
        ['POST', '/api/v1/purge/web', '/api/v1/purge/{service}', { urls: ['*'] }],
        ['POST', '/api/v1/purge/web', '/api/v1/purge/{service}', {}],
        ['GET', '/api/v1/spec/none', '/api/v1/spec/{kind}'],
        ['GET', '/api/v1/watch?revision=x', '/api/v1/watch'],
        ['GET', '/api/v1/watch?revision=99999', '/api/v1/watch'],
      ];
      for (const [method, url, path, body] of calls) {
        const { statusCode } = await fixture.call(method as 'GET', url, body as object);
        const documented = Object.keys(document.paths[path][method.toLowerCase()].responses);
        assert.ok(statusCode >= 400, `${method} ${url} is refused`);
        assert.ok(documented.includes(String(statusCode)), `${method} ${url} answers ${statusCode}`);
      }
    } finally {
      await fixture.close();
    }
  });
});

interface Parameter {
  in: string;
  name: string;
}

interface Operation {
  summary?: unknown;
  parameters?: Parameter[];
  responses: Record<string, { description?: unknown }>;
}

/** The operations on a path by method, and the parameters that they share. */
type PathItem = Record<string, Operation> & { parameters?: Parameter[] };

/** The path as fastify has it: kinds are one parameter there. */
function asRegistered(path: string): string {
  const kind = KINDS.find(({ name }) => path === `/api/v1/${name}` || path === `/api/v1/${name}/{name}`);
  return (kind ? path.replace(kind.name, ':kind') : path).replaceAll(/\{(\w+)\}/g, ':$1');
}

/** `GET /path` of every route in the tree that fastify prints: each line stands under the one four columns to its left. */
function routesOf(tree: string): string[] {
  const prefixes: string[] = [];
  return tree.split('\n').flatMap((line) => {
    const match = /^([│├└─ ]*)(\S+)(?: \(([A-Z, ]+)\))?/u.exec(line);
    if (!match) return [];
    const depth = match[1]!.length / 4;
    prefixes[depth] = (prefixes[depth - 1] ?? '') + match[2]!;
    return (match[3]?.split(', ') ?? []).map((method) => `${method} ${prefixes[depth]}`);
  });
}
