/**
 * The screen of `npm start`: the whole lab at a glance, drawn as text. Pure: status in, lines out.
 */
import { stripVTControlCharacters } from 'node:util';
import type { SystemStatus } from '../../policy/answers.ts';

/** What the client outside has seen. */
export interface Traffic {
  requests: number;
  failed: number;
  requestsPerSecond: number;
  /** Median and 99th percentile of the last second, milliseconds. */
  medianMs: number;
  p99Ms: number;
  /** Share of the last second's answers by VM name, 0 to 1. */
  shares: ReadonlyMap<string, number>;
}

export interface ScreenInput {
  lab: string;
  upMs: number;
  status: SystemStatus;
  traffic: Traffic;
  /** Newest last. */
  events: readonly string[];
  columns: number;
  rows: number;
  hasColour: boolean;
}

/** The lines of the screen, none wider than `columns` and no more than `rows`. */
export function drawScreen(input: ScreenInput): string[] {
  const paint = input.hasColour ? colours : plain;
  const { status, traffic } = input;
  const lines: string[] = [];
  const ready = status.engines.filter((engine) => engine.state === 'ready').length;
  lines.push(
    `${paint.bold('weft')} lab "${input.lab}" up ${clock(input.upMs)}   ` +
      `${status.hosts.length} hosts, ${ready}/${status.engines.length} engines ready, ${status.members.length} members   ` +
      `controller revision ${status.controller.revision}${status.controller.reconciling ? paint.yellow(` ${status.controller.reconciling}`) : ''}`,
    `${paint.bold(count(traffic.requestsPerSecond))} requests/s   ${count(traffic.requests)} requests   ` +
      `${traffic.failed === 0 ? paint.green('0 failed') : paint.red(`${count(traffic.failed)} failed`)}   ` +
      `median ${traffic.medianMs.toFixed(1)} ms, p99 ${traffic.p99Ms.toFixed(1)} ms`,
    '',
  );

  lines.push(
    ...table(
      ['SERVICE', 'STATE', 'ADDRESSES', ''],
      status.services.map((service) => [
        service.name,
        stateColour(paint, service.state),
        `${service.addresses.slice(0, 3).join(' ')}${service.addresses.length > 3 ? ` +${service.addresses.length - 3}` : ''}`,
        service.message,
      ]),
      paint,
    ),
    '',
  );
  lines.push(
    ...table(
      ['HOST', 'ENGINE', 'STATE', 'GRAPH', 'FLOWS', 'NEW FLOWS', 'PACKETS IN', 'OUT', 'DROPPED'],
      status.hosts.map((host) => {
        const engine = status.engines.find((candidate) => candidate.host === host.name);
        if (!engine) return [host.name, '-', host.isConnected ? '' : paint.red('disconnected')];
        const dropped = Object.values(engine.drops).reduce((sum, packets) => sum + packets, 0);
        return [
          host.name,
          engine.id,
          stateColour(paint, engine.state),
          engine.graphRevision === engine.wantedRevision
            ? `${engine.graphRevision}`
            : `${engine.graphRevision}>${engine.wantedRevision}`,
          count(engine.flows),
          count(engine.newFlows),
          count(engine.receivedPackets),
          count(engine.sentPackets),
          count(dropped),
        ];
      }),
      paint,
    ),
    '',
  );

  const engineIds = status.engines.map((engine) => engine.id).sort();
  const members = new Map(status.members.map((member) => [member.member, member]));
  lines.push(
    ...table(
      ['MEMBER', 'HOST', 'HEALTH', 'IN LINE', 'C', ...engineIds.map((id) => `H, L from ${id}`), 'SHARE'],
      [...members.values()]
        .sort((a, b) => (a.vm < b.vm ? -1 : 1))
        .map((member) => [
          member.vm,
          member.host,
          member.health === 'up'
            ? paint.green('up')
            : member.health === 'down'
              ? paint.red('down')
              : paint.yellow('unknown'),
          member.isIntercepted ? 'yes' : paint.yellow('no'),
          String(member.connections ?? '?'),
          ...engineIds.map((id) => {
            const view = member.views[id];
            return view ? `${view.hops}, ${view.load ?? '?'}` : '-';
          }),
          bar(traffic.shares.get(member.vm) ?? 0),
        ]),
      paint,
    ),
    '',
  );
  for (const operation of status.operations.slice(0, 4)) {
    lines.push(
      paint.yellow(`${operation.state}: ${operation.step} ${operation.object} ${operation.message}`),
    );
  }
  const room = Math.max(0, input.rows - lines.length - 2);
  if (room > 0) lines.push(...input.events.slice(-room).map((event) => paint.dim(event)));
  lines.push(
    '',
    `In another terminal: bin/weft status | explain web | trace web --from 10.77.0.9 | lab fault --help    Ctrl-C takes everything down`,
  );
  return lines.slice(0, input.rows).map((line) => clip(line, input.columns));
}

const wrap = (open: number, close: number) => (text: string) => `\x1b[${open}m${text}\x1b[${close}m`;
const colours = {
  bold: wrap(1, 22),
  dim: wrap(2, 22),
  red: wrap(31, 39),
  green: wrap(32, 39),
  yellow: wrap(33, 39),
};
const same = (text: string): string => text;
const plain: typeof colours = { bold: same, dim: same, red: same, green: same, yellow: same };

function stateColour(paint: typeof colours, state: string): string {
  if (state === 'ready' || state === 'serving') return paint.green(state);
  return state === 'silent' || state === 'held' ? paint.red(state) : paint.yellow(state);
}

function table(head: string[], rows: string[][], paint: typeof colours): string[] {
  const widths = head.map((cell, column) =>
    Math.max(cell.length, ...rows.map((row) => stripVTControlCharacters(row[column] ?? '').length)),
  );
  const line = (cells: string[]): string =>
    cells
      .map(
        (cell, column) =>
          cell + ' '.repeat(Math.max(0, (widths[column] ?? 0) - stripVTControlCharacters(cell).length)),
      )
      .join('  ')
      .trimEnd();
  return [paint.dim(line(head)), ...rows.map(line)];
}

function bar(share: number): string {
  const width = Math.round(share * 30);
  return `${'#'.repeat(width)}${width > 0 ? ' ' : ''}${Math.round(share * 100)}%`;
}

function count(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

function clock(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const two = (value: number): string => String(value).padStart(2, '0');
  return seconds >= 3600
    ? `${Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`
    : `${two(Math.floor(seconds / 60))}:${two(seconds % 60)}`;
}

/** Cuts a line to a number of visible characters without cutting an escape sequence. */
function clip(line: string, columns: number): string {
  if (stripVTControlCharacters(line).length <= columns) return line;
  let visible = 0;
  let index = 0;
  while (index < line.length && visible < columns - 1) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape sequences are what is looked for.
    const sequence = /^\x1b\[\d+m/.exec(line.slice(index));
    if (sequence) index += sequence[0].length;
    else {
      index++;
      visible++;
    }
  }
  return `${line.slice(0, index)}…\x1b[0m`;
}
