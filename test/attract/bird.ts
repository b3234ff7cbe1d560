/** BIRD 2, the BGP speaker. */
import { existsSync } from 'node:fs';
import type { Context } from 'mocha';
import { lackOf } from '../debian-package.ts';

const PATHS = ['/usr/sbin/bird', '/usr/local/sbin/bird', '/usr/bin/bird'];

/** The program; skips the suite with one line where it cannot be had. */
export function requireBird(context: Context): string {
  // The engine starts it; nobody wants the distribution's service.
  const lack = lackOf('bird2', () => here() !== undefined, { RUNLEVEL: '1' });
  if (lack !== null) {
    console.log(`      BGP was not spoken: ${lack}`);
    context.skip();
  }
  return here()!;
}

function here(): string | undefined {
  return PATHS.find((path) => existsSync(path));
}
