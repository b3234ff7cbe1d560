/** A group of engines that only observes, with real packets: counts are those of what was sent, and nothing is injected. */
import assert from 'node:assert/strict';
import { readLabStatus } from '../../src/lab/control.ts';
import { run } from '../../src/lab/world/iproute.ts';
import { namespaceOf } from '../../src/lab/world/names.ts';
import type { SystemStatus } from '../../src/policy/answers.ts';
import { requireRoot } from '../root.ts';
import { type ScenarioLab, startScenarioLab } from './running-lab.ts';
import { sleep } from './traffic.ts';

/** Own addresses of app1 and app3: they reach their members however engines stand. */
const MEMBERS = [
  { address: '10.77.0.11', port: 8080 },
  { address: '10.77.0.13', port: 8080 },
];
const SENT = 40;

for (const cloud of ['lab', 'vcenter'] as const) {
  describe(`engines that only observe, cloud ${cloud}`, function () {
    this.timeout(120_000);
    let lab: ScenarioLab;

    before(async function () {
      requireRoot(this, 'scenarios in the lab');
      lab = await startScenarioLab(cloud === 'lab' ? 'o' : 'ov', cloud);
    });
    after(async () => lab?.close());

    async function setMode(mode: 'mirror' | 'in-line'): Promise<void> {
      const { spec } = (await lab.controller.get('engine-group', 'edge')) as { spec: object };
      const document = { kind: 'engine-group', name: 'edge', spec: { ...spec, mode } };
      await lab.controller.apply([document as never]);
    }
    const isObserving = ({ engines, services }: SystemStatus) =>
      engines.every(({ state }) => state === 'observing') &&
      services.every(({ message }) => !message.includes('not observed yet'));
    const isInLine = ({ engines, members }: SystemStatus) =>
      engines.every(({ state }) => state === 'ready') && members.every((one) => one.isIntercepted);
    const engineOf = (status: SystemStatus, host: string) =>
      status.engines.find((engine) => engine.host.startsWith(host))!;

    /** Frames that an engine of a host has sent by a port, as the host's switch counted them. */
    async function sentBy(engine: string, port: 'in' | 'out'): Promise<number> {
      const { vms } = await readLabStatus(lab.session, AbortSignal.timeout(10_000));
      const vm = vms.find((one) => one.name.includes(engine))!;
      const number = vm.id.replace(/\D+/g, '');
      const host = namespaceOf(lab.name, vm.host);
      const text = await run(
        'ip',
        ['-n', host, '-s', '-j', 'link', 'show', 'dev', `vm${number}-${port}`],
        '',
      );
      const [link] = JSON.parse(text) as [{ stats64: { rx: { packets: number } } }];
      return link.stats64.rx.packets;
    }
    async function filters(): Promise<string> {
      const { vms } = await readLabStatus(lab.session, AbortSignal.timeout(10_000));
      const found: string[] = [];
      for (const vm of vms.filter((one) => one.engine === null)) {
        const device = `vm${vm.id.replace(/\D+/g, '')}-eth0`;
        for (const direction of ['ingress', 'egress']) {
          found.push(
            await run(
              'tc',
              ['-n', namespaceOf(lab.name, vm.host), 'filter', 'show', 'dev', device, direction],
              '',
            ),
          );
        }
      }
      return found.join('').trim();
    }

    it('goes from in line to observing under traffic, and loses no request', async () => {
      lab.client.forget();
      lab.client.startLoad(MEMBERS, { workers: 6, pauseMs: 10, timeoutMs: 4000 });
      await sleep(300);
      await setMode('mirror');
      const status = await lab.until('engines observe', isObserving, 20_000);
      await sleep(300);
      lab.client.stopLoad();
      await sleep(300);
      assert.ok(lab.client.results.length > 20);
      assert.deepEqual(
        lab.client.results.flatMap(({ error }) => error ?? []),
        [],
      );
      assert.ok(status.members.every((member) => !member.isIntercepted));
      assert.notEqual(await filters(), '');
    });

    it('counts what was sent, by member and by rule, and sends nothing but probes', async () => {
      await sleep(1000);
      const begun = await lab.controller.status();
      const before = engineOf(begun, 'h1');
      const others = begun.members.find((one) => one.vm === 'app1')!.connections ?? 0;
      const start = performance.now();
      const [inBefore, outBefore] = [await sentBy('edge-h1', 'in'), await sentBy('edge-h1', 'out')];
      const { open, errors } = await lab.client.hold('group', MEMBERS[0]!, SENT);
      assert.deepEqual([open, errors], [SENT, []]);
      const quarantined = await lab.client.get({ ...MEMBERS[0]!, from: '10.77.0.58' });
      assert.equal(quarantined.error, null, 'what a rule would deny passes');
      const counted = await lab.until(
        'connections are counted',
        (status) =>
          status.members.some((one) => one.vm === 'app1' && one.connections === others + SENT) &&
          engineOf(status, 'h1').newFlows - before.newFlows === SENT + 1,
      );
      const after = engineOf(counted, 'h1');
      const rule = (name: string) =>
        (after.rules[`web/firewall/${name}`] ?? 0) - (before.rules[`web/firewall/${name}`] ?? 0);
      const other = (name: string) =>
        (after.rules[`basket/firewall/${name}`] ?? 0) - (before.rules[`basket/firewall/${name}`] ?? 0);
      assert.equal(rule('quarantined') + other('quarantined'), 1);
      assert.equal(rule('lan') + other('lan'), SENT);
      assert.equal((await sentBy('edge-h1', 'in')) - inBefore, 0, 'nothing leaves by `in`');
      // Two peers, ten probes a second each, and as many answers; requests alone would be hundreds of frames.
      const probes = ((performance.now() - start) / 100 + 2) * 2 * 2;
      const sent = (await sentBy('edge-h1', 'out')) - outBefore;
      assert.ok(sent <= probes, `${sent} frames left by \`out\`, of ${probes.toFixed(0)} that probes may be`);
      assert.equal(await lab.client.release('group'), 0);
      await lab.until('closed ones are not counted any more', (status) =>
        status.members.some((one) => one.vm === 'app1' && one.connections === others),
      );
    });

    it('goes back in line under traffic, and loses no request and no trace', async () => {
      lab.client.forget();
      lab.client.startLoad(MEMBERS, { workers: 6, pauseMs: 10, timeoutMs: 4000 });
      await sleep(300);
      await setMode('in-line');
      await lab.until('members are in line', isInLine, 20_000);
      await sleep(300);
      lab.client.stopLoad();
      await sleep(300);
      assert.ok(lab.client.results.length > 20);
      assert.deepEqual(
        lab.client.results.flatMap(({ error }) => error ?? []),
        [],
      );
      assert.equal(await filters(), '', 'no filter is left on any port');
    });
  });
}
