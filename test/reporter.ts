/** The mocha reporter of this project: mocha's own `spec`, then the line `N passed, N failed, N skipped`. */
import mocha from 'mocha';

/** How long a run may take to end by itself after its last test. */
const END_MS = 10_000;

export default class WeftReporter extends mocha.reporters.Spec {
  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options);
    runner.once('end', () => {
      const { passes, failures, pending } = this.stats;
      const say = () => console.log(`${passes} passed, ${failures} failed, ${pending} skipped`);
      // After Spec's own epilogue, which is also printed on 'end'.
      setImmediate(say);
      // A test that leaves a server or a connection open would keep the run from ending, for ever.
      setTimeout(() => {
        console.log(`a test left open: ${whatIsOpen().join('; ')}`);
        say();
        process.exit(Math.min(failures, 255));
      }, END_MS).unref();
    });
  }
}

interface Handle {
  constructor: { name: string };
  localPort?: number;
  remotePort?: number;
  spawnargs?: string[];
  address?(): unknown;
}

/** What keeps the process from ending, in words. */
function whatIsOpen(): string[] {
  const { _getActiveHandles: handles } = process as unknown as { _getActiveHandles(): Handle[] };
  const named = handles
    .call(process)
    .filter((handle) => handle !== (process.stdout as unknown) && handle !== (process.stderr as unknown))
    .map((handle) => {
      if (handle.spawnargs) return `process ${handle.spawnargs.join(' ')}`;
      if (handle.remotePort) return `connection from port ${handle.localPort} to ${handle.remotePort}`;
      return `${handle.constructor.name} ${JSON.stringify(handle.address?.() ?? '')}`;
    });
  return [...named, `all: ${process.getActiveResourcesInfo().join(', ')}`];
}
