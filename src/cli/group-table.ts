/** What is observed of an engine group's packets, as a table: who forwarded them. */
import type { PathFigures } from '../policy/answers.ts';
import type { EngineGroupStatus } from '../policy/engine-group.ts';
import { paint, table } from './table.ts';
import type { Terminal } from './terminal.ts';

/** Nothing where no engine has said anything yet. */
export function drawGroup(terminal: Terminal, status: unknown): string[] {
  const { path, engines } = (status ?? {}) as Partial<EngineGroupStatus>;
  if (!path) return [];
  const columns = ['BY KERNEL', 'BY TYPESCRIPT', 'SHARE', 'UPCALLS', 'REFUSED', 'HELD', 'BYPASSED'];
  const { kernelPackets, typescriptPackets, upcalls, refused, held, bypassed } = path;
  const row = [kernelPackets, typescriptPackets, kernelShare(path), upcalls, refused, held, bypassed];
  return [
    `${paint(terminal, `packets (${engines ?? 0} engines)`, 'bold')}\n${table(
      terminal,
      columns.map((title) => ({ title, isRight: true })),
      [row.map(String)],
    )}`,
  ];
}

/** The share of packets that the kernel's program forwarded without TypeScript. */
export function kernelShare(path: PathFigures | null): string {
  if (path === null) return '-';
  const all = path.kernelPackets + path.typescriptPackets;
  return all === 0 ? '-' : `${Math.floor((path.kernelPackets / all) * 100)}%`;
}
