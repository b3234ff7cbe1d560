/** Tasks, events and attributes of what Weft does, on the simulated vCenter. */
import assert from 'node:assert/strict';
import type { Note } from '../../src/hypervisor/platform.ts';
import { registerPlugin } from '../../src/vcenter/extension.ts';
import { ENGINE_ATTRIBUTE, VcenterNotes } from '../../src/vcenter/notes.ts';
import { VcenterSession } from '../../src/vcenter/session.ts';
import type { MoRef, Vim } from '../../src/vcenter/vim/schema.ts';
import { type LabUnderTest, requireRootOrSkip, startLab } from '../lab/lab-under-test.ts';

const signal = new AbortController().signal;

describe('what Weft does, in vCenter', () => {
  let lab: LabUnderTest;
  let session: VcenterSession;
  let notes: VcenterNotes;
  const vm: MoRef = { type: 'VirtualMachine', value: 'vm-1' };
  before(async function () {
    requireRootOrSkip(this);
    this.timeout(60_000);
    lab = await startLab('o', 'vcenter');
    const address = (await lab.status()).vcenter!;
    session = new VcenterSession({
      address: address.url,
      user: address.user,
      password: () => address.password,
      thumbprint: address.thumbprintSha256,
    });
    await session.connect(signal);
    notes = new VcenterNotes(session);
  });
  after(async () => {
    await session?.close();
    await lab?.stop();
  });

  const note = (part: Partial<Note>): Note => ({
    id: 'intercept-nic:lab/vm-1/4000',
    kind: 'path-bent',
    state: 'success',
    vm: 'vm-1',
    host: null,
    engine: null,
    message: 'it serves members of web',
    ...part,
  });
  const messages = async (entity: MoRef): Promise<string[]> => {
    const filter = { entity: { entity, recursion: 'self' } };
    const events = await session.call(session.content.eventManager!, 'QueryEvents', { filter }, signal);
    return (events ?? []).map(({ fullFormattedMessage }) => fullFormattedMessage ?? '');
  };
  const tasks = async (): Promise<Vim<'TaskInfo'>[]> => {
    const { taskManager } = session.content;
    const { recentTask } = (await session.properties([taskManager!], ['recentTask'], signal)).get(
      taskManager!.value,
    ) as { recentTask?: MoRef[] };
    const read = await session.properties(recentTask ?? [], ['info'], signal);
    return [...read.values()].map(({ info }) => info as Vim<'TaskInfo'>);
  };

  it('shows as events on the object, also where no extension is registered for tasks', async () => {
    await assert.rejects(notes.note(note({ state: 'running' }), signal));
    await notes.note(note({}), signal);
    assert.match(
      (await messages(vm)).join('\n'),
      /Weft: bend path through service engine: it serves members/,
    );
    assert.deepEqual(
      (await tasks()).filter(({ descriptionId }) => descriptionId.startsWith('com.weft')),
      [],
    );
  });

  it('shows as tasks that begin and end, well or with what went wrong', async () => {
    const address = {
      url: 'https://127.0.0.1:7471/plugin.zip',
      thumbprint: 'AA',
      certificate: 'x',
      build: 'b',
    };
    await registerPlugin(session, address, false, signal);
    await notes.note(note({ state: 'running' }), signal);
    const [begun] = (await tasks()).filter(({ descriptionId }) => descriptionId === 'com.weft.BendPath');
    assert.deepEqual([begun?.state, begun?.entity?.value], ['running', 'vm-1']);
    await notes.note(note({}), signal);
    await notes.note(note({ id: 'two', kind: 'bypassed', state: 'running' }), signal);
    await notes.note(
      note({ id: 'two', kind: 'bypassed', state: 'error', message: 'no port is free' }),
      signal,
    );
    const states = new Map((await tasks()).map(({ descriptionId, state }) => [descriptionId, state]));
    assert.equal(states.get('com.weft.BendPath'), 'success');
    assert.equal(states.get('com.weft.BypassEngine'), 'error');
    assert.match((await messages(vm)).join('\n'), /bypass silent service engine failed: no port is free/);
  });

  it('names the engine of a host in a custom attribute, and notes what is gone at the root', async () => {
    const deployed = {
      id: 'd',
      kind: 'engine-deployed',
      vm: null,
      host: 'host-11',
      engine: 'edge-h1',
    } as const;
    await notes.note(note(deployed), signal);
    const host: MoRef = { type: 'HostSystem', value: 'host-11' };
    const { customFieldsManager, rootFolder } = session.content;
    const read = await session.properties([customFieldsManager!], ['field'], signal);
    const fields = read.get(customFieldsManager!.value)?.field as Vim<'CustomFieldDef'>[];
    const key = fields.find(({ name }) => name === ENGINE_ATTRIBUTE)?.key;
    const { customValue } = (await session.properties([host], ['customValue'], signal)).get('host-11') as {
      customValue: { key: number; value: string }[];
    };
    assert.equal(customValue.find((one) => one.key === key)?.value, 'edge-h1');
    await notes.note(note({ id: 'r', kind: 'engine-removed', vm: 'vm-999', engine: 'edge-h9' }), signal);
    assert.match((await messages(rootFolder)).join('\n'), /remove service engine edge-h9/);
  });
});
