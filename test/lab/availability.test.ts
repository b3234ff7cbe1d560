/** A host loses its power, and the cluster starts its VMs elsewhere. */
import assert from 'node:assert/strict';
import type { Platform } from '../../src/hypervisor/platform.ts';
import { healFault, injectFault } from '../../src/lab/control.ts';
import { isWeftError } from '../../src/policy/errors.ts';
import { openVcenter } from '../../src/vcenter/index.ts';
import { type BlankOva, buildBlankOva } from '../vcenter/blank-ova.ts';
import { optionsAt, startPaperVcenter } from '../vcenter/paper-vcenter.ts';
import { eventually, type LabUnderTest, requireRootOrSkip, startLab } from './lab-under-test.ts';

const never = new AbortController().signal;

describe('a host that loses its power', () => {
  let lab: LabUnderTest;
  let ova: BlankOva;
  let platform: Platform;

  before(async function () {
    requireRootOrSkip(this);
    this.timeout(60_000);
    lab = await startLab('h', 'vcenter');
    ova = await buildBlankOva(never);
    platform = openVcenter({ ...optionsAt((await lab.status()).vcenter!), engines: ova.options });
  });
  after(async () => {
    await platform?.close();
    ova?.remove();
    await lab?.stop();
  });

  const listed = async (name: string) =>
    (await platform.inventory(never)).vms.find((vm) => vm.name === name)!;
  const reached = async () =>
    (await lab.probe<{ host?: string }>('client', 'http', 1500, 'http://10.77.0.13:8080/json')).host;

  it('is not connected, takes no calls, and its VMs run on other hosts with their addresses', async () => {
    const before = await listed('app3');
    assert.equal(before.host, 'host-12');
    const { cursor } = await platform.inventory(never);
    await injectFault(lab.session, { kind: 'host', host: 'h2' }, never);
    await platform.watch(cursor, never);
    const { hosts } = await platform.inventory(never);
    assert.deepEqual(
      hosts.map((host) => host.isConnected),
      [true, false, true],
    );
    await assert.rejects(platform.power(before.id, 'reset', never), (error) =>
      isWeftError(error, 'ERR_HYPERVISOR_REFUSED'),
    );
    await eventually(async () => (await listed('app3')).host !== 'host-12');
    await eventually(async () => (await reached()) !== undefined);
    const after = await listed('app3');
    assert.deepEqual({ ...after, host: before.host }, before);
    assert.notEqual(await reached(), 'h2');
  });

  it('leaves its engine where it is, off, and has power again when it is healed', async function () {
    this.timeout(30_000);
    await healFault(lab.session, null, never);
    await platform.ensureSegment(
      { host: 'host-12', name: 'prod-weft', role: 'shadow', shadows: 'prod' },
      never,
    );
    const engine = await platform.deployEngine(
      {
        engine: 'edge-h2',
        host: 'host-12',
        segments: { mgmt: 'mgmt', out: 'prod', in: 'prod-weft' },
        properties: { engine: 'edge-h2', controller: 'https://192.0.2.1:7443', ca: 'PEM', token: 'once' },
      },
      () => {},
      never,
    );
    await injectFault(lab.session, { kind: 'host', host: 'h2' }, never);
    await new Promise((resolve) => setTimeout(resolve, 2500));
    assert.equal((await listed('edge-h2')).host, 'host-12');
    await healFault(lab.session, null, never);
    assert.equal((await listed('edge-h2')).power, 'off');
    await platform.power(engine.id, 'on', never);
    assert.equal((await listed('edge-h2')).power, 'on');
  });

  it('is told of in the events that a vCenter posts', async () => {
    const paper = await startPaperVcenter();
    try {
      for (const vm of paper.record.vms) await paper.datacenter.vms.power(vm.id, 'on');
      await paper.datacenter.faults.inject({ kind: 'host', host: 'h1' });
      const types = () => paper.vcenter.events.query({}).map((event) => event.$type);
      await eventually(async () => types().length === 4);
      await paper.datacenter.faults.heal(null);
      assert.deepEqual(types(), [
        'HostConnectionLostEvent',
        'DasHostFailedEvent',
        'VmRestartedOnAlternateHostEvent',
        'VmRestartedOnAlternateHostEvent',
        'HostConnectedEvent',
      ]);
    } finally {
      await paper.stop();
    }
  });
});
