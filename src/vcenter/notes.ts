/**
 * What Weft does, shown in vCenter: a task on the host or VM concerned while it lasts (where the extension is registered,
 * `weft plugin register`), an event when it is over, and custom attributes that name the engine of a VM or host.
 */
import { LABEL_ATTRIBUTE, type Note } from '../hypervisor/platform.ts';
import { isWeftError } from '../policy/errors.ts';
import { NOTE_KINDS, taskTypeOf } from './note-types.ts';
import { readOne } from './objects.ts';
import type { VcenterSession } from './session.ts';
import { faultName } from './vim/faults.ts';
import type { MoRef, Vim } from './vim/schema.ts';

/** The custom attribute of VMs and hosts that names the engine: what it is, what it carries, or where its path leads. */
export const ENGINE_ATTRIBUTE = LABEL_ATTRIBUTE;

/** Tasks that are under way; one whose end was never told is forgotten. */
const MAX_TASKS = 500;

export class VcenterNotes {
  readonly #session: VcenterSession;
  readonly #tasks = new Map<string, MoRef>();
  #attribute: number | null = null;

  constructor(session: VcenterSession) {
    this.#session = session;
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
    if (!taskManager || this.#tasks.has(note.id)) return;
    const { task } = await this.#session.call(
      taskManager,
      'CreateTask',
      { obj: object, taskTypeId: taskTypeOf(note.kind), initiatedBy: 'Weft', cancelable: false },
      signal,
    );
    if (this.#tasks.size >= MAX_TASKS) this.#tasks.delete(this.#tasks.keys().next().value ?? '');
    this.#tasks.set(note.id, task);
    await this.#session.call(task, 'SetTaskState', { state: 'running' }, signal);
  }

  async #end(note: Note, signal: AbortSignal): Promise<void> {
    const task = this.#tasks.get(note.id);
    if (!task) return;
    this.#tasks.delete(note.id);
    const fault = {
      fault: { $type: 'MethodFault' as const },
      localizedMessage: note.message.slice(0, 500),
    };
    const end = note.state === 'success' ? { state: 'success' } : { state: 'error', fault };
    await this.#session.call(task, 'SetTaskState', end, signal).catch(() => undefined);
  }

  async #event(note: Note, object: MoRef, rootFolder: MoRef, signal: AbortSignal): Promise<void> {
    const { eventManager } = this.#session.content;
    if (!eventManager) return;
    const { label } = NOTE_KINDS[note.kind];
    const outcome = note.state === 'success' ? '' : ' failed';
    const msg = `Weft: ${label.toLowerCase()}${note.engine === null ? '' : ` ${note.engine}`}${outcome}: ${note.message}`;
    const log = (entity: MoRef) =>
      this.#session.call(eventManager, 'LogUserEvent', { entity, msg: msg.slice(0, 1000) }, signal);
    try {
      await log(object);
    } catch (error) {
      // A removed VM can bear no event any more.
      if (object === rootFolder || faultName(error) !== 'ManagedObjectNotFound') throw error;
      await log(rootFolder);
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
