/**
 * `weft lab run`, which is what `npm start` calls: the whole lab in one command, with real traffic, until Ctrl-C; or
 * with `--once` unattended, with every fault and check, a summary, and exit code 0 or 1.
 */
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import type { Command } from 'commander';
import { healFault, injectFault, killVm, listFaults, readLabStatus } from '../lab/control.ts';
import { LabSession } from '../lab/session.ts';
import { powerVm } from '../lab/vm.ts';
import type { SystemStatus } from '../policy/answers.ts';
import { WeftError } from '../policy/errors.ts';
import { parseDocuments } from '../policy/parse.ts';
import { ControllerClient } from './controller-client.ts';
import { takeDown } from './lab-down.ts';
import { cloudOption, examples, labOption } from './lab-option.ts';
import type { CheckContext } from './lab-run/check.ts';
import { LabClient } from './lab-run/client.ts';
import { showLive } from './lab-run/live.ts';
import { runChecks } from './lab-run/unattended.ts';
import { findVm } from './lab-session.ts';
import { bringUp, type RunningLab } from './lab-up.ts';

const LAB_YAML = join(import.meta.dirname, '../../templates/lab.yaml');
const LOAD_TARGETS = ['10.77.0.101', '10.77.0.102', '10.77.0.103', 'fd77::101', 'fd77::102', 'fd77::103'];

export function registerLabRun(lab: Command): void {
  lab
    .command('run')
    .description('bring the lab up, send real traffic, show it live, and take everything down on Ctrl-C')
    .addOption(labOption())
    .option('--once', 'no screen: a bounded load, faults and checks, a summary, exit code 0 or 1')
    .addOption(cloudOption())
    .addHelpText(
      'after',
      examples(
        'npm start',
        'npm start -- --once',
        'npm start -- --cloud vcenter',
        'weft lab run --once --cloud vcenter --lab two',
      ),
    )
    .action(async (options: { lab: string; once?: boolean; cloud?: 'lab' | 'vcenter' }) => {
      process.exitCode = await runLab(options.lab, options.cloud, options.once === true);
    });
}

/** Answers the exit code. */
async function runLab(
  lab: string,
  cloud: 'lab' | 'vcenter' | undefined,
  isUnattended: boolean,
): Promise<number> {
  const interrupted = new AbortController();
  const onSignal = (signal: NodeJS.Signals): void =>
    interrupted.abort(new WeftError('ERR_LAB', `interrupted by ${signal}; the lab is down`));
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, onSignal);
  const { signal } = interrupted;
  const startedAt = performance.now();
  const say = (line: string): void => {
    console.log(`${((performance.now() - startedAt) / 1000).toFixed(1).padStart(5)} s  ${line}`);
  };

  let client: LabClient | null = null;
  let running: RunningLab | null = null;
  let summary: Awaited<ReturnType<typeof runChecks>> | null = null;
  try {
    running = await bringUp({
      lab,
      policyFiles: [LAB_YAML],
      withController: true,
      ...(cloud === undefined ? {} : { cloud }),
      onProgress: say,
      signal,
    });
    client = await LabClient.start(lab, signal);
    const controller = controllerOf(running);
    const status = (): Promise<SystemStatus> => controller.status();
    if (isUnattended) {
      const session = new LabSession(running.socket);
      try {
        summary = await runChecks(openCheckContext({ controller, session, client, say, signal }));
      } finally {
        session.close();
      }
    } else {
      await showLive({
        lab,
        client,
        targets: LOAD_TARGETS.map((address) => ({ address, port: 80 })),
        status,
        output: process.stdout,
        signal,
      });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    // A second Ctrl-C shall not leave half of it behind.
    await client?.stop();
    if (running || signal.aborted) await takeDown({ lab, onProgress: say });
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(name, onSignal);
  }
  if (!isUnattended) return 0;
  if (!summary) return 130;
  console.log(
    JSON.stringify({ ...summary, seconds: Math.round((performance.now() - startedAt) / 100) / 10 }),
  );
  return summary.ok ? 0 : 1;
}

/** REST to the controller of a lab that runs. Throws ERR_LAB where it was brought up without one. */
export function controllerOf(running: RunningLab): ControllerClient {
  if (!running.controller) throw new WeftError('ERR_LAB', `lab ${running.lab} has no controller`);
  return new ControllerClient(running.controller, 10_000);
}

/** What the checks of `--once` and of the scenario tests drive the lab with. */
export function openCheckContext(parts: {
  controller: ControllerClient;
  session: LabSession;
  client: LabClient;
  say(line: string): void;
  signal: AbortSignal;
}): CheckContext {
  const { controller, session, signal } = parts;
  const idOf = async (name: string): Promise<string> => findVm(await readLabStatus(session, signal), name).id;
  return {
    client: parts.client,
    signal,
    say: parts.say,
    status: () => controller.status(),
    trace: (service, from, to) => controller.trace({ service, from, ...(to === undefined ? {} : { to }) }),
    async apply(text, services) {
      await controller.apply(parseDocuments(text, 'the policy of a check'));
      const deadline = performance.now() + 10_000;
      for (;;) {
        const { services: all } = await controller.status();
        if (
          services.every((name) =>
            all.some((service) => service.name === name && service.state === 'serving'),
          )
        )
          return;
        if (performance.now() > deadline) {
          throw new WeftError(
            'ERR_TIMEOUT',
            `${services.join(', ')} did not serve within 10 s: ${JSON.stringify(all)}`,
          );
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
        signal.throwIfAborted();
      }
    },
    remove: (kind, name) => controller.delete(kind, name),
    async fault(kind, vmName) {
      const vm = await idOf(vmName);
      if (kind === 'kill') await killVm(session, vm, signal);
      else if (kind === 'hang') await injectFault(session, { kind: 'hang', vm }, signal);
      else {
        for (const fault of await listFaults(session, signal)) {
          if (fault.kind === 'hang' && fault.vm === vm) await healFault(session, fault.id, signal);
        }
      }
    },
    async powerOn(vmName) {
      await powerVm(session, await idOf(vmName), 'on', signal);
    },
  };
}
