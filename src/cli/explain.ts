/**
 * `weft explain`: why a member is chosen (SERVICE), why a VM is a member or is not (pool NAME), and where a host's
 * place in the network is known from (host NAME).
 */
import type { Command } from 'commander';
import type { Explanation } from '../policy/answers.ts';
import { WeftError } from '../policy/errors.ts';
import { drawHost } from './explain-host.ts';
import { drawMembership } from './explain-pool.ts';
import { type Cell, paint, table } from './table.ts';
import { plain, type Terminal } from './terminal.ts';
import { addVerb, connect, print, type VerbOptions } from './verb.ts';

type Options = VerbOptions & { from?: string; vm?: string };

/** Adds the verb. */
export function register(program: Command, terminal: Terminal): void {
  addVerb(
    program,
    'explain <service> [name]',
    'say why: a choice of member, the members of a pool, the place of a host',
    [
      'weft explain web                    # the member each engine would choose for a new flow',
      'weft explain web --from 10.77.0.9',
      'weft explain virtual-service pool   # a service whose name is one of the words below',
      'weft explain pool shop              # its members, and the VMs that nearly are',
      'weft explain pool shop --vm app7    # why app7 is one, or is not: criterion by criterion',
      'weft explain host h1                # the switches above it, and where that is known from',
    ],
  )
    .option('--from <address>', 'the client address; it matters for sessions and hashing methods')
    .option('--vm <vm>', 'of a pool: this VM only, by its name or id')
    .action(async (what: string, name: string | undefined, options: Options) => {
      if (name !== undefined && what === 'pool') return explainPool(name, options, terminal);
      if (name !== undefined && what === 'host') return explainHost(name, options, terminal);
      if (name !== undefined && what !== 'virtual-service') {
        throw new WeftError(
          'ERR_USAGE',
          `"weft explain ${what} ${name}": there are "weft explain SERVICE", "weft explain pool NAME" and "weft explain host NAME"`,
        );
      }
      if (options.vm !== undefined) {
        throw new WeftError('ERR_USAGE', '--vm is for pools: "weft explain pool NAME --vm VM"');
      }
      return explainService(name ?? what, options, terminal);
    });
}

async function explainService(service: string, options: Options, terminal: Terminal): Promise<void> {
  const answer = await (await connect(options, terminal)).explain(service, options.from);
  await print(terminal, options, answer, (all) =>
    all.length === 0
      ? `no engine carries ${service} yet; "weft get virtual-service ${service}" and "weft plan" say why`
      : all.map((one) => drawExplanation(terminal, one)).join('\n\n'),
  );
}

async function explainPool(pool: string, options: Options, terminal: Terminal): Promise<void> {
  const answer = await (await connect(options, terminal)).explainPool(pool, options.vm);
  await print(terminal, options, answer, (one) => drawMembership(terminal, one, options.vm !== undefined));
}

async function explainHost(host: string, options: Options, terminal: Terminal): Promise<void> {
  const answer = await (await connect(options, terminal)).explainHost(host);
  await print(terminal, options, answer, (all) => all.map((one) => drawHost(terminal, one)).join('\n\n'));
}

function drawExplanation(terminal: Terminal, explanation: Explanation): string {
  const { service, tier, engine, host, method, candidates, choice, reason, returnPath } = explanation;
  const back = returnPath === 'engine' ? ', answers return through this engine' : '';
  const title = `${engine} on ${host}: ${service}, tier ${tier}, ${method}${back}`;
  const rows = candidates.map((candidate): Cell[] => {
    const isChosen = candidate.vm === choice;
    const usable: Cell = candidate.isUsable
      ? 'yes'
      : { text: candidate.reason === '' ? 'no' : `no: ${candidate.reason}`, colour: 'red' };
    return [
      isChosen ? { text: '>', colour: 'green' } : '',
      isChosen ? { text: candidate.vm, colour: 'green' } : candidate.vm,
      candidate.host,
      String(candidate.connections),
      String(candidate.hops),
      String(candidate.load),
      String(candidate.weight),
      usable,
      candidate.path,
    ];
  });
  const drawn = table(
    terminal,
    [
      { title: '' },
      { title: 'MEMBER' },
      { title: 'HOST' },
      { title: 'C', isRight: true },
      { title: 'H', isRight: true },
      { title: 'L', isRight: true },
      { title: 'WEIGHT', isRight: true },
      { title: 'USABLE', wraps: true },
      { title: 'PATH' },
    ],
    rows,
  );
  const sentence = choice === null ? `no choice: ${reason}` : `choice ${choice}: ${reason}`;
  const parts = [paint(terminal, plain(title), 'bold'), drawn, plain(sentence)];
  if (explanation.http !== undefined) parts.push(plain(proxyText(explanation.http)));
  if (explanation.rules !== undefined) parts.push(drawHits(terminal, explanation.rules));
  return parts.join('\n');
}

/** Who ends clients' connections, why, and what requests go through. */
function proxyText({ components }: NonNullable<Explanation['http']>): string {
  const chain = components.length === 0 ? 'no components' : `components: ${components.join(', ')}`;
  return `this engine ends the connections that clients open here, since the service has "http", and each of its threads chooses a member for each request by its own counts; ${chain}`;
}

/** What the service's firewall rules did at the engine. */
function drawHits(terminal: Terminal, rules: NonNullable<Explanation['rules']>): string {
  if (rules.length === 0) return 'no firewall rule has judged a packet here yet';
  const rows = rules.map(({ policy, rule, action, packets, limited }): Cell[] => [
    rule,
    policy,
    action,
    String(packets),
    action === 'rate-limit' ? String(limited) : '',
  ]);
  const columns = [
    { title: 'RULE' },
    { title: 'POLICY' },
    { title: 'ACTION' },
    { title: 'JUDGED', isRight: true },
    { title: 'OVER LIMIT', isRight: true },
  ];
  return table(terminal, columns, rows);
}
