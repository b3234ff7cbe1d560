/**
 * Runs iproute2. Commands go in batches over standard input: one process per namespace and program, and no shell
 * between us and an argument.
 */
import { execFile } from 'node:child_process';
import { WeftError } from '../../policy/errors.ts';
import { namespaceFile } from './names.ts';

/** How long one batch may take; the kernel answers in milliseconds. */
const TIMEOUT_MS = 20_000;

/** `ip -batch` in a namespace, or in the root namespace (which only `netns add` and `netns del` need). */
export async function ip(namespace: string | null, lines: readonly string[], force = false): Promise<void> {
  await batch('ip', namespace, lines, force);
}

/** `bridge -batch` in a namespace. */
export async function bridge(namespace: string, lines: readonly string[], force = false): Promise<void> {
  await batch('bridge', namespace, lines, force);
}

/** `tc -batch` in a namespace. */
export async function tc(namespace: string, lines: readonly string[], force = false): Promise<void> {
  await batch('tc', namespace, lines, force);
}

/** Writes kernel settings of a namespace: names below /proc/sys/net to values. They are ours, never a user's. */
export async function settings(namespace: string, values: Record<string, string>): Promise<void> {
  const script = Object.entries(values)
    .map(([name, value]) => `echo ${value} > /proc/sys/net/${name}`)
    .join(' && ');
  await run('nsenter', [`--net=${namespaceFile(namespace)}`, 'sh', '-c', script], '');
}

async function batch(
  program: string,
  namespace: string | null,
  lines: readonly string[],
  force: boolean,
): Promise<void> {
  if (lines.length === 0) return;
  const args = [
    ...(namespace === null ? [] : ['-n', namespace]),
    ...(force ? ['-force'] : []),
    '-batch',
    '-',
  ];
  try {
    await run(program, args, `${lines.join('\n')}\n`);
  } catch (error) {
    // With -force the remaining lines were carried out; a line that failed had nothing left to do.
    if (!force) throw withLine(error, lines);
  }
}

/** iproute2 says `Command failed -:3`: put the words of line 3 into the message. */
function withLine(error: unknown, lines: readonly string[]): unknown {
  if (!(error instanceof WeftError)) return error;
  const line = lines[Number(/-:(\d+)/.exec(error.message)?.[1] ?? 0) - 1];
  return line === undefined
    ? error
    : new WeftError('ERR_KERNEL', `${error.message} [${line}]`, { cause: error.cause });
}

/** Runs a program to its end. Throws ERR_KERNEL with what it wrote to standard error. */
export function run(program: string, args: readonly string[], input: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      args,
      { timeout: TIMEOUT_MS, maxBuffer: 16 << 20 },
      (error, stdout, stderr) => {
        if (!error) return resolve(stdout);
        const said = stderr.trim().replaceAll('\n', '; ') || error.message;
        reject(new WeftError('ERR_KERNEL', `${program} ${args.join(' ')}: ${said}`, { cause: error }));
      },
    );
    // The program may end without reading; its exit code tells, not the broken pipe.
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}
