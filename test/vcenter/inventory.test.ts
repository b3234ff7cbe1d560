/** The inventory of a vCenter that is not ours: govmomi's simulator. */
import assert from 'node:assert/strict';
import { isWeftError } from '../../src/policy/errors.ts';
import { VcenterInventory } from '../../src/vcenter/inventory.ts';
import { VcenterSession } from '../../src/vcenter/session.ts';
import { startVcsim, type Vcsim } from './vcsim.ts';

const never = new AbortController().signal;

describe('the inventory of vcsim', () => {
  let vcsim: Vcsim;
  let session: VcenterSession;
  let inventory: VcenterInventory;

  before(async function () {
    vcsim = await startVcsim(this, { clusters: 2, hosts: 3, machines: 6 });
    session = openSession();
    inventory = openInventory(session);
  });
  after(async () => {
    await inventory?.close();
    await session?.close();
    await vcsim?.stop();
  });

  const openSession = (to: Vcsim = vcsim) =>
    new VcenterSession({
      address: to.url,
      user: to.user,
      password: () => to.password,
      thumbprint: to.thumbprint,
    });
  const openInventory = (of: VcenterSession) =>
    new VcenterInventory(of, {
      managementNetwork: 'VM Network',
      uplinkAttribute: 'weft.uplinks',
      rackCategory: 'rack',
    });
  const first = async () => (await inventory.list(never)).vms[0]!;
  const vmRef = (value: string) => ({ type: 'VirtualMachine', value });
  /** As somebody sees it who begins now: vcsim tells no change of custom attributes and notes. */
  const afresh = async () => {
    const fresh = openInventory(session);
    const listed = await fresh.list(never);
    await fresh.close();
    return listed;
  };
  const rename = (vm: string, newName: string) => session.task(vmRef(vm), 'Rename_Task', { newName }, never);

  it('lists hosts with their place and segments, and VMs with their NICs', async () => {
    const { hosts, vms } = await inventory.list(never);
    assert.equal(hosts.length, 6);
    assert.equal(vms.length, 12);
    assert.equal(new Set(vms.map(({ id }) => id)).size, 12);
    const host = hosts[0]!;
    assert.ok(host.isConnected && !host.isInMaintenance);
    assert.deepEqual(host.uplinkPath, ['DC0', 'DC0_C0']);
    assert.equal(host.cluster, 'DC0_C0');
    assert.ok(host.hardware && host.hardware.cpuCores > 0 && host.hardware.memoryBytes > 2 ** 30);
    assert.ok(host.segments.some(({ name, role }) => name === 'DC0_DVPG0' && role === 'production'));
    assert.deepEqual(
      host.segments.filter(({ role }) => role === 'management').map(({ name }) => name),
      ['VM Network'],
    );
    const vm = vms[0]!;
    assert.equal(vm.power, 'on');
    assert.equal(vm.engine, null);
    assert.equal(vm.folder, '/DC0');
    assert.ok(hosts.some(({ id }) => id === vm.host));
    assert.equal(vm.nics[0]!.segment, 'DC0_DVPG0');
    assert.match(vm.nics[0]!.mac, /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
  });

  it('puts a listing of several pages together', async () => {
    const larger = await startVcsim(null, { hosts: 10, machines: 110 });
    const other = openSession(larger);
    const whole = openInventory(other);
    const { hosts, vms } = await whole.list(never);
    assert.deepEqual([hosts.length, new Set(vms.map(({ id }) => id)).size], [10, 110]);
    await whole.close();
    await other.close();
    await larger.stop();
  });

  it('lists a large vCenter in parts first, the same as by one filter, and follows it from then on', async () => {
    const whole = await afresh();
    const inParts = new VcenterInventory(session, {
      managementNetwork: 'VM Network',
      uplinkAttribute: 'weft.uplinks',
      rackCategory: 'rack',
      largeFrom: 5,
    });
    const first = await inParts.list(never);
    assert.deepEqual([first.hosts, first.vms], [whole.hosts, whole.vms]);
    const second = await inParts.list(never);
    assert.equal(second.cursor, first.cursor, 'the filter tells what the parts told');
    const watch = inParts.watch(second.cursor, never);
    await session.task(vmRef(first.vms[1]!.id), 'PowerOffVM_Task', {}, never);
    assert.notEqual(await watch, second.cursor);
    await session.task(vmRef(first.vms[1]!.id), 'PowerOnVM_Task', {}, never);
    await inParts.close();
  });

  it('shows what was changed through the same session at once', async () => {
    const vm = await first();
    await session.task(vmRef(vm.id), 'PowerOffVM_Task', {}, never);
    assert.equal((await first()).power, 'off');
    await session.task(vmRef(vm.id), 'PowerOnVM_Task', {}, never);
    assert.equal((await first()).power, 'on');
  });

  it("answers a watch within a second of somebody else's change, and not before", async () => {
    const other = openSession();
    const vm = await first();
    const { cursor } = await inventory.list(never);
    let isAnswered = false;
    const watch = inventory.watch(cursor, never).then((next) => {
      isAnswered = true;
      return next;
    });
    await new Promise((resolve) => setTimeout(resolve, 150));
    assert.equal(isAnswered, false);
    await other.task(vmRef(vm.id), 'Rename_Task', { newName: 'shop-1' }, never);
    const changed = performance.now();
    assert.notEqual(await watch, cursor);
    assert.ok(performance.now() - changed < 1000);
    assert.equal((await first()).name, 'shop-1');
    await other.close();
  });

  it('lists promptly while somebody watches', async () => {
    const { cursor } = await inventory.list(never);
    const abort = new AbortController();
    const watch = inventory.watch(cursor, abort.signal);
    for (let round = 0; round < 5; round++) {
      await new Promise((resolve) => setTimeout(resolve, 20 * round));
      const started = performance.now();
      await inventory.list(never);
      assert.ok(performance.now() - started < 1000);
    }
    const reason = new Error('enough');
    abort.abort(reason);
    await assert.rejects(watch, (error) => error === reason);
  });

  it('follows custom attributes, guest addresses, tags and folders', async () => {
    const vm = await first();
    const { customFieldsManager } = session.content;
    const field = await session.call(
      customFieldsManager!,
      'AddCustomFieldDef',
      { name: 'owner', moType: 'VirtualMachine' },
      never,
    );
    const entity = vmRef(vm.id);
    await session.call(customFieldsManager!, 'SetField', { entity, key: field.key, value: 'web' }, never);
    const extraConfig = [{ key: 'SET.guest.ipAddress', value: '10.0.0.7' }];
    await session.task(entity, 'ReconfigVM_Task', { spec: { extraConfig } }, never);
    await tag(vm.id, 'tier', 'front');
    const seen = (await afresh()).vms[0]!;
    assert.deepEqual(seen.tags, ['front', 'tier=front']);
    assert.deepEqual(seen.attributes, { owner: 'web' });
    assert.deepEqual(seen.nics[0]!.addresses, ['10.0.0.7']);
  });

  it('takes the place of a host from its custom attribute or the tag of its rack', async () => {
    const [one, two] = (await inventory.list(never)).hosts;
    const { customFieldsManager } = session.content;
    const { key } = await session.call(
      customFieldsManager!,
      'AddCustomFieldDef',
      { name: 'weft.uplinks', moType: 'HostSystem' },
      never,
    );
    const entity = { type: 'HostSystem', value: one!.id };
    await session.call(customFieldsManager!, 'SetField', { entity, key, value: 'spine / tor-a' }, never);
    await tag(two!.id, 'rack', 'r2', 'HostSystem');
    inventory.changedBeside();
    assert.deepEqual((await inventory.list(never)).hosts[1]!.uplinkPath, ['DC0', 'r2']);
    const { hosts } = await afresh();
    assert.deepEqual(hosts[0]!.uplinkPath, ['spine', 'tor-a']);
  });

  it('knows engines by the mark in their notes, and hides what is half made', async () => {
    const vm = await first();
    const entity = vmRef(vm.id);
    const note = (annotation: string) =>
      session.task(entity, 'ReconfigVM_Task', { spec: { annotation } }, never);
    await note('Mine.\nweft={"engine":"edge-1","isComplete":true}');
    const engine = (await afresh()).vms[0]!;
    assert.deepEqual([engine.engine, engine.nics[0]!.id], ['edge-1', 'mgmt']);
    await note('weft={"engine":"edge-1","isComplete":false}');
    assert.notEqual((await afresh()).vms[0]!.id, vm.id);
    await note('Mine.');
    assert.equal((await afresh()).vms[0]!.engine, null);
  });

  it('lists again by itself when vCenter forgot the session, with the same ids', async () => {
    const before = await afresh();
    const generation = session.generation;
    await session.call(session.content.sessionManager!, 'Logout', {}, never);
    const after = await inventory.list(never);
    assert.ok(session.generation > generation);
    assert.deepEqual(after.vms, before.vms);
    assert.deepEqual(after.hosts, before.hosts);
    const watch = inventory.watch(after.cursor, never);
    await rename(before.vms[0]!.id, 'shop-2');
    assert.notEqual(await watch, after.cursor);
  });

  it('throws when a listing fails, shows the whole again afterwards, and never shows less', async () => {
    const before = await inventory.list(never);
    await vcsim.fail('WaitForUpdatesEx', 'RuntimeFault', 1);
    await assert.rejects(inventory.list(never), (error) => isWeftError(error, 'ERR_HYPERVISOR_REFUSED'));
    await vcsim.clear();
    assert.deepEqual((await inventory.list(never)).vms, before.vms);
  });

  it('takes no hosts for lost permissions: it throws, says so, and shows the whole again afterwards', async () => {
    const before = await afresh();
    const other = openSession();
    const blind = openInventory(other);
    const call = other.call.bind(other) as (...args: unknown[]) => Promise<unknown>;
    const ids = before.hosts.map(({ id }) => id);
    type Update = {
      version: string;
      filterSet?: { objectSet?: { kind: string; obj: { type: string; value: string } }[] }[];
    };
    let isBlind = true;
    other.call = (async (...args: unknown[]) => {
      const answer = await call(...args);
      if (!isBlind || args[1] !== 'WaitForUpdatesEx') return answer;
      const update = (answer ?? { version: '-', filterSet: [{}] }) as Update;
      for (const filter of update.filterSet ?? []) {
        filter.objectSet = (filter.objectSet ?? []).filter(({ obj }) => obj.type !== 'HostSystem');
        for (const value of ids) filter.objectSet.push({ kind: 'leave', obj: { type: 'HostSystem', value } });
      }
      return update;
    }) as typeof other.call;
    const saysSo = (error: unknown) =>
      isWeftError(error, 'ERR_HYPERVISOR_REFUSED') &&
      /lists no hosts; may the user see them/.test(error.message);
    await assert.rejects(blind.list(never), saysSo, 'at the first listing');
    isBlind = false;
    assert.deepEqual((await blind.list(never)).hosts, before.hosts);
    isBlind = true;
    await assert.rejects(blind.list(never), saysSo, 'later');
    isBlind = false;
    const after = await blind.list(never);
    assert.deepEqual([after.hosts, after.vms], [before.hosts, before.vms]);
    await blind.close();
    await other.close();
  });

  it('waits for a task, tells its progress, and throws its fault', async () => {
    const vm = await first();
    await assert.rejects(
      session.task(vmRef(vm.id), 'PowerOnVM_Task', {}, never),
      (error) => isWeftError(error, 'ERR_HYPERVISOR_REFUSED') && /InvalidPowerState/.test(error.message),
    );
    await assert.rejects(session.task(vmRef('vm-none'), 'PowerOnVM_Task', {}, never), (error) =>
      isWeftError(error, 'ERR_NOT_FOUND'),
    );
  });

  it('ends what waits when it is closed', async () => {
    const other = openSession();
    const closing = openInventory(other);
    const { cursor } = await closing.list(never);
    const watch = closing.watch(cursor, never);
    setTimeout(() => void closing.close(), 20);
    await assert.rejects(watch, (error) => isWeftError(error, 'ERR_HYPERVISOR_UNREACHABLE'));
    await other.close();
  });

  /** Makes a category and a tag over the tagging service, and hangs it on an object. */
  async function tag(id: string, category: string, name: string, type = 'VirtualMachine') {
    const rest = '/rest/com/vmware/cis';
    const { user, password } = await session.credentials();
    const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
    const call = async (path: string, body: object | null, headers: Record<string, string>) => {
      const reply = await session.rest(
        {
          method: 'POST',
          path: rest + path,
          headers: { 'Content-Type': 'application/json', ...headers },
          ...(body ? { body: JSON.stringify(body) } : {}),
        },
        never,
      );
      assert.equal(reply.status, 200, reply.text);
      return reply.text === '' ? null : (JSON.parse(reply.text) as { value: string }).value;
    };
    const token = {
      'vmware-api-session-id': (await call('/session', null, { Authorization: authorization }))!,
    };
    const categoryId = await call(
      '/tagging/category',
      { create_spec: { name: category, description: '', cardinality: 'SINGLE', associable_types: [] } },
      token,
    );
    const tagId = await call(
      '/tagging/tag',
      { create_spec: { name, description: '', category_id: categoryId } },
      token,
    );
    await call(`/tagging/tag-association/id:${tagId}?~action=attach`, { object_id: { id, type } }, token);
  }

  it('agrees with vCenter about every VM after many changes', async function () {
    this.timeout(20_000);
    const { vms } = await inventory.list(never);
    await Promise.all(vms.slice(0, 10).map(({ id }, index) => rename(id, `renamed-${index}`)));
    await session.task(vmRef(vms[1]!.id), 'PowerOffVM_Task', {}, never);
    await session.task(vmRef(vms[1]!.id), 'Destroy_Task', {}, never);
    const expected = await afresh();
    const mine = await inventory.list(never);
    assert.deepEqual(mine.vms, expected.vms);
    assert.deepEqual(mine.hosts, expected.hosts);
    assert.equal(mine.vms.length, vms.length - 1);
  });
});
