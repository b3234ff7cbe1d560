/** A lab of its own for each suite, in a daemon process that a test may kill. */

import { execFile, spawn } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { takeDown } from '../../src/cli/lab-down.ts';
import { readLabStatus } from '../../src/lab/control.ts';
import { LabSession } from '../../src/lab/session.ts';
import { labPaths, namespaceFile, namespaceOf } from '../../src/lab/world/names.ts';
import { isListening } from '../../src/lab/world/process.ts';
import type { LabStatus } from '../../src/lab/world/status.ts';
import { ownLab } from '../leftovers.ts';
import { requireRoot } from '../root.ts';

const NODE = [process.execPath, '--disable-warning=ExperimentalWarning'];
const never = new AbortController().signal;

export interface LabUnderTest {
  lab: string;
  session: LabSession;
  /** Starts another daemon, for example after the first was killed; waits until it answers. */
  startDaemon(): Promise<number>;
  status(): Promise<LabStatus>;
  /** Runs probe-program.ts in the namespace of a VM or of the `client`. */
  probe<T>(where: string, ...args: (string | number)[]): Promise<T>;
  stop(): Promise<void>;
}

/** Skips the suite where we are not root; labs need it. */
export function requireRootOrSkip(context: Mocha.Context): void {
  requireRoot(context, 'tests of the lab');
}

/** `letter` tells the labs of one test run apart; `vcenter-standard` is a vCenter with standard switches alone. */
export async function startLab(
  letter: string,
  cloud: 'lab' | 'vcenter' | 'vcenter-standard' = 'lab',
): Promise<LabUnderTest> {
  const lab = ownLab(`t${letter}`);
  const session = new LabSession(labPaths(lab).socket);
  const status = () => readLabStatus(session, never);

  async function startDaemon(): Promise<number> {
    const program = [...NODE.slice(1), join(import.meta.dirname, 'daemon-program.ts'), lab, cloud];
    const child = spawn(NODE[0]!, program, {
      stdio: ['ignore', 'inherit', 'inherit'],
      detached: true,
    });
    child.unref();
    await eventually(async () => {
      if (child.exitCode !== null) throw new Error(`the daemon ended with ${child.exitCode}`);
      const { pid, vms } = await status();
      return (
        pid === child.pid && vms.every((vm) => vm.pid === null || vm.engine || isListening(vm.pid, 8080))
      );
    });
    return child.pid!;
  }

  const under: LabUnderTest = {
    lab,
    session,
    startDaemon,
    status,
    async probe<T>(where: string, ...args: (string | number)[]): Promise<T> {
      const program = join(import.meta.dirname, 'probe-program.ts');
      const { stdout } = await promisify(execFile)('nsenter', [
        `--net=${namespaceFile(namespaceOf(lab, where))}`,
        ...NODE,
        program,
        ...args.map(String),
      ]);
      return JSON.parse(stdout) as T;
    },
    async stop() {
      session.close();
      await takeDown({ lab, onProgress: () => {} });
    },
  };
  try {
    await startDaemon();
  } catch (error) {
    await under.stop();
    throw error;
  }
  return under;
}

/** Asks until the answer is yes; what throws counts as no until the time is up. */
export async function eventually(isTrue: () => Promise<boolean>, timeoutMs = 10_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown = new Error('it did not become true');
  while (performance.now() < deadline) {
    try {
      if (await isTrue()) return;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw last;
}
