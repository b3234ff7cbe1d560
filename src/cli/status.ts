/** `weft status`: clouds, hosts, engines, services, members and what is being done, at a glance. */
import type { Command } from 'commander';
import type { SystemStatus } from '../policy/answers.ts';
import { kernelShare } from './group-table.ts';
import { LOAD_COLUMNS, loadCells } from './pool-table.ts';
import { stateCell } from './state-cell.ts';
import { type Cell, type Column, paint, table } from './table.ts';
import { plain, type Terminal } from './terminal.ts';
import { addVerb, connect, print, type VerbOptions } from './verb.ts';

/** Adds the verb. */
export function register(program: Command, terminal: Terminal): void {
  addVerb(program, 'status', 'show hosts, engines, services and members at a glance', [
    'weft status',
    'weft status -o json | jq .engines',
  ]).action(async (options: VerbOptions) => {
    const status = await (await connect(options, terminal)).status();
    await print(terminal, options, status, (one) => drawStatus(terminal, one));
  });
}

function drawStatus(terminal: Terminal, status: SystemStatus): string {
  const { controller } = status;
  const section = (title: string, columns: readonly Column[], rows: readonly Cell[][]): string[] =>
    rows.length === 0
      ? []
      : ['', paint(terminal, `${title} (${rows.length})`, 'bold'), table(terminal, columns, rows)];
  const lines = [
    plain(
      `controller ${controller.version}, up ${duration(controller.uptimeMs)}, revision ${controller.revision}${controller.reconciling === null ? '' : `, ${controller.reconciling}`}`,
    ),
  ];
  if (controller.lastError !== null) {
    lines.push(paint(terminal, plain(`last error: ${controller.lastError}`), 'red'));
  }
  lines.push(
    ...section(
      'clouds',
      [{ title: 'NAME' }, { title: 'STATE' }, { title: 'MESSAGE', wraps: true }],
      status.clouds.map(({ name, state, message }) => [name, stateCell(state), message]),
    ),
    ...section(
      'hosts',
      [
        { title: 'NAME' },
        { title: 'CLOUD' },
        { title: 'STATE' },
        { title: 'VMS', isRight: true },
        { title: 'ENGINE' },
        { title: 'SWITCHES ABOVE', wraps: true },
      ],
      status.hosts.map((host) => [
        host.name,
        host.cloud,
        stateCell(hostState(host)),
        String(host.vms),
        host.engine ?? '-',
        `${host.uplinkPath.join(' / ')} (${host.uplinkSource})`,
      ]),
    ),
    ...section(
      'engines',
      [
        { title: 'ENGINE' },
        { title: 'HOST' },
        { title: 'STATE' },
        { title: 'GRAPH', isRight: true },
        { title: 'FLOWS', isRight: true },
        { title: 'RX', isRight: true },
        { title: 'TX', isRight: true },
        { title: 'PATH', wraps: true },
        { title: 'DROPS', wraps: true },
        { title: 'MESSAGE', wraps: true },
      ],
      status.engines.map((engine) => [
        engine.id,
        engine.host,
        stateCell(engine.state),
        engine.graphRevision === engine.wantedRevision
          ? String(engine.graphRevision)
          : `${engine.graphRevision}<${engine.wantedRevision}`,
        engine.evictedFlows > 0
          ? `${engine.flows} (${count(engine.evictedFlows)} half open evicted)`
          : String(engine.flows),
        count(engine.receivedPackets),
        count(engine.sentPackets),
        pathText(engine),
        Object.entries(engine.drops)
          .filter(([, packets]) => packets > 0)
          .map(([reason, packets]) => `${reason} ${count(packets)}`)
          .join(', '),
        engine.message,
      ]),
    ),
    ...section(
      'connections that engines only observe, by the firewall rule that would judge them in line',
      [{ title: 'ENGINE' }, { title: 'SERVICE' }, { title: 'RULE' }, { title: 'CONNECTIONS', isRight: true }],
      status.engines
        .filter(({ state }) => state === 'observing')
        .flatMap(({ id, rules }) =>
          Object.entries(rules).map(([key, connections]) => {
            const [service = '', , rule = ''] = key.split('/');
            return [id, service, rule, count(connections)];
          }),
        ),
    ),
    ...section(
      'services',
      [
        { title: 'SERVICE' },
        { title: 'STATE' },
        { title: 'ADDRESSES', wraps: true },
        { title: 'MESSAGE', wraps: true },
      ],
      status.services.map((service) => [
        service.name,
        stateCell(service.state),
        service.addresses.join(', '),
        service.message,
      ]),
    ),
    ...section(
      'pools that scale',
      [
        { title: 'POOL' },
        { title: 'STATE' },
        { title: 'SIZE', isRight: true },
        { title: 'WANTED', isRight: true },
        { title: 'MIN', isRight: true },
        { title: 'MAX', isRight: true },
        { title: 'CLONES', wraps: true },
        { title: 'WHY', wraps: true, share: 2 },
      ],
      status.pools.map((pool) => [
        pool.name,
        stateCell(pool.state),
        String(pool.figures.size),
        String(pool.wanted),
        String(pool.min),
        String(pool.max),
        pool.clones.map(({ vm, phase }) => (phase === 'ready' ? vm : `${vm} ${phase}`)).join(', '),
        pool.message,
      ]),
    ),
    ...section(
      'members',
      [
        { title: 'MEMBER' },
        { title: 'HOST' },
        { title: 'POOL' },
        { title: 'HEALTH' },
        { title: 'IN LINE' },
        ...LOAD_COLUMNS.slice(0, 2),
        { title: 'L BY ENGINE (HOPS)', wraps: true },
        { title: 'REASON', wraps: true },
      ],
      status.members.map((member) => [
        member.vm,
        member.host,
        member.pool,
        stateCell(member.health),
        member.isIntercepted ? 'yes' : 'no',
        ...loadCells(member).slice(0, 2),
        Object.entries(member.views)
          .map(([engine, view]) => `${engine} ${view.load ?? '?'} (${view.hops})`)
          .join(', '),
        member.reason,
      ]),
    ),
    ...section(
      'operations',
      [
        { title: 'STEP' },
        { title: 'OBJECT' },
        { title: 'STATE' },
        { title: 'ATTEMPTS', isRight: true },
        { title: 'MESSAGE', wraps: true },
      ],
      status.operations.map((operation) => [
        operation.step,
        operation.object,
        operation.state,
        String(operation.attempts),
        operation.message,
      ]),
    ),
  );
  return lines.join('\n');
}

function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

function count(value: number): string {
  if (value < 100_000) return String(value);
  return value < 100_000_000 ? `${(value / 1e3).toFixed(0)}k` : `${(value / 1e6).toFixed(0)}M`;
}

/** Which program is in use, and how much it forwards. */
function pathText({ datapath, path }: SystemStatus['engines'][number]): string {
  const short = datapath.replace(/ program.*/, '');
  const share = kernelShare(path);
  return share === '-' || short === datapath ? short : `${short} ${share}`;
}

function hostState({ isConnected, maintenance }: SystemStatus['hosts'][number]): string {
  if (!isConnected) return 'unreachable';
  if (maintenance === null) return 'connected';
  return maintenance === 'in' ? 'maintenance' : 'entering maintenance';
}
