/** Who forwarded the packets of an engine group: the kernel's program, or TypeScript. Pure. */
import type { PathFigures } from '../policy/answers.ts';
import type { EngineReport } from '../state/shared.ts';
import type { Desired } from './desired.ts';

const FIGURES = [
  'kernelPackets',
  'kernelBytes',
  'typescriptPackets',
  'upcalls',
  'refused',
  'held',
  'bypassed',
] as const satisfies (keyof PathFigures)[];

/** What an engine says of itself; null where it says nothing that can be read. What it sends is input. */
export function pathOf(report: Partial<EngineReport> | null | undefined): PathFigures | null {
  const path: Partial<Record<keyof PathFigures, unknown>> | null | undefined = report?.path;
  if (typeof path !== 'object' || path === null) return null;
  const figures = FIGURES.map((name) => [name, path[name]] as const);
  if (!figures.every(([, value]) => Number.isFinite(value))) return null;
  return Object.fromEntries(figures) as unknown as PathFigures;
}

/** The figures of each group, over those of its engines that have said theirs. */
export function groupPaths(
  desired: Desired,
  figuresOf: (engine: string) => PathFigures | null,
): Map<string, PathFigures> {
  const sums = new Map<string, PathFigures>();
  for (const { id, group } of desired.engines.values()) {
    const path = figuresOf(id);
    if (path === null) continue;
    const sum = sums.get(group);
    if (sum === undefined) sums.set(group, { ...path });
    else for (const name of FIGURES) sum[name] += path[name];
  }
  return sums;
}
