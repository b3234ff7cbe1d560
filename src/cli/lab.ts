/** `weft lab`: bring the built-in platform up and down, look at it, move and copy VMs, inject faults. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { SwitchKind } from '../lab/vcenter/index.ts';
import type { LabNetwork } from '../lab/world/blueprint.ts';
import { WeftError } from '../policy/errors.ts';
import { registerLabFault } from './lab-fault.ts';
import { registerLabMaintenance } from './lab-maintenance.ts';
import { cloudOption, examples, labOption, labSuffix, networkOption, switchesOption } from './lab-option.ts';
import { requireRoot } from './lab-root.ts';
import { registerLabStatus } from './lab-status.ts';
import { registerLabVms } from './lab-vms.ts';
import type { Terminal } from './terminal.ts';

const LAB_YAML = join(import.meta.dirname, '../../templates/lab.yaml');
const ROUTED_YAML = join(import.meta.dirname, '../../templates/lab-routed.yaml');
const LAB_RUN = join(import.meta.dirname, 'lab-run.ts');

/** Adds `weft lab` and its verbs to the program; `lab run` is there when the promise resolves, all others at once. */
export async function registerLab(program: Command, terminal: Terminal): Promise<void> {
  const lab = program
    .command('lab')
    .description('the built-in platform: hosts, switches and VMs made of network namespaces (needs root)')
    // So that what follows `lab exec VM` is the command's own.
    .enablePositionalOptions();

  lab
    .command('up')
    .description('build the lab, start a controller, apply the sample policy, wait until its services serve')
    .addOption(labOption())
    .option('-f, --file <file...>', 'policy to apply instead of the sample')
    .option('--no-policy', 'apply no policy')
    .option('--no-controller', 'start no controller')
    .addOption(cloudOption())
    .addOption(switchesOption())
    .addOption(networkOption())
    .option('--timeout <seconds>', 'how long the services may take until they serve', seconds, 60)
    .addHelpText(
      'after',
      examples(
        'weft lab up',
        'weft lab up --cloud vcenter',
        'weft lab up --cloud vcenter --switches standard',
        'weft lab up --network routed',
        'weft lab up --lab demo -f shop.yaml',
      ),
    )
    .action(async (options: UpOptions) => {
      const { bringUp } = await import('./lab-up.ts');
      const interrupted = new AbortController();
      const onSignal = (signal: NodeJS.Signals) =>
        interrupted.abort(new WeftError('ERR_LAB', `interrupted by ${signal}; the lab is down`));
      process.once('SIGINT', onSignal);
      process.once('SIGTERM', onSignal);
      try {
        const running = await bringUp({
          lab: options.lab,
          policyFiles:
            options.policy && options.controller
              ? (options.file ?? [options.network === 'routed' ? ROUTED_YAML : LAB_YAML])
              : [],
          withController: options.controller,
          ...(options.cloud === undefined ? {} : { cloud: options.cloud }),
          ...(options.switches === undefined ? {} : { switches: options.switches }),
          ...(options.network === undefined ? {} : { network: options.network }),
          onProgress: (line) => console.log(line),
          signal: interrupted.signal,
          servingTimeoutMs: options.timeout * 1000,
        });
        const suffix = labSuffix(running.lab);
        console.log(
          `lab ${running.lab} is up; \`weft lab down${suffix}\` removes it, \`weft lab status${suffix}\` shows it`,
        );
      } finally {
        process.off('SIGINT', onSignal);
        process.off('SIGTERM', onSignal);
      }
    });

  lab
    .command('down')
    .description('end and remove everything of the lab, also when its daemon is gone')
    .addOption(labOption())
    .addHelpText('after', examples('weft lab down', 'weft lab down --lab demo'))
    .action(async (options: { lab: string }) => {
      const { takeDown } = await import('./lab-down.ts');
      const gone = await takeDown({ lab: options.lab, onProgress: (line) => console.log(line) });
      const wasThere = gone.hadRunDir || gone.namespaces > 0;
      console.log(wasThere ? `lab ${options.lab} is down` : `there is no lab ${options.lab}`);
    });

  lab
    .command('serve', { hidden: true })
    .description('the daemon of a lab, which `lab up` starts')
    .addOption(labOption())
    .addOption(cloudOption())
    .addOption(switchesOption())
    .addOption(networkOption())
    .action(async (options: ServeOptions) => {
      requireRoot('weft lab serve');
      const { serveLab } = await import('../lab/world/daemon.ts');
      const daemon = await serveLab({
        lab: options.lab,
        cloud: options.cloud ?? 'lab',
        switches: options.switches ?? 'distributed',
        network: options.network ?? 'flat',
      });
      await new Promise<void>((resolve) => {
        process.once('SIGTERM', () => resolve());
        process.once('SIGINT', () => resolve());
      });
      await daemon.close();
      process.exit(0);
    });

  registerLabStatus(lab, terminal);
  registerLabVms(lab);
  registerLabMaintenance(lab);
  registerLabFault(lab, terminal);
  if (existsSync(LAB_RUN)) {
    const { registerLabRun } = (await import(LAB_RUN)) as { registerLabRun: (lab: Command) => void };
    registerLabRun(lab);
  }
}

interface ServeOptions {
  lab: string;
  cloud?: 'lab' | 'vcenter';
  switches?: SwitchKind;
  network?: LabNetwork;
}

interface UpOptions {
  lab: string;
  file?: string[];
  policy: boolean;
  controller: boolean;
  cloud?: 'lab' | 'vcenter';
  switches?: SwitchKind;
  network?: LabNetwork;
  timeout: number;
}

function seconds(text: string): number {
  const value = Number(text);
  if (value > 0 && value <= 3600) return value;
  throw new WeftError('ERR_USAGE', `"${text}" is no number of seconds between 0 and 3600`);
}
