/** What is observed of a pool, as a table: members with health and load. */
import type { PoolStatus } from '../policy/pool.ts';
import { stateCell } from './state-cell.ts';
import { type Cell, paint, table } from './table.ts';
import type { Terminal } from './terminal.ts';

/** Nothing where the controller has not observed the pool yet. */
export function drawPool(terminal: Terminal, status: unknown): string[] {
  const { members } = (status ?? {}) as Partial<PoolStatus>;
  if (!members || members.length === 0) return [];
  const rows = members.map((member): Cell[] => [
    member.vm,
    member.host,
    stateCell(member.health),
    ...loadCells(member),
    member.reason,
  ]);
  const columns = [
    { title: 'MEMBER' },
    { title: 'HOST' },
    { title: 'HEALTH' },
    ...LOAD_COLUMNS,
    { title: 'REASON', wraps: true },
  ];
  return [`${paint(terminal, `members (${rows.length})`, 'bold')}\n${table(terminal, columns, rows)}`];
}

/** The columns that `loadCells` fills. */
export const LOAD_COLUMNS = [
  { title: 'C', isRight: true },
  { title: 'CPU', isRight: true },
  { title: 'MEMORY', isRight: true },
  { title: 'RX/S', isRight: true },
  { title: 'TX/S', isRight: true },
];

/** The load of a member. What is not known is shown as such: a dash could be taken for nothing. */
export function loadCells(
  load: Pick<
    PoolStatus['members'][number],
    'connections' | 'cpuPercent' | 'memoryBytes' | 'receivedBytesPerSecond' | 'sentBytesPerSecond'
  >,
): Cell[] {
  return [
    figure(load.connections, String),
    figure(load.cpuPercent, (percent) => `${percent}%`),
    figure(load.memoryBytes, bytes),
    figure(load.receivedBytesPerSecond, bytes),
    figure(load.sentBytesPerSecond, bytes),
  ];
}

function figure(value: number | null, draw: (value: number) => string): Cell {
  return value === null ? { text: '?', colour: 'dim' } : draw(value);
}

function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let left = value;
  let unit = 0;
  while (left >= 1000 && unit < units.length - 1) {
    left /= 1000;
    unit++;
  }
  return `${left >= 10 || unit === 0 ? Math.round(left) : left.toFixed(1)} ${units[unit]}`;
}
