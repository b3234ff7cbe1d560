/** Where hosts stand, from what their NICs hear of the switches above them and from what people wrote. */
import assert from 'node:assert/strict';
import { NetworkHints } from '../../src/vcenter/network-hints.ts';
import type { VcenterSession } from '../../src/vcenter/session.ts';
import { type UplinkFacts, uplinkEvidence } from '../../src/vcenter/uplinks.ts';
import { errorOfFault } from '../../src/vcenter/vim/faults.ts';
import type { MoRef, Vim } from '../../src/vcenter/vim/schema.ts';

const never = new AbortController().signal;

describe('network hints', () => {
  type Heard = Record<string, Vim<'PhysicalNicHintInfo'>[] | Error>;
  let heard: Heard;
  let asked: string[];
  const session = {
    call: async (target: MoRef) => {
      asked.push(target.value);
      const answer = heard[target.value];
      if (answer instanceof Error) throw answer;
      return answer ?? [];
    },
  } as unknown as VcenterSession;
  const hosts = (...ids: string[]) =>
    ids.map((id) => ({ id, networkSystem: { type: 'HostNetworkSystem', value: id } }));
  const lldp = (device: string, name: string): Vim<'PhysicalNicHintInfo'> => ({
    device,
    lldpInfo: {
      chassisId: '00:11',
      portId: 'eth1',
      timeToLive: 120,
      parameter: [{ key: 'System Name', value: name }],
    },
  });
  const racks = (hints: NetworkHints) =>
    Object.fromEntries([...hints.table].map(([host, { rack }]) => [host, rack]));
  const fault = (name: string) => errorOfFault({ name, message: '', detail: {} }, 'it');

  beforeEach(() => {
    heard = {};
    asked = [];
  });

  it('name the switch by LLDP, else by CDP, and put hosts that hear one in common into one rack', async () => {
    heard = {
      a: [lldp('vmnic0', 'tor-a1'), lldp('vmnic1', 'tor-a2')],
      b: [lldp('vmnic1', 'tor-a2')],
      c: [{ device: 'vmnic0', connectedSwitchPort: { devId: 'tor-b(FOX123)' } }],
      d: [{ device: 'vmnic0' }],
    };
    const hints = new NetworkHints(session, {});
    await hints.read(hosts('a', 'b', 'c', 'd'), never);
    assert.deepEqual(racks(hints), { a: 'tor-a1+tor-a2', b: 'tor-a1+tor-a2', c: 'tor-b' });
    assert.equal(hints.table.get('c')!.detail, 'vmnic0 hears tor-b by CDP');
  });

  it('do not move a host whose link flaps or whose call fails, and move one that was recabled', async () => {
    heard = { a: [lldp('vmnic0', 'tor-a')], b: [lldp('vmnic0', 'tor-a')] };
    const hints = new NetworkHints(session, {});
    const all = hosts('a', 'b');
    await hints.read(all, never);
    const before = hints.table;
    for (const now of [[], [lldp('vmnic0', 'tor-b')], [], new Error('gone'), [lldp('vmnic0', 'tor-a')]]) {
      heard.b = now;
      await hints.read(all, never);
      assert.deepEqual(hints.table, before);
    }
    heard.b = [lldp('vmnic0', 'tor-b')];
    await hints.read(all, never);
    await hints.read(all, never);
    assert.deepEqual(hints.table, before, 'twice is not enough');
    await hints.read(all, never);
    assert.deepEqual(racks(hints), { a: 'tor-a', b: 'tor-b' });
  });

  it('count only the NICs that are named', async () => {
    heard = {
      a: [lldp('vmnic0', 'management'), lldp('vmnic4', 'tor-a')],
      b: [lldp('vmnic0', 'management'), lldp('vmnic4', 'tor-b')],
    };
    const all = new NetworkHints(session, {});
    await all.read(hosts('a', 'b'), never);
    assert.equal(racks(all).a, racks(all).b);
    const some = new NetworkHints(session, { hintDevices: ['vmnic4'] });
    await some.read(hosts('a', 'b'), never);
    assert.deepEqual(racks(some), { a: 'tor-a', b: 'tor-b' });
  });

  it('ask one host only where vCenter does not know the call', async () => {
    heard = { a: fault('NotSupported'), b: fault('NotSupported') };
    const hints = new NetworkHints(session, {});
    await hints.read(hosts('a', 'b', 'c'), never);
    assert.deepEqual([asked, hints.isUnsupported, hints.table.size], [['a'], true, 0]);
  });

  it('go on with the other hosts where one refuses', async () => {
    heard = { a: fault('NoPermission'), b: [lldp('vmnic0', 'tor-a')] };
    const hints = new NetworkHints(session, {});
    await hints.read(hosts('a', 'b'), never);
    assert.deepEqual(racks(hints), { b: 'tor-a' });
  });
});

describe('the place of a host', () => {
  const facts: UplinkFacts = {
    datacenter: 'DC',
    cluster: 'C1',
    attribute: { name: 'weft.uplinks', value: '' },
    rack: { category: 'rack', tag: null },
    heard: undefined,
    silence: '',
  };
  const all: UplinkFacts = {
    ...facts,
    attribute: { name: 'weft.uplinks', value: ' spine / tor-a ' },
    rack: { category: 'rack', tag: 'r7' },
    heard: { rack: 'tor-x', detail: 'vmnic0 hears tor-x by LLDP' },
  };
  const used = (...[given, order]: Parameters<typeof uplinkEvidence>) =>
    uplinkEvidence(given, order).find(({ path }) => path !== null);

  it('is what was written before what was heard before what is assumed', () => {
    assert.deepEqual(used(all)?.path, ['spine', 'tor-a']);
    assert.deepEqual(used({ ...all, attribute: facts.attribute })?.path, ['DC', 'r7']);
    assert.deepEqual(used({ ...facts, heard: all.heard })?.path, ['DC', 'tor-x']);
    assert.deepEqual(used(facts)?.path, ['DC', 'C1']);
  });

  it('follows the order that the cloud names, with the cluster as the last resort', () => {
    assert.equal(used(all, ['hints', 'attribute'])?.source, 'hints');
    assert.equal(used(facts, ['hints'])?.source, 'cluster');
    assert.deepEqual(
      uplinkEvidence(all, ['hints', 'attribute']).map(({ source }) => source),
      ['hints', 'attribute', 'cluster'],
    );
  });
});
