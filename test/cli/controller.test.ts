/** The controller where the address of its console is taken, or its state directory cannot be made. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const MAIN = join(import.meta.dirname, '../../src/main.ts');

describe('weft controller, where the address of its console is taken', function () {
  this.timeout(30_000);
  let directory: string;
  let taken: Server[];
  let child: ChildProcess | null;

  /** Holds a port of loopback; one that somebody else holds is taken too. */
  const take = (port: number) =>
    new Promise<number>((resolve) => {
      const server = createServer();
      server.once('error', () => resolve(port));
      server.listen(port, '127.0.0.1', () => {
        taken.push(server);
        resolve((server.address() as AddressInfo).port);
      });
    });
  const start = (...options: string[]) => {
    const listen = ['--listen', '127.0.0.1:0', '--hub-listen', '127.0.0.1:0'];
    const files = ['--state', directory, '--client-file', join(directory, 'client.json')];
    const args = ['--disable-warning=ExperimentalWarning', MAIN, 'controller', ...listen, ...files];
    const started = spawn(process.execPath, [...args, ...options], { stdio: ['ignore', 'ignore', 'pipe'] });
    child = started;
    const said = { text: '' };
    started.stderr.on('data', (chunk: Buffer) => {
      said.text += chunk.toString();
    });
    const ended = new Promise<number | null>((resolve) => started.once('exit', (code) => resolve(code)));
    return { said, ended };
  };

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'weft-controller-'));
    taken = [];
    child = null;
  });
  afterEach(async () => {
    child?.kill('SIGKILL');
    for (const server of taken) server.close();
    await rm(directory, { recursive: true, force: true });
  });

  it('runs without it, and says so, where nobody named the address', async () => {
    await take(7471);
    const { said, ended } = start();
    for (let waited = 0; !/controller is up/.test(said.text) && waited < 200; waited++) await sleep(100);
    assert.match(said.text, /the web console is off, for its address is taken.*--plugin-listen/);
    assert.match(said.text, /controller is up/);
    assert.ok(existsSync(join(directory, 'client.json')));
    child?.kill('SIGTERM');
    assert.equal(await ended, 0);
  });

  it('does not start where the address was named', async () => {
    const port = await take(0);
    const { said, ended } = start('--plugin-listen', `127.0.0.1:${port}`);
    assert.notEqual(await ended, 0);
    assert.match(said.text, /the console cannot listen on 127\.0\.0\.1:\d+/);
  });
});

describe('weft controller, where its state directory cannot be made', () => {
  it('says so at once and names the directory', async function () {
    this.timeout(20_000);
    const child = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', MAIN, 'controller', '--state', '/proc/nope/state'],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    const code = await new Promise<number | null>((resolve) => child.once('exit', resolve));
    assert.notEqual(code, 0);
    assert.match(said, /\/proc\/nope cannot be made.*--state.*ERR_STORE_WRITE/);
  });
});
