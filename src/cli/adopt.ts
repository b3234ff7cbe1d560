/** `weft adopt CLOUD`: shows what an earlier controller left in a cloud, and takes it over after a yes. */
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { Adoption, KeptPolicy } from '../policy/answers.ts';
import { WeftError } from '../policy/errors.ts';
import { drawResults } from './apply.ts';
import { confirm } from './confirm.ts';
import type { ControllerClient } from './controller-client.ts';
import { drawSteps } from './plan.ts';
import { paint, table } from './table.ts';
import { plain, type Terminal } from './terminal.ts';
import { addVerb, connect, outputFormat, print, type VerbOptions } from './verb.ts';

interface Options extends VerbOptions {
  yes?: boolean;
  remove?: boolean;
  policyTo?: string;
  applyPolicy?: boolean;
}

/** Adds the verb. */
export function register(program: Command, terminal: Terminal): void {
  addVerb(
    program,
    'adopt <cloud>',
    'take over what an earlier controller left in a cloud: shows it first, then asks',
    [
      'weft adopt vc1',
      'weft adopt vc1 --policy-to lost.yaml',
      'weft adopt vc1 --yes --apply-policy',
      'weft adopt vc1 -o json',
      'weft adopt vc1 --yes --remove',
    ],
  )
    .option('-y, --yes', 'adopt without asking')
    .option(
      '--apply-policy',
      'apply first what is missing here of the policy that the cloud keeps; with --yes without asking',
    )
    .option('--policy-to <file>', 'only write the policy that the cloud keeps to a file, or to - for stdout')
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
  2. weft apply -f FILES     else the cloud object, and the policy where you have it; each cloud keeps a copy of it,
                             which the next step offers
  3. weft adopt CLOUD        then what is there; engines are told of this controller while they forward, and one
                             that does not come within half a minute is replaced
A cloud that another controller still drives is shown as \`foreign\`; adopting it takes it over from there as well.
Without --yes, and where there is no terminal to ask on, nothing is applied or adopted.`,
    )
    .action(async (cloud: string, options: Options) => {
      const client = await connect(options, terminal);
      let found = await client.adoption(cloud);
      if (options.policyTo !== undefined) {
        await writePolicy(terminal, found, options.policyTo);
        return;
      }
      const isTable = outputFormat(options, terminal) === 'table';
      const show = async (): Promise<void> => {
        if (isTable || !options.yes) {
          await print(terminal, options, found, (one) => drawAdoption(terminal, one));
        }
      };
      const missing = missingOf(found);
      const isAsked = !options.yes && isTable && found.isHeld && missing.length > 0;
      if (isAsked) await show();
      const isApplied =
        missing.length > 0 &&
        found.isHeld &&
        (options.yes
          ? options.applyPolicy === true
          : isAsked &&
            (await confirm(terminal, `Apply the ${missing.length} missing objects of that policy?`)));
      if (isApplied) {
        const results = await client.apply(missing.map(({ kind, name, spec }) => ({ kind, name, spec })));
        if (isTable) terminal.stdout.write(`${drawResults(terminal, results, false)}\n\n`);
        found = await untilKnown(client, cloud);
      }
      if (!isAsked || isApplied) await show();
      if (!found.isHeld) return;
      const isLossy =
        found.engines.some(({ fate }) => fate === 'removed') ||
        found.nics.some(({ fate }) => fate === 'released');
      if (isLossy && !options.remove) {
        if (!options.yes) return;
        const remedy = missingOf(found).length > 0 ? 'add --apply-policy' : 'apply the policy first';
        throw new WeftError(
          'ERR_REFERENCED',
          `no policy asks for part of what is in cloud ${cloud}, and adopting removes it: ${remedy}, or add --remove`,
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

/** What the cloud keeps and this controller does not have. How the cloud is reached is this controller's own matter. */
function missingOf({ keptPolicy }: Adoption): KeptPolicy['objects'] {
  return keptPolicy?.objects.filter(({ state }) => state === 'missing') ?? [];
}

/** The controller reads its store a moment later than the API writes it. */
async function untilKnown(client: ControllerClient, cloud: string): Promise<Adoption> {
  for (let attempt = 0; ; attempt++) {
    const found = await client.adoption(cloud);
    if (missingOf(found).length === 0 || attempt >= 50) return found;
    await sleep(100);
  }
}

async function writePolicy(terminal: Terminal, { cloud, keptPolicy }: Adoption, file: string): Promise<void> {
  if (!keptPolicy) {
    throw new WeftError(
      'ERR_NOT_FOUND',
      `cloud ${cloud} keeps no copy of a policy that can be read: see \`weft adopt ${cloud}\` for why`,
    );
  }
  const { stringify } = await import('yaml');
  const { controller, savedAt, objects, unreadable } = keptPolicy;
  const text = [
    `# The policy that controller ${controller} kept in cloud ${cloud}, as of ${savedAt}.\n`,
    ...unreadable.map((one) => `# Left out, for it cannot be read: ${plain(one)}\n`),
    objects.map(({ kind, name, spec }) => stringify({ kind, name, spec })).join('---\n'),
  ].join('');
  if (file === '-') {
    terminal.stdout.write(text);
    return;
  }
  await writeFile(file, text, { mode: 0o600, flag: 'wx' }).catch((cause: NodeJS.ErrnoException) => {
    const why = cause.code === 'EEXIST' ? 'it is there already: name another file' : cause.message;
    throw new WeftError('ERR_USAGE', `${file} cannot be written: ${why}`, { cause });
  });
  terminal.stdout.write(
    `wrote ${objects.length} objects to ${file}; \`weft apply -f ${file}\` applies them\n`,
  );
}

function drawAdoption(terminal: Terminal, found: Adoption): string {
  if (!found.isHeld) return plain(`cloud ${found.cloud} holds nothing that waits to be adopted`);
  const section = sectionOf(terminal);
  const fate = (text: string) => ({
    text,
    colour:
      text === 'kept' || text === 'scales' || text === 'stays'
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
  lines.push(...drawClones(terminal, found, fate), ...drawAllowances(terminal, found, fate));
  if (found.keptPolicy) lines.push(...drawPolicy(terminal, found.keptPolicy));
  lines.push(...section(`steps (${found.steps.length})`, drawSteps(terminal, found.steps)));
  for (const warning of found.warnings) lines.push('', paint(terminal, plain(warning), 'yellow'));
  return lines.join('\n');
}

type Fate = (text: string) => { text: string; colour: 'green' | 'red' | 'yellow' };

function sectionOf(terminal: Terminal): (title: string, body: string) => string[] {
  return (title, body) => ['', paint(terminal, title, 'bold'), body];
}

function drawClones(terminal: Terminal, { clones }: Adoption, fate: Fate): string[] {
  if (clones.length === 0) return [];
  const rows = clones.map((one) => [
    one.vm,
    one.host,
    one.pools.join(', ') || '-',
    fate(one.fate),
    one.reason,
  ]);
  const columns = [
    { title: 'VM' },
    { title: 'HOST' },
    { title: 'POOL' },
    { title: 'BECOMES' },
    { title: 'WHY', wraps: true },
  ];
  return sectionOf(terminal)(`clones made by autoscale (${clones.length})`, table(terminal, columns, rows));
}

function drawAllowances(terminal: Terminal, { allowances }: Adoption, fate: Fate): string[] {
  if (allowances.length === 0) return [];
  const rows = allowances.map((one) => [one.segment, one.allows.join(', '), fate(one.fate)]);
  const columns = [{ title: 'SEGMENT' }, { title: 'ALLOWS FOR WEFT', wraps: true }, { title: 'BECOMES' }];
  return sectionOf(terminal)(`policy allowances (${allowances.length})`, table(terminal, columns, rows));
}

function drawPolicy(terminal: Terminal, { controller, savedAt, objects, unreadable }: KeptPolicy): string[] {
  const said = {
    missing: { text: 'not here: it can be applied', colour: 'yellow' as const },
    differs: { text: 'here, and different: left as it is', colour: 'yellow' as const },
    same: { text: 'here', colour: 'green' as const },
  };
  const rows = objects.map(({ kind, name, state }) => [kind, name, said[state]]);
  const columns = [{ title: 'KIND' }, { title: 'NAME' }, { title: 'IN THIS CONTROLLER' }];
  const body = table(terminal, columns, rows);
  const title = `policy kept in the cloud (${objects.length}), by controller ${controller}, ${savedAt}`;
  return [
    ...sectionOf(terminal)(plain(title), body),
    ...unreadable.map((one) => paint(terminal, plain(`cannot be read: ${one}`), 'yellow')),
  ];
}
