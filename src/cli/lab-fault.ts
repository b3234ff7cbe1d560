/** `weft lab fault`: inject faults into the lab, list and end them. */
import { Argument, type Command } from 'commander';
import { healFault, injectFault, killVm, listFaults, readLabStatus } from '../lab/control.ts';
import {
  type Fault,
  FaultSpec,
  isSameLink,
  PLATFORM_METHODS,
  type PlatformMethod,
  VCENTER_EFFECTS,
} from '../lab/world/faults.ts';
import type { LabStatus } from '../lab/world/status.ts';
import { WeftError } from '../policy/errors.ts';
import { examples, labOption } from './lab-option.ts';
import { findLink, findVm, withLab } from './lab-session.ts';
import { drawFaults } from './lab-status.ts';
import type { Terminal } from './terminal.ts';
import { outputOption, print, type VerbOptions } from './verb.ts';

interface LabOptions {
  lab: string;
}

interface VcenterFaultOptions {
  effect: string;
  object?: string;
  percent: number;
  count?: number;
  delay: number;
}

/** Adds `fault` and its verbs. */
export function registerLabFault(lab: Command, terminal: Terminal): void {
  const fault = lab
    .command('fault')
    .description('inject faults: VMs, links, packets, API calls')
    .addHelpText('after', examples('weft lab fault kill edge-h2', 'weft lab fault list'));

  fault
    .command('kill')
    .description('kill everything in a VM: it crashes and is off')
    .argument('<vm>')
    .addOption(labOption())
    .addHelpText('after', examples('weft lab fault kill edge-h2', 'weft lab power edge-h2 on'))
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
    .addHelpText('after', examples('weft lab fault hang edge-h1', 'weft lab fault resume edge-h1'))
    .action((name: string, options: LabOptions) =>
      inject(options, (status) => ({ kind: 'hang', vm: findVm(status, name).id })),
    );
  fault
    .command('resume')
    .description('let a VM that hangs go on')
    .argument('<vm>')
    .addOption(labOption())
    .addHelpText('after', examples('weft lab fault resume edge-h1'))
    .action((name: string, options: LabOptions) =>
      heal(options, (status) => {
        const vm = findVm(status, name);
        return (one) => one.kind === 'hang' && one.vm === vm.id;
      }),
    );
  fault
    .command('host')
    .description('take the power from a host: its VMs are off, and start on other hosts, except engines')
    .argument('<host>')
    .addOption(labOption())
    .addHelpText('after', examples('weft lab fault host h2', 'weft lab fault clear'))
    .action((host: string, options: LabOptions) => inject(options, () => ({ kind: 'host', host })));
  fault
    .command('cut')
    .description('cut a link: the uplink of a host (h1), or a NIC (app1, engine-h1/out)')
    .argument('<link>')
    .addOption(labOption())
    .addHelpText(
      'after',
      examples('weft lab fault cut h2', 'weft lab fault cut edge-h1/out', 'weft lab fault heal h2'),
    )
    .action((link: string, options: LabOptions) =>
      inject(options, (status) => ({ kind: 'cut', link: findLink(status, link) })),
    );
  fault
    .command('lose')
    .description('lose a share of the packets of a link, in each direction')
    .argument('<link>')
    .argument('<percent>', 'above 0, up to 100', Number)
    .addOption(labOption())
    .addHelpText('after', examples('weft lab fault lose h2 20'))
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
    .addHelpText('after', examples('weft lab fault heal h2'))
    .action((text: string, options: LabOptions) =>
      heal(options, (status) => {
        const link = findLink(status, text);
        return (one) => 'link' in one && isSameLink(one.link, link);
      }),
    );
  fault
    .command('slow')
    .description('make calls of the platform wait')
    .addArgument(methodArgument())
    .argument('<ms>', 'milliseconds, 1 to 600000', Number)
    .addOption(labOption())
    .addHelpText('after', examples('weft lab fault slow attach 2000'))
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
    .addArgument(methodArgument())
    .option('--count <n>', 'how many calls', Number, 1)
    .option('--lose-reply', 'carry the calls out, but lose their replies')
    .addOption(labOption())
    .addHelpText(
      'after',
      examples('weft lab fault fail attach --count 5', 'weft lab fault fail deployEngine --lose-reply'),
    )
    .action((name: PlatformMethod, options: LabOptions & { count: number; loseReply?: boolean }) =>
      inject(options, () => {
        if (!(Number.isInteger(options.count) && options.count >= 1 && options.count <= 1_000_000)) {
          throw new WeftError('ERR_USAGE', 'the count must be 1 to 1000000');
        }
        return { kind: 'fail', method: name, count: options.count, isReplyLost: options.loseReply ?? false };
      }),
    );
  fault
    .command('vcenter')
    .description('let calls of the simulated vCenter wait, fail, lose their replies, or find it restarting')
    .argument('<method>', 'a method such as PowerOnVM_Task, or "*" for every one')
    .option('--effect <effect>', VCENTER_EFFECTS.join(', '), 'refuse')
    .option('--object <id>', 'only calls on this object, for example vm-7')
    .option('--percent <share>', 'so many of a hundred calls', Number, 100)
    .option('--count <n>', 'so many calls; all of them until it is cleared', Number)
    .option('--delay <ms>', 'milliseconds that each call waits first', Number, 0)
    .addOption(labOption())
    .addHelpText('after', VCENTER_EFFECT_HELP)
    .addHelpText(
      'after',
      examples(
        'weft lab fault vcenter PowerOnVM_Task',
        'weft lab fault vcenter ReconfigureDVPort_Task --effect conflict --count 3',
        'weft lab fault vcenter CloneVM_Task --effect lose-reply --count 1',
        'weft lab fault vcenter RelocateVM_Task --effect stick --object vm-7',
        'weft lab fault vcenter "*" --effect expire-session --percent 5',
        'weft lab fault vcenter "*" --effect none --delay 300',
        'weft lab fault vcenter ImportVApp --effect restart',
      ),
    )
    .action((call: string, options: LabOptions & VcenterFaultOptions) =>
      inject(options, () => {
        const spec = FaultSpec.safeParse({
          kind: 'vcenter',
          call,
          object: options.object ?? null,
          percent: options.percent,
          // Once is enough: a vCenter that restarts at every call is none.
          count: options.count ?? (options.effect === 'restart' ? 1 : null),
          delayMs: options.delay,
          effect: options.effect,
        });
        if (spec.success) return spec.data;
        const [problem] = spec.error.issues;
        throw new WeftError('ERR_USAGE', `${problem!.path.join('.')}: ${problem!.message}`);
      }),
    );
  fault
    .command('privilege')
    .description('withhold a privilege from the user of the simulated vCenter, until it is cleared')
    .argument('<privilege>', 'for example DVSwitch.PortConfig')
    .addOption(labOption())
    .addHelpText(
      'after',
      examples('weft lab fault privilege DVSwitch.PortConfig', 'weft lab fault privilege VApp.Import'),
    )
    .action((privilege: string, options: LabOptions) =>
      inject(options, () => {
        const spec = FaultSpec.safeParse({ kind: 'privilege', privilege });
        if (spec.success) return spec.data;
        throw new WeftError('ERR_USAGE', `"${privilege}" names no privilege: write for example VApp.Import`);
      }),
    );
  fault
    .command('list')
    .description('list the faults')
    .addOption(labOption())
    .addOption(outputOption())
    .addHelpText('after', examples('weft lab fault list', 'weft lab fault list -o json'))
    .action(async (options: LabOptions & VerbOptions) => {
      const { faults } = await withLab(options.lab, (session, signal) => readLabStatus(session, signal));
      await print(terminal, options, faults, (all) => drawFaults(all).join('\n'));
    });
  fault
    .command('clear')
    .description('end one fault, or all')
    .argument('[id]')
    .addOption(labOption())
    .addHelpText('after', examples('weft lab fault clear', 'weft lab fault clear fault-3'))
    .action((id: string | undefined, options: LabOptions) =>
      withLab(options.lab, async (session, signal) => {
        const before = (await readLabStatus(session, signal)).faults;
        report(before, await healFault(session, id ?? null, signal));
      }),
    );
}

const VCENTER_EFFECT_HELP = `
Effects:
  none            the call is carried out, after its --delay
  refuse          the call fails (SystemError)
  busy            the call fails with ResourceInUse
  conflict        the call fails with ConcurrentAccess
  deny            the call fails with NoPermission
  lose-reply      the call is carried out, and the connection breaks instead of its answer
  expire-session  every session has ended before the call
  stick           the task that the call begins does not end until it is cancelled
  fail-task       the task that the call begins ends with a fault, and nothing is done
  restart         vCenter restarts: sessions, tasks and imports are gone, and for a while nobody answers (one call,
                  unless --count says more)`;

function methodArgument(): Argument {
  return new Argument('<method>', 'the call').choices(PLATFORM_METHODS);
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
