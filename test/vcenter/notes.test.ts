/** Tasks, events and attributes of what Weft does, on the simulated vCenter. */
import assert from 'node:assert/strict';
import { Notes } from '../../src/controller/notes.ts';
import type { Step } from '../../src/controller/step.ts';
import type { Note } from '../../src/hypervisor/platform.ts';
import { EXTENSION_KEY, registerPlugin, unregisterPlugin } from '../../src/vcenter/extension.ts';
import { EVENT_TYPES, TASK_TYPES } from '../../src/vcenter/note-types.ts';
import { ENGINE_ATTRIBUTE, VcenterNotes } from '../../src/vcenter/notes.ts';
import { VcenterSession } from '../../src/vcenter/session.ts';
import { faultName } from '../../src/vcenter/vim/faults.ts';
import type { MoRef, Vim, VimExactly } from '../../src/vcenter/vim/schema.ts';
import { eventually } from '../lab/lab-under-test.ts';
import { buildBlankOva } from './blank-ova.ts';
import { type PaperVcenter, startPaperVcenter } from './paper-vcenter.ts';

const signal = new AbortController().signal;
const silent = { debug() {}, info() {}, warn() {}, error() {} };

const deployed = {
  id: 'd',
  kind: 'engine-deployed',
  vm: null,
  host: 'host-11',
  engine: 'edge-h1',
} as const;

describe('what Weft does, in vCenter', function () {
  this.timeout(30_000);
  let paper: PaperVcenter;
  let session: VcenterSession;
  let nowMs: number;
  let notes: VcenterNotes;
  const vm: MoRef = { type: 'VirtualMachine', value: 'vm-1' };
  const host: MoRef = { type: 'HostSystem', value: 'host-11' };

  beforeEach(async () => {
    paper = await startPaperVcenter();
    session = new VcenterSession({
      address: paper.url,
      user: paper.user,
      password: () => paper.password,
      thumbprint: paper.thumbprint,
    });
    await session.connect(signal);
    nowMs = 0;
    notes = new VcenterNotes(session, () => nowMs);
  });
  afterEach(async () => {
    await session?.close();
    await paper?.stop();
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
  const register = async () => {
    const url = 'https://127.0.0.1:7471/plugin.zip';
    const done = await registerPlugin(
      session,
      { url, thumbprint: 'AA', certificate: 'x', build: 'b' },
      false,
      signal,
    );
    nowMs += 60_000;
    return done.result;
  };
  const withhold = (privilege: string) =>
    void paper.record.faults.push({ id: `fault-${privilege}`, kind: 'privilege', privilege });
  const query = async (filter: Vim<'EventFilterSpec'>) =>
    (await session.call(session.content.eventManager!, 'QueryEvents', { filter }, signal)) ?? [];
  const about = (entity: MoRef) => query({ entity: { entity, recursion: 'self' } });
  const messages = async (entity: MoRef): Promise<string> =>
    (await about(entity)).map(({ fullFormattedMessage }) => fullFormattedMessage ?? '').join('\n');
  const property = async (object: MoRef, name: string): Promise<unknown> =>
    (await session.properties([object], [name], signal)).get(object.value)?.[name];
  const tasks = async (): Promise<Vim<'TaskInfo'>[]> => {
    const recent = (await property(session.content.taskManager!, 'recentTask')) as MoRef[];
    const read = await session.properties(recent ?? [], ['info'], signal);
    return [...read.values()]
      .map(({ info }) => info as Vim<'TaskInfo'>)
      .filter(({ descriptionId }) => descriptionId.startsWith('com.weft'));
  };

  it('shows as events on the object, also where no extension is registered, and then as no tasks', async () => {
    await notes.note(note({ state: 'running' }), signal);
    await notes.note(note({}), signal);
    await notes.note(note({ id: 'h', vm: null, host: 'host-11', kind: 'engine-power' }), signal);
    assert.match(await messages(vm), /Weft: bend path through service engine: it serves members/);
    assert.match(await messages(host), /Weft: recover service engine/);
    assert.deepEqual([...new Set((await about(vm)).map(({ $type }) => $type))], ['GeneralUserEvent']);
    assert.deepEqual(await tasks(), []);
  });

  it('shows as tasks that begin, go on and end, well or with what went wrong', async () => {
    await register();
    await notes.note(note({ state: 'running' }), signal);
    await notes.note(note({ state: 'running', progress: 0.431 }), signal);
    await notes.note(note({ state: 'running', progress: 0.2 }), signal);
    const [begun] = await tasks();
    assert.deepEqual(
      [begun?.descriptionId, begun?.state, begun?.entity?.value, begun?.progress],
      ['com.weft.BendPath', 'running', 'vm-1', 43],
    );
    await notes.note(note({}), signal);
    await notes.note(note({ id: 'two', kind: 'bypassed', state: 'running' }), signal);
    const failed = note({ id: 'two', kind: 'bypassed', state: 'error', message: 'no port is free' });
    await notes.note(failed, signal);
    const ended = new Map((await tasks()).map((task) => [task.descriptionId, task]));
    assert.equal(ended.get('com.weft.BendPath')?.state, 'success');
    assert.equal(ended.get('com.weft.BypassEngine')?.state, 'error');
    assert.equal(ended.get('com.weft.BypassEngine')?.error?.localizedMessage, 'no port is free');
    assert.match(await messages(vm), /bypass silent service engine failed: no port is free/);
  });

  it('shows what is done to many objects as a task of the root folder', async () => {
    await register();
    const batch = note({ id: 'batch:path-bent:1', vm: null });
    await notes.note({ ...batch, state: 'running' }, signal);
    await notes.note({ ...batch, state: 'running', progress: 0.5 }, signal);
    const [task] = await tasks();
    assert.deepEqual([task?.entity?.value, task?.state, task?.progress], ['group-d1', 'running', 50]);
    await notes.note({ ...batch, message: '23 ports' }, signal);
    assert.equal((await tasks())[0]?.state, 'success');
    const [event] = (await query({ eventTypeId: ['com.weft.path-bent'] })) as Vim<'EventEx'>[];
    assert.deepEqual([event?.objectType, event?.objectId, event?.vm], ['Folder', 'group-d1', undefined]);
  });

  it('shows as events of its own types, with severity and object, where the extension is registered', async () => {
    await register();
    await notes.note(note({}), signal);
    await notes.note(note({ ...deployed, state: 'error', message: 'the datastore is full' }), signal);
    await notes.note(note({ id: 'b', kind: 'bypassed' }), signal);
    const [bent, bypassed] = (await about(vm)) as Vim<'EventEx'>[];
    assert.equal(bent?.$type, 'EventEx');
    assert.deepEqual(
      [bent.eventTypeId, bent.severity, bent.objectType, bent.objectId, bent.objectName],
      ['com.weft.path-bent', 'info', 'VirtualMachine', 'vm-1', 'app1'],
    );
    assert.deepEqual(bent.vm, { name: 'app1', vm });
    assert.equal(
      bent.fullFormattedMessage,
      'Weft: bend path through service engine: it serves members of web',
    );
    assert.equal(bent.userName, paper.user);
    assert.deepEqual([bypassed?.eventTypeId, bypassed?.severity], ['com.weft.bypassed', 'warning']);
    const [failed, ...more] = (await query({
      eventTypeId: ['com.weft.engine-deployed.failed'],
    })) as Vim<'EventEx'>[];
    assert.deepEqual(more, []);
    assert.deepEqual(
      [failed?.severity, failed?.objectType, failed?.objectId],
      ['error', 'HostSystem', 'host-11'],
    );
    assert.deepEqual(failed?.host?.host, host);
    assert.equal(
      failed?.fullFormattedMessage,
      'Weft: deploy service engine edge-h1 failed: the datastore is full',
    );
    assert.deepEqual(
      failed?.arguments?.map(({ key, value }) => [key, value]),
      [
        ['message', failed?.fullFormattedMessage],
        ['engine', 'edge-h1'],
      ],
    );
  });

  it('is described in words where tasks and events are listed', async () => {
    await register();
    const { taskManager, eventManager } = session.content;
    const { methodInfo } = (paper.vcenter.object({ $ref: 'TaskManager', id: taskManager!.value }).properties
      .description!() ?? {}) as { methodInfo: { key: string; label: string; summary: string }[] };
    assert.deepEqual(
      methodInfo.map(({ key, label }) => ({ id: key, label })),
      TASK_TYPES,
    );
    const { eventInfo } = (paper.vcenter.object({ $ref: 'EventManager', id: eventManager!.value }).properties
      .description!() ?? {}) as { eventInfo: Record<string, string>[] };
    const ours = eventInfo.filter(({ key }) => key === 'EventEx');
    assert.deepEqual(
      ours.map(({ description, category, fullFormat }) => [description, category, fullFormat]),
      EVENT_TYPES.map(({ id, label, severity }) => [label, severity, `${id}|{message}`]),
    );
    assert.doesNotMatch(JSON.stringify([methodInfo, ours]), /XXX/);
  });

  it('falls back to plain events where vCenter has lost the extension, and finds it again', async () => {
    await register();
    await notes.note(note({}), signal);
    await unregisterPlugin(session, signal);
    await notes.note(note({}), signal);
    await register();
    await notes.note(note({}), signal);
    assert.deepEqual(
      (await about(vm)).map(({ $type }) => $type),
      ['EventEx', 'GeneralUserEvent', 'EventEx'],
    );
  });

  it('is refused to a user without the privileges, and nothing of it is left running', async () => {
    await register();
    withhold('Task.Create');
    await assert.rejects(notes.note(note({ state: 'running' }), signal), /Task\.Create/);
    await notes.note(note({}), signal);
    assert.equal((await about(vm)).length, 1);
    withhold('Global.LogEvent');
    await assert.rejects(notes.note(note({}), signal), /Global\.LogEvent/);
    assert.deepEqual(await tasks(), []);
  });

  it('ends what a controller that crashed has left running', async () => {
    await register();
    await notes.note(note({ state: 'running' }), signal);
    const { task: other } = await session.call(
      session.content.taskManager!,
      'CreateTask',
      { obj: vm, taskTypeId: 'com.weft.DeployEngine', cancelable: false },
      signal,
    );
    const next = new VcenterNotes(session, () => nowMs);
    await next.note(note({ id: 'new', state: 'running' }), signal);
    const states = (await tasks()).map(({ task, state, error }) => [
      task.value === other.value,
      state,
      error?.localizedMessage?.replace(/;.*/, '') ?? '',
    ]);
    assert.deepEqual(states, [
      [false, 'error', 'the controller of Weft ended meanwhile'],
      [true, 'error', 'the controller of Weft ended meanwhile'],
      [false, 'running', ''],
    ]);
  });

  it('names the engine of a host in a custom attribute, and notes what is gone at the root', async () => {
    for (const isRegistered of [false, true]) {
      if (isRegistered) await register();
      await notes.note(note(deployed), signal);
      const { customFieldsManager, rootFolder } = session.content;
      const fields = (await property(customFieldsManager!, 'field')) as Vim<'CustomFieldDef'>[];
      const key = fields.find(({ name }) => name === ENGINE_ATTRIBUTE)?.key;
      const values = (await property(host, 'customValue')) as { key: number; value: string }[];
      assert.equal(values.find((one) => one.key === key)?.value, 'edge-h1');
      const engine = isRegistered ? 'edge-h9' : 'edge-h8';
      await notes.note(note({ id: 'r', kind: 'engine-removed', vm: 'vm-999', engine }), signal);
      assert.match(await messages(rootFolder), new RegExp(`remove service engine ${engine}`));
    }
  });

  it('shows how far the deployment of an engine is, as the platform tells it', async () => {
    await register();
    const ova = await buildBlankOva(signal);
    const platform = paper.open({ engines: ova.options });
    let at = 0;
    // Its time is the progress; no note is late.
    const clock = { now: () => at, after: () => () => {} };
    const told = new Notes({ platform: () => platform, clock, log: silent });
    const percents: number[] = [];
    const { tasks: table } = paper.vcenter;
    const setProgress = table.setProgress.bind(table);
    table.setProgress = (id, percent) => {
      percents.push(percent);
      setProgress(id, percent);
    };
    try {
      const shadow = { host: 'host-11', name: 'prod-weft', role: 'shadow', shadows: 'prod' } as const;
      await platform.ensureSegment(shadow, signal);
      const segments = { mgmt: 'mgmt', out: 'prod', in: 'prod-weft' };
      const step: Step = {
        ...{ step: 'deploy-engine', engine: 'edge-h1', host: 'host-11', segments, size: null },
        ...{ id: 'deploy-engine:edge-h1', object: 'engine edge-h1', reason: 'it is wanted', undo: null },
        ...{ blockedBy: null, isUrgent: false, cloud: 'vc1', lanes: [], shares: [] },
      };
      told.tell(step, 'running', step.reason);
      const properties = { engine: 'edge-h1', controller: 'https://127.0.0.1:1', ca: 'ca', token: 'token' };
      const engine = { engine: 'edge-h1', host: 'host-11', segments, properties };
      await platform.deployEngine(
        engine,
        (fraction, what) => {
          at += 1000;
          told.tell(step, 'running', what, fraction);
        },
        signal,
      );
      const pane = async () =>
        (await tasks()).find(({ descriptionId }) => /DeployEngine/.test(descriptionId));
      await eventually(async () => (await pane())?.state === 'running');
      assert.equal((await pane())?.entity?.value, 'host-11');
      told.tell(step, 'success', step.reason);
      await eventually(async () => (await pane())?.state === 'success');
      assert.ok(percents.length >= 2, `${percents}`);
      assert.deepEqual(
        percents,
        [...new Set(percents)].sort((a, b) => a - b),
      );
      assert.equal(percents.at(-1), 100);
    } finally {
      told.close();
      await platform.close();
      ova.remove();
    }
  });
});

describe('events and tasks of extensions in the simulated vCenter', function () {
  this.timeout(30_000);
  let paper: PaperVcenter;
  let session: VcenterSession;
  before(async () => {
    paper = await startPaperVcenter();
    const { url: address, user, password, thumbprint } = paper;
    session = new VcenterSession({ address, user, password: () => password, thumbprint });
    const url = 'https://127.0.0.1:7471/plugin.zip';
    await registerPlugin(session, { url, thumbprint: 'AA', certificate: 'x', build: 'b' }, false, signal);
  });
  after(async () => {
    await session?.close();
    await paper?.stop();
  });

  const event = (part: Partial<VimExactly<'EventEx'>>): VimExactly<'EventEx'> => ({
    $type: 'EventEx',
    key: 0,
    chainId: 0,
    createdTime: new Date(0).toISOString(),
    userName: 'nobody',
    eventTypeId: 'com.weft.path-bent',
    ...part,
  });
  const refused = async (part: Partial<VimExactly<'EventEx'>>, fault: string) => {
    const { eventManager } = session.content;
    const args = { eventToPost: event(part) };
    await assert.rejects(session.call(eventManager!, 'PostEvent', args, signal), (error) => {
      assert.equal(faultName(error), fault);
      return true;
    });
  };

  it('takes no event that nobody has registered, of no severity there is, or about what is not there', async () => {
    await refused({ eventTypeId: 'com.somebody.else' }, 'InvalidEvent');
    await refused({ severity: 'catastrophe' }, 'InvalidArgument');
    await refused({ objectId: 'vm-1' }, 'InvalidArgument');
    await refused({ objectId: 'vm-999', objectType: 'VirtualMachine' }, 'ManagedObjectNotFound');
    await refused({ objectId: 'vm-1', objectType: 'HostSystem' }, 'ManagedObjectNotFound');
    const gone = { name: 'x', vm: { type: 'VirtualMachine', value: 'vm-999' } };
    await refused({ vm: gone }, 'ManagedObjectNotFound');
  });

  it('sets who and when itself', async () => {
    const { eventManager } = session.content;
    const before = Date.now();
    await session.call(eventManager!, 'PostEvent', { eventToPost: event({}) }, signal);
    const [kept] = (await session.call(eventManager!, 'QueryEvents', { filter: {} }, signal))!.slice(-1);
    assert.equal(kept?.userName, paper.user);
    assert.ok(Date.parse(kept!.createdTime) >= before);
    assert.ok(kept!.key > 0);
  });

  it('takes progress of running tasks only, from 0 to 100', async () => {
    const { taskManager } = session.content;
    const obj: MoRef = { type: 'VirtualMachine', value: 'vm-1' };
    const create = (taskTypeId: string) =>
      session.call(taskManager!, 'CreateTask', { obj, taskTypeId, cancelable: false }, signal);
    await assert.rejects(create('com.weft.Nothing'), (error) => faultName(error) === 'InvalidArgument');
    const { task } = await create('com.weft.BendPath');
    const percent = (percentDone: number) => session.call(task, 'UpdateProgress', { percentDone }, signal);
    const is = (fault: string) => (error: unknown) => faultName(error) === fault;
    await assert.rejects(percent(1), is('InvalidState'));
    await session.call(task, 'SetTaskState', { state: 'running' }, signal);
    await percent(100);
    await assert.rejects(percent(101), is('OutOfBounds'));
    await assert.rejects(percent(-1), is('OutOfBounds'));
    await session.call(task, 'SetTaskState', { state: 'success' }, signal);
    await assert.rejects(percent(100), is('InvalidState'));
  });

  it('complains where an extension gave no text', async () => {
    const { extensionManager, eventManager } = session.content;
    const found = await session.call(
      extensionManager!,
      'FindExtension',
      { extensionKey: EXTENSION_KEY },
      signal,
    );
    const extension = { ...(found as VimExactly<'Extension'>), resourceList: [] };
    await session.call(extensionManager!, 'UpdateExtension', { extension }, signal);
    await session.call(eventManager!, 'PostEvent', { eventToPost: event({}) }, signal);
    const [kept] = (await session.call(eventManager!, 'QueryEvents', { filter: {} }, signal))!.slice(-1);
    assert.equal(kept?.fullFormattedMessage, 'XXX event.com.weft.path-bent.fullFormat not found XXX');
  });
});
