/** What the API is answered. */
import assert from 'node:assert/strict';
import type { TraceAnswer, TraceQuestion } from '../../src/policy/answers.ts';
import { WeftError } from '../../src/policy/errors.ts';
import type { VirtualServiceStatus } from '../../src/policy/virtual-service.ts';
import type { ConnectionReport, HealthReport } from '../../src/state/shared.ts';
import { datacenterOf } from '../hypervisor/memory-platform.ts';
import { applyShop, Harness } from './harness.ts';

const never = new AbortController().signal;

describe('backend', () => {
  let harness: Harness;
  beforeEach(async () => {
    harness = new Harness(datacenterOf({ h1: ['app1'], h2: ['app2'], h3: ['app3'] }));
    await harness.start();
    await applyShop(harness, { addresses: ['10.77.0.101', '10.77.0.11', 'fd77::101'] });
    await harness.until('web serves', async () => (await harness.service('web')) === 'serving');
  });
  afterEach(async () => {
    await harness.stop();
  });

  const hop = (engine: string, next: string | null): TraceAnswer => ({
    packet: 'tcp 10.0.0.9:50000 > 10.77.0.101:80',
    hop: { engine, host: engine.slice(-2), steps: [] },
    outcome: next === null ? 'delivered to app2' : null,
    next: next === null ? null : { engine: next, member: 'lab/id-app2/eth0' },
  });

  it('traces a packet from the engine that announces the address to the one beside the member', async () => {
    const asked: [string, TraceQuestion][] = [];
    harness.hub.answer = (engine, method, params) => {
      assert.equal(method, 'trace');
      asked.push([engine, structuredClone(params) as TraceQuestion]);
      return hop(engine, asked.length === 1 ? 'edge-h2' : null);
    };
    const trace = await harness.controller.backend.trace({ service: 'web', from: '10.0.0.9' }, never);
    const first = harness.graphOf('edge-h1')?.services[0]?.tiers[0]?.addresses[0]?.announcers[0];
    assert.deepEqual(
      trace.hops.map(({ engine }) => engine),
      [first, 'edge-h2'],
    );
    assert.equal(trace.outcome, 'delivered to app2');
    assert.deepEqual(
      asked.map(([, question]) => question.balancedTo),
      [null, 'lab/id-app2/eth0'],
    );
    assert.equal(asked[0]?.[1].port, 80);
  });

  it('enters by the engine before the VM that owns the address, and by the next announcer when the first is silent', async () => {
    harness.hub.answer = (engine) => hop(engine, null);
    const entry = async (to: string): Promise<string | undefined> =>
      (await harness.controller.backend.trace({ service: 'web', from: '10.0.0.9', to }, never)).hops[0]
        ?.engine;
    assert.equal(await entry('10.77.0.11'), 'edge-h1');
    const order = harness.graphOf('edge-h1')?.services[0]?.tiers[0]?.addresses[0]?.announcers ?? [];
    assert.equal(await entry('10.77.0.101'), order[0]);
    harness.engines.broken.add(order[0] ?? '');
    harness.engines.kill(order[0] ?? '');
    await harness.run(200);
    assert.equal(await entry('10.77.0.101'), order[1]);
    await assert.rejects(entry('10.77.0.99'), { code: 'ERR_NOT_FOUND' });
  });

  it('takes the address in the family of the sender, and ends a trace that goes round', async () => {
    let to = '';
    harness.hub.answer = (engine, _method, params) => {
      to = (params as TraceQuestion).to;
      return hop(engine, 'edge-h1');
    };
    const trace = await harness.controller.backend.trace({ service: 'web', from: 'fd00::9' }, never);
    assert.equal(to, 'fd77::101');
    assert.match(trace.outcome, /^dropped/);
  });

  it('explains by every engine that answers', async () => {
    harness.hub.answer = (engine) => {
      if (engine === 'edge-h2') throw new WeftError('ERR_TIMEOUT', 'too late');
      return [{ engine, tier: 'shop' }];
    };
    const explanations = await harness.controller.backend.explain('web', null, never);
    assert.deepEqual(
      explanations.map(({ engine }) => engine),
      ['edge-h1', 'edge-h3'],
    );
    await assert.rejects(harness.controller.backend.explain('nothing', null, never), {
      code: 'ERR_NOT_FOUND',
    });
    harness.hub.answer = () => {
      throw new WeftError('ERR_TIMEOUT', 'too late');
    };
    await assert.rejects(harness.controller.backend.explain('web', null, never), { code: 'ERR_TIMEOUT' });
  });

  it('gathers the flows of every engine, the largest first, and names those that do not answer', async () => {
    const question = { service: null, client: null, member: null, state: null, protocol: null };
    const flow = (client: string, bytes: number) => ({ client, bytes, packets: 1, idleMs: 0, ageMs: 0 });
    const asked: [string, unknown][] = [];
    harness.hub.answer = (engine, method, params) => {
      assert.equal(method, 'flows');
      asked.push([engine, params]);
      if (engine === 'edge-h2') throw new WeftError('ERR_TIMEOUT', 'too late');
      const flows = engine === 'edge-h1' ? [flow('a', 9), flow('b', 2)] : [flow('c', 5)];
      return { flows, matched: 10, total: 20 };
    };
    const { backend } = harness.controller;
    const request = { ...question, engine: null, sort: 'bytes' as const, limit: 2 };
    const answer = await backend.flows(request, never);
    assert.deepEqual(
      answer.flows.map(({ engine, host, client }) => [engine, host, client]),
      [
        ['edge-h1', 'h1', 'a'],
        ['edge-h3', 'h3', 'c'],
      ],
    );
    assert.deepEqual([answer.matched, answer.total], [20, 40]);
    assert.deepEqual(answer.failures, [{ engine: 'edge-h2', message: 'too late' }]);
    assert.deepEqual(asked[0]?.[1], { ...question, sort: 'bytes', limit: 2 });
    asked.length = 0;
    await backend.flows({ ...request, engine: 'edge-h3', member: 'app2' }, never);
    assert.deepEqual(
      asked.map(([engine]) => engine),
      ['edge-h3'],
    );
    await assert.rejects(backend.flows({ ...request, engine: 'egde-h3' }, never), /did you mean "edge-h\d"/);
    await assert.rejects(backend.flows({ ...request, member: 'aap2' }, never), /did you mean "app\d"/);
    await assert.rejects(backend.flows({ ...request, engine: 'edge-h2' }, never), { code: 'ERR_TIMEOUT' });
  });

  it('shows who forwards the packets, by engine and by group, and believes no figure that is none', async () => {
    const path = {
      kernelPackets: 900,
      kernelBytes: 5,
      typescriptPackets: 100,
      upcalls: 90,
      refused: 1,
      held: 2,
      bypassed: 3,
    };
    const report = (engine: string, value: unknown) => {
      const { value: before } = harness.hub.get(`engine/${engine}`) ?? {};
      harness.hub.putAs(engine, `engine/${engine}`, { ...(before as object), path: value });
    };
    for (const engine of ['edge-h1', 'edge-h2']) report(engine, path);
    report('edge-h3', { ...path, kernelPackets: '900' });
    const { engines } = await harness.status();
    assert.deepEqual(
      engines.map(({ id, path: figures }) => [id, figures]),
      [
        ['edge-h1', path],
        ['edge-h2', path],
        ['edge-h3', null],
      ],
    );
  });

  it('names the service under a flood and the engine that limits it, until that is over', async () => {
    const { floods } = harness.engines;
    const alerts = async () => {
      const status = await harness.stored<VirtualServiceStatus>('status/virtual-service/web');
      return status?.alerts;
    };
    const since = Date.UTC(2026, 0, 2, 3, 4, 5);
    floods.set('edge-h1', {
      web: { since, refused: 1000, evicted: 5 },
      gone: { since, refused: 1, evicted: 0 },
    });
    await harness.run(2000);
    assert.deepEqual(await alerts(), [
      { type: 'flood', engine: 'edge-h1', since: '2026-01-02T03:04:05.000Z' },
    ]);
    const shown = (await harness.status()).services.find(({ name }) => name === 'web');
    assert.match(shown!.message, /engine edge-h1 limits a flood of new connections/);
    floods.set('edge-h1', { web: { since, refused: 1000, evicted: 5, answered: 7 } });
    await harness.run(2000);
    assert.deepEqual(await alerts(), [
      { type: 'flood', engine: 'edge-h1', since: '2026-01-02T03:04:05.000Z', hasCookies: true },
    ]);
    floods.set('edge-h1', { web: { since: 'long ago' } });
    await harness.run(2000);
    assert.deepEqual(await alerts(), [], 'what makes no sense is not believed');
    floods.delete('edge-h1');
    await harness.run(2000);
    assert.deepEqual(await alerts(), []);
  });

  it('names the engine whose flow table is full, and what to raise, until it has room again', async () => {
    const { fullTables } = harness.engines;
    const alerts = async () =>
      (await harness.stored<VirtualServiceStatus>('status/virtual-service/web'))?.alerts;
    const since = Date.UTC(2026, 0, 2, 3, 4, 5);
    fullTables.set('edge-h1', {
      web: { since, hashed: 0, refused: 9 },
      gone: { since, hashed: 1, refused: 0 },
    });
    await harness.run(2000);
    assert.deepEqual(await alerts(), [
      { type: 'table-full', engine: 'edge-h1', since: '2026-01-02T03:04:05.000Z' },
    ]);
    const shown = (await harness.status()).services.find(({ name }) => name === 'web');
    assert.match(
      shown!.message,
      /flow table of engine edge-h1 is full, new flows are dropped: raise maxFlows/,
    );
    fullTables.set('edge-h1', 'nonsense');
    await harness.run(2000);
    assert.deepEqual(await alerts(), []);
  });

  it('shows connections, load, health and engines in its status', async () => {
    const local: ConnectionReport = { local: { 'lab/id-app1/eth0': 5 }, sent: {}, received: {} };
    const sent: ConnectionReport = { local: {}, sent: { 'lab/id-app1/eth0': 2 }, received: {} };
    harness.hub.putAs('edge-h1', 'connections/edge-h1', local);
    harness.hub.putAs('edge-h2', 'connections/edge-h2', sent);
    await harness.apply('pool', 'shop', {
      cloud: 'lab',
      members: { tags: ['app=shop'] },
      port: 8080,
      healthMonitors: [{ type: 'tcp' }],
    });
    const health: HealthReport = {
      monitor: 'edge-h3',
      version: 1,
      members: { 'lab/id-app1/eth0': { isUp: false, since: 0, reason: 'refused' } },
    };
    harness.hub.putAs('edge-h3', 'health/shop', health);
    await harness.run(500);
    const status = await harness.status();
    const member = status.members.find(({ vm }) => vm === 'app1');
    assert.deepEqual(
      [member?.connections, member?.health, member?.reason, member?.isIntercepted],
      [7, 'down', 'refused', true],
    );
    assert.deepEqual(member?.views['edge-h3'], { hops: 3, load: 28 });
    assert.equal(status.members.find(({ vm }) => vm === 'app2')?.health, 'unknown');
    assert.deepEqual(
      status.engines.map(({ id, host, state, graphRevision, wantedRevision }) => [
        id,
        host,
        state,
        graphRevision === wantedRevision,
      ]),
      [
        ['edge-h1', 'h1', 'ready', true],
        ['edge-h2', 'h2', 'ready', true],
        ['edge-h3', 'h3', 'ready', true],
      ],
    );
    const pool = await harness.stored<{ monitor: string; members: { vm: string; health: string }[] }>(
      'status/pool/shop',
    );
    assert.equal(pool?.monitor, 'edge-h3');
    assert.equal(pool?.members[0]?.health, 'down');
  });
});
