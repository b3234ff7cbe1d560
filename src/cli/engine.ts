/** `weft engine`: the service engine itself, as the appliance and the lab start it. Not for people. */
import type { Command } from 'commander';
import { destination, type Logger, pino } from 'pino';

/** Adds the verb. */
export function registerEngine(program: Command): void {
  program
    .command('engine')
    .description('run a service engine in this network namespace (started by the appliance and the lab)')
    .option('--config <file>', 'the properties that the engine was deployed with', '/etc/weft/engine.json')
    .option('--state <directory>', 'where the engine keeps its identity and graph', '/var/lib/weft')
    .option(
      '--pins <directory>',
      'where known flows are kept in the kernel, so that they go on while the engine is restarted',
    )
    .option(
      '--replace <pid>',
      'take the place of this running engine, which is ended once all is ready',
      Number,
    )
    .action(async ({ config, state, pins, replace }: Options) => {
      // Loaded here, so that other verbs start fast and on machines that cannot run an engine.
      const { runEngine } = await import('../engine-vm/agent.ts');
      const log = pino(destination({ fd: 2, sync: true }));
      const stop = new AbortController();
      for (const signal of ['SIGTERM', 'SIGINT'] as const) {
        process.once(signal, () => stop.abort(new Error(`stopped by ${signal}`)));
      }
      // A closed terminal is no reason to stop forwarding.
      process.on('SIGHUP', () => undefined);
      outliveDefects(log);
      await runEngine({
        configPath: config,
        stateDir: state,
        ...(pins === undefined ? {} : { pins }),
        ...(replace === undefined ? {} : { replaces: replace }),
        signal: stop.signal,
        log,
      });
    });
}

interface Options {
  config: string;
  state: string;
  pins?: string;
  replace?: number;
}

const MAX_DEFECTS = 20;
const DEFECT_WINDOW_MS = 60_000;

/**
 * The data-plane thread forwards on, whatever goes wrong in the main thread: so a defect there is logged, and ends the
 * process only where it comes again and again.
 */
function outliveDefects(log: Logger): void {
  const times: number[] = [];
  const onDefect = (error: unknown): void => {
    log.fatal({ err: error }, 'a defect in the engine; it goes on');
    const now = performance.now();
    times.push(now);
    while (now - times[0]! > DEFECT_WINDOW_MS) times.shift();
    if (times.length > MAX_DEFECTS) process.exit(1);
  };
  process.on('uncaughtException', onDefect);
  process.on('unhandledRejection', onDefect);
}
