/** `weft adopt CLOUD`: shows what an earlier controller left in a cloud, and takes it over after a yes. */
import type { Command } from 'commander';
import type { Adoption } from '../policy/answers.ts';
import { WeftError } from '../policy/errors.ts';
import { confirm } from './confirm.ts';
import { drawSteps } from './plan.ts';
import { paint, table } from './table.ts';
import { plain, type Terminal } from './terminal.ts';
import { addVerb, connect, outputFormat, print, type VerbOptions } from './verb.ts';

interface Options extends VerbOptions {
  yes?: boolean;
  remove?: boolean;
}

/** Adds the verb. */
export function register(program: Command, terminal: Terminal): void {
  addVerb(
    program,
    'adopt <cloud>',
    'take over what an earlier controller left in a cloud: shows it first, then asks',
    ['weft adopt vc1', 'weft adopt vc1 --yes', 'weft adopt vc1 -o json', 'weft adopt vc1 --yes --remove'],
  )
    .option('-y, --yes', 'adopt without asking')
    .option(
      '--remove',
      'adopt also where engines would be removed, or NICs released, that no policy asks for',
    )
    .addHelpText(
      'after',
      `
A controller that finds engines, bent NICs or shadow segments in a cloud that its store does not know touches nothing
there. In this order:
  1. weft restore BACKUP     where there is a backup of the lost store: engines go on as they are, nothing to adopt
  2. weft apply -f FILES     else the policy that the engines served
  3. weft adopt CLOUD        then what is there; engines that cannot be spoken to are replaced one by one
A cloud that another controller still drives is shown as \`foreign\`; adopting it takes it over from there as well.
Without --yes, and where there is no terminal to ask on, nothing is adopted.`,
    )
    .action(async (cloud: string, options: Options) => {
      const client = await connect(options, terminal);
      const found = await client.adoption(cloud);
      const isTable = outputFormat(options, terminal) === 'table';
      if (isTable || !options.yes) {
        await print(terminal, options, found, (one) => drawAdoption(terminal, one));
      }
      if (!found.isHeld) return;
      const isLossy =
        found.engines.some(({ fate }) => fate === 'removed') ||
        found.nics.some(({ fate }) => fate === 'released');
      if (isLossy && !options.remove) {
        if (!options.yes) return;
        throw new WeftError(
          'ERR_REFERENCED',
          `no policy asks for part of what is in cloud ${cloud}, and adopting removes it: apply the policy first, or add --remove`,
        );
      }
      if (!options.yes) {
        if (!isTable || !(await confirm(terminal, `Adopt what is in cloud ${plain(cloud)}?`))) return;
      }
      const adopted = await client.adopt(cloud, found.fingerprint);
      if (isTable) terminal.stdout.write(`adopted; \`weft plan\` and \`weft status\` show what follows\n`);
      else await print(terminal, options, adopted, () => '');
    });
}

function drawAdoption(terminal: Terminal, found: Adoption): string {
  if (!found.isHeld) return plain(`cloud ${found.cloud} holds nothing that waits to be adopted`);
  const section = (title: string, body: string): string[] => ['', paint(terminal, title, 'bold'), body];
  const fate = (text: string) => ({
    text,
    colour:
      text === 'kept'
        ? ('green' as const)
        : text === 'removed' || text === 'released'
          ? ('red' as const)
          : ('yellow' as const),
  });
  const lines = [plain(`An earlier controller left this in cloud ${found.cloud}; nothing is touched yet.`)];
  if (found.engines.length > 0) {
    lines.push(
      ...section(
        `engines (${found.engines.length})`,
        table(
          terminal,
          [
            { title: 'ENGINE' },
            { title: 'HOST' },
            { title: 'BECOMES' },
            { title: 'IN LINE FOR', wraps: true },
            { title: 'WHY', wraps: true, share: 2 },
          ],
          found.engines.map((one) => [
            one.engine,
            one.host,
            fate(one.fate),
            one.behind.join(', ') || '-',
            one.reason,
          ]),
        ),
      ),
    );
  }
  if (found.nics.length > 0) {
    lines.push(
      ...section(
        `bent NICs (${found.nics.length})`,
        table(
          terminal,
          [{ title: 'VM' }, { title: 'NIC' }, { title: 'HOST' }, { title: 'SEGMENT' }, { title: 'BECOMES' }],
          found.nics.map((one) => [one.vm, one.nic, one.host, one.segment, fate(one.fate)]),
        ),
      ),
    );
  }
  if (found.segments.length > 0) {
    lines.push(
      ...section(
        `shadow segments (${found.segments.length})`,
        table(
          terminal,
          [{ title: 'SEGMENT' }, { title: 'HOST' }, { title: 'BECOMES' }],
          found.segments.map((one) => [one.segment, one.host, fate(one.fate)]),
        ),
      ),
    );
  }
  lines.push(...section(`steps (${found.steps.length})`, drawSteps(terminal, found.steps)));
  for (const warning of found.warnings) lines.push('', paint(terminal, plain(warning), 'yellow'));
  return lines.join('\n');
}
