/** The copy of the policy that a cloud keeps: what is in it, who writes it, and what becomes of it when a store is lost. */
import assert from 'node:assert/strict';
import { brotliCompressSync } from 'node:zlib';
import { decodeCopy, encodeCopy, objectsFor } from '../../src/controller/policy-copy.ts';
import type { Adoption } from '../../src/policy/answers.ts';
import { kindNamed } from '../../src/policy/registry.ts';
import { datacenterOf } from '../hypervisor/memory-platform.ts';
import { FakeHub } from './fake-hub.ts';
import { applyShop, Harness } from './harness.ts';
import { MemoryStore } from './memory-store.ts';

const item = (kind: string, name: string, spec: unknown) => ({
  kind,
  name,
  spec: kindNamed(kind).spec.parse(spec),
});

describe('copy of the policy', () => {
  const items = [
    item('virtual-service', 'web', {
      engineGroup: 'edge',
      tiers: [{ name: 't', addresses: ['192.0.2.1'], port: 80, pool: 'shop' }],
    }),
    item('pool', 'shop', { cloud: 'here', members: { tags: ['a=b'] }, port: 80 }),
    item('pool', 'far', { cloud: 'there', members: { tags: ['a=b'] }, port: 80 }),
    item('engine-group', 'edge', {
      cloud: 'here',
      dataAddresses: [{ prefix: '192.0.2.0/24', first: '192.0.2.10', last: '192.0.2.20' }],
    }),
    item('cloud', 'there', { platform: 'lab', address: '/there' }),
    item('cloud', 'here', { platform: 'lab', address: '/here' }),
  ];

  it('holds what leads to the cloud, in the order in which it can be applied, and nothing of other clouds', () => {
    const names = (cloud: string) => objectsFor(cloud, items).map(({ kind, name }) => `${kind}/${name}`);
    assert.deepEqual(names('here'), ['cloud/here', 'engine-group/edge', 'pool/shop', 'virtual-service/web']);
    assert.deepEqual(names('there'), ['cloud/there', 'pool/far']);
  });

  it('comes back as it was written', () => {
    const objects = objectsFor('here', items);
    const text = encodeCopy({ instance: 'i', savedAt: '2026-01-01T00:00:00.000Z', objects });
    assert.match(text, /^[\w-]+$/);
    assert.deepEqual(decodeCopy(text), {
      instance: 'i',
      savedAt: '2026-01-01T00:00:00.000Z',
      objects,
      unreadable: [],
    });
  });

  it('refuses what is none, what unfolds without end, and what a later version wrote; names what it cannot read', () => {
    const folded = (value: unknown) => brotliCompressSync(JSON.stringify(value)).toString('base64url');
    for (const bad of ['', 'abc', folded('x'), folded({ version: 1 }), folded('0'.repeat(50 << 20))]) {
      assert.throws(() => decodeCopy(bad), { code: 'ERR_POLICY_INVALID' });
    }
    assert.throws(() => decodeCopy(folded({ version: 2 })), /later Weft/);
    const { objects, unreadable } = decodeCopy(
      folded({
        version: 1,
        instance: 'i',
        savedAt: '',
        objects: [
          { kind: 'teapot', name: 'x', spec: {} },
          { kind: 'pool', name: 'y', spec: { port: -1 } },
          items[1],
        ],
      }),
    );
    assert.deepEqual([objects.map(({ name }) => name), unreadable.length], [['shop'], 2]);
  });
});

describe('policy kept in a cloud', () => {
  const signal = new AbortController().signal;
  let harness: Harness;

  beforeEach(async () => {
    harness = new Harness(datacenterOf({ h1: ['app1'], h2: ['app2'] }));
    harness.datacenter.keepsOwner = 'atomic';
    await harness.start();
    await applyShop(harness);
    await harness.until('it serves', async () => (await harness.service('web')) === 'serving');
  });
  afterEach(async () => {
    await harness.stop();
  });

  const kept = () => {
    const text = harness.datacenter.policyCopy;
    return text === null ? null : decodeCopy(text);
  };
  const names = () => kept()?.objects.map(({ kind, name }) => `${kind}/${name}`);
  /** Another controller with an empty store, which knows only the cloud. */
  const loseStore = async () => {
    await harness.stop();
    harness.store = new MemoryStore();
    harness.hub = new FakeHub();
    harness.engines.hub = harness.hub;
    await harness.start();
    await harness.apply('cloud', 'lab', { platform: 'lab', address: '/nowhere' });
    await harness.run(3000);
  };
  const adoption = async (): Promise<Adoption> => {
    const asked = harness.controller.backend.adoption('lab', signal);
    asked.catch(() => undefined);
    await harness.run(100);
    return asked;
  };

  it('follows the policy', async () => {
    await harness.run(3000);
    assert.deepEqual(names(), ['cloud/lab', 'engine-group/edge', 'pool/shop', 'virtual-service/web']);
    await harness.remove('virtual-service', 'web');
    await harness.run(3000);
    assert.deepEqual(names(), ['cloud/lab', 'engine-group/edge', 'pool/shop']);
  });

  it('is neither written over by a controller that lost its store, nor by one that is restarted', async () => {
    await harness.run(3000);
    const before = harness.datacenter.policyCopy;
    await harness.restart();
    await harness.run(5000);
    assert.equal(harness.datacenter.policyCopy, before);
    await loseStore();
    await harness.run(10_000);
    assert.equal(harness.datacenter.policyCopy, before);
    // Nor where nothing of the engines is left that would keep the cloud waiting.
    await harness.stop();
    harness.datacenter.change((state) => {
      state.vms = state.vms.filter((vm) => vm.engine === null);
      for (const vm of state.vms) for (const nic of vm.nics) nic.segment = 'prod';
      for (const host of state.hosts) host.segments = host.segments.filter(({ role }) => role !== 'shadow');
    });
    harness.datacenter.owner = null;
    await loseStore();
    await harness.run(10_000);
    assert.equal((await harness.status()).clouds[0]?.state, 'connected');
    assert.equal(harness.datacenter.policyCopy, before);
  });

  it('brings the policy back: shown as missing, applied, adopted, and kept in the new name', async () => {
    await harness.run(3000);
    const first = kept()?.instance;
    await loseStore();
    const found = await adoption();
    assert.equal(found.isHeld, true);
    assert.deepEqual(
      found.keptPolicy?.objects.map(({ kind, name, state }) => `${kind}/${name} ${state}`),
      ['cloud/lab same', 'engine-group/edge missing', 'pool/shop missing', 'virtual-service/web missing'],
    );
    for (const { kind, name, spec } of found.keptPolicy?.objects ?? []) await harness.apply(kind, name, spec);
    await harness.run(200);
    const complete = await adoption();
    assert.deepEqual([...new Set(complete.engines.map(({ fate }) => fate))], ['kept']);
    const adopted = harness.controller.backend.adopt('lab', complete.fingerprint, signal);
    await harness.run(100);
    await adopted;
    await harness.until('it serves', async () => (await harness.service('web')) === 'serving', 40_000);
    await harness.run(3000);
    assert.notEqual(kept()?.instance, first);
    assert.equal(names()?.length, 4);
  });

  it('says that there is no copy where the cloud refuses it, and works all the same', async () => {
    harness.datacenter.refuse('writePolicyCopy');
    await harness.remove('virtual-service', 'web');
    await harness.run(10_000);
    const warnings = async () => (await harness.status()).controller.warnings?.join(' ') ?? '';
    assert.match(await warnings(), /no current copy of the policy is kept in cloud lab/);
    harness.datacenter.heal();
    await harness.run(10_000);
    assert.equal(await warnings(), '');
    assert.equal(names()?.length, 3);
  });
});
