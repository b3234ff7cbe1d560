/** The tasks and events that Weft shows in vCenter: one table for what is registered and what is posted. */

/** What Weft does: a task while it is done, an event when it is over. */
export const NOTE_KINDS = {
  'engine-deployed': { task: 'DeployEngine', label: 'Deploy service engine', severity: 'info' },
  'engine-removed': { task: 'RemoveEngine', label: 'Remove service engine', severity: 'info' },
  'engine-power': { task: 'RecoverEngine', label: 'Recover service engine', severity: 'warning' },
  'path-bent': { task: 'BendPath', label: 'Bend path through service engine', severity: 'info' },
  'path-released': { task: 'ReleasePath', label: 'Release path from service engine', severity: 'info' },
  bypassed: { task: 'BypassEngine', label: 'Bypass silent service engine', severity: 'warning' },
} as const;

export type NoteKind = keyof typeof NOTE_KINDS;

const PREFIX = 'com.weft';

/** The id of a task, for example `com.weft.DeployEngine`. */
export function taskTypeOf(kind: NoteKind): string {
  return `${PREFIX}.${NOTE_KINDS[kind].task}`;
}

/** The id of an event, for example `com.weft.engine-deployed`. */
export function eventTypeOf(kind: NoteKind): string {
  return `${PREFIX}.${kind}`;
}

const KINDS = Object.keys(NOTE_KINDS) as NoteKind[];

export const TASK_TYPES = KINDS.map((kind) => ({ id: taskTypeOf(kind), label: NOTE_KINDS[kind].label }));

export const EVENT_TYPES = KINDS.map((kind) => ({
  id: eventTypeOf(kind),
  label: NOTE_KINDS[kind].label,
  severity: NOTE_KINDS[kind].severity,
}));
