import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import nock from 'nock';
import { run } from '../../src/cli/program.ts';
import { VERBS } from '../../src/cli/verbs.ts';
import type {
  Explanation,
  FirewallView,
  HostExplanation,
  MembershipExplanation,
  Trace,
} from '../../src/policy/answers.ts';
import { type ApiFixture, openApi, SAMPLE, TOKEN } from '../api/fixture.ts';
import { STATUS } from '../api/in-memory-backend.ts';
import { makeCertificate } from '../engine-vm/tls/certificates.ts';
import { capturedTerminal } from './captured-terminal.ts';

// Importing nock puts it before every socket of the process; other tests need theirs as they are.
nock.restore();

const URL = 'http://controller.test:7470';
const ENV = { WEFT_URL: URL, WEFT_TOKEN: TOKEN };

/** Runs one command line against the environment; its output, complaints and exit code. */
async function weft(args: string[], options: Parameters<typeof capturedTerminal>[0] = { env: ENV }) {
  const terminal = capturedTerminal(options);
  const code = await run(args, terminal);
  return { code, out: terminal.printed(), err: terminal.complained() };
}

describe('the verbs against a real API', () => {
  let fixture: ApiFixture;
  let directory: string;
  let env: Record<string, string>;
  before(async () => {
    fixture = await openApi();
    await fixture.api.listen({ host: '127.0.0.1', port: 0 });
    const { port } = fixture.api.server.address() as AddressInfo;
    env = { WEFT_URL: `http://127.0.0.1:${port}`, WEFT_TOKEN: TOKEN };
    directory = await mkdtemp(join(tmpdir(), 'weft-cli-'));
    await writeFile(join(directory, 'sample.yaml'), SAMPLE);
  });
  after(async () => {
    await fixture.close();
    await rm(directory, { recursive: true });
  });

  it('apply creates what is missing, changes nothing the second time, and says so per object', async () => {
    const dry = await weft(['apply', '-f', directory, '--dry-run'], { env });
    assert.match(dry.out, /^cloud lab would be created$/m);
    assert.equal(fixture.store.revision, 0);
    const first = await weft(['apply', '-f', join(directory, 'sample.yaml')], { env });
    assert.deepEqual([first.code, first.err], [0, '']);
    assert.match(first.out, /^virtual-service web created$/m);
    const revision = fixture.store.revision;
    const second = await weft(['apply', '-f', '-'], { env, stdin: SAMPLE });
    assert.match(second.out, /^pool shop unchanged$/m);
    assert.equal(fixture.store.revision, revision);
  });

  it('get prints a table, JSON, and YAML that can be applied again unchanged', async () => {
    const all = await weft(['get'], { env });
    assert.match(all.out, /^KIND +NAME +REVISION +STATE/);
    assert.match(all.out, /virtual-service +web/);
    assert.equal(
      (await weft(['get', 'firewall-policy'], { env })).out,
      'no firewall-policy yet; "weft apply -f FILE" makes some\n',
    );
    const json = JSON.parse((await weft(['get', 'pool', 'shop', '-o', 'json'], { env })).out);
    assert.equal(json.spec.port, 8080);
    const yaml = (await weft(['-o', 'yaml', 'get'], { env: { ...env } })).out;
    assert.equal(yaml.match(/^---$/gm)?.length, 3);
    const again = await weft(['apply', '-f', '-', '-o', 'json'], { env, stdin: yaml });
    assert.ok(JSON.parse(again.out).every(({ result }: { result: string }) => result === 'unchanged'));
  });

  it('plan asks for the steps of a change, of a deletion, and of nothing', async () => {
    assert.equal((await weft(['plan'], { env })).out, 'nothing to do\n');
    const { out } = await weft(['plan', '-f', directory], { env });
    assert.match(out, /^# {2}STEP +OBJECT +REASON +UNDO$/m);
    assert.match(out, /push-graph +pool shop +the policy changed +cannot be undone/);
    const { code } = await weft(['plan', '-f', directory, '--delete'], { env });
    assert.equal(code, 0);
    assert.ok(fixture.backend.planned.at(-1)!.every((change) => 'delete' in change));
  });

  it('names the line of the file for what the API refuses', async () => {
    const stdin = `${SAMPLE}---\nkind: pool\nname: lost\nspec: { cloud: nowhere, members: { names: [x] }, port: 1 }\n---\nkind: pool\nname: lost2\nspec: { cloud: nowhere, members: { names: [x] }, port: 1 }\n`;
    const { code, err } = await weft(['apply', '-f', '-'], { env, stdin });
    assert.equal(code, 2);
    assert.match(err, /^weft: pool "lost".*\(ERR_REFERENCE_MISSING\)$/m);
    assert.match(err, /^ {2}stdin:22: \$\.spec\.cloud refers to cloud "nowhere"/m);
  });

  it('delete refuses what is referred to, deletes files whole, and can do it twice', async () => {
    const refused = await weft(['delete', 'pool', 'shop'], { env });
    assert.equal(refused.code, 4);
    assert.match(refused.err, /virtual-service "web".*\(ERR_REFERENCED\)/);
    const gone = await weft(['delete', '-f', directory], { env });
    assert.match(gone.out, /^cloud lab deleted$/m);
    assert.equal((await weft(['delete', '-f', directory], { env })).code, 3);
    assert.equal(
      (await weft(['delete', '-f', directory, '--if-exists'], { env })).out,
      'nothing to delete\n',
    );
  });

  it('apply and plan mean the lab of the controller, whichever lab the file names', async () => {
    const runDirectory = await mkdtemp(join(tmpdir(), 'weft-run-'));
    try {
      await mkdir(join(runDirectory, 'two'));
      await writeFile(
        join(runDirectory, 'two', 'client.json'),
        JSON.stringify({ url: env.WEFT_URL, token: TOKEN }),
      );
      const stdin = SAMPLE.replace('/run/lab.sock', '/run/weft/lab/lab.sock');
      const options = { env: { WEFT_LAB: 'two' }, runDirectory, stdin };
      assert.equal((await weft(['apply', '-f', '-'], options)).code, 0);
      const { out } = await weft(['get', 'cloud', 'lab', '-o', 'json'], options);
      assert.equal(JSON.parse(out).spec.address, '/run/weft/two/lab.sock');
      assert.match((await weft(['apply', '-f', '-'], options)).out, /^cloud lab unchanged$/m);
      assert.equal((await weft(['plan', '-f', '-'], options)).code, 0);
      const byUrl = await weft(['apply', '-f', '-', '--dry-run'], { env, stdin });
      assert.match(
        byUrl.out,
        /^cloud lab would be changed$/m,
        'another controller is given what the file says',
      );
    } finally {
      await rm(runDirectory, { recursive: true });
    }
  });

  it('certificate gives a chain with its key, renews it, and lists it without', async () => {
    const files = makeCertificate(directory, 'shop', ['shop.test']);
    const other = makeCertificate(directory, 'other', ['shop.test']);
    const give = (chain: string, ...more: string[]) =>
      weft(['certificate', 'shop', '--chain', chain, ...more], { env });
    assert.match((await weft(['certificate'], { env })).out, /^no certificates: weft certificate NAME/);
    const keyless = await give(files.certificateFile);
    assert.deepEqual([keyless.code, keyless.out], [2, '']);
    assert.match(
      keyless.err,
      /\$\.spec\.key is required: give it: `weft certificate shop --chain FILE --key FILE`/,
    );
    const dry = await give(files.certificateFile, '--key', files.keyFile, '--dry-run');
    assert.equal(dry.out, 'certificate shop would be created\n');
    const key = await readFile(files.keyFile, 'utf8');
    const args = ['certificate', 'shop', '--chain', files.certificateFile, '--key', '-'];
    assert.equal((await weft(args, { env, stdin: key })).out, 'certificate shop created\n');
    // The key that is kept fits no other certificate.
    assert.match((await give(other.certificateFile)).err, /key is not the key of the certificate/);
    const renewed = await give(other.certificateFile, '--key', other.keyFile);
    assert.equal(renewed.out, 'certificate shop changed\n');
    const list = await weft(['certificate'], { env });
    assert.match(list.out, /^CERTIFICATE +STATE +UNTIL +NAMES +USED BY\nshop /);
    const shown = (await weft(['get', 'certificate', 'shop', '-o', 'yaml'], { env })).out;
    assert.match(shown, /chain: \|/);
    assert.ok(!/key/i.test(shown), shown);
    // What was read is applied again without its key.
    await writeFile(join(directory, 'read.yaml'), shown);
    const again = await weft(['apply', '-f', join(directory, 'read.yaml')], { env });
    assert.match(again.out, /^certificate shop unchanged$/m);
    for (const [words, message] of [
      [['certificate', '--chain', files.certificateFile], /say which certificate: give its name/],
      [['certificate', 'none'], /there is no certificate "none"/],
      [['certificate', 'shop', '--key', join(directory, 'none.key')], /none\.key cannot be read \(ENOENT\)/],
    ] as const) {
      assert.match((await weft([...words], { env })).err, message);
    }
    await weft(['delete', 'certificate', 'shop'], { env });
    await rm(join(directory, 'read.yaml'));
  });

  it('completes object names through the API', async () => {
    await fixture.applySample();
    const complete = async (...words: string[]) =>
      (await weft(['complete', '--', ...words], { env })).out.split('\n').filter(Boolean);
    assert.deepEqual(await complete('get', 'pool', ''), ['shop']);
    assert.deepEqual(await complete('explain', 'w'), ['web']);
    assert.deepEqual(await complete('trace', '--from', '10.0.0.1', ''), ['web']);
  });
});

describe('the verbs', () => {
  before(() => nock.activate());
  beforeEach(() => nock.disableNetConnect());
  afterEach(() => {
    nock.cleanAll();
    nock.enableNetConnect();
  });
  after(() => nock.restore());

  it('explain draws C, H and L per engine, marks the choice and gives the reason', async () => {
    const candidate = { weight: 1, isUsable: true, reason: '', path: 'in line' as const };
    const answer: Explanation[] = [
      {
        service: 'web',
        tier: 'shop',
        engine: 'edge-h1',
        host: 'h1',
        method: 'topological',
        candidates: [
          { ...candidate, member: 'a', vm: 'app1', host: 'h1', connections: 20, hops: 0, load: 20 },
          { ...candidate, member: 'b', vm: 'app5', host: 'h3', connections: 4, hops: 3, load: 16 },
          { ...candidate, member: 'c', vm: 'app3', host: 'h2', connections: 5, hops: 1, load: 10 },
          {
            ...candidate,
            member: 'd',
            vm: 'app6',
            host: 'h3',
            connections: 0,
            hops: 3,
            load: 0,
            isUsable: false,
            reason: 'down',
            path: 'translated',
          },
        ],
        choice: 'app3',
        reason: 'least L of 3 usable members',
        returnPath: 'engine',
        rules: [{ policy: 'edge', rule: 'banned', action: 'deny', packets: 7, limited: 0 }],
      },
    ];
    nock(URL)
      .get('/api/v1/explain/web')
      .query({ from: '10.77.0.9' })
      .matchHeader('authorization', `Bearer ${TOKEN}`)
      .reply(200, answer);
    const { code, out } = await weft(['explain', 'web', '--from', '10.77.0.9']);
    assert.equal(code, 0);
    assert.match(out, /^edge-h1 on h1: web, tier shop, topological, answers return through this engine$/m);
    assert.match(out, /^ +MEMBER +HOST +C +H +L +WEIGHT +USABLE +PATH$/m);
    assert.match(out, /^ {3}app1 +h1 +20 +0 +20 +1 +yes +in line$/m);
    assert.match(out, /^> {2}app3 +h2 +5 +1 +10 +1 +yes +in line$/m);
    assert.match(out, /^ {3}app6 .*no: down +translated$/m);
    assert.match(out, /^choice app3: least L of 3 usable members$/m);
    assert.match(out, /^banned +edge +deny +7$/m);
  });

  it('explain pool draws members and near misses, and every criterion of one VM', async () => {
    const tags = { criterion: 'tags', wanted: ['app=shop'], detail: '' };
    const answer: MembershipExplanation = {
      pool: 'shop',
      cloud: 'lab',
      cloudMessage: 'it does not answer',
      considered: 9,
      members: 1,
      vms: [
        {
          vm: 'app1',
          id: 'vm-1',
          host: 'h1',
          isMember: true,
          nic: 'eth0',
          criteria: [{ ...tags, fits: true, found: ['app=shop'] }],
          reason: 'it fulfils every criterion',
        },
        {
          vm: 'app2',
          id: 'vm-2',
          host: 'h2',
          isMember: false,
          nic: null,
          criteria: [{ ...tags, fits: false, found: [] }],
          reason: 'tags: wants app=shop, has nothing',
        },
      ],
      omitted: 3,
    };
    nock(URL).get('/api/v1/explain/pool/shop').reply(200, answer);
    const all = (await weft(['explain', 'pool', 'shop'])).out;
    assert.match(all, /^pool shop: 1 member of 9 VMs in cloud lab$/m);
    assert.match(all, /^the inventory may be out of date: it does not answer$/m);
    assert.match(all, /^app1 +h1 +yes +eth0 +it fulfils every criterion$/m);
    assert.match(all, /^app2 +h2 +no +- +tags: wants app=shop, has nothing$/m);
    assert.match(all, /^3 more are not shown/m);
    nock(URL)
      .get('/api/v1/explain/pool/shop')
      .query({ vm: 'app2' })
      .reply(200, { ...answer, vms: [answer.vms[1]], omitted: 0 });
    const one = (await weft(['explain', 'pool', 'shop', '--vm', 'app2'])).out;
    assert.match(one, /^CRITERION +WANTED +FOUND +FITS +DETAIL$/m);
    assert.match(one, /^tags +app=shop +- +no$/m);
    assert.match(one, /^app2 \(vm-2\) on h2 is no member: tags: wants app=shop, has nothing$/m);
    nock(URL).get('/api/v1/explain/pool/shop').reply(200, answer);
    const json = JSON.parse((await weft(['explain', 'pool', 'shop', '-o', 'json'])).out);
    assert.deepEqual(json, answer);
    assert.equal((await weft(['explain', 'pol', 'shop'])).code, 2);
    assert.equal((await weft(['explain', 'web', '--vm', 'app1'])).code, 2);
  });

  it('explain host draws where its place is known from, and its hops', async () => {
    const answer: HostExplanation[] = [
      {
        host: 'h1',
        id: 'host-11',
        cloud: 'vc',
        cluster: 'c1',
        isConnected: true,
        isInMaintenance: false,
        hardware: { model: 'R750', cpuCores: 32, cpuMhz: 2600, memoryBytes: 64 * 2 ** 30 },
        segments: [{ name: 'prod', role: 'production' }],
        vms: 3,
        engine: null,
        uplinkPath: ['dc', 'tor-a'],
        evidence: [
          {
            source: 'attribute',
            path: null,
            detail: 'custom attribute weft.uplinks is not set',
            isUsed: false,
          },
          { source: 'hints', path: ['dc', 'tor-a'], detail: 'vmnic0 hears tor-a by LLDP', isUsed: true },
        ],
        hops: [{ host: 'h2', hops: 1 }],
      },
    ];
    nock(URL).get('/api/v1/explain/host/h1').reply(200, answer);
    const { out } = await weft(['explain', 'host', 'h1']);
    assert.match(out, /^cluster c1; connected, 3 VMs, no engine; R750, 32 cores at 2600 MHz, 64 GiB$/m);
    assert.match(out, /^ {3}attribute +- +custom attribute weft.uplinks/m);
    assert.match(out, /^> {2}hints +dc \/ tor-a +vmnic0 hears tor-a by LLDP$/m);
    assert.match(out, /^h2 +1$/m);
  });

  it('firewall draws rules with counters, and the log with the newest line last', async () => {
    const entry = {
      service: 'web',
      policy: 'lan',
      rule: 'banned',
      verdict: 'denied' as const,
      protocol: 'tcp',
    };
    const ends = {
      from: 'fd00::9',
      fromPort: 4000,
      to: '10.0.0.1',
      toPort: null,
      member: null,
      engine: 'edge-h1',
    };
    const view: FirewallView = {
      policy: 'lan',
      services: ['web'],
      rules: [
        { rule: 'banned', action: 'deny', packets: 7, limited: 0 },
        { rule: 'logins', action: 'rate-limit', packets: 90, limited: 40 },
        { rule: 'default', action: 'allow', packets: 1, limited: 0 },
      ],
      log: [
        { time: '2026-01-02T03:04:06.000Z', ...entry, ...ends },
        { time: '2026-01-02T03:04:05.000Z', ...entry, ...ends },
      ],
      silent: [{ engine: 'edge-h2', reason: 'no link' }],
    };
    nock(URL).get('/api/v1/firewall/lan?log=2').reply(200, view);
    const { out } = await weft(['firewall', 'lan', '--log', '2']);
    assert.match(out, /^rules \(2\)$/m);
    assert.match(out, /^logins +rate-limit +90 +40$/m);
    assert.match(out, /^engine edge-h2 does not answer: no link$/m);
    assert.match(
      out,
      /03:04:05.000Z .*\n.*03:04:06.000Z +edge-h1 +web +banned +denied +tcp +\[fd00::9\]:4000 +10.0.0.1/,
    );
    nock(URL)
      .get('/api/v1/firewall-policy/lan')
      .reply(200, { kind: 'firewall-policy', name: 'lan', revision: 1, spec: {} });
    nock(URL).get('/api/v1/firewall/lan?log=0').reply(200, view);
    assert.match((await weft(['get', 'firewall-policy', 'lan'])).out, /^banned +deny +7$/m);
  });

  it('trace draws each hop and ends with the outcome', async () => {
    const answer: Trace = {
      service: 'web',
      packet: 'tcp 10.77.0.59:40000 > 10.77.0.101:80 SYN',
      hops: [
        {
          engine: 'edge-h1',
          host: 'h1',
          steps: [{ component: 'firewall', verdict: 'reject', detail: 'rule banned' }],
        },
      ],
      outcome: 'rejected: firewall-reject',
    };
    nock(URL).post('/api/v1/trace', { service: 'web', from: '10.77.0.59', port: 80 }).reply(200, answer);
    const { out } = await weft(['trace', 'web', '--from', '10.77.0.59', '--port', '80']);
    assert.match(out, /^hop 1: edge-h1 on h1$/m);
    assert.match(out, /^firewall +reject +rule banned$/m);
    assert.equal(out.trimEnd().split('\n').at(-1), 'rejected: firewall-reject');
    assert.equal((await weft(['trace', 'web'])).code, 2);
    assert.equal((await weft(['trace', 'web', '--from', 'x', '--port', '0'])).code, 2);
  });

  it('flows sends what narrows, draws what came, and says what is not listed', async () => {
    const flow = {
      engine: 'edge-h1',
      host: 'h1',
      service: 'web',
      tier: 'shop',
      protocol: 'tcp',
      client: '10.77.0.9:50000',
      address: '10.77.0.101:80',
      member: 'lab/1/eth0',
      vm: 'app1',
      kind: 'local',
      state: 'established',
      kernel: 'both',
      rule: 'policy edge, rule all (1 of 1): allow',
      idleMs: 1234,
      ageMs: 99_400,
      packets: 17,
      bytes: 4711,
    };
    const answer = {
      flows: [flow],
      matched: 7,
      total: 30,
      engines: [{ engine: 'edge-h1', host: 'h1', matched: 7, total: 30 }],
      failures: [{ engine: 'edge-h2', message: 'too late' }],
    };
    nock(URL)
      .get('/api/v1/flows?engine=edge-h1&service=web&client=10.77.0.0%2F24&sort=idle&limit=1')
      .reply(200, answer);
    const words = 'flows edge-h1 --service web --client 10.77.0.0/24 --sort idle --limit 1'.split(' ');
    const { out } = await weft(words, { env: { ...ENV, COLUMNS: '250' } });
    assert.match(out, /^edge-h1 .* app1 .* established +both +17 +4711 +1.2 s +99 s +policy edge, rule all/m);
    assert.match(out, /^7 flows fit, of 30 in the tables of 1 engines; the first 1 are listed$/m);
    assert.match(out, /^edge-h2: too late$/m);
    nock(URL).get('/api/v1/flows?').reply(200, answer);
    assert.deepEqual(JSON.parse((await weft(['flows', '-o', 'json'])).out), answer);
    for (const bad of [
      ['--limit', '0'],
      ['--limit', '5000'],
      ['--sort', 'size'],
      ['--state', 'open'],
    ]) {
      assert.equal((await weft(['flows', ...bad])).code, 2, bad.join(' '));
    }
  });

  it('purge sends URLs, and fails where an engine keeps what it has stored', async () => {
    const answer = {
      purged: 3,
      engines: [{ engine: 'edge-h1', host: 'h1', purged: 3 }],
      failures: [] as { engine: string; message: string }[],
    };
    const urls = ['shop.example/a', 'shop.example/img/*'];
    nock(URL).post('/api/v1/purge/web', { urls }).reply(200, answer);
    const { out, code } = await weft(['purge', 'web', ...urls]);
    assert.equal(code, 0);
    assert.match(out, /^edge-h1 +h1 +3$/m);
    assert.match(out, /^3 stored responses are taken out$/m);
    answer.failures.push({ engine: 'edge-h2', message: 'is not connected to the controller' });
    nock(URL)
      .post('/api/v1/purge/web', { urls: ['*'] })
      .reply(200, answer);
    const failed = await weft(['purge', 'web', '*']);
    assert.notEqual(failed.code, 0);
    assert.match(failed.out, /^edge-h2: is not connected/m);
    assert.match(failed.err, /edge-h2: what is stored there stays/);
    assert.equal((await weft(['purge', 'web'])).code, 2);
  });

  it('status shows the system, fits the terminal, and never lets a name move the cursor', async () => {
    for (const columns of [80, 120]) {
      nock(URL).get('/api/v1/status').reply(200, STATUS);
      const { out } = await weft(['status'], { env: ENV, isTTY: true, columns });
      // biome-ignore lint/suspicious/noControlCharactersInRegex: the colour codes are taken out
      const lines = out.replaceAll(/\u001b\[\d+m/g, '').split('\n');
      assert.ok(Math.max(...lines.map((line) => line.length)) <= columns);
      assert.ok(lines.every((line) => !/\p{Cc}/u.test(line)));
      for (const title of [
        'clouds (1)',
        'hosts (1)',
        'engines (1)',
        'services (1)',
        'pools that scale (1)',
        'members (1)',
        'operations (1)',
      ]) {
        assert.ok(lines.includes(title), title);
      }
    }
  });

  it('colours are for terminals that want them', async () => {
    for (const [options, hasColour] of [
      [{ isTTY: true, columns: 100, env: ENV }, true],
      [{ isTTY: true, columns: 100, env: { ...ENV, NO_COLOR: '1' } }, false],
      [{ env: ENV }, false],
    ] as const) {
      nock(URL).get('/api/v1/status').reply(200, STATUS);
      assert.equal(
        (await weft(['status'], { ...options, env: { ...options.env } })).out.includes('\u001b['),
        hasColour,
      );
    }
  });

  it('spec explains the attributes without a controller', async () => {
    const { code, out } = await weft(['spec', 'virtual-service'], { env: {} });
    assert.equal(code, 0);
    assert.match(out, /tiers\[\]\.port +whole number \(1 .*required +The service port\./);
    assert.equal((await weft(['spec', 'poool'], { env: {} })).code, 2);
    assert.match((await weft(['spec'], { env: {} })).out, /^firewall-policy +ordered/m);
  });

  it('every one of them explains itself with an example', async () => {
    for (const { name, isHidden } of VERBS) {
      if (isHidden || ['lab', 'controller', 'engine'].includes(name)) continue;
      const { code, out } = await weft([name, '--help'], { env: {} });
      assert.equal(code, 0, name);
      // Verbs with verbs of their own give examples there.
      if (out.includes('\nCommands:\n')) continue;
      assert.match(out, new RegExp(`^Examples?:[^]*weft ${name}`, 'm'));
    }
    const { code, out } = await weft([], { env: {} });
    assert.equal(code, 0);
    for (const { name, isHidden } of VERBS)
      if (!isHidden) assert.match(out, new RegExp(`^ {2}${name} `, 'm'));
    assert.match((await weft(['help', 'apply'], { env: {} })).out, /--dry-run/);
    assert.match((await weft(['--version'], { env: {} })).out, /^\d+\.\d+\.\d+\n$/);
  });

  it('suggest what was meant', async () => {
    const { code, err } = await weft(['aply']);
    assert.equal(code, 2);
    assert.match(err, /^weft: there is no verb 'aply' .*apply.*\(ERR_USAGE\)\n$/);
    assert.match((await weft(['get', '--ouput', 'json'])).err, /--output.*\(ERR_USAGE\)/);
    assert.equal((await weft(['get', '-o', 'xml'])).code, 2);
    assert.equal((await weft(['delete', 'pool'])).code, 2);
    assert.equal((await weft(['plan', '--delete'])).code, 2);
  });

  it('turn every answer into one line and the exit code of its code', async () => {
    const cases: [number, unknown, number, RegExp][] = [
      [
        404,
        { code: 'ERR_NOT_FOUND', message: 'there is no pool "x"', problems: [] },
        3,
        /^weft: there is no pool "x" \(ERR_NOT_FOUND\)\n$/,
      ],
      [401, { code: 'ERR_UNAUTHENTICATED', message: 'no', problems: [] }, 5, /ERR_UNAUTHENTICATED/],
      [
        503,
        { code: 'ERR_ENGINE_UNREACHABLE', message: 'no\u001b[2J\r\nfoo', problems: [] },
        6,
        /^weft: no\ufffd\[2J\ufffd\ufffdfoo \(ERR_ENGINE_UNREACHABLE\)\n$/,
      ],
      [502, '<html>', 6, /answered with status 502, but not as a Weft controller does/],
      [200, '<html>', 6, /not as a Weft controller does/],
      [302, '', 6, /status 302/],
      [404, { code: '__proto__' }, 6, /ERR_UNREACHABLE/],
    ];
    for (const [status, body, exit, line] of cases) {
      nock(URL)
        .get('/api/v1/pool/x')
        .reply(status, body as string, { location: 'http://elsewhere.test/' });
      const { code, out, err } = await weft(['get', 'pool', 'x']);
      assert.deepEqual([code, out], [exit, ''], String(line));
      assert.match(err, line);
    }
  });

  it('speak JSON about errors where JSON was asked for', async () => {
    nock(URL).get('/api/v1/pool/x').reply(404, { code: 'ERR_NOT_FOUND', message: 'gone', problems: [] });
    const { err } = await weft(['get', 'pool', 'x', '-o', 'json']);
    assert.deepEqual(JSON.parse(err), { code: 'ERR_NOT_FOUND', message: 'gone', problems: [] });
  });

  it('say how to reach a controller where none is found', async () => {
    const none = await weft(['get'], { env: {} });
    assert.equal(none.code, 6);
    assert.match(none.err, /weft lab up/);
    assert.match((await weft(['get', '--lab', 'two'], { env: {} })).err, /weft lab up --lab two/);
    assert.match(
      (await weft(['get', '--lab', '../etc'], { env: {} })).err,
      /not the name of a lab.*ERR_USAGE/,
    );
    assert.match((await weft(['get', '--url', 'ftp://x', '--token', 'x'], { env: {} })).err, /ERR_USAGE/);
    assert.match((await weft(['get', '--url', URL], { env: {} })).err, /no token.*ERR_USAGE/);
    nock(URL)
      .get('/api/v1/pool')
      .replyWithError(Object.assign(new Error('x'), { code: 'ECONNREFUSED' }));
    assert.match((await weft(['get', 'pool'])).err, /does not answer \(ECONNREFUSED\).*ERR_UNREACHABLE/);
  });

  it('find the controller of a lab by its file, options before or after the verb, and --lab before WEFT_URL', async () => {
    const runDirectory = await mkdtemp(join(tmpdir(), 'weft-run-'));
    try {
      await mkdir(join(runDirectory, 'two'));
      await writeFile(
        join(runDirectory, 'two', 'client.json'),
        JSON.stringify({ url: 'http://lab-two.test', token: 'token-of-two' }),
      );
      for (const args of [
        ['get', 'pool', '--lab', 'two'],
        ['--lab', 'two', 'get', 'pool'],
      ]) {
        const scope = nock('http://lab-two.test')
          .get('/api/v1/pool')
          .matchHeader('authorization', 'Bearer token-of-two')
          .reply(200, { items: [] });
        const { code, err } = await weft(args, { env: { ...ENV }, runDirectory });
        assert.deepEqual([code, err], [0, '']);
        scope.done();
      }
      const scope = nock('http://lab-two.test').get('/api/v1/pool').reply(200, { items: [] });
      assert.equal((await weft(['get', 'pool'], { env: { WEFT_LAB: 'two' }, runDirectory })).code, 0);
      scope.done();
      await writeFile(join(runDirectory, 'two', 'client.json'), '{');
      assert.match((await weft(['get', '--lab', 'two'], { env: {}, runDirectory })).err, /damaged/);
    } finally {
      await rm(runDirectory, { recursive: true });
    }
  });

  it('refuse files that are missing, too large, empty or malformed, before anything is sent', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'weft-files-'));
    try {
      await writeFile(join(directory, 'large'), Buffer.alloc(8_500_000, 0x20));
      assert.match((await weft(['apply', '-f', join(directory, 'large')])).err, /ERR_BODY_TOO_LARGE/);
      assert.match((await weft(['apply', '-f', directory])).err, /holds no \.yaml/);
      assert.match(
        (await weft(['apply', '-f', join(directory, 'missing')])).err,
        /cannot be read.*ERR_BODY_INVALID/,
      );
      assert.match(
        (await weft(['apply', '-f', '-'], { env: ENV, stdin: 'a: [' })).err,
        /stdin:1:\d+: is not YAML/,
      );
      assert.match(
        (await weft(['apply', '-f', '-'], { env: ENV, stdin: ' '.repeat(8_500_000) })).err,
        /ERR_BODY_TOO_LARGE/,
      );
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('complete verbs, options, values and kinds', async () => {
    const complete = async (...words: string[]) =>
      (await weft(['complete', '--', ...words], { env: {} })).out.split('\n').filter(Boolean);
    assert.deepEqual(await complete('ex'), ['explain']);
    assert.ok(!(await complete('')).includes('docs'));
    assert.deepEqual(await complete('get', 'v'), ['virtual-service']);
    assert.deepEqual(await complete('get', '-o', ''), ['table', 'json', 'yaml']);
    assert.deepEqual(await complete('plan', '--f'), ['--file']);
    assert.deepEqual(await complete('flows', '--sort', ''), ['bytes', 'packets', 'idle', 'age']);
    assert.deepEqual(await complete('completion', ''), ['bash', 'zsh']);
    assert.deepEqual(await complete('help', 'sp'), ['spec']);
    assert.deepEqual(await complete('get', 'pool', ''), []);
    assert.deepEqual(await complete('nonsense', 'x'), []);
  });

  it('print completion scripts that bash understands', async () => {
    const { out } = await weft(['completion', 'bash']);
    await promisify(execFile)('bash', ['-n', '-c', out]);
    assert.match((await weft(['completion', 'zsh'])).out, /^#compdef weft/);
    assert.equal((await weft(['completion', 'fish'])).code, 2);
  });

  it('start fast', async () => {
    const main = join(import.meta.dirname, '../../src/main.ts');
    const times: number[] = [];
    for (let count = 0; count < 3; count++) {
      const timed = `TIMEFORMAT='%U %S'; time { "$0" "$1" get --lab none >/dev/null 2>&1; }`;
      const { stderr } = await promisify(execFile)('bash', ['-c', timed, process.execPath, main]).catch(
        (error: { stderr: string }) => error,
      );
      const [user, system] = stderr.trim().split(' ').map(Number);
      times.push(user! + system!);
    }
    // Processor time, whatever else the machine does. The claim is 0.3 s; what is loaded needlessly costs more than 1.
    assert.ok(Math.min(...times) < 1, `${times}`);
  });
});

describe('weft adopt', () => {
  const engine = { engine: 'edge-h1', vm: 'edge-h1', host: 'h1', behind: ['app1'], reason: 'r' };
  let fixture: ApiFixture;
  let env: Record<string, string>;
  beforeEach(async () => {
    fixture = await openApi();
    const url = await fixture.api.listen({ host: '127.0.0.1', port: 0 });
    env = { WEFT_URL: url, WEFT_TOKEN: TOKEN };
  });
  afterEach(() => fixture.close());

  it('shows what was found and adopts nothing where nobody says yes', async () => {
    fixture.backend.found = { engines: [{ ...engine, fate: 'replaced' }], warnings: ['think twice'] };
    const shown = await weft(['adopt', 'lab'], { env });
    assert.equal(shown.code, 0);
    assert.match(shown.out, /edge-h1 +h1 +replaced +app1/);
    assert.match(shown.out, /think twice/);
    await weft(['adopt', 'lab'], { env, isTTY: true, stdin: 'n\n' });
    await weft(['adopt', 'lab', '-o', 'json'], { env, isTTY: true, stdin: 'y\n' });
    assert.deepEqual(fixture.backend.adopted, []);
  });

  it('adopts what was shown after a yes, or with --yes', async () => {
    fixture.backend.found = { engines: [{ ...engine, fate: 'kept' }] };
    await weft(['adopt', 'lab'], { env, isTTY: true, stdin: 'y\n' });
    const { code } = await weft(['adopt', 'lab', '--yes'], { env });
    assert.equal(code, 0);
    assert.deepEqual(fixture.backend.adopted, [
      ['lab', '0123456789abcdef'],
      ['lab', '0123456789abcdef'],
    ]);
  });

  it('wants --remove besides where adopting would remove what no policy asks for', async () => {
    fixture.backend.found = { engines: [{ ...engine, fate: 'removed' }] };
    const refused = await weft(['adopt', 'lab', '--yes'], { env });
    assert.equal(refused.code, 4);
    assert.match(refused.err, /apply the policy first, or add --remove/);
    assert.deepEqual(fixture.backend.adopted, []);
    assert.equal((await weft(['adopt', 'lab', '--yes', '--remove'], { env })).code, 0);
    assert.equal(fixture.backend.adopted.length, 1);
  });
});
