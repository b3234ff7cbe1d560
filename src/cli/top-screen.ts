/** The screen of `weft top`: one interval of a service. */
import { quantile, type ServiceFigures } from '../policy/service-figures.ts';
import { type Cell, type Column, paint, table } from './table.ts';
import { plain, type Terminal } from './terminal.ts';

/** What was done in an interval, over all engines and by engine. */
export interface TopView {
  service: string;
  intervalMs: number;
  sum: ServiceFigures;
  engines: { engine: string; host: string; figures: ServiceFigures }[];
  failures: { engine: string; message: string }[];
}

/** Lines of members, paths, clients. */
const MOST_LINES = 10;

export function drawTop(terminal: Terminal, view: TopView): string {
  const { sum, engines, failures, intervalMs } = view;
  const seconds = intervalMs / 1000;
  const rate = (count: number): string => short(count / seconds);
  const section = (title: string, columns: readonly Column[], rows: readonly Cell[][]): string[] =>
    rows.length === 0 ? [] : ['', paint(terminal, title, 'bold'), table(terminal, columns, rows)];
  const head = [
    `${plain(view.service)}: ${rate(sum.requests)} requests/s, ${statusText(sum)}`,
    `${sum.open} connections open, ${rate(sum.connections)} new/s; received ${rate(sum.receivedBytes)}B/s, sent ${rate(sum.sentBytes)}B/s; ${sum.threads} threads, busy ${busyText(sum, intervalMs)}`,
  ];
  return [
    ...head,
    ...section('where the time of requests goes', [{ title: 'SHARE' }, ...TIMES], timeRows(sum)),
    ...section(
      membersTitle(sum.members.length),
      [
        { title: 'MEMBER' },
        { title: 'ADDRESS' },
        { title: 'POOL' },
        { title: 'REQ/S', isRight: true },
        { title: 'SHARE', isRight: true },
        { title: 'ERRORS', isRight: true },
        { title: 'ACTIVE', isRight: true },
        { title: 'P50', isRight: true },
        { title: 'P99', isRight: true },
      ],
      sum.members
        .slice(0, MOST_LINES)
        .map((member) => [
          member.name,
          member.address,
          member.pool === '' ? '-' : member.pool,
          rate(member.requests),
          percent(member.requests, total(sum.members.map(({ requests }) => requests))),
          { text: String(member.errors), colour: member.errors > 0 ? 'red' : null },
          String(member.active),
          time(quantile(member.waits, 0.5)),
          time(quantile(member.waits, 0.99)),
        ]),
    ),
    ...section(
      'by engine',
      [
        { title: 'ENGINE' },
        { title: 'HOST' },
        { title: 'REQ/S', isRight: true },
        { title: '5XX', isRight: true },
        { title: 'OPEN', isRight: true },
        { title: 'BUSY', isRight: true },
        { title: 'P99', isRight: true },
        { title: 'ENGINE P99', isRight: true },
        { title: 'MEMBER P99', isRight: true },
      ],
      engines.length < 2 ? [] : engines.map((one) => engineRow(one, rate, intervalMs)),
    ),
    ...section(
      'components, since the last screen',
      [{ title: 'COMPONENT' }, { title: 'DID', wraps: true }],
      counterRows(sum),
    ),
    ...section(
      'memory of components',
      [{ title: 'COMPONENT' }, { title: 'NOW', wraps: true }],
      counterRowsOf(Object.entries(sum.shared)),
    ),
    ...section('paths', NAMES, nameRows(sum.paths)),
    ...section('clients', NAMES, nameRows(sum.clients)),
    ...failures.map(({ engine, message }) => paint(terminal, plain(`${engine}: ${message}`), 'red')),
  ].join('\n');
}

const TIMES: readonly Column[] = ['P50', 'P90', 'P99', 'MOST'].map((title) => ({ title, isRight: true }));
const NAMES: readonly Column[] = [{ title: 'SINCE SOMEBODY LOOKS', isRight: true }, { title: 'NAME' }];

function timeRows({ times, requests }: ServiceFigures): Cell[][] {
  if (requests === 0) return [];
  return (['total', 'client', 'engine', 'member'] as const).map((share) => [
    share,
    ...[0.5, 0.9, 0.99, 1].map((part) => time(quantile(times[share], part))),
  ]);
}

function engineRow(
  { engine, host, figures }: TopView['engines'][number],
  rate: (count: number) => string,
  intervalMs: number,
): Cell[] {
  const { times } = figures;
  return [
    engine,
    host,
    rate(figures.requests),
    String(figures.statuses[5] ?? 0),
    String(figures.open),
    busyText(figures, intervalMs),
    time(quantile(times.total, 0.99)),
    time(quantile(times.engine, 0.99)),
    time(quantile(times.member, 0.99)),
  ];
}

/** Components that did anything, and what goes with them: refusals, retries, cookies. */
function counterRows(sum: ServiceFigures): Cell[][] {
  const groups: [string, Readonly<Record<string, number>>][] = [
    ...Object.entries(sum.components),
    ['refusals', sum.refusals],
    ['retries', { ...sum.retries }],
    ['queue', { waited: sum.waited }],
    ['ejections', { ejected: sum.ejections }],
    ['session cookies', { ...sum.cookies }],
    ['sessions', { ...sum.sessions }],
    ['access log', { 'bytes lost': sum.logBytesLost }],
  ];
  return counterRowsOf(groups);
}

function counterRowsOf(groups: readonly [string, Readonly<Record<string, number>>][]): Cell[][] {
  return groups.flatMap(([name, counters]): Cell[][] => {
    const did = Object.entries(counters).filter(([, count]) => count > 0);
    return did.length === 0
      ? []
      : [[name, did.map(([outcome, count]) => `${outcome} ${short(count)}`).join(', ')]];
  });
}

function nameRows(names: Readonly<Record<string, number>>): Cell[][] {
  return Object.entries(names)
    .slice(0, MOST_LINES)
    .map(([name, count]) => [short(count), name]);
}

function membersTitle(count: number): string {
  return count > MOST_LINES ? `members (the first ${MOST_LINES} of ${count})` : 'members';
}

function statusText({ statuses, requests }: ServiceFigures): string {
  const classes = statuses.flatMap((count, n) =>
    count === 0 || n === 0 ? [] : [`${n}xx ${percent(count, requests)}`],
  );
  return classes.length === 0 ? 'none answered' : classes.join(', ');
}

function busyText({ busyMs, threads }: ServiceFigures, intervalMs: number): string {
  return threads === 0 ? '-' : percent(Math.min(busyMs, threads * intervalMs), threads * intervalMs);
}

function percent(part: number, whole: number): string {
  if (whole === 0) return '-';
  const share = (100 * part) / whole;
  if (share === 0 || share === 100) return `${share}%`;
  return share < 0.1 ? '<0.1%' : `${share.toFixed(share < 10 || share > 99 ? 1 : 0)}%`;
}

function total(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0);
}

function time(ms: number): string {
  if (ms === 0 || ms < 0.0025) return '0';
  if (ms < 1) return `${Math.round(ms * 1000)} us`;
  return ms < 10_000 ? `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

function short(value: number): string {
  if (value < 10) return value === Math.floor(value) ? String(value) : value.toFixed(1);
  if (value < 10_000) return String(Math.round(value));
  if (value < 1e7) return `${(value / 1e3).toFixed(value < 1e5 ? 1 : 0)}k`;
  return value < 1e10 ? `${(value / 1e6).toFixed(0)}M` : `${(value / 1e9).toFixed(0)}G`;
}
