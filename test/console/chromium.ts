/** Chromium for the tests that look at pages. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Context } from 'mocha';
import { type Browser, chromium } from 'playwright-core';
import { lackOf } from '../debian-package.ts';

const PATHS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** The program, installed where that can be done; skips the suite with one line where it cannot be had. */
export function requireChromium(context: Context): string {
  const lack = lackOf('chromium', () => here() !== undefined);
  if (lack !== null) {
    console.log(`      pages were not looked at: ${lack}`);
    context.skip();
  }
  return here()!;
}

function here(): string | undefined {
  return PATHS.find((path) => existsSync(path));
}

/** Starts it with a user directory of its own, which goes with it. */
export async function startChromium(program: string): Promise<{ browser: Browser; stop(): Promise<void> }> {
  const directory = mkdtempSync(join(tmpdir(), 'weft-chromium-'));
  // Playwright makes a fresh user directory of its own for `launch`; HOME keeps everything else out of the user's.
  const browser = await chromium.launch({
    executablePath: program,
    args: FLAGS,
    env: { ...process.env, HOME: directory },
  });
  return {
    browser,
    async stop() {
      await browser.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
