/**
 * Tasks: work that a call begins and that goes on after its answer. One task at a time changes a VM; another one
 * meets TaskInProgress. Finished tasks are kept for a while, the oldest go first.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ManagedObject } from './inventory/object.ts';
import type { Vcenter } from './vcenter.ts';
import { asVimFault, VimFault } from './wire/fault.ts';
import { dateTime, type MoRef, moRef, type Struct, type Value } from './wire/values.ts';

const MAX_TASKS = 400;
const MAX_RUNNING = 100;
const RECENT_MS = 600_000;

interface Task {
  ref: MoRef;
  method: string;
  entity: MoRef;
  entityName: string;
  state: 'queued' | 'running' | 'success' | 'error';
  error?: VimFault;
  result?: Value;
  progress: number;
  isCancelled: boolean;
  user: string;
  queuedMs: number;
  startedMs?: number;
  completedMs?: number;
  chain: number;
  stop: AbortController;
  /** Shown by an extension; there is no work behind it here. */
  isForeign?: boolean;
}

export interface TaskOrder {
  /** Name of the method, for example PowerOnVM_Task. */
  method: string;
  entity: MoRef;
  user: string;
  /** Objects that no other task may change meanwhile. */
  locks: readonly string[];
  /** A fault wants the task never to end by itself. */
  isStuck: boolean;
  /** A fault wants the task to end with this, undone. */
  fault?: VimFault | null;
  work: (progress: (percent: number) => void, cancelled: AbortSignal) => Promise<Value | undefined>;
}

export class TaskTable {
  readonly #vcenter: Vcenter;
  readonly #tasks = new Map<string, Task>();
  readonly #locked = new Map<string, Task>();

  constructor(vcenter: Vcenter) {
    this.#vcenter = vcenter;
  }

  /** Begins a task. Throws TaskInProgress where something that it changes is being changed. */
  start(order: TaskOrder): MoRef {
    const holder = order.locks.map((id) => this.#locked.get(id)).find((task) => task !== undefined);
    if (holder) {
      throw new VimFault('TaskInProgress', `${holder.entityName} is busy with ${holder.method}; try again`, {
        task: holder.ref,
      });
    }
    if ([...this.#tasks.values()].filter((task) => task.completedMs === undefined).length >= MAX_RUNNING) {
      throw new VimFault('ResourceInUse', `${MAX_RUNNING} tasks are running already`, {
        type: 'Task',
        name: 'tasks',
      });
    }
    const number = this.#vcenter.nextId();
    const task: Task = {
      ref: moRef('Task', `task-${number}`),
      method: order.method.replace(/_Task$/, ''),
      entity: order.entity,
      entityName: this.#nameOf(order.entity),
      state: 'queued',
      progress: 0,
      isCancelled: false,
      user: order.user,
      queuedMs: Date.now(),
      chain: number,
      stop: new AbortController(),
    };
    this.#tasks.set(task.ref.id, task);
    for (const id of order.locks) this.#locked.set(id, task);
    this.#forgetOld();
    void this.#run(task, order);
    return task.ref;
  }

  /** A task that an extension shows: what becomes of it the extension says, by `setState`. */
  createForeign(type: string, entity: MoRef, user: string): Struct {
    const number = this.#vcenter.nextId();
    const task: Task = {
      ref: moRef('Task', `task-${number}`),
      method: type,
      entity,
      entityName: this.#nameOf(entity),
      state: 'queued',
      progress: 0,
      isCancelled: false,
      user,
      queuedMs: Date.now(),
      chain: number,
      stop: new AbortController(),
      isForeign: true,
    };
    this.#tasks.set(task.ref.id, task);
    this.#forgetOld();
    this.#vcenter.changed();
    return infoOf(task);
  }

  /** Throws InvalidState where the task is over or no extension's. */
  setState(id: string, state: string, fault: Struct | null): void {
    const task = this.#foreign(id);
    task.state = state as Task['state'];
    task.startedMs ??= Date.now();
    if (state === 'success' || state === 'error') task.completedMs = Date.now();
    if (fault) task.error = new VimFault('MethodFault', String(fault.localizedMessage ?? 'it failed'));
    this.#vcenter.changed();
  }

  /** Throws InvalidState where the task does not run, or is no extension's. */
  setProgress(id: string, percent: number): void {
    const task = this.#foreign(id);
    if (task.state !== 'running') {
      throw new VimFault('InvalidState', 'The operation is not allowed in the current state.');
    }
    task.progress = percent;
    this.#vcenter.wake();
  }

  #foreign(id: string): Task {
    const task = this.#tasks.get(id);
    if (task?.isForeign && task.completedMs === undefined) return task;
    throw new VimFault('InvalidState', 'The operation is not allowed in the current state.');
  }

  /** Ends a task that hangs. Throws NotSupported where it cannot be stopped any more. */
  cancel(id: string): void {
    const task = this.#tasks.get(id);
    if (!task || task.completedMs !== undefined) {
      throw new VimFault('InvalidState', 'The operation is not allowed in the current state.');
    }
    task.isCancelled = true;
    task.stop.abort(new VimFault('RequestCanceled', 'The task was canceled by a user.'));
  }

  /** After a restart: hosts carry out what they were told, and nobody hears how it ended. */
  forget(): void {
    for (const task of this.#tasks.values()) {
      task.stop.abort(new VimFault('RequestCanceled', 'vCenter was restarted'));
    }
    this.#tasks.clear();
  }

  recent(): MoRef[] {
    return [...this.#tasks.values()].filter(isRecent).map((task) => task.ref);
  }

  recentOf(entity: string): MoRef[] {
    return [...this.#tasks.values()]
      .filter((task) => task.entity.id === entity && isRecent(task))
      .map((task) => task.ref);
  }

  objects(): ManagedObject[] {
    return [...this.#tasks.values()].map((task) => ({
      ref: task.ref,
      properties: { info: () => infoOf(task) },
    }));
  }

  async #run(task: Task, order: TaskOrder): Promise<void> {
    try {
      await sleep(1); // The answer names the task before anything comes of it.
      task.state = 'running';
      task.startedMs = Date.now();
      this.#vcenter.wake();
      if (order.fault) throw order.fault;
      if (order.isStuck) {
        task.progress = 42;
        await sleep(2 ** 31 - 1, undefined, {
          signal: AbortSignal.any([task.stop.signal, this.#vcenter.ended]),
          ref: false,
        }).catch(() => {
          throw task.stop.signal.reason ?? new VimFault('RequestCanceled', 'vCenter is stopping');
        });
      }
      const result = await order.work((percent) => {
        task.progress = Math.min(99, Math.round(percent));
        this.#vcenter.wake();
      }, task.stop.signal);
      if (result !== undefined) task.result = result;
      task.state = 'success';
    } catch (error) {
      task.error = asVimFault(error);
      task.state = 'error';
    }
    task.completedMs = Date.now();
    for (const [id, holder] of this.#locked) if (holder === task) this.#locked.delete(id);
    this.#vcenter.follow();
    this.#vcenter.changed();
  }

  #nameOf(entity: MoRef): string {
    return String(this.#vcenter.objects().get(entity.id)?.properties.name?.() ?? entity.id);
  }

  #forgetOld(): void {
    for (const [id, task] of this.#tasks) {
      if (this.#tasks.size <= MAX_TASKS) return;
      if (task.completedMs !== undefined) this.#tasks.delete(id);
    }
  }
}

function isRecent(task: Task): boolean {
  return task.completedMs === undefined || Date.now() - task.completedMs < RECENT_MS;
}

function infoOf(task: Task): Struct {
  return {
    $type: 'TaskInfo',
    key: task.ref.id,
    task: task.ref,
    ...(task.isForeign ? {} : { name: `${task.method}_Task` }),
    descriptionId: task.isForeign
      ? task.method
      : `${task.entity.$ref}.${task.method.charAt(0).toLowerCase()}${task.method.slice(1)}`,
    entity: task.entity,
    entityName: task.entityName,
    state: task.state,
    cancelled: task.isCancelled,
    cancelable: true,
    ...(task.error ? { error: task.error.localized() } : {}),
    ...(task.result !== undefined ? { result: task.result } : {}),
    ...(task.state === 'running' ? { progress: task.progress } : {}),
    reason: { $type: 'TaskReasonUser', userName: task.user },
    queueTime: dateTime(task.queuedMs),
    ...(task.startedMs ? { startTime: dateTime(task.startedMs) } : {}),
    ...(task.completedMs ? { completeTime: dateTime(task.completedMs) } : {}),
    eventChainId: task.chain,
  };
}
