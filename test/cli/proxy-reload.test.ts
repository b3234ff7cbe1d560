/** `weft proxy` takes one changed policy after the other under load, and no request fails. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../engine-vm/http/proxy-site.ts';
import { echoOrigin, ProxyLoad } from './proxy-load.ts';

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;
const RELOADS = 50;
const KEPT_CLIENTS = 16;
const NEW_CLIENTS = 8;
/** Each revision names itself in responses, and has other members than the one before. */
function policy(port: number, memberPort: number, revision: number): string {
  const members = [1, 2, 3, 4].slice(revision % 2, 2 + (revision % 3)).map((n) => `127.0.0.${n}`);
  return `
kind: virtual-service
name: shop
spec:
  engineGroup: any
  tiers: [{ name: web, addresses: [127.0.0.1], port: ${port}, pool: web }]
  components: [{ type: load-balancer, method: ${revision % 4 < 2 ? 'least-connections' : 'round-robin'} }]
  http: { responseFields: { set: [{ name: X-Revision, value: "${revision}" }] } }
---
kind: pool
name: web
spec:
  cloud: any
  members: { addresses: [${members.join(', ')}] }
  port: ${memberPort}
`;
}

describe('reload of weft proxy', () => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-reload-test-'));
  const file = join(folder, 'shop.yaml');
  const origin = echoOrigin();
  let proxy: ChildProcess | undefined;

  after(() => {
    proxy?.kill('SIGKILL');
    origin.closeAllConnections();
    origin.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it(`answers every request of new and kept connections during ${RELOADS} changes`, async function () {
    this.timeout(120_000);
    origin.listen(0);
    await once(origin, 'listening');
    const memberPort = (origin.address() as AddressInfo).port;
    const port = await freePort();
    writeFileSync(file, policy(port, memberPort, 0));
    const args = ['--disable-warning=ExperimentalWarning', MAIN, 'proxy', '-f', file, '--workers', '2'];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'pipe'] });
    proxy = child;
    let said = '';
    child.stderr.on('data', (bytes) => {
      said += bytes;
    });
    const count = (text: string): number => said.split(text).length - 1;
    const until = async (text: string, times: number): Promise<void> => {
      while (count(text) < times) {
        assert.deepEqual([child.exitCode, child.signalCode], [null, null], said);
        assert.equal(count('left as it was'), 0, said);
        const over = new AbortController();
        const { signal } = over;
        await Promise.race([once(child.stderr, 'data', { signal }), once(child, 'exit', { signal })]);
        over.abort();
      }
    };
    await until('2 workers', 1);

    const load = new ProxyLoad(port);
    load.start('kept', KEPT_CLIENTS);
    load.start('new', NEW_CLIENTS);
    try {
      for (let revision = 1; revision <= RELOADS; revision++) {
        writeFileSync(file, policy(port, memberPort, revision));
        child.kill('SIGHUP');
        await until('the new policy is in force', revision);
        load.inForce = revision;
        // Both kinds of clients use each policy before the next one comes.
        await load.more(KEPT_CLIENTS + NEW_CLIENTS);
      }
    } finally {
      await load.stop();
    }
    const { failures, revisions, answered } = load;
    assert.deepEqual(failures, []);
    assert.ok(revisions.size > RELOADS / 2, `responses were of ${revisions.size} policies only`);
    assert.ok(revisions.has(RELOADS), 'the last policy was never in force');
    assert.ok(answered.kept > RELOADS && answered.new > RELOADS, JSON.stringify(answered));
    child.kill('SIGTERM');
    const [code] = (await once(child, 'exit')) as [number];
    assert.equal(code, 0, said);
    assert.match(said, new RegExp(`${load.total} requests answered`));
  });
});
