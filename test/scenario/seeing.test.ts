/** What an administrator sees of running traffic: the flows of held connections, and a capture while requests run. */

import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { INSTALL_TIMEOUT_MS } from '../debian-package.ts';
import { readPcapng } from '../packet/pcapng-reader.ts';
import { requireRoot } from '../root.ts';
import { type ScenarioLab, startScenarioLab } from './running-lab.ts';
import { sleep, whole } from './traffic.ts';
import { findTshark } from './tshark.ts';

const MAIN = join(import.meta.dirname, '../../src/main.ts');
const WEB = { address: '10.77.0.101', port: 80 };

describe('seeing what the engines do', function () {
  this.timeout(60_000);
  let lab: ScenarioLab;
  let folder: string;
  let client: string;

  before(async function () {
    requireRoot(this, 'scenarios in the lab');
    folder = mkdtempSync(join(tmpdir(), 'weft-seeing-'));
    lab = await startScenarioLab('v');
    await whole(lab);
  });
  after(async () => {
    await lab?.close();
    if (folder !== undefined) rmSync(folder, { recursive: true });
  });

  /** The verb, in a process of its own. */
  function weft(...args: string[]): ChildProcess {
    const node = [process.execPath, ['--disable-warning=ExperimentalWarning', MAIN, ...args]] as const;
    return spawn(node[0], node[1], { stdio: ['ignore', 'pipe', 'pipe'], env: labEnvironment() });
  }

  const labEnvironment = () => ({ ...process.env, WEFT_LAB: lab.name, WEFT_URL: '', WEFT_TOKEN: '' });

  async function textOf(child: ChildProcess): Promise<{ code: number; out: string; err: string }> {
    let [out, err] = ['', ''];
    child.stdout?.on('data', (text) => (out += text));
    child.stderr?.on('data', (text) => (err += text));
    const [code] = (await once(child, 'close')) as [number];
    return { code, out, err };
  }

  const web = async (some: Record<string, string> = {}) =>
    lab.controller.flows({ service: 'web', limit: '1000', ...some });

  it('lists the connections that a client holds, at their entry engine and at their member', async () => {
    const count = 24;
    assert.deepEqual(await lab.client.hold('held', WEB, count), { open: count, errors: [] });
    const established = await web({ state: 'established' });
    assert.deepEqual(established.failures, []);
    assert.equal(established.engines.length, 3);
    const held = established.flows.filter(({ address }) => address === '10.77.0.101:80');
    const ports = new Set(held.map((flow) => flow.client));
    assert.equal(ports.size, count, 'one flow for each connection');
    const beside = held.filter(({ kind }) => kind === 'local');
    assert.equal(beside.length, count, 'and each once at its member');
    for (const flow of beside) {
      const { members } = await lab.controller.status();
      assert.equal(
        members.find(({ vm }) => vm === flow.vm)?.host,
        flow.host,
        `${flow.vm} is beside ${flow.engine}`,
      );
    }
    client = beside[0]!.client.replace(/:\d+$/, '');
    const [entry] = new Set(held.filter(({ rule }) => rule !== '').map(({ engine }) => engine));
    assert.ok(held.filter(({ engine }) => engine === entry).every(({ rule }) => /rule lan/.test(rule)));
    const one = beside[0]!;
    const ofMember = await web({ state: 'established', member: one.vm, engine: one.engine });
    assert.deepEqual(
      ofMember.flows.map(({ client: port }) => port).sort(),
      beside
        .filter(({ vm }) => vm === one.vm)
        .map(({ client: port }) => port)
        .sort(),
    );
    assert.equal((await web({ client: '10.99.0.0/16' })).matched, 0);
    await lab.client.release('held');
    const deadline = performance.now() + 5000;
    let left = count;
    while (left > 0 && performance.now() < deadline) {
      await sleep(100);
      left = (await web({ state: 'established', client })).flows.filter(({ client: port }) =>
        ports.has(port),
      ).length;
    }
    assert.equal(left, 0, 'none is left once they are closed');
  });

  it('counts what the kernel forwards, in flows, in status and in a trace', async () => {
    lab.client.startSteady('s', WEB, 5);
    const flow = async () =>
      (await web({ state: 'established', sort: 'packets' })).flows.find(({ kind }) => kind === 'local');
    const deadline = performance.now() + 10_000;
    let now = await flow();
    while (now?.kernel !== 'both' && performance.now() < deadline) {
      await sleep(100);
      now = await flow();
    }
    assert.equal(now?.kernel, 'both', JSON.stringify(now));
    const before = now!.packets;
    const path = async () =>
      (await lab.controller.status()).engines.find(({ id }) => id === now!.engine)?.path;
    const pathBefore = await path();
    await sleep(1200);
    now = await flow();
    assert.ok(now!.packets > before + 50, `${before}, then ${now!.packets}`);
    const pathAfter = await path();
    assert.ok(
      pathAfter!.kernelPackets > pathBefore!.kernelPackets + 50,
      JSON.stringify([pathBefore, pathAfter]),
    );
    const [, address, port] = /^(.*):(\d+)$/.exec(now!.client)!;
    const trace = await lab.controller.trace({
      service: 'web',
      from: address!,
      fromPort: Number(port),
      to: WEB.address,
      engine: now!.engine,
    });
    const step = trace.hops[0]!.steps.find(({ component }) => component === 'kernel');
    assert.equal(step?.verdict, 'forwards', JSON.stringify(trace));
    assert.match(step!.detail, /client: the kernel by slot \d+ \(\d+ packets/);
  });

  it('captures requests on both sides, those of the kernel too, and leaves the rest to it again', async () => {
    const file = join(folder, 'web.pcapng');
    const child = weft('capture', 'web', '-w', file, '-o', 'json');
    const ended = textOf(child);
    const deadline = performance.now() + 10_000;
    while (!existsSync(file) && performance.now() < deadline) await sleep(50);
    await sleep(300);
    const requests = 15;
    for (let n = 0; n < requests; n++) assert.equal((await lab.client.get(WEB)).error, null);
    await sleep(300);
    child.kill('SIGINT');
    const { code, out, err } = await ended;
    assert.deepEqual([code, err], [0, ''], err);
    const summary = JSON.parse(out);
    const { frames, interfaces, statistics } = readPcapng(readFileSync(file));
    assert.deepEqual([summary.frames, summary.lost, summary.isWhole], [frames.length, 0, true]);
    assert.deepEqual(
      interfaces.map(({ name }) => name).sort(),
      ['h1', 'h2', 'h3'].flatMap((host) => ['in', 'out', 'self'].map((port) => `edge-${host} ${port}`)),
    );
    assert.equal(statistics.length, 9);
    assert.equal(
      statistics.reduce((sum, { received, dropped }) => sum + received - dropped, 0),
      frames.length,
    );
    for (const frame of frames) {
      const name = interfaces[frame.port]!.name;
      const pattern = frame.isSent
        ? ': sent, '
        : ': (new|known) flow .*; to (in|out)$|: no flow|dropped|drop:';
      assert.match(frame.comment, new RegExp(`^${name}(${pattern})`));
    }
    const came = frames.filter(({ isSent }) => !isSent);
    const chosen = came.filter(({ comment }) => /new flow .*load-balancer app\d: .*: pass; to/.test(comment));
    assert.equal(chosen.length, requests, 'each request was balanced once');
    assert.ok(
      chosen.every(({ comment }) =>
        /firewall policy shop-clients, rule lan .*: allow.*: pass, load-balancer/.test(comment),
      ),
    );
    const passed = came.filter(({ comment }) => /; to (in|out)$/.test(comment));
    assert.equal(frames.length - came.length, passed.length, 'each frame that came left once');
    const known = came.filter(({ comment }) => /known flow \(established, local/.test(comment));
    assert.ok(known.length > 50, `${known.length} frames of the connection that the kernel forwarded before`);
    assert.equal(lab.client.steadyBroken.size, 0, 'it went on meanwhile');
    const until = performance.now() + 5000;
    let kernel = '';
    while (kernel !== 'both' && performance.now() < until) {
      await sleep(100);
      kernel = (await web({ sort: 'packets' })).flows.find(({ kind }) => kind === 'local')!.kernel;
    }
    assert.equal(kernel, 'both', 'afterwards the kernel has it again');
  });

  it('is over soon after its reader is killed', async () => {
    const child = weft('capture', 'web', '-w', join(folder, 'killed.pcapng'));
    const deadline = performance.now() + 10_000;
    while (!existsSync(join(folder, 'killed.pcapng')) && performance.now() < deadline) await sleep(50);
    child.kill('SIGKILL');
    await once(child, 'close');
    await sleep(500);
    const { code, err } = await textOf(
      weft('capture', 'web', '--seconds', '1', '-w', join(folder, 'next.pcapng')),
    );
    assert.deepEqual([code, err], [0, '']);
    const { frames } = readPcapng(readFileSync(join(folder, 'next.pcapng')));
    assert.ok(frames.length > 20, `${frames.length} frames of the connection in use`);
  });

  it('is read by Wireshark, from a file and from a pipe', async function () {
    this.timeout(INSTALL_TIMEOUT_MS);
    const tshark = findTshark();
    if (tshark === null) return this.skip();
    const fields = ['-T', 'fields', '-e', 'frame.interface_name', '-e', 'frame.comment', '-e', 'tcp.dstport'];
    const file = join(folder, 'web.pcapng');
    const lines = execFileSync(tshark, ['-r', file, ...fields], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
      .trimEnd()
      .split('\n');
    const { frames, interfaces } = readPcapng(readFileSync(file));
    assert.deepEqual(
      lines.map((line) => line.split('\t').slice(0, 2)),
      frames.map(({ port, comment }) => [interfaces[port]!.name, comment]),
    );
    // By a shell: what Node calls a pipe is a socket, which Wireshark refuses.
    const { out: read, err } = await textOf(
      spawn(
        'sh',
        [
          '-c',
          `"$0" "$1" capture web --client "$2" --packets 40 -w - | ${tshark} -r - ${fields.join(' ')}`,
          process.execPath,
          MAIN,
          client,
        ],
        {
          stdio: ['ignore', 'pipe', 'pipe'],
          env: labEnvironment(),
        },
      ),
    );
    assert.equal(read.trimEnd().split('\n').length, 40, err);
    assert.match(err, /^40 frames, \d+ bytes; none is missing/m);
  });

  it('says what was meant where a name is not known, and writes no file', async () => {
    const file = join(folder, 'none.pcapng');
    const unknown = await textOf(weft('capture', 'wbe', '-w', file));
    assert.match(unknown.err, /did you mean "web"/);
    const engine = await textOf(weft('capture', 'web', '--engine', 'edge-h9', '-w', file));
    assert.match(engine.err, /did you mean "edge-h\d"/);
    assert.notEqual(engine.code, 0);
    assert.ok(!existsSync(file));
  });
});
