/** The extension on govmomi's simulator: registered, brought up to date, removed; and events of its types. */
import assert from 'node:assert/strict';
import type { Note } from '../../src/hypervisor/platform.ts';
import {
  EXTENSION_KEY,
  type PluginRegistration,
  readPlugin,
  registerPlugin,
  unregisterPlugin,
} from '../../src/vcenter/extension.ts';
import { EVENT_TYPES, TASK_TYPES } from '../../src/vcenter/note-types.ts';
import { VcenterNotes } from '../../src/vcenter/notes.ts';
import { VcenterSession } from '../../src/vcenter/session.ts';
import type { MoRef, Vim, VimExactly } from '../../src/vcenter/vim/schema.ts';
import { startVcsim, type Vcsim } from './vcsim.ts';

describe('the extension of Weft on vcsim', function () {
  this.timeout(30_000);
  const never = new AbortController().signal;
  const wanted: PluginRegistration = {
    url: 'https://weft.example.org:7471/plugin.zip',
    thumbprint: 'AA:BB',
    certificate: '-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n',
    build: 'b1',
  };
  let vcsim: Vcsim;
  let session: VcenterSession;

  before(async function () {
    vcsim = await startVcsim(this);
    const { url: address, user, password, thumbprint } = vcsim;
    session = new VcenterSession({ address, user, password: () => password, thumbprint });
    await session.connect(never);
  });
  after(async () => {
    await session?.close();
    await vcsim?.stop();
  });
  afterEach(async () => {
    await vcsim.clear();
    await unregisterPlugin(session, never);
  });

  const find = async () =>
    (await session.call(
      session.content.extensionManager!,
      'FindExtension',
      { extensionKey: EXTENSION_KEY },
      never,
    )) as VimExactly<'Extension'> | undefined;
  const texts = async () =>
    new Map(
      ((await find())?.resourceList ?? []).flatMap(({ module, data }) =>
        data.map(({ key, value }) => [`${module} ${key}`, value] as const),
      ),
    );

  it('is registered once, and known again as it was registered', async () => {
    assert.equal(await readPlugin(session, never), null);
    const first = await registerPlugin(session, wanted, false, never);
    assert.equal(first.result, 'registered');
    assert.deepEqual(await readPlugin(session, never), {
      key: 'com.weft',
      version: '0.1.0.1',
      url: wanted.url,
      thumbprint: wanted.thumbprint,
      build: 'b1',
      tasks: TASK_TYPES.length,
      events: EVENT_TYPES.length,
      privileges: ['Weft.Operate'],
    });
    for (const mustExist of [false, true]) {
      assert.equal((await registerPlugin(session, wanted, mustExist, never)).result, 'unchanged');
    }
    const { extensionList } = (
      await session.properties([session.content.extensionManager!], ['extensionList'], never)
    ).get(session.content.extensionManager!.value) as { extensionList: { key: string }[] };
    assert.equal(extensionList.filter(({ key }) => key === EXTENSION_KEY).length, 1);
    assert.ok(extensionList.length > 1, 'what others registered is still there');
  });

  it('gives a text for the extension, each task, event and privilege', async () => {
    await registerPlugin(session, wanted, false, never);
    const known = await texts();
    assert.equal(known.get('extension com.weft.label'), 'Weft');
    assert.match(known.get('extension com.weft.summary') ?? '', /service engines in line/);
    const extension = await find();
    for (const { taskID } of extension?.taskList ?? []) {
      for (const name of ['label', 'summary'])
        assert.match(known.get(`task ${taskID}.${name}`) ?? '', /^[A-Z]/);
    }
    for (const { eventID, eventTypeSchema } of extension?.eventList ?? []) {
      assert.match(known.get(`event ${eventID}.description`) ?? '', /^[A-Z]/);
      assert.match(known.get(`event ${eventID}.category`) ?? '', /^(info|warning|error)$/);
      for (const name of ['fullFormat', 'formatOnVm', 'formatOnHost', 'formatOnDatacenter']) {
        assert.equal(known.get(`event ${eventID}.${name}`), '{message}');
      }
      assert.match(eventTypeSchema ?? '', new RegExp(`<eventTypeID>${eventID}</eventTypeID>`));
    }
    for (const { privID } of extension?.privilegeList ?? []) {
      assert.match(known.get(`auth privilege.${privID}.label`) ?? '', /^[A-Z]/);
    }
  });

  it('gets a higher version where anything of it differs, texts too', async () => {
    await registerPlugin(session, wanted, false, never);
    const register = async (change: Partial<PluginRegistration>) => {
      const { result, plugin } = await registerPlugin(session, { ...wanted, ...change }, true, never);
      return `${result} ${plugin.version}`;
    };
    assert.equal(await register({ build: 'b2' }), 'updated 0.1.0.2');
    assert.equal(await register({ build: 'b2', thumbprint: 'CC' }), 'updated 0.1.0.3');
    const older = (await find())!;
    // As an older Weft registered it, without texts for what it did not know.
    const extension = {
      ...older,
      resourceList: older.resourceList?.filter(({ module }) => module !== 'event'),
    };
    await session.call(session.content.extensionManager!, 'UpdateExtension', { extension }, never);
    assert.equal(await register({ build: 'b2', thumbprint: 'CC' }), 'updated 0.1.0.4');
    assert.ok((await texts()).has('event com.weft.path-bent.fullFormat'));
    // Another order is no difference.
    const found = (await find())!;
    const turned = {
      ...found,
      resourceList: found.resourceList?.map((one) => ({ ...one, data: [...one.data].reverse() })).reverse(),
      eventList: [...(found.eventList ?? [])].reverse(),
    };
    await session.call(session.content.extensionManager!, 'UpdateExtension', { extension: turned }, never);
    assert.equal(await register({ build: 'b2', thumbprint: 'CC' }), 'unchanged 0.1.0.4');
  });

  it('is registered also where the reply was lost, and is not brought up to date where there is none', async () => {
    await assert.rejects(registerPlugin(session, wanted, true, never), {
      code: 'ERR_NOT_FOUND',
      message: /the plug-in is not registered at .*: weft plugin register/,
    });
    await vcsim.disturb('RegisterExtension', { count: 1, loseReply: true });
    await assert.rejects(registerPlugin(session, wanted, false, never), {
      code: 'ERR_HYPERVISOR_UNREACHABLE',
    });
    assert.equal((await registerPlugin(session, wanted, false, never)).result, 'unchanged');
  });

  it('names the privilege that a user lacks', async () => {
    await vcsim.fail('RegisterExtension', 'NoPermission', 1);
    await assert.rejects(registerPlugin(session, wanted, false, never), {
      code: 'ERR_HYPERVISOR_REFUSED',
      message: /it needs the privilege Extension\.Register on the root folder/,
    });
    await registerPlugin(session, wanted, false, never);
    await vcsim.fail('UnregisterExtension', 'NoPermission', 1);
    await assert.rejects(unregisterPlugin(session, never), /it needs the privilege Extension\.Unregister/);
  });

  it('is removed once, and that there is none is no error', async () => {
    await registerPlugin(session, wanted, false, never);
    assert.equal(await unregisterPlugin(session, never), true);
    assert.equal(await unregisterPlugin(session, never), false);
    assert.equal(await find(), undefined);
  });

  it('posts events of its own types, on the object that they are about', async () => {
    const notes = new VcenterNotes(session);
    const { rootFolder, viewManager, eventManager } = session.content;
    const args = { container: rootFolder, type: ['VirtualMachine'], recursive: true };
    const view = await session.call(viewManager!, 'CreateContainerView', args, never);
    const [vm] = (await session.properties([view], ['view'], never)).get(view.value)!.view as [MoRef];
    const note: Note = {
      ...{ id: 'n', kind: 'bypassed', state: 'success', vm: vm.value, host: null, engine: 'edge-h1' },
      message: 'engine edge-h1 does not forward',
    };
    const events = async () => {
      const filter = { entity: { entity: vm, recursion: 'self' } };
      const found = (await session.call(eventManager!, 'QueryEvents', { filter }, never)) ?? [];
      return found.filter(({ $type }) => $type === 'EventEx') as Vim<'EventEx'>[];
    };
    // Unregistered it is a plain event, which vcsim does not know.
    await assert.rejects(notes.note(note, never), /LogUserEvent/);
    assert.deepEqual(await events(), []);
    await registerPlugin(session, wanted, false, never);
    await new VcenterNotes(session).note(note, never);
    const [posted, ...more] = await events();
    assert.deepEqual(more, []);
    assert.deepEqual(
      [posted?.eventTypeId, posted?.severity, posted?.objectType, posted?.objectId],
      ['com.weft.bypassed', 'warning', 'VirtualMachine', vm.value],
    );
    assert.deepEqual(posted?.vm?.vm, vm);
    assert.equal(
      posted?.message,
      'Weft: bypass silent service engine edge-h1: engine edge-h1 does not forward',
    );
    assert.equal(posted?.userName, vcsim.user);
  });
});
