/** Interception on standard switches, with real packets: the platform drives the simulated vCenter, and cables move. */
import assert from 'node:assert/strict';
import type { Platform } from '../../src/hypervisor/platform.ts';
import { openVcenter } from '../../src/vcenter/index.ts';
import { eventually, type LabUnderTest, requireRootOrSkip, startLab } from '../lab/lab-under-test.ts';
import { type BlankOva, buildBlankOva } from './blank-ova.ts';
import { optionsAt } from './paper-vcenter.ts';

describe('a vCenter with standard switches', () => {
  const never = new AbortController().signal;
  let lab: LabUnderTest;
  let ova: BlankOva;
  let platform: Platform;

  before(async function () {
    requireRootOrSkip(this);
    this.timeout(60_000);
    lab = await startLab('s', 'vcenter-standard');
    ova = await buildBlankOva(never);
    platform = openVcenter({ ...optionsAt((await lab.status()).vcenter!), engines: ova.options });
  });
  after(async () => {
    await platform?.close();
    ova?.remove();
    await lab?.stop();
  });

  const reached = async () =>
    (await lab.probe<{ vm?: string }>('client', 'http', 1500, 'http://10.77.0.11:8080/json')).vm;
  const segmentOf = async (name: string, nic = 0) =>
    (await lab.status()).vms.find((vm) => vm.name === name)?.nics[nic]?.segment;

  it('leads a member’s packets through the engine of its host and back', async () => {
    const app1 = (await platform.inventory(never)).vms.find((vm) => vm.name === 'app1')!;
    const nic = { vm: app1.id, nic: app1.nics[0]!.id };
    assert.equal(await reached(), 'app1');
    await platform.ensureSegment(
      { host: 'host-11', name: 'prod-weft', role: 'shadow', shadows: 'prod' },
      never,
    );
    await platform.attach(nic, 'prod-weft', never);
    assert.equal(await segmentOf('app1'), 'vlan-3000');
    assert.equal(await reached(), undefined, 'nothing joins the shadow segment to production yet');
    const engine = await platform.deployEngine(
      {
        engine: 'edge-1',
        host: 'host-11',
        segments: { mgmt: 'mgmt', out: 'prod', in: 'prod-weft' },
        properties: { engine: 'edge-1', controller: 'https://192.0.2.1:7443', ca: 'PEM', token: 'once' },
      },
      () => {},
      never,
    );
    assert.deepEqual(
      engine.nics.map((one) => one.segment),
      ['mgmt', 'prod', 'prod-weft'],
    );
    assert.equal(await segmentOf('edge-1', 2), 'vlan-3000');
    await eventually(async () => (await reached()) === 'app1');
    await platform.attach(nic, 'prod', never);
    assert.equal(await segmentOf('app1'), 'prod');
    assert.equal(await reached(), 'app1');
    await platform.removeVm(engine.id, never);
    await platform.removeSegment('host-11', 'prod-weft', never);
    const { hosts } = await lab.status();
    assert.ok(hosts.every((host) => host.segments.every((one) => !one.name.startsWith('vlan-'))));
  });

  it('keeps a member reachable that moves to another host and back', async () => {
    const app1 = (await platform.inventory(never)).vms.find((vm) => vm.name === 'app1')!;
    await platform.migrate(app1.id, 'host-12', never);
    assert.equal(await reached(), 'app1');
    await platform.migrate(app1.id, 'host-11', never);
    assert.equal(await reached(), 'app1');
  });
});
