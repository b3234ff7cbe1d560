/** `weft scale POOL [SIZE]`: how large a pool is and why, or how large it shall be. */
import type { Command } from 'commander';
import type { ApplyResult, StepSummary } from '../policy/answers.ts';
import type { AutoscaleStatus, ScaleFigures } from '../policy/autoscale.ts';
import { WeftError } from '../policy/errors.ts';
import type { PolicyObject } from '../policy/kind.ts';
import type { PoolSpec, PoolStatus } from '../policy/pool.ts';
import type { ControllerClient } from './controller-client.ts';
import { drawSteps } from './plan.ts';
import { stateCell } from './state-cell.ts';
import { type Cell, paint, table } from './table.ts';
import { plain, type Terminal } from './terminal.ts';
import { addVerb, connect, print, type VerbOptions } from './verb.ts';

interface Options extends VerbOptions {
  dryRun?: boolean;
  wait?: boolean;
  timeout: string;
}

interface ScaleAnswer {
  pool: string;
  /** Null: the load decides. */
  size: number | null;
  isDryRun: boolean;
  /** What is done, or would be. */
  steps: StepSummary[];
  result: ApplyResult['result'];
}

/** Adds the verb. */
export function register(program: Command, terminal: Terminal): void {
  addVerb(program, 'scale <pool> [size]', 'show how large a pool is and why, or say how large it shall be', [
    'weft scale shop               # size, load, targets, clones, the latest decisions with their figures',
    'weft scale shop 5 --dry-run   # the steps to five members; nothing is done',
    'weft scale shop 5 --wait      # five members, whatever the load',
    'weft scale shop auto          # let the load decide again',
  ])
    .option('--dry-run', 'show the steps, but change nothing')
    .option('--wait', 'wait until the pool has the size')
    .option('--timeout <seconds>', 'how long to wait', '1800')
    .action(async (pool: string, size: string | undefined, options: Options) => {
      const client = await connect(options, terminal);
      const object = (await client.get('pool', pool)) as PolicyObject<PoolSpec, PoolStatus>;
      if (size === undefined) {
        if (options.dryRun || options.wait) {
          throw new WeftError('ERR_USAGE', '--dry-run and --wait need a size: weft scale POOL SIZE');
        }
        requireScaling(object);
        return print(terminal, options, object.status?.autoscale ?? null, (status) =>
          drawScaling(terminal, object, status),
        );
      }
      const wanted = sizeOf(size);
      const changed = withSize(object, wanted);
      const steps = await client.plan([changed]);
      const isDryRun = options.dryRun === true;
      const [done] = await client.apply([changed], isDryRun);
      const answer: ScaleAnswer = {
        pool,
        size: wanted,
        isDryRun,
        steps,
        result: done?.result ?? 'unchanged',
      };
      if (options.wait && !isDryRun) await waitForSize(client, pool, wanted, options, terminal);
      await print(terminal, options, answer, (one) => drawAnswer(terminal, one, options.wait === true));
    });
}

function sizeOf(text: string): number | null {
  if (text === 'auto') return null;
  if (/^\d{1,4}$/.test(text)) return Number(text);
  throw new WeftError(
    'ERR_USAGE',
    `${JSON.stringify(text)} is no size: give a number, or auto to let the load decide`,
  );
}

function requireScaling(object: PolicyObject<PoolSpec>): NonNullable<PoolSpec['autoscale']> {
  if (object.spec.autoscale) return object.spec.autoscale;
  throw new WeftError(
    'ERR_POLICY_INVALID',
    `pool ${object.name} does not scale: give it autoscale first, for example { max: 8, targets: { cpuPercent: 60 } }; "weft spec pool" explains it`,
  );
}

/** The pool as it would be. Refused by the controller where somebody changed it meanwhile. */
function withSize(object: PolicyObject<PoolSpec>, wanted: number | null) {
  const { size: _, ...autoscale } = requireScaling(object);
  const { kind, name, revision, spec } = object;
  if (wanted !== null && (wanted < autoscale.min || wanted > autoscale.max)) {
    throw new WeftError(
      'ERR_POLICY_INVALID',
      `pool ${name} may have ${autoscale.min} to ${autoscale.max} members: choose a size between them, or change autoscale.min and max`,
    );
  }
  return {
    kind,
    name,
    revision,
    spec: { ...spec, autoscale: wanted === null ? autoscale : { ...autoscale, size: wanted } },
  };
}

/** Says what goes on until the pool has the size. */
async function waitForSize(
  client: ControllerClient,
  pool: string,
  wanted: number | null,
  { timeout }: Options,
  terminal: Terminal,
): Promise<void> {
  const seconds = Number(timeout);
  if (!Number.isFinite(seconds) || seconds <= 0) {
    throw new WeftError('ERR_USAGE', `--timeout must be a number of seconds, not ${JSON.stringify(timeout)}`);
  }
  const deadline = performance.now() + seconds * 1000;
  let said = '';
  for (;;) {
    const { pools, operations } = await client.status();
    const status = pools.find((one) => one.name === pool);
    if (status) {
      const { figures, clones, state, message } = status;
      const isThere = wanted === null || figures.size === wanted;
      if (isThere && figures.coming === 0 && figures.leaving === 0) return;
      const under = clones
        .filter(({ phase }) => phase !== 'ready')
        .map(({ vm, host, phase, message: why }) => {
          const operation = operations.find((one) => one.object === `vm ${vm}` && one.progress !== undefined);
          const far = operation?.progress === undefined ? '' : ` ${Math.floor(operation.progress * 100)}%`;
          return `${vm} on ${host} ${phase}${far}${why === '' ? '' : `: ${why}`}`;
        });
      const line = `${figures.size} members${under.length > 0 ? `; ${under.join('; ')}` : ''}${state === 'held' ? `; ${message}` : ''}`;
      if (line !== said) terminal.stderr.write(`${plain(line)}\n`);
      said = line;
    }
    if (performance.now() > deadline) {
      throw new WeftError(
        'ERR_TIMEOUT',
        `pool ${pool} has not reached its size within ${seconds} s (${said}); it is still at it: "weft scale ${pool}" shows how it goes`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

function drawAnswer(terminal: Terminal, answer: ScaleAnswer, isWaited: boolean): string {
  const { pool, size, isDryRun, steps, result } = answer;
  const asked = size === null ? `the load ${isDryRun ? 'would decide' : 'decides'}` : `${size} members`;
  const end = isDryRun
    ? `pool ${pool}: ${asked}; nothing was changed`
    : isWaited
      ? `pool ${pool}: ${asked}; done`
      : `pool ${pool}: ${asked}${result === 'unchanged' ? ', as before' : ''}; "weft scale ${pool}" shows how it goes`;
  return `${drawSteps(terminal, steps)}\n${plain(end)}`;
}

function drawScaling(
  terminal: Terminal,
  object: PolicyObject<PoolSpec>,
  status: AutoscaleStatus | null,
): string {
  const { min, max, size, targets } = requireScaling(object);
  const bounds = size === undefined ? `${min} to ${max} members` : `${size} members, as asked for by hand`;
  const aims = [
    targets.connectionsPerMember === undefined
      ? ''
      : `${targets.connectionsPerMember} connections per member`,
    targets.cpuPercent === undefined ? '' : `${targets.cpuPercent}% CPU`,
  ].filter((aim) => aim !== '');
  const lines = [
    plain(`pool ${object.name}: ${bounds}${aims.length > 0 ? `; target ${aims.join(', ')}` : ''}`),
  ];
  if (!status) return [...lines, 'the controller has not looked at it yet'].join('\n');
  const cell = stateCell(status.state);
  const state = typeof cell === 'string' ? cell : paint(terminal, cell.text, cell.colour);
  lines.push(
    `${state}: ${plain(status.message)}`,
    '',
    paint(terminal, 'now', 'bold'),
    table(terminal, FIGURE_COLUMNS, [figureCells(status.figures)]),
  );
  if (status.clones.length > 0) {
    lines.push(
      '',
      paint(terminal, `clones (${status.clones.length})`, 'bold'),
      table(
        terminal,
        [
          { title: 'CLONE' },
          { title: 'HOST' },
          { title: 'PHASE' },
          { title: 'SINCE' },
          { title: 'MESSAGE', wraps: true },
        ],
        status.clones.map(({ vm, host, phase, since, message }) => [
          vm,
          host,
          stateCell(phase),
          since,
          message,
        ]),
      ),
    );
  }
  if (status.decisions.length > 0) {
    lines.push(
      '',
      paint(terminal, 'latest decisions', 'bold'),
      table(
        terminal,
        [
          { title: 'WHEN' },
          { title: 'SIZE' },
          ...FIGURE_COLUMNS.slice(1),
          { title: 'WHY', wraps: true, share: 2 },
        ],
        status.decisions.map(({ at, from, to, reason, figures }) => [
          at,
          `${from} -> ${to}`,
          ...figureCells(figures).slice(1),
          reason,
        ]),
      ),
    );
  }
  return lines.join('\n');
}

const FIGURE_COLUMNS = [
  { title: 'SIZE', isRight: true },
  { title: 'SERVING', isRight: true },
  { title: 'COMING', isRight: true },
  { title: 'LEAVING', isRight: true },
  { title: 'C/MEMBER', isRight: true },
  { title: 'CPU', isRight: true },
];

function figureCells(figures: ScaleFigures): Cell[] {
  const { size, serving, coming, leaving, connectionsPerMember, cpuPercent } = figures;
  const unknown: Cell = { text: '?', colour: 'dim' };
  return [
    String(size),
    String(serving),
    String(coming),
    String(leaving),
    connectionsPerMember === null ? unknown : String(connectionsPerMember),
    cpuPercent === null ? unknown : `${cpuPercent}%`,
  ];
}
