/** `weft proxy` as a process of its own, for tests that meet it as its users do. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../engine-vm/http/proxy-site.ts';

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;

export class ProxyProcess {
  readonly port: number;
  readonly #child: ChildProcess;
  readonly #folder: string;

  private constructor(port: number, child: ChildProcess, folder: string) {
    this.port = port;
    this.#child = child;
    this.#folder = folder;
  }

  /** Starts one in front of a member on 127.0.0.1, with these attributes of `http`; returns once it listens. */
  static async start(
    memberPort: number,
    http: Record<string, unknown> = {},
    ...options: string[]
  ): Promise<ProxyProcess> {
    const port = await freePort();
    const folder = mkdtempSync(join(tmpdir(), 'weft-proxy-test-'));
    const file = join(folder, 'site.yaml');
    writeFileSync(file, sitePolicy(port, memberPort, JSON.stringify(http)));
    const child = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', MAIN, 'proxy', '-f', file, '--workers', '1', ...options],
      { stdio: ['ignore', 'inherit', 'pipe'] },
    );
    let said = '';
    child.stderr.on('data', (bytes) => {
      said += bytes;
    });
    while (!said.includes('workers,')) {
      assert.deepEqual([child.exitCode, child.signalCode], [null, null], said);
      await Promise.race([once(child.stderr, 'data'), once(child, 'exit')]);
    }
    return new ProxyProcess(port, child, folder);
  }

  /** Ends it: at once where it has nothing to finish. */
  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = once(this.#child, 'exit');
      this.#child.kill('SIGTERM');
      const timer = setTimeout(() => this.#child.kill('SIGKILL'), 3000);
      await ended;
      clearTimeout(timer);
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** A service on 127.0.0.1 with one member there; `http` as YAML. */
export function sitePolicy(port: number, memberPort: number, http: string): string {
  return `
kind: virtual-service
name: shop
spec:
  engineGroup: any
  tiers: [{ name: web, addresses: [127.0.0.1], port: ${port}, pool: web }]
  http: ${http}
---
kind: pool
name: web
spec:
  cloud: any
  members: { addresses: [127.0.0.1] }
  port: ${memberPort}
`;
}
