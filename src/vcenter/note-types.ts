/** The tasks and events that Weft shows in vCenter: one table for what is registered and what is posted. */

/** What Weft does: a task while it is done, an event when it is over. */
export const NOTE_KINDS = {
  'engine-deployed': { task: 'DeployEngine', label: 'Deploy service engine', severity: 'info' },
  'engine-removed': { task: 'RemoveEngine', label: 'Remove service engine', severity: 'info' },
  'engine-power': { task: 'RecoverEngine', label: 'Recover service engine', severity: 'warning' },
  'path-bent': { task: 'BendPath', label: 'Bend path through service engine', severity: 'info' },
  'path-released': { task: 'ReleasePath', label: 'Release path from service engine', severity: 'info' },
  bypassed: { task: 'BypassEngine', label: 'Bypass silent service engine', severity: 'warning' },
  'ports-mirrored': { task: 'MirrorPorts', label: 'Mirror ports to service engine', severity: 'info' },
  'member-cloned': { task: 'CloneMember', label: 'Clone member of pool', severity: 'info' },
  'clone-removed': { task: 'RemoveClone', label: 'Remove clone from pool', severity: 'info' },
} as const;

export type NoteKind = keyof typeof NOTE_KINDS;

const PREFIX = 'com.weft';

/** The id of a task, for example `com.weft.DeployEngine`. */
export function taskTypeOf(kind: NoteKind): string {
  return `${PREFIX}.${NOTE_KINDS[kind].task}`;
}

/** The id of an event, for example `com.weft.engine-deployed`; `com.weft.engine-deployed.failed` where it went wrong. */
export function eventTypeOf(kind: NoteKind, hasFailed = false): string {
  return `${PREFIX}.${kind}${hasFailed ? '.failed' : ''}`;
}

const KINDS = Object.keys(NOTE_KINDS) as NoteKind[];

export const TASK_TYPES = KINDS.map((kind) => ({ id: taskTypeOf(kind), label: NOTE_KINDS[kind].label }));

/** One for each kind that went well and one for each that did not, so that alarms can be set on either. */
export const EVENT_TYPES = KINDS.flatMap((kind) => [
  { id: eventTypeOf(kind), label: NOTE_KINDS[kind].label, severity: NOTE_KINDS[kind].severity },
  { id: eventTypeOf(kind, true), label: `${NOTE_KINDS[kind].label} (failed)`, severity: 'error' as const },
]);

/** The arguments that each event carries, as its format names them. */
export const EVENT_ARGUMENTS = ['message', 'engine'] as const;
