/** `weft capture SERVICE`: what the engines see of a service, both sides, as a pcapng file with the verdicts as comments. */
import { once } from 'node:events';
import { type FileHandle, open } from 'node:fs/promises';
import { type Command, InvalidArgumentError } from 'commander';
import { WeftError } from '../policy/errors.ts';
import { WholeBlocks } from './capture-file.ts';
import type { RunningCapture } from './controller-client.ts';
import { plain, type Terminal } from './terminal.ts';
import { addVerb, connect, print, type VerbOptions } from './verb.ts';

interface Options extends VerbOptions {
  engine?: string;
  client?: string;
  seconds?: number;
  packets?: number;
  snap?: number;
  write?: string;
}

/** How long the rest of the file may take after Ctrl-C. */
const REST_MS = 5000;
const PROGRESS_MS = 1000;

/** Adds the verb. */
export function register(program: Command, terminal: Terminal): void {
  addVerb(
    program,
    'capture <service>',
    'write the packets of a service to a file, with what the engines did to each',
    [
      'weft capture web                                  # web.pcapng, until 60 s, 10000 frames or Ctrl-C',
      'weft capture web --client 10.77.0.9 -w - | tshark -r - -T fields -e _ws.col.Info -e frame.comment',
      'weft capture web --engine edge-h1 --seconds 5 --packets 500 --snap 96 -w head.pcapng',
    ],
  )
    .option('--engine <id>', 'at this engine only (else at all that carry the service)')
    .option('--client <prefix>', "where the client's address lies in this prefix, or is this address")
    .option('--seconds <n>', 'how long, at most 3600 (else 60)', count(1, 3600))
    .option('--packets <n>', 'how many frames, at most 1000000 (else 10000)', count(1, 1_000_000))
    .option('--snap <bytes>', 'how much of each frame, 64 to 65550 (else 1600)', count(64, 65_550))
    .option('-w, --write <file>', 'the file, - for standard output (else SERVICE.pcapng)')
    .addHelpText(
      'after',
      '\nWhile it runs, TypeScript forwards the flows concerned and not the kernel: they are slower. See docs/seeing.md.',
    )
    .action(async (service: string, options: Options) => {
      const { engine, client, seconds, packets, snap } = options;
      const wanted = { engine, client, seconds, packets, snap };
      const query = Object.fromEntries(
        Object.entries(wanted).flatMap(([name, value]) =>
          value === undefined ? [] : [[name, String(value)]],
        ),
      );
      const name = options.write ?? `${service}.pcapng`;
      if (name === '-' && terminal.stdout.isTTY === true) {
        throw new WeftError(
          'ERR_USAGE',
          'packets are not for a terminal: name a file with -w, or pipe them on',
        );
      }
      // Asked first: where the service is unknown, no file is left behind.
      const capture = await (await connect(options, terminal)).capture(service, query);
      const sink = name === '-' ? pipeTo(terminal) : await fileNamed(name, capture);
      const blocks = new WholeBlocks();
      const reason = await copy(capture, blocks, sink, terminal);
      const { frames, bytes, lost, remarks } = blocks;
      const summary = { service, file: name, frames, bytes, lost, remarks, isWhole: reason === null };
      if (name === '-') terminal.stderr.write(`${draw(summary, terminal)}\n`);
      else await print(terminal, options, summary, (one) => draw(one, terminal));
      if (reason !== null) throw reason;
    });
}

interface Summary {
  service: string;
  file: string;
  frames: number;
  bytes: number;
  lost: number;
  remarks: string[];
  isWhole: boolean;
}

interface Sink {
  write(bytes: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

function count(least: number, most: number): (text: string) => number {
  return (text) => {
    if (/^\d{1,7}$/.test(text) && Number(text) >= least && Number(text) <= most) return Number(text);
    throw new InvalidArgumentError(`it must be a number from ${least} to ${most}.`);
  };
}

async function fileNamed(name: string, capture: RunningCapture): Promise<Sink> {
  let file: FileHandle;
  try {
    // Packets are nobody else's business.
    file = await open(name, 'w', 0o600);
  } catch (cause) {
    capture.file.destroy();
    throw new WeftError('ERR_USAGE', `${name} cannot be written: ${(cause as Error).message}`, { cause });
  }
  return {
    write: async (bytes) => void (await file.write(bytes)),
    close: () => file.close(),
  };
}

function pipeTo({ stdout }: Terminal): Sink {
  return {
    write: async (bytes) => {
      if (stdout.write(bytes) === false && stdout === process.stdout) await once(process.stdout, 'drain');
    },
    close: async () => {},
  };
}

/** Until the file is whole; what keeps it from that, or null. The first Ctrl-C ends the capture, the second the copying. */
async function copy(
  capture: RunningCapture,
  blocks: WholeBlocks,
  sink: Sink,
  terminal: Terminal,
): Promise<Error | null> {
  const { file } = capture;
  let rest: NodeJS.Timeout | undefined;
  let isEnding = false;
  const onSignal = (): void => {
    if (isEnding) {
      file.destroy();
      return;
    }
    isEnding = true;
    // Where the controller does not answer any more, the whole blocks that there are make a file all the same.
    rest = setTimeout(() => file.destroy(), REST_MS);
    capture.end().catch(() => file.destroy());
  };
  // Whoever reads what we print is gone.
  const onGone = (): void => void file.destroy();
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const name of names) process.on(name, onSignal);
  if (terminal.stdout === process.stdout) process.stdout.on('error', onGone);
  const progress =
    terminal.stderr.isTTY === true
      ? setInterval(
          () => terminal.stderr.write(`\r${blocks.frames} frames, ${blocks.bytes} bytes; Ctrl-C ends it `),
          PROGRESS_MS,
        )
      : undefined;
  try {
    for await (const chunk of file) await sink.write(blocks.take(chunk as Buffer));
    if (!blocks.isTorn) return null;
    return new WeftError('ERR_UNREACHABLE', 'the capture broke off: the file ends at its last whole frame');
  } catch (cause) {
    if (isEnding) return null;
    if (cause instanceof WeftError) return cause;
    const message = `the capture broke off (${(cause as Error).message}): the file ends at its last whole frame`;
    return new WeftError('ERR_UNREACHABLE', message, { cause });
  } finally {
    clearTimeout(rest);
    clearInterval(progress);
    if (progress !== undefined) terminal.stderr.write('\n');
    for (const name of names) process.off(name, onSignal);
    process.stdout.off('error', onGone);
    file.destroy();
    await sink.close();
  }
}

function draw({ file, frames, bytes, lost, remarks, isWhole }: Summary, _terminal: Terminal): string {
  const where = file === '-' ? '' : ` in ${file}`;
  const missing = lost === 0 ? 'none is missing' : `${lost} are missing`;
  const told = remarks.filter((remark) => / are missing|^\S+ out:/.test(remark));
  return [
    plain(`${frames} frames, ${bytes} bytes${where}; ${isWhole ? missing : 'it broke off'}`),
    ...told.map((remark) => plain(`  ${remark}`)),
  ].join('\n');
}
