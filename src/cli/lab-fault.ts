/** `weft lab fault`: inject faults into the lab, list and end them. */
import { type Command, InvalidArgumentError } from 'commander';
import { healFault, injectFault, killVm, listFaults, readLabStatus } from '../lab/control.ts';
import {
  type Fault,
  type FaultSpec,
  isSameLink,
  PLATFORM_METHODS,
  type PlatformMethod,
} from '../lab/world/faults.ts';
import type { LabStatus } from '../lab/world/status.ts';
import { WeftError } from '../policy/errors.ts';
import { labOption } from './lab-option.ts';
import { findLink, findVm, withLab } from './lab-session.ts';
import { drawFaults } from './lab-status.ts';

interface LabOptions {
  lab: string;
}

/** Adds `fault` and its verbs. */
export function registerLabFault(lab: Command): void {
  const fault = lab.command('fault').description('inject faults: VMs, links, packets, API calls');

  fault
    .command('kill')
    .description('kill everything in a VM: it crashes and is off')
    .argument('<vm>')
    .addOption(labOption())
    .action((name: string, options: LabOptions) =>
      withLab(options.lab, async (session, signal) => {
        const vm = findVm(await readLabStatus(session, signal), name);
        await killVm(session, vm.id, signal);
        console.log(`${vm.name} is off; \`weft lab power ${vm.name} on\` starts it again`);
      }),
    );
  fault
    .command('hang')
    .description('stop everything in a VM: it is on and does nothing')
    .argument('<vm>')
    .addOption(labOption())
    .action((name: string, options: LabOptions) =>
      inject(options, (status) => ({ kind: 'hang', vm: findVm(status, name).id })),
    );
  fault
    .command('resume')
    .description('let a VM that hangs go on')
    .argument('<vm>')
    .addOption(labOption())
    .action((name: string, options: LabOptions) =>
      heal(options, (status) => {
        const vm = findVm(status, name);
        return (one) => one.kind === 'hang' && one.vm === vm.id;
      }),
    );
  fault
    .command('cut')
    .description('cut a link: the uplink of a host (h1), or a NIC (app1, engine-h1/out)')
    .argument('<link>')
    .addOption(labOption())
    .action((link: string, options: LabOptions) =>
      inject(options, (status) => ({ kind: 'cut', link: findLink(status, link) })),
    );
  fault
    .command('lose')
    .description('lose a share of the packets of a link, in each direction')
    .argument('<link>')
    .argument('<percent>', 'above 0, up to 100', Number)
    .addOption(labOption())
    .action((link: string, percent: number, options: LabOptions) =>
      inject(options, (status) => {
        if (!(percent > 0 && percent <= 100)) {
          throw new WeftError('ERR_USAGE', 'the share must be above 0 and up to 100 percent');
        }
        return { kind: 'lose', link: findLink(status, link), percent };
      }),
    );
  fault
    .command('heal')
    .description('mend a link that is cut or loses packets')
    .argument('<link>')
    .addOption(labOption())
    .action((text: string, options: LabOptions) =>
      heal(options, (status) => {
        const link = findLink(status, text);
        return (one) => 'link' in one && isSameLink(one.link, link);
      }),
    );
  fault
    .command('slow')
    .description(`make calls of the platform wait: ${PLATFORM_METHODS.join(', ')}`)
    .argument('<method>', 'the call', method)
    .argument('<ms>', 'milliseconds, 1 to 600000', Number)
    .addOption(labOption())
    .action((name: PlatformMethod, delayMs: number, options: LabOptions) =>
      inject(options, () => {
        if (!(Number.isInteger(delayMs) && delayMs >= 1 && delayMs <= 600_000)) {
          throw new WeftError('ERR_USAGE', 'the delay must be 1 to 600000 milliseconds');
        }
        return { kind: 'slow', method: name, delayMs };
      }),
    );
  fault
    .command('fail')
    .description('let the next calls of the platform fail')
    .argument('<method>', 'the call', method)
    .option('--count <n>', 'how many calls', Number, 1)
    .option('--lose-reply', 'carry the calls out, but lose their replies')
    .addOption(labOption())
    .action((name: PlatformMethod, options: LabOptions & { count: number; loseReply?: boolean }) =>
      inject(options, () => {
        if (!(Number.isInteger(options.count) && options.count >= 1 && options.count <= 1_000_000)) {
          throw new WeftError('ERR_USAGE', 'the count must be 1 to 1000000');
        }
        return { kind: 'fail', method: name, count: options.count, isReplyLost: options.loseReply ?? false };
      }),
    );
  fault
    .command('list')
    .description('list the faults')
    .addOption(labOption())
    .action((options: LabOptions) =>
      withLab(options.lab, async (session, signal) => {
        for (const line of drawFaults((await readLabStatus(session, signal)).faults)) console.log(line);
      }),
    );
  fault
    .command('clear')
    .description('end one fault, or all')
    .argument('[id]')
    .addOption(labOption())
    .action((id: string | undefined, options: LabOptions) =>
      withLab(options.lab, async (session, signal) => {
        const before = (await readLabStatus(session, signal)).faults;
        report(before, await healFault(session, id ?? null, signal));
      }),
    );
}

function method(text: string): PlatformMethod {
  const found = PLATFORM_METHODS.find((name) => name === text);
  if (found) return found;
  throw new InvalidArgumentError(`it is one of ${PLATFORM_METHODS.join(', ')}`);
}

async function inject(options: LabOptions, specOf: (status: LabStatus) => FaultSpec): Promise<void> {
  await withLab(options.lab, async (session, signal) => {
    const spec = specOf(await readLabStatus(session, signal));
    const injected = await injectFault(session, spec, signal);
    const status = await readLabStatus(session, signal);
    for (const line of drawFaults(status.faults.filter((one) => one.id === injected.id))) console.log(line);
  });
}

async function heal(
  options: LabOptions,
  matcherOf: (status: LabStatus) => (fault: Fault) => boolean,
): Promise<void> {
  await withLab(options.lab, async (session, signal) => {
    const status = await readLabStatus(session, signal);
    const isMeant = matcherOf(status);
    const healed: Fault[] = [];
    for (const fault of (await listFaults(session, signal)).filter(isMeant)) {
      healed.push(...(await healFault(session, fault.id, signal)));
    }
    report(status.faults, healed);
  });
}

function report(known: LabStatus['faults'], healed: readonly Fault[]): void {
  if (healed.length === 0) console.log('nothing to mend');
  for (const { id } of healed) {
    console.log(`ended ${id}: ${known.find((one) => one.id === id)?.description ?? ''}`);
  }
}
