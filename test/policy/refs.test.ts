import assert from 'node:assert/strict';
import { parseDocuments } from '../../src/policy/parse.ts';
import {
  addressConflicts,
  canonicalAddress,
  missingReferences,
  type PolicyItem,
  referrersOf,
  uncarriedServices,
} from '../../src/policy/refs.ts';
import { virtualService } from '../../src/policy/virtual-service.ts';

const service = (name: string, tiers: string, protocol = 'tcp') =>
  parseDocuments(
    `kind: virtual-service\nname: ${name}\nspec: { engineGroup: edge, protocol: ${protocol}, tiers: [${tiers}], components: [{ type: firewall, policy: fw }, { type: load-balancer }] }`,
    'f',
  )[0]!;
const tier = (name: string, address: string, port = 80) =>
  `{ name: ${name}, addresses: ["${address}"], port: ${port}, pool: shop }`;

describe('references', () => {
  it('are reported where they lead nowhere, with their path', () => {
    const problems = missingReferences([service('web', tier('t', '10.0.0.1'))], (kind) => kind === 'pool');
    assert.deepEqual(
      problems.map(({ path, where }) => [path, where]),
      [
        ['$.spec.engineGroup', 'virtual-service "web"'],
        ['$.spec.components[0].policy', 'virtual-service "web"'],
      ],
    );
  });

  it('lead back to those that hold them', () => {
    const services = [service('web', tier('t', '10.0.0.1')), service('api', tier('t', '10.0.0.2'))];
    assert.deepEqual(referrersOf('pool', 'shop', services), [
      { kind: 'virtual-service', name: 'web', path: '$.spec.tiers[0].pool' },
      { kind: 'virtual-service', name: 'api', path: '$.spec.tiers[0].pool' },
    ]);
    assert.deepEqual(referrersOf('pool', 'edge', services), []);
  });
});

describe('addresses', () => {
  it('conflict across services, inside one, and however they are written', () => {
    const conflicts = (...services: ReturnType<typeof service>[]) =>
      addressConflicts(services).map(({ path }) => path);
    const web = service('web', tier('t', '10.0.0.1'));
    assert.deepEqual(conflicts(web, service('b', tier('t', '10.0.0.1'))), ['$.spec.tiers[0].addresses[0]']);
    assert.deepEqual(conflicts(web, service('b', tier('t', '::ffff:10.0.0.1'))), [
      '$.spec.tiers[0].addresses[0]',
    ]);
    assert.deepEqual(conflicts(service('a', `${tier('t', 'fd00::1')}, ${tier('u', 'FD00:0::1')}`)), [
      '$.spec.tiers[1].addresses[0]',
    ]);
    assert.deepEqual(conflicts(web, service('b', tier('t', '10.0.0.1', 81))), []);
    assert.deepEqual(conflicts(web, service('b', tier('t', '10.0.0.1'), 'udp')), []);
  });

  it('have one canonical text', () => {
    assert.equal(canonicalAddress('FD77:0:0::1'), 'fd77::1');
    assert.equal(canonicalAddress('::ffff:1.2.3.4'), '1.2.3.4');
    assert.equal(canonicalAddress('1.2.3.4'), '1.2.3.4');
  });
});

describe('what engines do not do of a service with http', () => {
  const problemsOf = (http: unknown, poolTls?: unknown) => {
    const spec = virtualService.spec.parse({
      engineGroup: 'edge',
      tiers: [{ name: 'web', addresses: ['10.0.0.1'], port: 80, pool: 'web' }],
      http,
    });
    const items = [
      { kind: 'virtual-service', name: 'front', spec },
      { kind: 'pool', name: 'web', spec: { tls: poolTls } },
    ] as unknown as PolicyItem[];
    return uncarriedServices(items).map(({ path }) => path);
  };

  it('is refused by name: files', () => {
    assert.deepEqual(problemsOf({}), []);
    const certificates = [{ certificateFile: '/c.pem', keyFile: '/k.pem' }];
    assert.deepEqual(problemsOf({ tls: { certificates } }), [
      '$.spec.http.tls.certificates[0].certificateFile',
    ]);
    assert.deepEqual(problemsOf({ tls: { certificates: [{ certificate: 'c' }] } }), []);
    const clientCertificates = { authoritiesFile: '/a.pem' };
    assert.deepEqual(problemsOf({ tls: { certificates: [{ certificate: 'c' }], clientCertificates } }), [
      '$.spec.http.tls.clientCertificates.authoritiesFile',
    ]);
    assert.deepEqual(problemsOf({ sessionCookie: { keyFile: '/k' } }), ['$.spec.http.sessionCookie.keyFile']);
    const rules = [{ name: 'bad', action: 'deny', fromSets: ['bad'] }];
    assert.deepEqual(problemsOf({ accessRules: { rules } }), []);
    assert.deepEqual(problemsOf({}, { authoritiesFile: '/a.pem' }), ['$.spec.http']);
    assert.deepEqual(problemsOf({}, { authorities: 'a' }), []);
  });
});
