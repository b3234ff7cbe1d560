/**
 * What extensions have registered of their tasks and events, and the texts that stand for them: a vCenter shows no id
 * where an extension gave a text for it, and a complaint where it did not.
 */
import type { Vcenter } from './vcenter.ts';
import type { Struct } from './wire/values.ts';

const FORMATS = ['formatOnDatacenter', 'formatOnComputeResource', 'formatOnHost', 'formatOnVm', 'fullFormat'];

/** Whether some extension has registered the event. */
export function isRegisteredEvent(vcenter: Vcenter, id: string): boolean {
  return idsOf(vcenter, 'eventList', 'eventID').includes(id);
}

/** Whether some extension has registered the task. */
export function isRegisteredTask(vcenter: Vcenter, id: string): boolean {
  return idsOf(vcenter, 'taskList', 'taskID').includes(id);
}

/** The tasks of extensions as `TaskManager.description` lists them. */
export function describeTasks(vcenter: Vcenter): Struct[] {
  return idsOf(vcenter, 'taskList', 'taskID').map((key) => ({
    label: textOf(vcenter, 'task', `${key}.label`),
    summary: textOf(vcenter, 'task', `${key}.summary`),
    key,
  }));
}

/** The events of extensions as `EventManager.description` lists them: all are EventEx, told apart in the format. */
export function describeEvents(vcenter: Vcenter): Struct[] {
  return idsOf(vcenter, 'eventList', 'eventID').map((id) => {
    const text = (name: string) => textOf(vcenter, 'event', `${id}.${name}`);
    return {
      key: 'EventEx',
      description: text('description'),
      category: text('category'),
      ...Object.fromEntries(FORMATS.map((name) => [name, `${id}|${text(name)}`])),
    };
  });
}

/** The message of an EventEx: its format, with the arguments put in. */
export function messageOf(vcenter: Vcenter, event: Struct): string {
  const values = new Map(
    ((event.arguments ?? []) as Struct[]).map(({ key, value }) => [String(key), String(value)]),
  );
  return textOf(vcenter, 'event', `${String(event.eventTypeId)}.fullFormat`).replaceAll(
    /\{([\w.]+)\}/g,
    (_, name: string) => values.get(name) ?? '',
  );
}

function idsOf(vcenter: Vcenter, list: 'taskList' | 'eventList', id: 'taskID' | 'eventID'): string[] {
  return vcenter.state.extensions.flatMap((one) =>
    ((one[list] ?? []) as Struct[]).map((entry) => String(entry[id])),
  );
}

/** A text that an extension did not give shows in vCenter's clients as `XXX module.key not found XXX`: so it does here. */
function textOf(vcenter: Vcenter, module: string, key: string): string {
  for (const extension of vcenter.state.extensions) {
    for (const resource of (extension.resourceList ?? []) as Struct[]) {
      if (resource.module !== module) continue;
      const found = ((resource.data ?? []) as Struct[]).find((one) => one.key === key);
      if (found) return String(found.value);
    }
  }
  return `XXX ${module}.${key} not found XXX`;
}
