/**
 * What Weft does, shown in vCenter: where its extension is registered (`weft plugin register`) a task on the host or VM
 * concerned while it lasts, with its progress, and an event of its own type when it is over; else an event as users log
 * one. Beside that custom attributes that name the engine of a VM or host.
 */
import { LABEL_ATTRIBUTE, type Note } from '../hypervisor/platform.ts';
import { isWeftError } from '../policy/errors.ts';
import { EXTENSION_KEY } from './extension.ts';
import { eventTypeOf, NOTE_KINDS, TASK_TYPES, taskTypeOf } from './note-types.ts';
import { readOne, readThere } from './objects.ts';
import type { VcenterSession } from './session.ts';
import { faultName } from './vim/faults.ts';
import type { MoRef, Vim, VimExactly } from './vim/schema.ts';

/** The custom attribute of VMs and hosts that names the engine: what it is, what it carries, or where its path leads. */
export const ENGINE_ATTRIBUTE = LABEL_ATTRIBUTE;

/** Tasks that are under way; one whose end was never told is forgotten. */
const MAX_TASKS = 500;
/** How long it is believed that the extension is registered, and that it is not. */
const REGISTERED_MS = 5 * 60_000;
const UNREGISTERED_MS = 15_000;
const MAX_MESSAGE = 1000;

/** The ids of tasks and events that vCenter takes; none where the extension is not registered. */
interface Registered {
  tasks: ReadonlySet<string>;
  events: ReadonlySet<string>;
  until: number;
}

export class VcenterNotes {
  readonly #session: VcenterSession;
  readonly #now: () => number;
  readonly #tasks = new Map<string, { ref: MoRef; percent: number }>();
  #registered: Registered | null = null;
  #isSwept = false;
  #attribute: number | null = null;

  constructor(session: VcenterSession, now: () => number = () => performance.now()) {
    this.#session = session;
    this.#now = now;
  }

  /** Rejects where vCenter does not take part of it; whoever calls does not depend on any of it. */
  async note(note: Note, signal: AbortSignal): Promise<void> {
    const { rootFolder } = await this.#session.connect(signal);
    const object = objectOf(note) ?? rootFolder;
    if (note.state === 'running') return this.#begin(note, object, signal);
    await this.#end(note, signal);
    await this.#event(note, object, rootFolder, signal);
    if (note.state === 'success') await this.#mark(note, object, signal);
  }

  async #begin(note: Note, object: MoRef, signal: AbortSignal): Promise<void> {
    const { taskManager } = this.#session.content;
    const type = taskTypeOf(note.kind);
    if (!taskManager || !(await this.#takes(signal)).tasks.has(type)) return;
    if (!this.#isSwept) await this.#sweep(taskManager, signal);
    let task = this.#tasks.get(note.id);
    if (!task) {
      const args = { obj: object, taskTypeId: type, initiatedBy: 'Weft', cancelable: false };
      const { task: ref } = await this.#known(this.#session.call(taskManager, 'CreateTask', args, signal));
      task = { ref, percent: 0 };
      if (this.#tasks.size >= MAX_TASKS) this.#tasks.delete(this.#tasks.keys().next().value ?? '');
      this.#tasks.set(note.id, task);
      await this.#session.call(ref, 'SetTaskState', { state: 'running' }, signal);
    }
    const percent = Math.floor(Math.min(Math.max(note.progress ?? 0, 0), 1) * 100);
    // A number of percent that goes back would only worry whoever looks at it.
    if (percent <= task.percent) return;
    task.percent = percent;
    await this.#session.call(task.ref, 'UpdateProgress', { percentDone: percent }, signal);
  }

  async #end(note: Note, signal: AbortSignal): Promise<void> {
    const task = this.#tasks.get(note.id);
    if (!task) return;
    this.#tasks.delete(note.id);
    const end = note.state === 'success' ? { state: 'success' } : failure(note.message);
    await this.#session.call(task.ref, 'SetTaskState', end, signal).catch(() => undefined);
  }

  /** Ends, once, what a controller that crashed left running in the tasks pane: nobody else would. */
  async #sweep(taskManager: MoRef, signal: AbortSignal): Promise<void> {
    this.#isSwept = true;
    const ours = new Set(TASK_TYPES.map(({ id }) => id));
    try {
      const { recentTask } = await readOne(this.#session, taskManager, ['recentTask'], signal);
      const refs = (recentTask ?? []) as MoRef[];
      for (const [id, read] of await readThere(this.#session, refs, ['info'], signal)) {
        const { descriptionId, state } = read.info as Vim<'TaskInfo'>;
        if (!ours.has(descriptionId) || !/^(queued|running)$/.test(state)) continue;
        const ref: MoRef = { type: 'Task', value: id };
        const args = failure('the controller of Weft ended meanwhile; it is planned again');
        await this.#session.call(ref, 'SetTaskState', args, signal).catch(() => undefined);
      }
    } catch {
      // They are only shown; the next start tries again.
    }
  }

  /** An event of the extension's own type where it is taken, else one as users log them. */
  async #event(note: Note, object: MoRef, rootFolder: MoRef, signal: AbortSignal): Promise<void> {
    const { eventManager } = this.#session.content;
    if (!eventManager) return;
    const hasFailed = note.state === 'error';
    const { label, severity } = NOTE_KINDS[note.kind];
    const what = `${label.toLowerCase()}${note.engine === null ? '' : ` ${note.engine}`}`;
    const message = `Weft: ${what}${hasFailed ? ' failed' : ''}: ${note.message}`.slice(0, MAX_MESSAGE);
    const type = eventTypeOf(note.kind, hasFailed);
    const isOurs = (await this.#takes(signal)).events.has(type);
    const tell = async (about: MoRef): Promise<void> => {
      if (isOurs) {
        const name = await this.#nameOf(about, signal);
        const event = eventOf(type, hasFailed ? 'error' : severity, message, note.engine, about, name);
        try {
          return await this.#known(
            this.#session.call(eventManager, 'PostEvent', { eventToPost: event }, signal),
          );
        } catch (error) {
          if (faultName(error) === null || isGone(error)) throw error;
          // Refused: an older vCenter, or one that has lost the extension. The plain event is better than none.
        }
      }
      return this.#session.call(eventManager, 'LogUserEvent', { entity: about, msg: message }, signal);
    };
    try {
      await tell(object);
    } catch (error) {
      // A removed VM can bear no event any more.
      if (object === rootFolder || !isGone(error)) throw error;
      await tell(rootFolder);
    }
  }

  async #nameOf(object: MoRef, signal: AbortSignal): Promise<string> {
    return String((await readOne(this.#session, object, ['name'], signal)).name ?? object.value);
  }

  /** What vCenter knows of the extension, asked again now and then. */
  async #takes(signal: AbortSignal): Promise<Registered> {
    const now = this.#now();
    if (this.#registered && now < this.#registered.until) return this.#registered;
    const { extensionManager } = this.#session.content;
    const args = { extensionKey: EXTENSION_KEY };
    const found =
      extensionManager && (await this.#session.call(extensionManager, 'FindExtension', args, signal));
    this.#registered = {
      tasks: new Set((found?.taskList ?? []).map(({ taskID }) => taskID)),
      events: new Set((found?.eventList ?? []).map(({ eventID }) => eventID)),
      until: now + (found ? REGISTERED_MS : UNREGISTERED_MS),
    };
    return this.#registered;
  }

  /** Where vCenter refuses, what was known of the extension may be out of date. */
  async #known<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      if (faultName(error) !== null) this.#registered = null;
      throw error;
    }
  }

  /** Only for administrators to read: what Weft goes by are the marks. */
  async #mark(note: Note, object: MoRef, signal: AbortSignal): Promise<void> {
    if (note.kind !== 'engine-deployed' || note.engine === null) return;
    const { customFieldsManager } = this.#session.content;
    if (!customFieldsManager) return;
    this.#attribute ??= await this.#findAttribute(customFieldsManager, signal);
    const key = this.#attribute;
    const value = note.engine;
    await this.#session.call(customFieldsManager, 'SetField', { entity: object, key, value }, signal);
  }

  /** Takes the name of an engine that is no more off a host. Does nothing where the user may not. */
  async forgetHost(host: string, signal: AbortSignal): Promise<void> {
    const { customFieldsManager } = await this.#session.connect(signal);
    if (!customFieldsManager) return;
    const entity: MoRef = { type: 'HostSystem', value: host };
    const { field } = await readOne(this.#session, customFieldsManager, ['field'], signal);
    const fields = (field ?? []) as Vim<'CustomFieldDef'>[];
    const key = fields.find(({ name }) => name === ENGINE_ATTRIBUTE)?.key;
    const { customValue } = await readOne(this.#session, entity, ['customValue'], signal);
    if (!((customValue ?? []) as Vim<'CustomFieldValue'>[]).some((one) => one.key === key)) return;
    const args = { entity, key: key!, value: '' };
    await this.#session.call(customFieldsManager, 'SetField', args, signal).catch((error: unknown) => {
      if (!isWeftError(error, 'ERR_HYPERVISOR_REFUSED')) throw error;
    });
  }

  async #findAttribute(manager: MoRef, signal: AbortSignal): Promise<number> {
    const read = async () => {
      const { field } = await readOne(this.#session, manager, ['field'], signal);
      return ((field ?? []) as Vim<'CustomFieldDef'>[]).find(({ name }) => name === ENGINE_ATTRIBUTE)?.key;
    };
    const found = await read();
    if (found !== undefined) return found;
    try {
      return (await this.#session.call(manager, 'AddCustomFieldDef', { name: ENGINE_ATTRIBUTE }, signal)).key;
    } catch (error) {
      const made = faultName(error) === 'DuplicateName' ? await read() : undefined;
      if (made === undefined) throw error;
      return made;
    }
  }
}

function objectOf({ vm, host }: Note): MoRef | null {
  if (vm !== null) return { type: 'VirtualMachine', value: vm };
  return host === null ? null : { type: 'HostSystem', value: host };
}

function isGone(error: unknown): boolean {
  return faultName(error) === 'ManagedObjectNotFound' || isWeftError(error, 'ERR_NOT_FOUND');
}

function failure(message: string) {
  const fault = { fault: { $type: 'MethodFault' as const }, localizedMessage: message.slice(0, 500) };
  return { state: 'error', fault };
}

/** The fields that vCenter sets itself are demanded by the schema all the same. */
function eventOf(
  eventTypeId: string,
  severity: string,
  message: string,
  engine: string | null,
  object: MoRef,
  name: string,
): VimExactly<'EventEx'> {
  return {
    $type: 'EventEx',
    key: 0,
    chainId: 0,
    createdTime: new Date().toISOString(),
    userName: '',
    ...(object.type === 'HostSystem' ? { host: { name, host: object } } : {}),
    ...(object.type === 'VirtualMachine' ? { vm: { name, vm: object } } : {}),
    eventTypeId,
    severity,
    message,
    arguments: [
      { key: 'message', value: message },
      { key: 'engine', value: engine ?? '' },
    ],
    objectId: object.value,
    objectType: object.type,
    objectName: name,
  };
}
