/** The lab as the vCenter platform's inventory reads it from the simulated vCenter. */
import assert from 'node:assert/strict';
import type { VcenterAddress } from '../../../src/lab/vcenter/index.ts';
import { isWeftError } from '../../../src/policy/errors.ts';
import { VcenterInventory } from '../../../src/vcenter/inventory.ts';
import { VcenterSession } from '../../../src/vcenter/session.ts';
import { readThumbprint } from '../../../src/vcenter/transport.ts';
import { type LabUnderTest, requireRootOrSkip, startLab } from '../lab-under-test.ts';

const never = new AbortController().signal;

describe('the inventory of the simulated vCenter', () => {
  let lab: LabUnderTest;
  let address: VcenterAddress;
  let session: VcenterSession;
  let inventory: VcenterInventory;

  before(async function () {
    requireRootOrSkip(this);
    this.timeout(60_000);
    lab = await startLab('i', 'vcenter');
    address = (await lab.status()).vcenter!;
    session = new VcenterSession({
      address: address.url,
      user: address.user,
      password: () => address.password,
      thumbprint: (await readThumbprint(address.url, never)).thumbprint,
    });
    inventory = open();
  });
  after(async () => {
    await inventory?.close();
    await session?.close();
    await lab?.stop();
  });

  const open = (more: Partial<ConstructorParameters<typeof VcenterInventory>[1]> = {}) =>
    new VcenterInventory(session, {
      managementNetwork: 'mgmt',
      uplinkAttribute: 'weft.uplinks',
      rackCategory: 'rack',
      ...more,
    });
  const vmNamed = async (name: string) => (await inventory.list(never)).vms.find((vm) => vm.name === name)!;

  it("takes the place of hosts from what their NICs hear of the lab's racks", async () => {
    const hearing = open({ uplinkSources: ['attribute', 'hints', 'rack-tag'] });
    const { hosts } = await hearing.list(never);
    await hearing.close();
    assert.deepEqual(
      hosts.map(({ uplinkPath }) => uplinkPath.at(-1)),
      ['tor-a', 'tor-a', 'tor-b'],
    );
    const used = hosts[0]!.uplinkEvidence.find(({ path }) => path !== null)!;
    assert.equal(used.source, 'hints');
    assert.match(used.detail, /vmnic\d hears tor-a by LLDP/);
    assert.ok(hosts[0]!.hardware!.cpuCores > 0);
    assert.ok(hosts[0]!.cluster.endsWith('-cluster'));
  });

  it('asks no host where hints are not among the sources', async () => {
    const without = open({ uplinkSources: ['cluster'] });
    const { hosts } = await without.list(never);
    assert.equal(new Set(hosts.map(({ uplinkPath }) => uplinkPath.join('/'))).size, 1);
    assert.deepEqual(
      hosts[0]!.uplinkEvidence.map(({ source }) => source),
      ['cluster'],
    );
    await without.close();
  });

  it('shows tags and custom attributes apart, and a change of one within two seconds', async () => {
    const { tags, attributes, id } = await vmNamed('app1');
    assert.deepEqual([tags, attributes], [['app=shop', 'shop'], { owner: 'storefront' }]);
    const manager = session.content.customFieldsManager!;
    const properties = await session.properties([manager], ['field'], never);
    const field = (properties.get(manager.value)!.field as { key: number; name: string }[]).find(
      ({ name }) => name === 'owner',
    )!;
    const { cursor } = await inventory.list(never);
    const watch = inventory.watch(cursor, never);
    const entity = { type: 'VirtualMachine', value: id };
    await session.call(manager, 'SetField', { entity, key: field.key, value: 'checkout' }, never);
    const changed = performance.now();
    await watch;
    assert.ok(performance.now() - changed < 2000);
    assert.deepEqual((await vmNamed('app1')).attributes, { owner: 'checkout' });
  });

  it('puts the place that an admin writes before what is heard', async () => {
    const manager = session.content.customFieldsManager!;
    const { key } = await session.call(
      manager,
      'AddCustomFieldDef',
      { name: 'weft.uplinks', moType: 'HostSystem' },
      never,
    );
    const host = (await inventory.list(never)).hosts[2]!;
    const entity = { type: 'HostSystem', value: host.id };
    await session.call(manager, 'SetField', { entity, key, value: 'spine/tor-a' }, never);
    const moved = (await inventory.list(never)).hosts[2]!;
    assert.deepEqual(moved.uplinkPath, ['spine', 'tor-a']);
    assert.equal(moved.uplinkEvidence.find(({ path }) => path !== null)!.source, 'attribute');
  });

  it('refuses a first listing without tags, and keeps them while they cannot be read', async () => {
    const before = await inventory.list(never);
    const strange = new VcenterSession({
      address: address.url,
      user: address.user,
      password: () => address.password,
      thumbprint: (await readThumbprint(address.url, never)).thumbprint,
    });
    const rest = strange.rest.bind(strange);
    let isBroken = true;
    strange.rest = (...args) =>
      isBroken ? Promise.resolve({ status: 503, headers: {}, text: '' }) : rest(...args);
    const warnings: string[] = [];
    const log = { debug() {}, warn: (_fields: object, message: string) => void warnings.push(message) };
    const other = new VcenterInventory(strange, {
      managementNetwork: 'mgmt',
      uplinkAttribute: 'weft.uplinks',
      rackCategory: 'rack',
      log,
    });
    await assert.rejects(
      other.list(never),
      (error) => isWeftError(error) && /tagging service|REST services/.test(error.message),
    );
    isBroken = false;
    assert.deepEqual((await other.list(never)).vms, before.vms);
    isBroken = true;
    other.changedBeside();
    const warned = await other.list(never);
    assert.deepEqual(warned.vms, before.vms, 'tags stay as they were');
    assert.deepEqual(warnings, ['the tags could not be read; they stay as they were']);
    assert.match(
      warned.warnings?.join() ?? '',
      /^its tags stay as they were, .* HTTP status 503; see that its tagging service runs and its user may see tags$/,
    );
    isBroken = false;
    const { cursor } = warned;
    const signal = AbortSignal.timeout(10_000);
    let listed = warned;
    for (let at = cursor; listed.warnings; listed = await other.list(never))
      at = await other.watch(at, signal);
    assert.equal(listed.warnings, undefined, 'whoever watches hears that they are read again');
    await other.close();
    await strange.close();
  });
});
