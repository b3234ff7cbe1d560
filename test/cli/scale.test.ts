/** `weft scale`, `weft drain` and `weft undrain` against a real API and store. */
import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import nock from 'nock';
import { run } from '../../src/cli/program.ts';
import type { AutoscaleStatus, ScaleFigures } from '../../src/policy/autoscale.ts';
import type { PoolSpec, PoolStatus } from '../../src/policy/pool.ts';
import { type ApiFixture, openApi, SAMPLE, TOKEN } from '../api/fixture.ts';
import { STATUS } from '../api/in-memory-backend.ts';
import { capturedTerminal } from './captured-terminal.ts';

nock.restore();

const FIGURES: ScaleFigures = {
  size: 3,
  serving: 3,
  coming: 0,
  leaving: 0,
  connectionsPerMember: 19.5,
  cpuPercent: null,
};
const SCALING: AutoscaleStatus = {
  state: 'steady',
  wanted: 3,
  message: '19.5 connections per member, target 20',
  figures: FIGURES,
  clones: [{ vm: 'shop-1', host: 'h2', phase: 'ready', since: '2026-11-25T10:00:00.000Z', message: '' }],
  decisions: [
    {
      at: '2026-11-25T09:59:00.000Z',
      from: 2,
      to: 3,
      reason: '29 connections per member, target 20',
      figures: { ...FIGURES, size: 2, serving: 2, connectionsPerMember: 29 },
    },
  ],
};

describe('scaling and draining by hand', () => {
  let fixture: ApiFixture;
  let env: Record<string, string>;

  beforeEach(async () => {
    fixture = await openApi();
    await fixture.applySample();
    await fixture.api.listen({ host: '127.0.0.1', port: 0 });
    const { port } = fixture.api.server.address() as AddressInfo;
    env = { WEFT_URL: `http://127.0.0.1:${port}`, WEFT_TOKEN: TOKEN };
    const members = ['app1', 'app2', 'shop-1'].map((vm) => ({
      vm,
      host: 'h1',
      health: 'up' as const,
      reason: '',
      connections: 0,
      cpuPercent: null,
      memoryBytes: null,
      receivedBytesPerSecond: null,
      sentBytesPerSecond: null,
    }));
    const status: PoolStatus = { members, monitor: null, autoscale: SCALING, message: '' };
    await fixture.store.write([{ key: 'status/pool/shop', value: status }]);
  });
  afterEach(() => fixture.close());

  async function weft(...args: string[]) {
    const terminal = capturedTerminal({ env });
    const code = await run(args, terminal);
    return { code, out: terminal.printed(), err: terminal.complained() };
  }

  const spec = async (): Promise<PoolSpec> => (await fixture.store.get<PoolSpec>('policy/pool/shop'))!.value;

  async function scaling(autoscale = '{ max: 5, targets: { connectionsPerMember: 20 } }'): Promise<void> {
    const text = SAMPLE.replace('port: 8080 }', `port: 8080, autoscale: ${autoscale} }`);
    const terminal = capturedTerminal({ env, stdin: text });
    assert.equal(await run(['apply', '-f', '-'], terminal), 0, terminal.complained());
  }

  it('says that a pool does not scale, and how it would', async () => {
    const { code, err } = await weft('scale', 'shop', '4');
    assert.equal(code, 2);
    assert.match(err, /pool shop does not scale: give it autoscale first, for example \{ max: 8/);
  });

  it('shows size, load, clones and the latest decisions with their figures', async () => {
    await scaling();
    const { code, out } = await weft('scale', 'shop');
    assert.equal(code, 0);
    assert.match(out, /^pool shop: 1 to 5 members; target 20 connections per member$/m);
    assert.match(out, /^steady: 19\.5 connections per member, target 20$/m);
    assert.match(out, /^ +3 +3 +0 +0 +19\.5 +\?$/m, 'what is not known is no 0');
    assert.match(out, /^shop-1 +h2 +ready/m);
    assert.match(out, /2 -> 3 .* 29 +\? +29 connections per member, target 20/);
    const json = JSON.parse((await weft('scale', 'shop', '-o', 'json')).out) as AutoscaleStatus;
    assert.deepEqual(json, SCALING);
  });

  it('shows the steps of a size without taking it, then takes it, and lets the load decide again', async () => {
    await scaling();
    const dry = await weft('scale', 'shop', '4', '--dry-run');
    assert.equal(dry.code, 0, dry.err);
    assert.match(dry.out, /STEP +OBJECT/);
    assert.match(dry.out, /pool shop: 4 members; nothing was changed/);
    assert.equal((await spec()).autoscale?.size, undefined);
    const [change] = fixture.backend.planned.at(-1) ?? [];
    assert.equal((change as { spec: PoolSpec }).spec.autoscale?.size, 4);

    assert.match(
      (await weft('scale', 'shop', '4')).out,
      /pool shop: 4 members; "weft scale shop" shows how it goes/,
    );
    assert.equal((await spec()).autoscale?.size, 4);
    assert.match((await weft('scale', 'shop', '4')).out, /4 members, as before/);
    assert.match((await weft('scale', 'shop', 'auto')).out, /the load decides/);
    assert.equal((await spec()).autoscale?.size, undefined);
    assert.deepEqual((await spec()).autoscale?.targets, { connectionsPerMember: 20 }, 'nothing else changed');
  });

  it('refuses sizes that are none, and those outside the bounds', async () => {
    await scaling();
    assert.equal((await weft('scale', 'shop', 'many')).code, 2);
    const { code, err } = await weft('scale', 'shop', '9');
    assert.equal(code, 2);
    assert.match(err, /pool shop may have 1 to 5 members/);
    assert.equal((await weft('scale', 'nobody', '2')).code, 3);
    assert.equal((await weft('scale', 'shop', '--wait')).code, 2);
  });

  it('waits for the size, says what goes on, and gives up after the time', async () => {
    await scaling();
    const pools = STATUS.pools;
    const coming = { ...FIGURES, size: 4, coming: 1 };
    STATUS.pools = [
      {
        ...SCALING,
        name: 'shop',
        min: 1,
        max: 5,
        state: 'growing',
        figures: coming,
        clones: [{ vm: 'shop-2', host: 'h1', phase: 'starting', since: '', message: 'it is not up yet' }],
      },
    ];
    try {
      const late = await weft('scale', 'shop', '4', '--wait', '--timeout', '0.6');
      assert.notEqual(late.code, 0);
      assert.match(late.err, /4 members; shop-2 on h1 starting: it is not up yet/);
      assert.match(late.err, /has not reached its size within 0\.6 s/);
      STATUS.pools[0]!.figures = { ...coming, coming: 0 };
      const there = await weft('scale', 'shop', '4', '--wait');
      assert.equal(there.code, 0);
      assert.match(there.out, /4 members; done/);
    } finally {
      STATUS.pools = pools;
    }
  });

  it('drains a member by its name, and takes it back', async () => {
    assert.match((await weft('drain', 'app1', '--dry-run')).out, /pool shop would be changed/);
    assert.deepEqual((await spec()).drain, []);
    assert.match((await weft('drain', 'app1', '--wait')).out, /pool shop changed/);
    assert.deepEqual((await spec()).drain, ['app1']);
    assert.match((await weft('drain', 'app1')).out, /unchanged/);
    assert.match((await weft('undrain', 'app1')).out, /pool shop changed/);
    assert.deepEqual((await spec()).drain, []);
  });

  it('names who was probably meant, and leaves patterns to who wrote them', async () => {
    const { code, err } = await weft('drain', 'app-1');
    assert.equal(code, 3);
    assert.match(err, /no VM app-1 is a member of any pool: did you mean app1\?/);
    const terminal = capturedTerminal({
      env,
      stdin: SAMPLE.replace('port: 8080 }', 'port: 8080, drain: ["app*"] }'),
    });
    assert.equal(await run(['apply', '-f', '-'], terminal), 0);
    const refused = await weft('undrain', 'app2');
    assert.equal(refused.code, 2);
    assert.match(refused.err, /app2 drains by the pattern "app\*" of pool shop/);
  });
});
