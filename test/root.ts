/** Tests that make network namespaces need root: without it their suite is skipped, with one line that says so. */

/** For a `before` hook. `what` says what was not run, for example `scenarios in the lab`. */
export function requireRoot(context: Mocha.Context, what: string): void {
  if (process.getuid?.() === 0) return;
  console.log(`      not run: ${what} need root`);
  context.skip();
}
