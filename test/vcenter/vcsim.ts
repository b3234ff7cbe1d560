/** Builds and starts govmomi's vCenter simulator (test/vcsim), where Go is to be had. */
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { readThumbprint } from '../../src/vcenter/transport.ts';

const SOURCE = resolve(import.meta.dirname, '../vcsim');
const BUILD_TIMEOUT_MS = 280_000;

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

/** The program, built outside the tree once per version of its source; null, after one visible line, without Go. */
export function vcsimProgram(): string | null {
  const hash = createHash('sha256');
  const files = readdirSync(SOURCE).filter((file) => /\.(go|mod|sum)$/.test(file));
  for (const file of files.sort()) hash.update(readFileSync(join(SOURCE, file)));
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'weft');
  const program = join(cache, `vcsim-${hash.digest('hex').slice(0, 16)}`);
  if (existsSync(program)) return program;
  const go = [process.env.GO, '/usr/local/go/bin/go', 'go'].filter((one) => one !== undefined);
  for (const command of go) {
    try {
      mkdirSync(cache, { recursive: true });
      const fresh = `${program}.${process.pid}`;
      execFileSync(command, ['build', '-o', fresh, '.'], {
        cwd: SOURCE,
        timeout: BUILD_TIMEOUT_MS,
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      renameSync(fresh, program);
      return program;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue;
      console.log(`    vcsim was not run: it could not be built (${String(error).split('\n')[0]})`);
      return null;
    }
  }
  console.log('    vcsim was not run: there is no Go here to build it with');
  return null;
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
