/** Chromium of Debian's packages for the tests that look at pages; installed by the first of them that needs it. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Context } from 'mocha';
import { type Browser, chromium } from 'playwright-core';

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
const INSTALL_MS = 600_000;

/** The program, installed where that can be done; skips the suite with one line where it cannot be had. */
export function requireChromium(context: Context): string {
  const found = PATHS.find((path) => existsSync(path));
  if (found) return found;
  if (process.getuid?.() !== 0) return skip(context, 'there is no Chromium, and installing it needs root');
  console.log('      installing chromium');
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const options = { env, timeout: INSTALL_MS, stdio: 'ignore' } as const;
  const install = ['install', '-y', '--no-install-recommends', 'chromium'];
  if (spawnSync('apt-get', install, options).status !== 0) {
    spawnSync('apt-get', ['update'], options);
    spawnSync('apt-get', install, options);
  }
  const installed = PATHS.find((path) => existsSync(path));
  return installed ?? skip(context, 'there is no Chromium, and `apt-get install chromium` failed');
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

function skip(context: Context, why: string): never {
  console.log(`      pages were not looked at: ${why}`);
  return context.skip() as never;
}
