/** `weft top` of a running `weft proxy --metrics`, and what the proxy tells Prometheus. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../src/cli/program.ts';
import { viewOf } from '../../src/cli/top.ts';
import { drawTop, type TopView } from '../../src/cli/top-screen.ts';
import { noFigures, type ServiceFiguresAnswer } from '../../src/policy/service-figures.ts';
import { freePort } from '../engine-vm/http/proxy-site.ts';
import { RecordingOrigin } from '../engine-vm/http/recording-origin.ts';
import { capturedTerminal } from './captured-terminal.ts';

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;

describe('weft top', () => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-top-test-'));
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('shows requests, times, members, components, paths and clients of a proxy', async function () {
    this.timeout(60_000);
    const origin = new RecordingOrigin();
    const memberPort = await origin.listen();
    const [port, metricsPort] = [await freePort(), await freePort()];
    const file = join(folder, 'shop.yaml');
    writeFileSync(
      file,
      `
kind: virtual-service
name: shop
spec:
  engineGroup: any
  tiers: [{ name: web, addresses: [127.0.0.1], port: ${port}, pool: web }]
  http: { cache: {} }
---
kind: pool
name: web
spec: { cloud: any, members: { addresses: [127.0.0.1] }, port: ${memberPort} }
`,
    );
    const where = `127.0.0.1:${metricsPort}`;
    const args = [MAIN, 'proxy', '-f', file, '--workers', '2', '--metrics', where];
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let isOver = false;
    try {
      for (let said = ''; !said.includes('to 1 members'); ) {
        const [bytes] = (await once(child.stderr, 'data')) as [Buffer];
        said += bytes;
      }
      const asking = (async () => {
        while (!isOver) await (await fetch(`http://127.0.0.1:${port}/shelf?n=1`)).text();
      })();
      const shown = async (...options: string[]): Promise<string> => {
        const terminal = capturedTerminal();
        assert.equal(
          await run(['top', '--proxy', where, '--once', '--interval', '1', ...options], terminal),
          0,
        );
        return terminal.printed();
      };
      const drawn = await shown();
      assert.match(drawn, /^shop: \S+ requests\/s, 2xx 100(\.0)?%\n/);
      for (const share of ['total', 'client', 'engine', 'member']) {
        assert.match(drawn, new RegExp(`^${share} +\\d`, 'm'));
      }
      assert.match(drawn, new RegExp(`^\\S+ +127\\.0\\.0\\.1:${memberPort} +- +\\S+ +100(\\.0)?% +0`, 'm'));
      assert.match(drawn, /^cache +misses \d+/m);
      const view = JSON.parse(await shown('shop', '-o', 'json')) as TopView;
      assert.ok(view.sum.requests > 0 && view.sum.threads === 2);
      assert.deepEqual(Object.keys(view.sum.paths), ['/shelf']);
      assert.deepEqual(Object.keys(view.sum.clients), ['127.0.0.1']);
      isOver = true;
      await asking;
      const metrics = await fetch(`http://${where}/metrics`);
      assert.match(metrics.headers.get('content-type')!, /^text\/plain; version=0\.0\.4/);
      const text = await metrics.text();
      assert.match(text, /^weft_http_requests_total\{service="shop",status="2xx"\} [1-9]\d*$/m);
      assert.match(
        text,
        /^weft_http_component_total\{service="shop",component="cache",outcome="misses"\} [1-9]/m,
      );
      assert.equal((await fetch(`http://${where}/`)).status, 404);
      const terminal = capturedTerminal();
      assert.notEqual(await run(['top', 'other', '--proxy', where, '--once'], terminal), 0);
      assert.match(terminal.complained(), /has no service "other": it has shop/);
    } finally {
      isOver = true;
      child.kill('SIGKILL');
      await once(child, 'exit');
      await origin.close();
    }
  });

  it('says what is missing where there is nobody to ask', async () => {
    const none = `127.0.0.1:${await freePort()}`;
    for (const [args, message] of [
      [['top', '--proxy', none, '--once'], /no proxy tells figures at/],
      [['top', '--once'], /name the service/],
      [['top', 'web', '--interval', '0'], /from 1 to 60/],
    ] as const) {
      const terminal = capturedTerminal();
      assert.notEqual(await run([...args], terminal), 0);
      assert.match(terminal.complained(), message);
    }
  });

  it('counts an engine that is new, or began anew, from its start', () => {
    const answer = (...requests: number[]): ServiceFiguresAnswer => ({
      service: 'web',
      engines: requests.map((count, n) => ({
        engine: `e${n}`,
        host: `h${n}`,
        figures: { ...noFigures(), threads: 1, requests: count, statuses: [0, 0, count, 0, 0, 0] },
      })),
      failures: [{ engine: 'e9', message: 'is not connected' }],
    });
    const view = viewOf(answer(10, 50), answer(15, 3, 2), 1000);
    assert.equal(view.sum.requests, 5 + 3 + 2);
    assert.deepEqual(
      view.engines.map(({ figures }) => figures.requests),
      [5, 3, 2],
    );
    const drawn = drawTop(capturedTerminal(), view);
    assert.match(drawn, /^web: 10 requests\/s, 2xx 100%/);
    assert.match(drawn, /^e1 +h1 +3 /m);
    assert.match(drawn, /^e9: is not connected$/m);
  });
});
