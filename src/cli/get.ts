/** `weft get [KIND [NAME]]`: objects as they are wanted and as they are. */
import type { Command } from 'commander';
import type { PolicyObject } from '../policy/kind.ts';
import { drawRules } from './firewall-table.ts';
import { drawGroup } from './group-table.ts';
import { drawPool } from './pool-table.ts';
import { stateCell } from './state-cell.ts';
import { type Cell, type Column, table } from './table.ts';
import { plain, type Terminal } from './terminal.ts';
import { addVerb, connect, print, type VerbOptions } from './verb.ts';

/** Adds the verb. */
export function register(program: Command, terminal: Terminal): void {
  addVerb(program, 'get [kind] [name]', 'show objects: what is wanted (spec) and what is (status)', [
    'weft get',
    'weft get virtual-service',
    'weft get virtual-service web -o yaml > web.yaml',
  ]).action(async (kind: string | undefined, name: string | undefined, options: VerbOptions) => {
    const client = await connect(options, terminal);
    if (kind !== undefined && name !== undefined) {
      const object = await client.get(kind, name);
      // Counters change all the time, so they are no part of the object.
      const firewall =
        kind === 'firewall-policy' && options.output === undefined
          ? await client.firewall(name, '0').catch((error: Error) => error)
          : null;
      return print(terminal, options, object, (one) =>
        [
          drawObjects(terminal, [one], false),
          ...(kind === 'pool' ? drawPool(terminal, one.status) : []),
          ...(kind === 'engine-group' ? drawGroup(terminal, one.status) : []),
          ...(firewall === null
            ? []
            : [
                firewall instanceof Error
                  ? plain(`what its rules did is not known: ${firewall.message}`)
                  : drawRules(terminal, firewall),
              ]),
        ].join('\n\n'),
      );
    }
    const kinds = kind === undefined ? await client.kinds() : [kind];
    const objects = (await Promise.all(kinds.map((one) => client.list(one)))).flat();
    const isMixed = kind === undefined;
    return print(terminal, options, objects, (all) =>
      all.length === 0
        ? `no ${kind ?? 'objects'} yet; "weft apply -f FILE" makes some`
        : drawObjects(terminal, all, isMixed),
    );
  });
}

function drawObjects(terminal: Terminal, objects: readonly PolicyObject[], withKind: boolean): string {
  const columns: Column[] = [
    ...(withKind ? [{ title: 'KIND' }] : []),
    { title: 'NAME' },
    { title: 'REVISION', isRight: true },
    { title: 'STATE' },
    { title: 'SPEC', wraps: true },
    { title: 'MESSAGE', wraps: true },
  ];
  const rows = objects.map(({ kind, name, revision, spec, status }): Cell[] => {
    const { message } = (status ?? {}) as { message?: unknown };
    return [
      ...(withKind ? [kind] : []),
      name,
      String(revision),
      stateCell(stateOf(status)),
      digest(spec),
      typeof message === 'string' ? message : '',
    ];
  });
  return table(terminal, columns, rows);
}

/** One word of how an object is; for those that have members or engines, how many of them are well. */
function stateOf(status: unknown): string {
  const { state, engines, ready, members } = (status ?? {}) as {
    state?: unknown;
    engines?: unknown;
    ready?: unknown;
    members?: unknown;
  };
  if (typeof state === 'string') return state;
  if (typeof engines === 'number' && typeof ready === 'number') return `${ready} of ${engines} ready`;
  if (Array.isArray(members)) {
    return `${members.filter(({ health }) => health === 'up').length} of ${members.length} up`;
  }
  return '';
}

/** The top-level attributes in a few words; lists as their length. */
function digest(spec: unknown): string {
  return Object.entries(spec as Record<string, unknown>)
    .filter(([, value]) => !(Array.isArray(value) && value.length === 0))
    .map(([name, value]) => {
      if (Array.isArray(value)) return `${name}: ${value.length}`;
      if (typeof value === 'object' && value !== null) return `${name}: ${Object.keys(value).join('+')}`;
      return `${name}: ${String(value)}`;
    })
    .join(', ');
}
