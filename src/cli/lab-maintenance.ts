/** `weft lab maintenance`: take a host of the lab into maintenance, as an administrator does before working on it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Argument, type Command } from 'commander';
import { readLabStatus, setMaintenance } from '../lab/control.ts';
import type { LabSession } from '../lab/session.ts';
import { WeftError } from '../policy/errors.ts';
import { examples, labOption, labSuffix } from './lab-option.ts';
import { withLab } from './lab-session.ts';

interface Options {
  lab: string;
  wait: boolean;
}

const LOOK_MS = 100;

/** Adds the verb. */
export function registerLabMaintenance(lab: Command): void {
  lab
    .command('maintenance')
    .description(
      'take a host into maintenance: its VMs move to the others while they run; or back into service',
    )
    .addArgument(new Argument('<action>', 'what to do').choices(['enter', 'exit']))
    .argument('<host>')
    .option('--no-wait', 'begin to enter, and do not wait until nothing runs there')
    .addOption(labOption())
    .addHelpText('after', examples('weft lab maintenance enter h2', 'weft lab maintenance exit h2'))
    .action((action: 'enter' | 'exit', host: string, options: Options) =>
      withLab(options.lab, async (session, signal) => {
        await setMaintenance(session, host, action, signal);
        if (action === 'exit') console.log(`${host} is in service`);
        else if (options.wait) await untilIn(session, host, options.lab, signal);
        else console.log(`${host} is on its way into maintenance`);
      }),
    );
}

/** Says what the host waits for each time that changes. */
async function untilIn(session: LabSession, host: string, lab: string, signal: AbortSignal): Promise<void> {
  let said = '';
  for (;;) {
    const found = (await readLabStatus(session, signal)).hosts.find(({ id }) => id === host);
    if (found?.maintenance?.state === 'in') {
      console.log(
        `${host} is in maintenance; \`weft lab maintenance exit ${host}${labSuffix(lab)}\` ends that`,
      );
      return;
    }
    if (!found?.maintenance) throw new WeftError('ERR_LAB', `${host} was taken back into service meanwhile`);
    const waits = found.maintenance.waitsFor.map(({ vm, reason }) => `${vm} (${reason})`).join(', ');
    if (waits !== '' && waits !== said) console.log(`${host} waits for ${waits}`);
    said = waits;
    await sleep(LOOK_MS, undefined, { signal });
  }
}
