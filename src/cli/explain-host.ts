/** How `weft explain host NAME` looks. */
import type { HostExplanation } from '../policy/answers.ts';
import { paint, table } from './table.ts';
import { plain, type Terminal } from './terminal.ts';

/** Draws one host: what it is, every source of its place in the network, and its hops. */
export function drawHost(terminal: Terminal, host: HostExplanation): string {
  const { hardware } = host;
  const state = [
    host.isConnected ? 'connected' : 'not connected',
    ...(host.isInMaintenance ? ['in maintenance'] : []),
    `${host.vms} VMs`,
    host.engine === null ? 'no engine' : `engine ${host.engine}`,
  ];
  const about = hardware
    ? `${hardware.model}, ${hardware.cpuCores} cores at ${hardware.cpuMhz} MHz, ${Math.round(hardware.memoryBytes / 2 ** 30)} GiB`
    : 'hardware unknown';
  return [
    paint(terminal, plain(`host ${host.host} (${host.id}) of cloud ${host.cloud}`), 'bold'),
    plain(
      `${host.cluster === '' ? 'in no cluster' : `cluster ${host.cluster}`}; ${state.join(', ')}; ${about}`,
    ),
    plain(`segments: ${host.segments.map(segmentText).join(', ') || 'none'}`),
    '',
    table(
      terminal,
      [{ title: '' }, { title: 'SOURCE' }, { title: 'SWITCHES ABOVE' }, { title: 'DETAIL', wraps: true }],
      host.evidence.map(({ source, path, detail, isUsed }) => [
        isUsed ? { text: '>', colour: 'green' } : '',
        source,
        path === null ? '-' : path.join(' / '),
        detail,
      ]),
    ),
    '',
    table(
      terminal,
      [{ title: 'TO HOST' }, { title: 'H', isRight: true }],
      host.hops.map(({ host: other, hops }) => [other, String(hops)]),
    ),
  ].join('\n');
}

function segmentText({ name, role, isUnfinished }: HostExplanation['segments'][number]): string {
  return `${name} (${role}${isUnfinished ? ', half made' : ''})`;
}
