/** Hosts of the lab enter and leave maintenance; what runs there is moved, in the lab itself and by vim25 calls. */
import assert from 'node:assert/strict';
import { setMaintenance } from '../../src/lab/control.ts';
import { openLab } from '../../src/lab/index.ts';
import type { LabStatus } from '../../src/lab/world/status.ts';
import { isWeftError } from '../../src/policy/errors.ts';
import { VcenterSession } from '../../src/vcenter/session.ts';
import { eventually, type LabUnderTest, requireRootOrSkip, startLab } from './lab-under-test.ts';

const never = new AbortController().signal;

describe('maintenance of a host of the lab', function () {
  this.timeout(60_000);
  let lab: LabUnderTest;

  before(async function () {
    requireRootOrSkip(this);
    lab = await startLab('m', 'vcenter');
  });
  after(() => lab?.stop());

  const hostOf = (status: LabStatus, id: string) => status.hosts.find((host) => host.id === id)!;
  const stateOf = async (id: string) => hostOf(await lab.status(), id).maintenance?.state ?? 'in service';
  const runningOn = async (id: string) =>
    (await lab.status()).vms.filter((vm) => vm.host === id && vm.power === 'on').map((vm) => vm.name);

  it('moves what runs there to the others, and takes nothing until it is back', async () => {
    const platform = openLab({ socket: lab.session.socket });
    const before = await runningOn('h2');
    assert.ok(before.length > 0);
    await setMaintenance(lab.session, 'h2', 'enter', never);
    await eventually(async () => (await stateOf('h2')) === 'in');
    assert.deepEqual(await runningOn('h2'), []);
    assert.equal((await runningOn('h1')).length + (await runningOn('h3')).length, 6, 'all run elsewhere');
    const [vm] = (await lab.status()).vms.filter((one) => one.name === before[0]);
    await assert.rejects(platform.migrate(vm!.id, 'h2', never), /maintenance exit h2/);
    await setMaintenance(lab.session, 'h2', 'exit', never);
    await platform.migrate(vm!.id, 'h2', never);
    await platform.close();
  });

  it('is entered and left by vim25 tasks, which are cancelled and time out', async () => {
    const { vcenter } = await lab.status();
    const session = new VcenterSession({
      address: vcenter!.url,
      user: vcenter!.user,
      password: () => vcenter!.password,
      thumbprint: vcenter!.thumbprintSha256,
    });
    const host = { type: 'HostSystem', value: 'host-13' };
    const paths = ['runtime.inMaintenanceMode'];
    const isIn = async () => (await session.properties([host], paths, never)).get('host-13')![paths[0]!];
    await session.task(host, 'EnterMaintenanceMode_Task', { timeout: 0 }, never);
    assert.equal(await isIn(), true);
    assert.deepEqual(await runningOn('h3'), []);
    await session.task(host, 'ExitMaintenanceMode_Task', { timeout: 0 }, never);
    assert.equal(await isIn(), false);
    await assert.rejects(session.task(host, 'ExitMaintenanceMode_Task', { timeout: 0 }, never), (error) =>
      isWeftError(error, 'ERR_HYPERVISOR_REFUSED'),
    );
    await session.close();
  });

  it('says what it waits for, and is as before when it has not got there in time', async () => {
    const platform = openLab({ socket: lab.session.socket });
    const { vcenter } = await lab.status();
    const session = new VcenterSession({
      address: vcenter!.url,
      user: vcenter!.user,
      password: () => vcenter!.password,
      thumbprint: vcenter!.thumbprintSha256,
    });
    for (const id of ['h1', 'h3']) {
      await setMaintenance(lab.session, id, 'enter', never);
      await eventually(async () => (await stateOf(id)) === 'in');
    }
    const listed = async () => (await platform.inventory(never)).hosts.find(({ id }) => id === 'h2')!;
    const isStuck = async () => {
      const { waitsFor } = hostOf(await lab.status(), 'h2').maintenance ?? { waitsFor: [] };
      return (
        waitsFor.length > 0 && waitsFor.every(({ reason }) => /no other host is in service/.test(reason))
      );
    };
    await setMaintenance(lab.session, 'h2', 'enter', never);
    await eventually(isStuck);
    assert.equal((await listed()).isEvacuating, true, 'it is seen to be leaving');
    await setMaintenance(lab.session, 'h2', 'exit', never);
    assert.equal((await listed()).isEvacuating, false);

    const last = { type: 'HostSystem', value: 'host-12' };
    await assert.rejects(
      session.task(last, 'EnterMaintenanceMode_Task', { timeout: 1 }, never),
      /timed out/i,
    );
    assert.equal(await stateOf('h2'), 'in service');
    assert.equal((await runningOn('h2')).length, 6, 'and all go on there');
    await platform.close();
    await session.close();
  });
});
