/** `weft lab migrate`, `clone`, `power`, `upgrade` and `exec`: what one does to VMs in a hypervisor's client. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { Argument, type Command } from 'commander';
import { readLabStatus, upgradeEngine } from '../lab/control.ts';
import { cloneVm, migrateVm, powerVm } from '../lab/vm.ts';
import { existingNamespaces, namespaceFile, namespaceOf } from '../lab/world/names.ts';
import { WeftError } from '../policy/errors.ts';
import { examples, labOption, labSuffix } from './lab-option.ts';
import { requireRoot } from './lab-root.ts';
import { findVm, withLab } from './lab-session.ts';

/** Adds the verbs. */
export function registerLabVms(lab: Command): void {
  lab
    .command('migrate')
    .description('move a running VM to another host; engines stay on theirs')
    .argument('<vm>')
    .argument('<host>')
    .addOption(labOption())
    .addHelpText('after', examples('weft lab migrate app1 h2'))
    .action(async (name: string, host: string, options: { lab: string }) => {
      await withLab(options.lab, async (session, signal) => {
        const vm = findVm(await readLabStatus(session, signal), name);
        if (vm.engine !== null) {
          throw new WeftError(
            'ERR_LAB',
            `${vm.name} is the engine of host ${vm.host} and serves the VMs there: move those, and an engine follows`,
          );
        }
        await migrateVm(session, vm.id, host, signal);
        console.log(
          vm.host === host ? `${vm.name} is on ${host}` : `${vm.name} moved from ${vm.host} to ${host}`,
        );
      });
    });

  lab
    .command('clone')
    .description('copy a VM under a new name, with addresses of its own, and switch the copy on')
    .argument('<vm>')
    .argument('<name>')
    .argument('<host>')
    .addOption(labOption())
    .addHelpText('after', examples('weft lab clone app1 app7 h3'))
    .action(async (source: string, name: string, host: string, options: { lab: string }) => {
      await withLab(options.lab, async (session, signal) => {
        const vm = findVm(await readLabStatus(session, signal), source);
        const made = await cloneVm(session, vm.id, { name, host }, () => {}, signal);
        console.log(
          `${made.name} is on ${made.host}: ${made.nics.flatMap((nic) => nic.addresses).join(', ')}`,
        );
      });
    });

  lab
    .command('power')
    .description('switch a VM on or off, or reset it')
    .argument('<vm>')
    .addArgument(new Argument('<action>', 'what to do').choices(['on', 'off', 'reset']))
    .addOption(labOption())
    .addHelpText('after', examples('weft lab power app1 off', 'weft lab power edge-h2 reset'))
    .action(async (name: string, action: 'on' | 'off' | 'reset', options: { lab: string }) => {
      await withLab(options.lab, async (session, signal) => {
        const vm = findVm(await readLabStatus(session, signal), name);
        await powerVm(session, vm.id, action, signal);
        console.log(`${vm.name} is ${action === 'off' ? 'off' : 'on'}`);
      });
    });

  lab
    .command('upgrade')
    .description("put a new process in the place of a running engine's; its flows go on")
    .argument('<engine>')
    .addOption(labOption())
    .addHelpText('after', examples('weft lab upgrade edge-h2'))
    .action(async (name: string, options: { lab: string }) => {
      await withLab(options.lab, async (session, signal) => {
        const vm = findVm(await readLabStatus(session, signal), name);
        await upgradeEngine(session, vm.id, signal);
        console.log(`${vm.name} runs in a new process, with the flows of the old one`);
      });
    });

  lab
    .command('exec')
    .description('run a command inside a VM, a host, or the client outside (`client`)')
    .argument('<where>')
    .argument('<command...>')
    .addOption(labOption())
    .addHelpText(
      'after',
      examples('weft lab exec client ping -c 1 10.77.0.101', 'weft lab exec h1 bridge fdb show'),
    )
    .passThroughOptions()
    .action(async (where: string, command: string[], options: { lab: string }) => {
      process.exitCode = await execIn(options.lab, where, command);
    });
}

/** Runs a command inside; its exit code is ours. Throws ERR_LAB where there is no such place. */
async function execIn(lab: string, where: string, command: readonly string[]): Promise<number> {
  requireRoot('weft lab exec');
  const namespace = namespaceOf(lab, where);
  const present = existingNamespaces(lab);
  if (!present.includes(namespace)) {
    const places = present.map((name) => name.slice(namespaceOf(lab, '').length)).join(', ');
    throw new WeftError(
      'ERR_LAB',
      places === ''
        ? `lab ${lab} is not up; \`weft lab up${labSuffix(lab)}\` starts it`
        : `nothing is running as ${where} in lab ${lab}; there are ${places}`,
    );
  }
  const child = spawn('nsenter', [`--net=${namespaceFile(namespace)}`, ...command], { stdio: 'inherit' });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
  });
}
