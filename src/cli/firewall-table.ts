/** What a firewall policy does, as tables: its rules with their counters, and what they logged lately. */
import type { FirewallView } from '../policy/answers.ts';
import { type Cell, paint, table } from './table.ts';
import type { Terminal } from './terminal.ts';

/** More rules than this are not of interest at once: those that fitted nothing are left out then. */
const MOST_RULES = 40;

/** The rules in order, the default last. */
export function drawRules(terminal: Terminal, { rules, services, silent }: FirewallView): string {
  const shown = rules.length <= MOST_RULES ? rules : rules.filter(({ packets }) => packets > 0);
  const rows = shown.map(({ rule, action, packets, limited }): Cell[] => [
    rule,
    action,
    String(packets),
    action === 'rate-limit' ? String(limited) : '',
  ]);
  const columns = [
    { title: 'RULE' },
    { title: 'ACTION' },
    { title: 'JUDGED', isRight: true },
    { title: 'OVER LIMIT', isRight: true },
  ];
  const hidden = rules.length - shown.length;
  return [
    paint(terminal, `rules (${rules.length - 1})`, 'bold'),
    table(terminal, columns, rows),
    ...(hidden > 0 ? [`${hidden} rules that fitted no packet are not shown; -o json shows all`] : []),
    ...(services.length === 0 ? ['no enabled virtual service uses it'] : []),
    ...silent.map(({ engine, reason }) => `engine ${engine} does not answer: ${reason}`),
  ].join('\n');
}

/** The log, the newest entry last. */
export function drawLog(terminal: Terminal, { log }: FirewallView): string {
  if (log.length === 0) {
    return 'nothing is logged; a rule with "log: {}" logs its flows';
  }
  const end = (address: string, port: number | null): string =>
    port === null ? address : address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  const rows = [...log]
    .reverse()
    .map((entry): Cell[] => [
      entry.time,
      entry.engine,
      entry.service,
      entry.rule,
      entry.verdict,
      entry.protocol,
      end(entry.from, entry.fromPort),
      end(entry.to, entry.toPort),
      entry.member ?? '',
    ]);
  const titles = ['TIME', 'ENGINE', 'SERVICE', 'RULE', 'VERDICT', 'PROTOCOL', 'FROM', 'TO', 'MEMBER'];
  const columns = titles.map((title) => ({ title }));
  return `${paint(terminal, `log (${log.length})`, 'bold')}\n${table(terminal, columns, rows)}`;
}
