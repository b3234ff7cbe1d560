/** A whole lab of its own name for scenario tests: brought up once per suite, always taken down. */
import { join } from 'node:path';
import type { ControllerClient } from '../../src/cli/controller-client.ts';
import { takeDown } from '../../src/cli/lab-down.ts';
import type { CheckContext } from '../../src/cli/lab-run/check.ts';
import { LabClient } from '../../src/cli/lab-run/client.ts';
import { controllerOf, openCheckContext } from '../../src/cli/lab-run.ts';
import { bringUp, type RunningLab } from '../../src/cli/lab-up.ts';
import { LabSession } from '../../src/lab/session.ts';
import type { SystemStatus } from '../../src/policy/answers.ts';
import { ownLab } from '../leftovers.ts';

export interface ScenarioLab {
  name: string;
  running: RunningLab;
  session: LabSession;
  client: LabClient;
  controller: ControllerClient;
  context: CheckContext;
  /** Polls the status until it fulfils the predicate; throws with the last status after `timeoutMs`. */
  until(what: string, holds: (status: SystemStatus) => boolean, timeoutMs?: number): Promise<SystemStatus>;
  close(): Promise<void>;
}

export async function startScenarioLab(
  letter: string,
  cloud: 'lab' | 'vcenter' = 'lab',
  network: 'flat' | 'routed' = 'flat',
): Promise<ScenarioLab> {
  const name = ownLab(letter);
  const signal = new AbortController().signal;
  const log: string[] = [];
  try {
    const running = await bringUp({
      lab: name,
      policyFiles: [
        join(import.meta.dirname, '../../templates', network === 'flat' ? 'lab.yaml' : 'lab-routed.yaml'),
      ],
      withController: true,
      cloud,
      network,
      onProgress: (line) => log.push(line),
      signal,
    });
    const client = await LabClient.start(name, signal);
    const session = new LabSession(running.socket);
    const controller = controllerOf(running);
    return {
      name,
      running,
      session,
      client,
      controller,
      context: openCheckContext({ controller, session, client, say: (line) => log.push(line), signal }),
      async until(what, holds, timeoutMs = 10_000) {
        const deadline = performance.now() + timeoutMs;
        for (;;) {
          const now = await controller.status();
          if (holds(now)) return now;
          if (performance.now() > deadline) {
            throw new Error(`after ${timeoutMs} ms still not: ${what}; ${JSON.stringify(now)}`);
          }
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      },
      async close() {
        await client.stop();
        session.close();
        await takeDown({ lab: name, onProgress: () => {} });
      },
    };
  } catch (error) {
    await takeDown({ lab: name, onProgress: () => {} });
    throw error;
  }
}
