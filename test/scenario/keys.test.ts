/** TLS that engines speak with clients: keys given once, on every engine, replaced under load, and nowhere to be read. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { labPaths, namespaceFile, namespaceOf } from '../../src/lab/world/names.ts';
import { parseDocuments } from '../../src/policy/parse.ts';
import { Authority } from '../engine-vm/tls/authority.ts';
import { type CertificateFiles, makeCertificate } from '../engine-vm/tls/certificates.ts';
import { requireRoot } from '../root.ts';
import { type ScenarioLab, startScenarioLab } from './running-lab.ts';
import { sleep } from './traffic.ts';

const ADDRESS = '10.77.0.163';
const service = (tls: string, port = 443) => `
kind: virtual-service
name: secure
spec:
  engineGroup: edge
  tiers: [{ name: shop, addresses: [${ADDRESS}], port: ${port}, pool: shop }]
  components: [{ type: load-balancer, method: round-robin }]
  http: { tls: ${tls} }
`;
const indented = (text: string) => text.trim().replaceAll('\n', '\n    ');
const certificate = (name: string, { certificateFile, keyFile }: CertificateFiles) => `
kind: certificate
name: ${name}
spec:
  chain: |
    ${indented(readFileSync(certificateFile, 'utf8'))}
  key: |
    ${indented(readFileSync(keyFile, 'utf8'))}
`;

/** Asks for 4 s, by new connections and by kept ones, and prints how often it failed and whose certificates it saw. */
const LOAD = `
const https = require('node:https');
const until = Date.now() + 4000;
const seen = {}; const failed = []; let done = 0;
const one = (agent) => new Promise((end) => {
  const request = https.get({ host: '${ADDRESS}', path: '/', servername: 'first.test', rejectUnauthorized: false, agent, timeout: 4000 }, (response) => {
    seen[response.socket.getPeerCertificate().serialNumber ?? 'resumed'] = true;
    response.resume().on('end', () => { done++; end(); }).on('error', (e) => { failed.push(e.code); end(); });
  });
  request.on('timeout', () => request.destroy(new Error('timeout'))).on('error', (e) => { failed.push(e.code ?? e.message); end(); });
});
const worker = async (agent) => { while (Date.now() < until) { await one(agent); await new Promise((r) => setTimeout(r, 10)); } };
const kept = new https.Agent({ keepAlive: true });
const fresh = new https.Agent({ keepAlive: false, maxCachedSessions: 0 });
Promise.all([worker(kept), worker(kept), worker(fresh), worker(fresh)]).then(() => {
  console.log(JSON.stringify({ done, failed, seen: Object.keys(seen) }));
  process.exit(0);
});`;

/** A member that speaks TLS: `node -e MEMBER NAME CERTIFICATE KEY`. */
const MEMBER = `
const [name, cert, key] = process.argv.slice(1);
const { readFileSync } = require('node:fs');
require('node:https')
  .createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (_, response) => response.end(name))
  .listen(8443, () => console.log('ready'));`;

describe('keys of services on engines', function () {
  this.timeout(90_000);
  let lab: ScenarioLab;
  let directory: string;
  let first: CertificateFiles;
  let second: CertificateFiles;
  let renewed: CertificateFiles;

  const apply = async (...texts: string[]): Promise<void> => {
    await lab.controller.apply(parseDocuments(texts.join('\n---\n'), 'keys'));
  };
  const inside = async (place: string, ...command: string[]) =>
    (
      await promisify(execFile)(
        'nsenter',
        [`--net=${namespaceFile(namespaceOf(lab.name, place))}`, ...command],
        { maxBuffer: 1 << 24 },
      )
    ).stdout;
  const curl = (place: string, name: string, ca: string, ...options: string[]) =>
    inside(
      place,
      'curl',
      ...['-sS', '-m', '5', '--resolve', `${name}:443:${ADDRESS}`, '--cacert', ca, ...options],
      `https://${name}/`,
    );
  /** Until something that follows an apply holds. */
  const soon = async (what: () => Promise<unknown>): Promise<void> => {
    for (let n = 0; ; n++) {
      try {
        await what();
        return;
      } catch (error) {
        if (n === 40) throw error;
        await sleep(250);
      }
    }
  };

  before(async function () {
    requireRoot(this, 'scenarios in the lab');
    directory = mkdtempSync(join(tmpdir(), 'weft-keys-'));
    first = makeCertificate(directory, 'first', ['first.test']);
    second = makeCertificate(directory, 'second', ['second.test', '*.wild.test']);
    renewed = makeCertificate(directory, 'renewed', ['first.test']);
    lab = await startScenarioLab('k');
    await apply(
      certificate('first', first),
      certificate('second', second),
      service('{ certificates: [{ certificate: first }, { certificate: second }] }'),
    );
    await lab.until('all is in line and serves', ({ services, members }) => {
      const isServing = services.every(({ state }) => state === 'serving');
      return isServing && members.every(({ health, isIntercepted }) => health === 'up' && isIntercepted);
    });
  });
  after(async () => {
    await lab?.close();
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
  });

  it('gives each name its certificate, by both versions of HTTP, through engines of several hosts', async () => {
    for (const place of ['client', 'app1', 'app4']) {
      await soon(() => curl(place, 'first.test', first.certificateFile));
      for (const version of ['--http1.1', '--http2']) {
        const wanted = version === '--http2' ? '2' : '1.1';
        const seen = await curl(
          place,
          'deep.wild.test',
          second.certificateFile,
          ...[version, '-o', '/dev/null', '-w', '%{http_version} %{response_code}'],
        );
        assert.equal(seen, `${wanted} 200`, place);
      }
      await assert.rejects(curl(place, 'second.test', first.certificateFile), /certificate/);
    }
  });

  it('takes on one engine the ticket of another', async () => {
    const session = join(directory, 'session.pem');
    const connect = ['s_client', '-connect', `${ADDRESS}:443`, '-servername', 'first.test', '-tls1_2'];
    const shell = (options: string) => `sleep 1 | openssl ${[...connect, options].join(' ')} 2>&1`;
    assert.match(await inside('app1', 'sh', '-c', shell(`-sess_out ${session}`)), /New, TLSv1\.2/);
    assert.match(await inside('app4', 'sh', '-c', shell(`-sess_in ${session}`)), /Reused, TLSv1\.2/);
  });

  it('replaces a certificate under load without a failed request', async () => {
    const load = inside('client', process.execPath, '-e', LOAD);
    await sleep(1200);
    await apply(certificate('first', renewed));
    const { done, failed, seen } = JSON.parse(await load) as {
      done: number;
      failed: string[];
      seen: string[];
    };
    assert.deepEqual(failed, []);
    assert.ok(done > 200, `${done} requests`);
    assert.ok(seen.length >= 2, 'both certificates were shown');
    await curl('client', 'first.test', renewed.certificateFile);
  });

  it('refuses what cannot be used before anything changes, and shows nothing of a key', async () => {
    const refused = async (text: string, message: RegExp): Promise<void> => {
      const [key] = /(?<=KEY-----\s+)\S{20}/.exec(text) ?? ['no key'];
      await assert.rejects(apply(text), (error: Error) => {
        assert.match(error.message, message);
        assert.ok(!JSON.stringify(error).includes(key), 'the key is shown');
        return true;
      });
    };
    const wrong = { certificateFile: first.certificateFile, keyFile: second.keyFile };
    await refused(certificate('first', wrong), /key is not the key of the certificate \(first\)/);
    const keyless = certificate('third', first).replace(/ {2}key:[\s\S]*/, '');
    await refused(keyless, /key is required: give it: `weft certificate third --chain FILE --key FILE`/);
    await refused(
      service('{ certificates: [{ certificate: first }] }').replace(
        'http: {',
        'http: { routes: [{ hosts: [other.test], pool: shop }],',
      ),
      /other\.test is in no certificate of http\.tls/,
    );
    await refused(
      service('{ certificates: [{ certificate: none }] }'),
      /certificate "none", which does not exist/,
    );
    await curl('client', 'first.test', renewed.certificateFile);
  });

  it('asks clients for certificates of an authority set', async () => {
    const authority = new Authority(directory, 'clients');
    const own = authority.issue('someone', { use: 'clientAuth' });
    const set = `
kind: authority-set
name: clients
spec:
  certificates: |
    ${indented(readFileSync(authority.certificateFile, 'utf8').replace(/^[\s\S]*?(?=-----BEGIN)/, ''))}
`;
    const both = 'certificates: [{ certificate: first }, { certificate: second }]';
    await apply(set, service(`{ ${both}, clientCertificates: { authorities: clients } }`));
    const code = (...options: string[]) =>
      curl(
        'client',
        'first.test',
        renewed.certificateFile,
        '-o',
        '/dev/null',
        '-w',
        '%{response_code}',
        ...options,
      );
    await soon(async () => assert.equal(await code(), '403'));
    assert.equal(await code('--cert', own.certificateFile, '--key', own.keyFile), '200');
    await apply(service(`{ ${both} }`));
    await soon(async () => assert.equal(await code(), '200'));
  });

  it('speaks TLS with members, and with none whose certificate is not believed', async () => {
    const authority = new Authority(directory, 'members');
    const name = 'members.test';
    const good = authority.issue('good', { use: 'serverAuth', names: `DNS:${name}` });
    const bad = makeCertificate(directory, 'bad', [name]);
    const ends = [
      ['app1', good],
      ['app4', good],
      ['app5', bad],
    ].map(([vm, files]) => {
      const { certificateFile, keyFile } = files as CertificateFiles;
      const entry = `--net=${namespaceFile(namespaceOf(lab.name, vm as string))}`;
      const args = [MEMBER, vm as string, certificateFile, keyFile];
      return spawn('nsenter', [entry, process.execPath, '-e', ...args], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
    });
    try {
      for (const { stdout } of ends) await once(stdout, 'data');
      const set = `
kind: authority-set
name: members
spec:
  certificates: |
    ${indented(readFileSync(authority.certificateFile, 'utf8').replace(/^[\s\S]*?(?=-----BEGIN)/, ''))}
---
kind: pool
name: behind-tls
spec:
  cloud: lab
  members: { names: [app1, app4, app5] }
  port: 8443
  tls: { authorities: members, serverName: ${name} }
  healthMonitors: [{ type: http, path: /, tls: true, intervalMs: 500, timeoutMs: 400 }]
`;
      const inner = service('{}', 80)
        .replace('name: secure', 'name: inner')
        .replace('pool: shop', 'pool: behind-tls')
        .replace('http: { tls: {} }', 'http: { retries: 0 }');
      await apply(set, inner);
      const ask = () =>
        inside('client', 'curl', '-sS', '-m', '5', '-w', ' %{response_code}', `http://${ADDRESS}/`);
      const answers = new Set<string>();
      await soon(async () => {
        answers.add(await ask());
        assert.ok(answers.has('app1 200') && answers.has('app4 200'), [...answers].join());
      });
      for (let n = 0; n < 12; n++) answers.add(await ask());
      assert.ok(![...answers].some((answer) => answer.includes('app5')), [...answers].join());
      await lab.controller.delete('virtual-service', 'inner');
    } finally {
      for (const child of ends) child.kill();
    }
  });

  it('shows keys nowhere: no answer, no file, no log', async () => {
    const { file, secrets } = { file: labPaths(lab.name), secrets: [first, second, renewed] };
    const needles = secrets.flatMap(({ keyFile }) => {
      const pem = readFileSync(keyFile, 'utf8');
      const der = createPrivateKey(pem).export({ type: 'pkcs8', format: 'der' });
      // The scalar of P-256, wherever it may begin.
      const scalar = der.subarray(36, 68);
      return [Buffer.from(pem.split('\n')[2]!), scalar, Buffer.from(scalar.toString('hex'))];
    });
    const holds = (bytes: Buffer): boolean => needles.some((needle) => bytes.includes(needle));
    assert.ok(holds(readFileSync(first.keyFile)), 'the search finds a key where one is');
    const { controllerState } = file;
    const folder = join(controllerState, '..');
    let files = 0;
    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
      // Programs that are pinned cannot be read.
      if (!entry.isFile() || entry.parentPath.includes('/pins')) continue;
      files++;
      assert.ok(!holds(readFileSync(join(entry.parentPath, entry.name))), `${entry.name} holds a key`);
    }
    assert.ok(files > 5, `${files} files`);
    const kinds = await lab.controller.kinds();
    const answers: unknown[] = [
      await lab.controller.status(),
      await lab.controller.plan([]),
      await lab.controller.backup(),
      ...(await Promise.all(kinds.map((kind) => lab.controller.list(kind)))),
    ];
    for (const answer of answers)
      assert.ok(!holds(Buffer.from(JSON.stringify(answer))), 'an answer holds a key');
    const [shown] = (await lab.controller.list('certificate')) as {
      spec: object;
      status: { state: string };
    }[];
    assert.ok(!('key' in shown!.spec));
    assert.equal(shown!.status.state, 'expires-soon');
  });
});
