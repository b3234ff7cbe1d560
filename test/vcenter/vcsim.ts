/** Builds and starts govmomi's vCenter simulator (test/vcsim), where Go is to be had. */
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { readThumbprint } from '../../src/vcenter/transport.ts';
import { MENDS } from '../vcsim/mends.ts';
import { BUILD_TIMEOUT_MS, goProgram } from './go-program.ts';

export interface Vcsim {
  url: string;
  thumbprint: string;
  user: string;
  password: string;
  pid: number;
  /** The next `count` calls of the method are refused with the fault. */
  fail(method: string, fault: string, count: number): Promise<void>;
  /** Calls of the method, the next `count` of them (0: all), wait, or are carried out while their reply gets lost. */
  disturb(method: string, how: { count: number; delayMs?: number; loseReply?: boolean }): Promise<void>;
  /** Ends what `fail` and `disturb` began. */
  clear(): Promise<void>;
  stop(): Promise<void>;
}

/** The program; null, after one visible line, where it cannot be built. */
export function vcsimProgram(): string | null {
  return goProgram('vcsim', MENDS);
}

/** Definitions that govmomi has of types, by name, fields in wire order. */
export function govmomiTypes(
  program: string,
  names: readonly string[],
): Record<string, { name: string; isArray: boolean; isOptional: boolean }[]> {
  return JSON.parse(
    execFileSync(program, ['-types'], { input: names.join('\n'), encoding: 'utf8', maxBuffer: 64 << 20 }),
  );
}

/** Starts one; skips the suite where it cannot be had. */
export async function startVcsim(
  context: Pick<Mocha.Context, 'skip' | 'timeout'> | null,
  options: Record<string, number | boolean> = {},
): Promise<Vcsim> {
  context?.timeout(BUILD_TIMEOUT_MS + 20_000);
  const program = vcsimProgram();
  if (program === null) {
    context?.skip();
    throw new Error('vcsim cannot be had');
  }
  const args = Object.entries(options).flatMap(([name, value]) => [`-${name}=${String(value)}`]);
  const child: ChildProcessWithoutNullStreams = spawn(program, args);
  child.stderr.resume();
  const exited = new Promise<void>((done) => child.once('exit', () => done()));
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const answer = async (): Promise<Record<string, string>> =>
    JSON.parse(String((await lines.next()).value ?? '{"error":"vcsim ended"}'));
  const order = async (command: object): Promise<void> => {
    child.stdin.write(`${JSON.stringify(command)}\n`);
    const { error } = await answer();
    if (error) throw new Error(error);
  };
  const { url } = await answer();
  if (url === undefined) throw new Error('vcsim did not start');
  const { thumbprint } = await readThumbprint(url, AbortSignal.timeout(5000));
  return {
    url,
    thumbprint,
    user: 'weft',
    password: 'secret',
    pid: child.pid!,
    fail: (method, fault, count) => order({ fault: { method, fault, count } }),
    disturb: (method, how) => order({ wire: { method, ...how } }),
    clear: () => order({ clear: true }),
    stop: async () => {
      child.stdin.end();
      const timer = setTimeout(() => child.kill('SIGKILL'), 3000);
      await exited;
      clearTimeout(timer);
    },
  };
}
