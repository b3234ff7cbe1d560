/** Adding a vCenter as a cloud: who is asked what, what is refused, and what is on disk afterwards. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../src/cli/program.ts';
import { readCredentials } from '../../src/vcenter/credentials.ts';
import { type ApiFixture, openApi, TOKEN } from '../api/fixture.ts';
import { type BlankOva, buildBlankOva } from '../vcenter/blank-ova.ts';
import { type PaperVcenter, startPaperVcenter } from '../vcenter/paper-vcenter.ts';
import { capturedTerminal } from './captured-terminal.ts';

describe('weft cloud add', function () {
  this.timeout(30_000);
  let fixture: ApiFixture;
  let vcenter: PaperVcenter;
  let ova: BlankOva;
  let directory: string;
  let file: string;
  let env: Record<string, string>;

  before(async () => {
    fixture = await openApi();
    await fixture.api.listen({ host: '127.0.0.1', port: 0 });
    const { port } = fixture.api.server.address() as AddressInfo;
    env = { WEFT_URL: `http://127.0.0.1:${port}`, WEFT_TOKEN: TOKEN };
    vcenter = await startPaperVcenter();
    ova = await buildBlankOva(new AbortController().signal);
    directory = await mkdtemp(join(tmpdir(), 'weft-cloud-add-'));
    file = join(directory, 'kept', 'vc.yaml');
    const status = { state: 'connected', message: '', hosts: 3, vms: 6 };
    await fixture.store.write([{ key: 'status/cloud/vc', value: status }]);
  });
  after(async () => {
    await fixture?.close();
    await vcenter?.stop();
    ova?.remove();
    await rm(directory, { recursive: true, force: true });
  });

  async function add(more: string[], typed?: string) {
    const terminal = capturedTerminal({
      env,
      ...(typed === undefined ? {} : { stdin: typed, isTTY: true }),
    });
    const args = ['cloud', 'add', 'vc', '--address', vcenter.url, '--ova', ova.options.ova];
    const rest = ['--credentials', file, '--shadow-vlans', '3000-3010'];
    const network = more.includes('--management-network') ? [] : ['--management-network', 'mgmt'];
    const code = await run([...args, ...rest, ...network, ...more], terminal);
    return { code, out: terminal.printed(), err: terminal.complained() };
  }
  const isKept = async () => (await fixture.store.get('policy/cloud/vc')) !== undefined;

  it('changes nothing where nobody trusts the certificate, and says how to', async () => {
    const alone = await add(['--user', vcenter.user]);
    assert.equal(alone.code, 2);
    assert.ok(alone.err.includes(`give --thumbprint ${vcenter.thumbprint}`), alone.err);
    const no = await add([], 'no\n');
    assert.equal(no.code, 2);
    assert.match(no.err, /not trusted; nothing was changed/);
    const other = await add(['--thumbprint', '00'.repeat(32)]);
    assert.equal(other.code, 1);
    assert.match(other.err, /not the one given/);
    assert.deepEqual([existsSync(file), await isKept()], [false, false]);
  });

  it('changes nothing where the login fails or the network is not there', async () => {
    const wrong = await add([], `yes\n${vcenter.user}\nno-such-password\n`);
    assert.notEqual(wrong.code, 0);
    assert.ok(!`${wrong.out}${wrong.err}`.includes('no-such-password'));
    const lost = await add(
      ['--management-network', 'nowhere'],
      `yes\n${vcenter.user}\n${vcenter.password}\n`,
    );
    assert.match(lost.err, /no port group nowhere|has a port group nowhere.*mgmt/);
    assert.deepEqual([existsSync(file), await isKept()], [false, false]);
  });

  it('asks, writes the credentials for nobody else to read, and makes the cloud', async () => {
    const { code, out, err } = await add([], `yes\n${vcenter.user}\n${vcenter.password}\n`);
    assert.equal(code, 0, err);
    assert.ok(err.includes(vcenter.thumbprint));
    assert.match(out, /cloud vc is connected/);
    assert.ok(!`${out}${err}`.includes(vcenter.password));
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.deepEqual(await readCredentials(file), { user: vcenter.user, password: vcenter.password });
    const terminal = capturedTerminal({ env });
    await run(['get', 'cloud', 'vc', '-o', 'json'], terminal);
    const kept = JSON.parse(terminal.printed()).spec;
    assert.equal(kept.thumbprint, vcenter.thumbprint);
    assert.equal(kept.credentials, file);
  });

  it('overwrites neither the cloud nor the file silently', async () => {
    const before = readFileSync(file, 'utf8');
    const again = await add(['--thumbprint', vcenter.thumbprint]);
    assert.equal(again.code, 2);
    assert.match(again.err, /cloud vc is there already .*--replace/);
    await fixture.store.write([{ key: 'policy/cloud/vc', delete: true }]);
    const given = await add(['--thumbprint', vcenter.thumbprint, '--user', 'somebody']);
    assert.match(given.err, /credentials file .* is there already/);
    const used = await add(['--thumbprint', vcenter.thumbprint]);
    assert.equal(used.code, 0, used.err);
    assert.match(used.out, /^uses /);
    assert.equal(readFileSync(file, 'utf8'), before);
    const password = join(directory, 'password');
    await writeFile(password, `${vcenter.password}\n`);
    const replaced = await add([
      ...['--thumbprint', vcenter.thumbprint, '--replace', '--user', vcenter.user],
      ...['--password-file', password, '-o', 'json'],
    ]);
    assert.equal(replaced.code, 0, replaced.err);
    assert.equal(JSON.parse(replaced.out).hosts, 3);
    rmSync(file);
  });
});
