/** `weft engine`: the service engine itself, as the appliance and the lab start it. Not for people. */
import type { Command } from 'commander';

/** Adds the verb. */
export function registerEngine(program: Command): void {
  program
    .command('engine')
    .description('run a service engine in this network namespace (started by the appliance and the lab)')
    .option('--config <file>', 'the properties that the engine was deployed with', '/etc/weft/engine.json')
    .option('--state <directory>', 'where the engine keeps its identity and graph', '/var/lib/weft')
    .action(async ({ config, state }: { config: string; state: string }) => {
      // Loaded here, so that other verbs start fast and on machines that cannot run an engine.
      const { runEngine } = await import('../engine-vm/agent.ts');
      const stop = new AbortController();
      for (const signal of ['SIGTERM', 'SIGINT'] as const) {
        process.once(signal, () => stop.abort(new Error(`stopped by ${signal}`)));
      }
      // A closed terminal is no reason to stop forwarding.
      process.on('SIGHUP', () => undefined);
      await runEngine({ configPath: config, stateDir: state, signal: stop.signal });
    });
}
