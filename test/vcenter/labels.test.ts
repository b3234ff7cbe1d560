/** Labels in the simulated vCenter: the custom attribute `weft.engine` of VMs and port groups. */
import assert from 'node:assert/strict';
import type { Platform } from '../../src/hypervisor/platform.ts';
import { type PaperVcenter, startPaperVcenter } from './paper-vcenter.ts';

describe('labels in a vCenter', function () {
  this.timeout(30_000);
  const never = new AbortController().signal;
  let paper: PaperVcenter;
  let platform: Platform;

  beforeEach(async () => {
    paper = await startPaperVcenter();
    platform = paper.open();
  });
  afterEach(async () => {
    await platform.close();
    await paper.stop();
  });

  const label = (id: string, engine: string | null) =>
    platform.label?.({ object: { kind: 'vm', id }, engine }, never);
  const values = () => {
    const { customFields, customValues } = paper.vcenter.state;
    const key = customFields.find(({ name }) => name === 'weft.engine')?.key;
    return Object.entries(customValues).flatMap(([object, byKey]) => {
      const value = byKey[String(key)];
      return value === undefined || value === '' ? [] : [[object, value]];
    });
  };

  it('are on a VM until they are taken away', async () => {
    const [vm] = (await platform.inventory(never)).vms;
    assert.ok(vm);
    await label(vm.id, null);
    assert.deepEqual(values(), []);
    await label(vm.id, 'edge-h1');
    await label(vm.id, 'edge-h1');
    assert.deepEqual(values(), [[vm.id, 'edge-h1']]);
    await label(vm.id, null);
    assert.deepEqual(values(), []);
  });

  it('are on the port group of a shadow, and gone with it', async () => {
    const [host] = (await platform.inventory(never)).hosts;
    assert.ok(host);
    await platform.ensureSegment(
      { host: host.id, name: 'prod-weft', role: 'shadow', shadows: 'prod' },
      never,
    );
    const object = { kind: 'segment', host: host.id, name: 'prod-weft' } as const;
    await platform.label?.({ object, engine: 'edge-h1' }, never);
    assert.deepEqual(
      values().map(([, value]) => value),
      ['edge-h1'],
    );
    assert.match(String(values()[0]?.[0]), /^dvportgroup-/);
    await platform.removeSegment(host.id, 'prod-weft', never);
    await platform.label?.({ object, engine: 'edge-h1' }, never);
  });

  it('need no VM that is gone, and are refused to a user without the privilege', async () => {
    const [vm] = (await platform.inventory(never)).vms;
    assert.ok(vm);
    await label('vm-999', 'edge-h1');
    await paper.datacenter.faults.inject({ kind: 'privilege', privilege: 'Global.SetCustomField' });
    await assert.rejects(async () => label(vm.id, 'edge-h1'), { code: 'ERR_HYPERVISOR_REFUSED' });
  });
});
