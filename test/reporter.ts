/** The mocha reporter of this project: mocha's own `spec`, then the line `N passed, N failed, N skipped`. */
import mocha from 'mocha';

export default class WeftReporter extends mocha.reporters.Spec {
  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options);
    runner.once('end', () => {
      const { passes, failures, pending } = this.stats;
      // After Spec's own epilogue, which is also printed on 'end'.
      setImmediate(() => console.log(`${passes} passed, ${failures} failed, ${pending} skipped`));
    });
  }
}
