/** The firewall on running traffic: a change meets established connections that the kernel forwards, limits and logs hold. */
import assert from 'node:assert/strict';
import { requireRoot } from '../root.ts';
import { type ScenarioLab, startScenarioLab } from './running-lab.ts';
import { sleep, whole } from './traffic.ts';

const WEB = { address: '10.77.0.101', port: 80 };
/** Another address of the client's. */
const SUSPECT = '10.77.0.58';
const LAN = { name: 'lan', action: 'allow', from: ['10.77.0.0/24', 'fd77::/64'] };

describe('firewall of running services', function () {
  this.timeout(90_000);
  let lab: ScenarioLab;

  before(async function () {
    requireRoot(this, 'scenarios in the lab');
    lab = await startScenarioLab('fw');
    await whole(lab);
  });
  after(async () => lab?.close());

  const rules = async (...list: object[]) => {
    const before = (await lab.controller.status()).engines.map(({ graphRevision }) => graphRevision);
    await lab.controller.apply([{ kind: 'firewall-policy', name: 'shop-clients', spec: { rules: list } }]);
    await lab.until('every engine has taken the new graph', ({ engines }) =>
      engines.every(({ graphRevision }, index) => graphRevision > before[index]!),
    );
  };
  const blocked = (...prefixes: string[]) =>
    lab.controller.apply([{ kind: 'address-set', name: 'suspects', spec: { prefixes } }]);
  const requestsOf = (key: string) => lab.client.steady.get(key)?.requests ?? 0;
  const answered = async (key: string, more: number) => {
    const from = requestsOf(key);
    const deadline = performance.now() + 20_000;
    while (requestsOf(key) < from + more && performance.now() < deadline) await sleep(50);
    return requestsOf(key) - from;
  };
  const view = () => lab.controller.firewall('shop-clients', '50');

  it('stops an established connection by an address set, and takes another once the set allows it', async () => {
    await blocked('192.0.2.0/24');
    await rules({ name: 'suspects', action: 'deny', fromSets: ['suspects'], log: {} }, LAN);
    lab.client.startSteady('suspect', { ...WEB, from: SUSPECT }, 5);
    lab.client.startSteady('other', WEB, 5);
    assert.ok((await answered('suspect', 50)) >= 50);
    const deadline = performance.now() + 10_000;
    const kernel = async () => {
      const { flows } = await lab.controller.flows({ service: 'web', client: `${SUSPECT}/32`, limit: '10' });
      return flows.some((flow) => flow.kernel === 'both' || flow.kernel === 'forward');
    };
    while (!(await kernel())) {
      assert.ok(performance.now() < deadline, 'the kernel forwards the connection');
      await sleep(100);
    }
    const before = (await lab.controller.status()).engines.map(({ drops }) => drops['firewall-deny'] ?? 0);

    await blocked(`${SUSPECT}/32`);
    const dropped = async () =>
      (await lab.controller.status()).engines.some(
        ({ drops }, index) => (drops['firewall-deny'] ?? 0) > before[index]!,
      );
    while (!(await dropped())) {
      assert.ok(performance.now() < deadline + 10_000, 'the connection is stopped');
      await sleep(100);
    }
    const stoppedAt = requestsOf('suspect');
    assert.ok((await answered('other', 50)) >= 50, 'the other connection goes on');
    assert.equal(requestsOf('suspect'), stoppedAt, 'nothing passes while the rule stands');
    const { error } = await lab.client.get({ ...WEB, from: SUSPECT }, 1000);
    assert.match(error ?? 'an answer', /^no answer/);

    await blocked('192.0.2.0/24');
    assert.equal((await lab.client.get({ ...WEB, from: SUSPECT })).error, null);
    assert.ok(!lab.client.steadyBroken.has('other'));
    lab.client.stopSteady();

    const { rules: counted, log, silent } = await view();
    assert.deepEqual(silent, []);
    assert.ok(counted.find(({ rule }) => rule === 'suspects')!.packets > 0);
    assert.ok(counted.find(({ rule }) => rule === 'lan')!.packets > 0);
    const entry = log.find(({ from, verdict }) => from === SUSPECT && verdict === 'denied');
    assert.deepEqual(
      [entry?.rule, entry?.to, entry?.toPort, entry?.service],
      ['suspects', WEB.address, 80, 'web'],
    );
  });

  it('lets through no more new connections of a source than its limit, and all of another', async () => {
    const limit = { connectionsPerSecond: 1, burstMs: 5000, per: 'source' };
    await rules({ ...LAN, name: 'limited', action: 'rate-limit', limit });
    const began = performance.now();
    let passed = 0;
    let refused = 0;
    // Their SYN is repeated after a second: an attempt gives up before that.
    for (let attempt = 0; attempt < 12; attempt++) {
      const { error } = await lab.client.get({ ...WEB, from: SUSPECT }, 300);
      if (error === null) passed++;
      else refused++;
    }
    const allowed = 5 + (performance.now() - began) / 1000 + 1;
    assert.ok(passed >= 5, `${passed} passed`);
    assert.ok(passed <= allowed, `${passed} passed, ${allowed} were allowed`);
    assert.ok(refused > 0);
    assert.equal((await lab.client.get(WEB)).error, null, 'another source has its own count');
    const limited = (await view()).rules.find(({ rule }) => rule === 'limited')!;
    assert.ok(limited.limited >= refused, JSON.stringify(limited));
  });
});
