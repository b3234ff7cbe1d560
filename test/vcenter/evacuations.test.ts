/** A host on its way into maintenance is seen at once, as long as it is, and not when it has arrived or turned back. */
import assert from 'node:assert/strict';
import type { Host, Platform } from '../../src/hypervisor/platform.ts';
import { openVcenter } from '../../src/vcenter/index.ts';
import { VcenterSession } from '../../src/vcenter/session.ts';
import type { MoRef } from '../../src/vcenter/vim/schema.ts';
import { type PaperVcenter, startPaperVcenter } from './paper-vcenter.ts';

describe('hosts that are being emptied in vCenter', function () {
  this.timeout(30_000);
  const never = new AbortController().signal;
  const host: MoRef = { type: 'HostSystem', value: 'host-12' };
  let paper: PaperVcenter;
  let platform: Platform;
  let admin: VcenterSession;

  beforeEach(async () => {
    paper = await startPaperVcenter();
    const { url: address, user, thumbprint } = paper;
    const account = { address, user, password: () => paper.password, thumbprint };
    admin = new VcenterSession(account);
    platform = openVcenter({
      ...account,
      managementNetwork: 'mgmt',
      uplinkAttribute: 'uplinks',
      rackCategory: 'rack',
      engines: { ova: '/none', signedBy: null, size: 'small', folder: null, datastore: null, now: Date.now },
      shadowVlans: { first: 3000, last: 3010 },
    });
  });
  afterEach(async () => {
    await platform.close();
    await admin.close();
    await paper.stop();
  });

  const seen = async (): Promise<Host> =>
    (await platform.inventory(never)).hosts.find(({ id }) => id === host.value)!;
  /** The task does not end by itself: a VM is in the way. */
  const holdUp = (): void => {
    paper.record.faults.push({
      id: 'fault-1',
      kind: 'vcenter',
      call: 'EnterMaintenanceMode_Task',
      object: null,
      percent: 100,
      count: 1,
      delayMs: 0,
      effect: 'stick',
    });
  };

  it('are told by the watch when the task begins, and are in service again when it is cancelled', async () => {
    holdUp();
    const { cursor, hosts } = await platform.inventory(never);
    assert.ok(hosts.every((one) => !one.isEvacuating && !one.isInMaintenance));
    const watch = platform.watch(cursor, AbortSignal.timeout(5000));
    const task = (await admin.call(host, 'EnterMaintenanceMode_Task', { timeout: 0 }, never)) as MoRef;
    await watch;
    const { isEvacuating, isInMaintenance } = await seen();
    assert.deepEqual([isEvacuating, isInMaintenance], [true, false]);
    const others = (await platform.inventory(never)).hosts.filter(({ id }) => id !== host.value);
    assert.ok(
      others.every((one) => !one.isEvacuating),
      'the others are not',
    );
    await admin.call(task, 'CancelTask', {}, never);
    const deadline = performance.now() + 5000;
    while ((await seen()).isEvacuating) {
      assert.ok(performance.now() < deadline, 'it is in service again');
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  });

  it('are in maintenance, and not on their way, when they have arrived', async () => {
    await admin.task(host, 'EnterMaintenanceMode_Task', { timeout: 0 }, never);
    const { isEvacuating, isInMaintenance } = await seen();
    assert.deepEqual([isEvacuating, isInMaintenance], [false, true]);
    await admin.task(host, 'ExitMaintenanceMode_Task', { timeout: 0 }, never);
    assert.equal((await seen()).isInMaintenance, false);
  });
});
