import assert from 'node:assert/strict';
import fc from 'fast-check';
import { policyKey } from '../../src/api/policy-store.ts';
import { type BalancingMethod, isFlowMethod } from '../../src/policy/balancing-methods.ts';
import { KINDS, kindNamed } from '../../src/policy/registry.ts';
import { sealerOf } from '../../src/state/sealer.ts';
import { names, specsOf } from '../policy/objects.ts';
import { type ApiFixture, openApi } from './fixture.ts';

const POOL = { cloud: 'lab', members: { tags: ['app=shop'] }, port: 8080 };
const service = (address: string, port = 80) => ({
  engineGroup: 'edge',
  tiers: [{ name: 't', addresses: [address], port, pool: 'shop' }],
});

describe('policy objects over REST', () => {
  let fixture: ApiFixture;
  beforeEach(async () => {
    fixture = await openApi();
  });
  afterEach(() => fixture.close());

  it('are created with 201, changed with 200, and kept with their defaults', async () => {
    await fixture.applySample();
    const created = await fixture.call('PUT', '/api/v1/pool/two', { spec: POOL });
    assert.equal(created.statusCode, 201);
    const { revision, spec } = created.json();
    assert.equal(created.headers.etag, `"${revision}"`);
    assert.deepEqual(spec.healthMonitors, []);
    assert.deepEqual((await fixture.store.get('policy/pool/two'))!.value, spec);
    const changed = await fixture.call('PUT', '/api/v1/pool/two', { spec: { ...POOL, port: 81 } });
    assert.equal(changed.statusCode, 200);
    assert.ok(changed.json().revision > revision);
  });

  it('do not change when what was read is put back, whatever the object: GET then PUT is a no-op', async () => {
    await fixture.applySample();
    await fixture.store.write([
      { key: 'policy/address-set/known', value: kindNamed('address-set').spec.parse({}) },
      { key: 'policy/firewall-policy/fw', value: kindNamed('firewall-policy').spec.parse({}) },
      // Each tier is generated with a pool of its own.
      ...Array.from({ length: 64 }, (_, index) => ({
        key: `policy/pool/p${index}`,
        value: kindNamed('pool').spec.parse(POOL),
      })),
    ]);
    // What is judged by more than its shape is not generated: certificates.
    for (const kind of KINDS.filter(({ check }) => check === undefined)) {
      await fc.assert(
        fc.asyncProperty(specsOf(kind), async (generated) => {
          // References point to what there is; everything else is arbitrary.
          const spec = structuredClone(generated) as Record<string, unknown>;
          if ('cloud' in spec) spec.cloud = 'lab';
          if ('engineGroup' in spec) spec.engineGroup = 'edge';
          for (const one of (spec.components ?? []) as { policy?: string }[])
            if (one.policy) one.policy = 'fw';
          for (const rule of (spec.rules ?? []) as { fromSets?: string[]; toSets?: string[] }[]) {
            if (rule.fromSets) rule.fromSets = ['known'];
            if (rule.toSets) rule.toSets = ['known'];
          }
          // It names certificates and files.
          delete spec.http;
          delete spec.tls;
          for (const one of (spec.components ?? []) as {
            method?: BalancingMethod;
            persistence?: { type: string };
          }[]) {
            if (one.method !== undefined && !isFlowMethod(one.method)) delete one.method;
            if (one.persistence?.type === 'header') delete one.persistence;
          }
          const url = `/api/v1/${kind.name}/generated`;
          const put = await fixture.call('PUT', url, { spec });
          // Two tiers of one generated service may claim one address.
          if (put.json().code === 'ERR_ADDRESS_IN_USE') return;
          assert.ok(put.statusCode < 300, put.body);
          await fixture.store.write([
            { key: `status/${kind.name}/generated`, value: { message: 'observed' } },
          ]);
          const read = await fixture.call('GET', url);
          const before = fixture.store.revision;
          const back = await fixture.call('PUT', url, read.json());
          assert.equal(back.statusCode, 200, back.body);
          assert.deepEqual(back.json(), read.json());
          assert.equal(fixture.store.revision, before);
        }),
        { numRuns: 15 },
      );
    }
  });

  it('get attributes that a later version added filled in on reading, and are still unchanged by GET and PUT', async () => {
    await fixture.applySample();
    await fixture.store.write([{ key: 'policy/pool/old', value: POOL }]);
    const read = (await fixture.call('GET', '/api/v1/pool/old')).json();
    assert.deepEqual(read.spec.drain, []);
    assert.deepEqual((await fixture.call('PUT', '/api/v1/pool/old', read)).json(), read);
  });

  it('are listed by kind with status and the revision to watch from', async () => {
    await fixture.applySample();
    await fixture.store.write([{ key: 'status/pool/shop', value: { message: 'observed' } }]);
    const { items, revision, kind } = (await fixture.call('GET', '/api/v1/pool')).json();
    assert.equal(kind, 'pool');
    assert.equal(revision, fixture.store.revision);
    assert.deepEqual(
      items.map((item: { name: string; status: unknown }) => [item.name, item.status]),
      [['shop', { message: 'observed' }]],
    );
  });

  it('keep status out of the hands of users', async () => {
    await fixture.applySample();
    await fixture.call('PUT', '/api/v1/pool/shop', { spec: POOL, status: { message: 'forged' } });
    assert.equal((await fixture.call('GET', '/api/v1/pool/shop')).json().status, undefined);
  });

  it('refuse a change of a revision that is not the current one: If-Match, If-None-Match and body alike', async () => {
    await fixture.applySample();
    const { revision } = (await fixture.call('GET', '/api/v1/pool/shop')).json();
    const put = (headers: Record<string, string>, extra: object = {}, name = 'shop') =>
      fixture.call('PUT', `/api/v1/pool/${name}`, { spec: { ...POOL, port: 99 }, ...extra }, headers);
    for (const answer of [
      await put({ 'if-match': `"${revision + 1}"` }),
      await put({}, { revision: revision - 1 }),
      await put({ 'if-none-match': '*' }),
      await put({}, { revision: 0 }),
      await put({ 'if-match': '*' }, {}, 'absent'),
      await put({}, { revision: 5 }, 'absent'),
      await put({ 'if-match': `"${revision}"` }, { revision: revision + 1 }),
      await fixture.call('DELETE', '/api/v1/pool/shop', undefined, { 'if-match': '"1234"' }),
    ]) {
      assert.equal(answer.statusCode, 412, answer.body);
      assert.equal(answer.json().code, 'ERR_REVISION_CONFLICT');
    }
    assert.equal((await put({ 'if-match': 'W/"x"' })).statusCode, 400);
    assert.equal((await put({ 'if-match': `"${revision}"` }, { revision })).statusCode, 200);
    assert.equal((await put({ 'if-none-match': '*' }, {}, 'fresh')).statusCode, 201);
  });

  it('cannot be deleted while others refer to them; the answer names those', async () => {
    await fixture.applySample();
    const refused = await fixture.call('DELETE', '/api/v1/pool/shop');
    assert.equal(refused.statusCode, 409);
    assert.equal(refused.json().code, 'ERR_REFERENCED');
    assert.match(refused.json().message, /virtual-service "web"/);
    assert.equal((await fixture.call('DELETE', '/api/v1/virtual-service/web')).statusCode, 204);
    assert.equal((await fixture.call('DELETE', '/api/v1/pool/shop')).statusCode, 204);
    assert.equal((await fixture.call('GET', '/api/v1/pool/shop')).json().code, 'ERR_NOT_FOUND');
    assert.equal((await fixture.call('DELETE', '/api/v1/pool/shop')).statusCode, 404);
  });

  it('cannot refer to what is not there', async () => {
    const answer = await fixture.call('PUT', '/api/v1/pool/shop', { spec: POOL });
    assert.equal(answer.statusCode, 409);
    assert.equal(answer.json().code, 'ERR_REFERENCE_MISSING');
    assert.deepEqual(answer.json().problems[0].path, '$.spec.cloud');
  });

  it('cannot claim an address, port and protocol that another tier has', async () => {
    await fixture.applySample();
    const answer = await fixture.call('PUT', '/api/v1/virtual-service/other', {
      spec: service('10.77.0.101'),
    });
    assert.equal(answer.statusCode, 409);
    assert.equal(answer.json().code, 'ERR_ADDRESS_IN_USE');
    assert.match(
      answer.json().message,
      /virtual-service "other".*belongs to tier "shop" of virtual-service "web"/,
    );
    assert.equal(
      (await fixture.call('PUT', '/api/v1/virtual-service/other', { spec: service('10.77.0.101', 81) }))
        .statusCode,
      201,
    );
  });

  it('name the place of every mistake', async () => {
    const answer = await fixture.call('PUT', '/api/v1/pool/x', { spec: { ...POOL, port: 'http', prot: 1 } });
    assert.equal(answer.statusCode, 400);
    assert.deepEqual(answer.json().problems, [
      { path: '$.spec.port', message: 'expected a whole number from 1 to 65535, found "http"' },
      { path: '$.spec.prot', message: 'is an unknown field; did you mean port?' },
    ]);
    assert.equal((await fixture.call('PUT', '/api/v1/pool/x', { name: 'y', spec: POOL })).statusCode, 400);
    assert.equal((await fixture.call('GET', '/api/v1/poool')).json().code, 'ERR_KIND_UNKNOWN');
  });

  it('are applied together in one write or not at all', async () => {
    const cloud = { kind: 'cloud', name: 'lab', spec: { platform: 'lab', address: '/x' } };
    const pool = { kind: 'pool', name: 'shop', spec: POOL };
    const bad = { kind: 'pool', name: 'bad', spec: { ...POOL, cloud: 'nowhere' } };
    assert.equal((await fixture.call('POST', '/api/v1/apply', [cloud, bad])).statusCode, 409);
    assert.equal(fixture.store.revision, 0);
    // The order does not matter: references are checked on the outcome.
    const answer = (await fixture.call('POST', '/api/v1/apply', { documents: [pool, cloud] })).json();
    assert.deepEqual(answer, {
      revision: 1,
      isDryRun: false,
      results: [
        { kind: 'pool', name: 'shop', result: 'created', revision: 1 },
        { kind: 'cloud', name: 'lab', result: 'created', revision: 1 },
      ],
    });
    const again = (
      await fixture.call('POST', '/api/v1/apply', [cloud, { ...pool, spec: { ...POOL, port: 9 } }])
    ).json();
    assert.deepEqual(
      again.results.map(({ result }: { result: string }) => result),
      ['unchanged', 'changed'],
    );
    const gone = await fixture.call('POST', '/api/v1/apply', [
      { kind: 'cloud', name: 'lab', delete: true },
      { kind: 'pool', name: 'shop', delete: true },
    ]);
    assert.equal(gone.statusCode, 200, gone.body);
    assert.deepEqual(await fixture.store.list('policy/'), []);
  });

  it('are checked, but not written, in a dry run', async () => {
    const cloud = { kind: 'cloud', name: 'lab', spec: { platform: 'lab', address: '/x' } };
    for (const query of ['?dryRun', '?dryRun=true', '?dryRun=1']) {
      const answer = (await fixture.call('POST', `/api/v1/apply${query}`, [cloud])).json();
      assert.equal(answer.results[0].result, 'created');
      assert.ok(answer.isDryRun);
    }
    assert.equal((await fixture.call('POST', '/api/v1/apply?dryRun=maybe', [cloud])).statusCode, 400);
    assert.equal(fixture.store.revision, 0);
  });

  it('refuse one object twice in a change, and report every bad document', async () => {
    const cloud = { kind: 'cloud', name: 'lab', spec: { platform: 'lab', address: '/x' } };
    assert.match((await fixture.call('POST', '/api/v1/apply', [cloud, cloud])).json().message, /named twice/);
    const answer = (
      await fixture.call('POST', '/api/v1/apply', [
        { kind: 'cloud', name: 'x' },
        cloud,
        { kind: 'pool', name: 'y', spec: {} },
      ])
    ).json();
    assert.equal(answer.code, 'ERR_POLICY_INVALID');
    assert.ok(answer.problems.some(({ path }: { path: string }) => path === '$[0].spec'));
    assert.ok(answer.problems.some(({ path }: { path: string }) => path === '$[2].spec.cloud'));
  });

  it('never dangle, whatever many writers do at the same time', async () => {
    await fixture.applySample();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.constantFrom('pool', 'service', 'drop-pool', 'drop-service'), names), {
          minLength: 8,
          maxLength: 16,
        }),
        async (actions) => {
          await Promise.all(
            actions.map(([action, long]) => {
              const name = `n${long.charCodeAt(0) % 3}`;
              switch (action) {
                case 'pool':
                  return fixture.call('PUT', `/api/v1/pool/${name}`, { spec: POOL });
                case 'service':
                  return fixture.call('PUT', `/api/v1/virtual-service/${name}`, {
                    spec: {
                      ...service('10.77.0.140'),
                      tiers: [{ name: 't', addresses: ['10.77.0.140'], port: 80, pool: name }],
                    },
                  });
                case 'drop-pool':
                  return fixture.call('DELETE', `/api/v1/pool/${name}`);
                default:
                  return fixture.call('DELETE', `/api/v1/virtual-service/${name}`);
              }
            }),
          );
          const entries = await fixture.store.list<{ tiers: { pool: string; addresses: string[] }[] }>(
            'policy/virtual-service/',
          );
          for (const { value } of entries) {
            assert.ok(await fixture.store.get(policyKey('pool', value.tiers[0]!.pool)));
          }
          const claimed = entries.map(({ value }) => value.tiers[0]!.addresses[0]);
          assert.equal(new Set(claimed).size, claimed.length);
        },
      ),
      { numRuns: 12 },
    );
  });

  it('never dangle through two APIs over one store either', async () => {
    await fixture.applySample();
    const { PolicyStore } = await import('../../src/api/policy-store.ts');
    const sealer = sealerOf(Buffer.alloc(32, 7));
    const [left, right] = [new PolicyStore(fixture.store, sealer), new PolicyStore(fixture.store, sealer)];
    const spec = kindNamed('pool').spec.parse(POOL);
    for (let round = 0; round < 20; round++) {
      await fixture.store.write([
        { key: 'policy/cloud/other', value: { platform: 'lab', address: '/x', pollIntervalMs: 5000 } },
      ]);
      const outcomes = await Promise.allSettled([
        left.change([{ kind: 'cloud', name: 'other', delete: true }]),
        right.change([{ kind: 'pool', name: 'dangling', spec: { ...(spec as object), cloud: 'other' } }]),
      ]);
      assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
      const [cloud, pool] = [
        await fixture.store.get('policy/cloud/other'),
        await fixture.store.get('policy/pool/dangling'),
      ];
      assert.equal(cloud === undefined, pool === undefined);
      if (pool) await right.change([{ kind: 'pool', name: 'dangling', delete: true }]);
    }
  });

  it('note who changed what in the log, and no secrets', async () => {
    await fixture.applySample();
    assert.match(fixture.logged(), /policy changed/);
    assert.match(fixture.logged(), /created pool\/shop/);
    assert.doesNotMatch(fixture.logged(), /a-token-for-tests/);
  });
});
