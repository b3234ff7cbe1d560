/** `weft proxy` as a user runs it: a file, curl, a reload, an end; and what it says of files that will not do. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { run } from '../../src/cli/program.ts';
import { INSTALL_TIMEOUT_MS, lackOf } from '../debian-package.ts';
import { freePort } from '../engine-vm/http/proxy-site.ts';
import { RecordingOrigin } from '../engine-vm/http/recording-origin.ts';
import { makeCertificate } from '../engine-vm/tls/certificates.ts';
import { capturedTerminal } from './captured-terminal.ts';
import { ProxyProcess, sitePolicy } from './proxy-process.ts';

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;

describe('weft proxy', () => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-proxy-test-'));
  const file = join(folder, 'shop.yaml');
  const log = join(folder, 'access.json');
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('serves curl, takes a changed file at SIGHUP, keeps the old one where that is wrong, and ends at SIGTERM', async function () {
    this.timeout(INSTALL_TIMEOUT_MS);
    const lack = lackOf('curl');
    if (lack !== null) {
      console.log(`      skipped: ${lack}`);
      this.skip();
    }
    const origin = new RecordingOrigin();
    const memberPort = await origin.listen();
    const port = await freePort();
    writeFileSync(file, sitePolicy(port, memberPort, '{}'));
    const args = [
      '--disable-warning=ExperimentalWarning',
      MAIN,
      'proxy',
      '-f',
      file,
      '--workers',
      '2',
      '--access-log',
      log,
    ];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'pipe'] });
    let said = '';
    child.stderr.on('data', (bytes) => {
      said += bytes;
    });
    const until = async (pattern: RegExp): Promise<void> => {
      while (!pattern.test(said)) {
        assert.equal(child.exitCode, null, said);
        await Promise.race([once(child.stderr, 'data'), once(child, 'exit')]);
      }
    };
    const curl = async (path: string, ...options: string[]): Promise<string> => {
      const url = `http://127.0.0.1:${port}${path}`;
      return (await promisify(execFile)('curl', ['-sS', '-i', '-m', '15', ...options, url])).stdout;
    };
    try {
      await until(/shop: http:\/\/127\.0\.0\.1:\d+ to 1 members, 2 workers/);
      assert.match(await curl('/a'), /^HTTP\/1\.1 200 OK[\s\S]*GET \/a HTTP\/1\.1\|0$/);
      assert.match(await curl('/b', '--http1.0'), /GET \/b HTTP\/1\.1\|0$/);
      assert.match(await curl('/c', '-H', 'Transfer-Encoding: chunked', '-d', 'x'.repeat(5000)), /\|5000$/);
      assert.match(await curl('/chunked'), /abcdefgX-Sum: 7\r\n$/);
      assert.match(await curl('/a/../b', '--path-as-is'), /^HTTP\/1\.1 400 [\s\S]*target-dot-segment/);
      writeFileSync(
        file,
        sitePolicy(port, memberPort, '{ responseFields: { set: [{ name: X-New, value: "1" }] } }'),
      );
      child.kill('SIGHUP');
      await until(/the new policy is in force/);
      assert.match(await curl('/d'), /\r\nX-New: 1\r\n/);
      writeFileSync(file, sitePolicy(port, memberPort, '{ maxHeadBytes: much }'));
      child.kill('SIGHUP');
      await until(/left as it was: .*maxHeadBytes/);
      assert.match(await curl('/e'), /\r\nX-New: 1\r\n/);
      child.kill('SIGTERM');
      const [code] = (await once(child, 'exit')) as [number];
      assert.equal(code, 0, said);
      assert.match(said, /shop: 7 requests answered/);
      const lines = readFileSync(log, 'utf8').trimEnd().split('\n');
      assert.deepEqual(
        lines.map((line) => (JSON.parse(line) as { status: number }).status).sort(),
        [200, 200, 200, 200, 200, 200, 400],
      );
    } finally {
      child.kill('SIGKILL');
      await origin.close();
    }
  });

  it('says what a file lacks', async () => {
    for (const [text, message] of [
      [sitePolicy(1, 2, '{}').replace('  http: {}\n', ''), /\$\.spec\.http is required/],
      [sitePolicy(1, 2, '{}').split('---')[0]!, /needs pool "web"/],
      [
        sitePolicy(1, 2, '{}').replace('{ addresses: [127.0.0.1] }', '{ tags: [web] }'),
        /members\.addresses: names no address/,
      ],
      [
        sitePolicy(1, 2, '{}').replace('[127.0.0.1] }', '[10.0.0.0/8] }'),
        /10\.0\.0\.0\/8 is no single address/,
      ],
      [sitePolicy(1, 2, '{}').replace('  http', '  protocol: udp\n  http'), /must be tcp with http/],
      [
        sitePolicy(1, 2, '{}').replace(
          '  http: {}',
          '  components: [{ type: load-balancer, method: peak-ewma }]',
        ),
        /must be another one without http/,
      ],
    ] as const) {
      writeFileSync(file, text);
      const terminal = capturedTerminal();
      assert.notEqual(await run(['proxy', '-f', file], terminal), 0);
      assert.match(terminal.complained(), message);
    }
    const terminal = capturedTerminal();
    assert.equal(await run(['proxy', '-f', file, '--listen', 'localhost'], terminal), 2);
    assert.match(terminal.complained(), /127\.0\.0\.1:8080/);
  });

  it('takes certificates and their keys from its files, and says where one is not there', async () => {
    const origin = new RecordingOrigin();
    const memberPort = await origin.listen();
    const { certificateFile, keyFile } = makeCertificate(folder, 'objects', ['localhost']);
    const [chain, key] = [certificateFile, keyFile].map((one) => readFileSync(one, 'utf8'));
    const certificates = join(folder, 'certificates.yaml');
    const http = { tls: { certificates: [{ certificate: 'shop' }] } };
    const give = (spec: object) =>
      writeFileSync(certificates, JSON.stringify({ kind: 'certificate', name: 'shop', spec }));
    give({ chain });
    writeFileSync(file, sitePolicy(await freePort(), memberPort, JSON.stringify(http)));
    const terminal = capturedTerminal({ env: {} });
    assert.equal(await run(['proxy', '-f', file, '-f', certificates], terminal), 2);
    assert.match(
      terminal.complained(),
      /certificate "shop" is not here, or its key is not: put both into the files/,
    );
    give({ chain, key });
    const site = await ProxyProcess.start(memberPort, http, '-f', certificates);
    const asked = get({ port: site.port, host: 'localhost', ca: chain, path: '/by-tls', agent: false });
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    assert.equal(response.statusCode, 200);
    response.resume();
    await once(response, 'end');
    assert.match(origin.take()[0]!.line, /\/by-tls/);
    await site.stop();
    await origin.close();
  });
});
