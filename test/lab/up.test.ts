/** `weft lab up` and what an interruption leaves. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { takeDown } from '../../src/cli/lab-down.ts';
import { meantForLab, missingFor, readLabPolicies } from '../../src/cli/lab-policy.ts';
import { bringUp } from '../../src/cli/lab-up.ts';
import { run } from '../../src/cli/program.ts';
import { openLab } from '../../src/lab/index.ts';
import { existingNamespaces, labPaths } from '../../src/lab/world/names.ts';
import { killProcess, readPidFile } from '../../src/lab/world/process.ts';
import type { SystemStatus } from '../../src/policy/answers.ts';
import { isWeftError, WeftError } from '../../src/policy/errors.ts';
import { capturedTerminal } from '../cli/captured-terminal.ts';
import { ownLab } from '../leftovers.ts';
import { requireRootOrSkip } from './lab-under-test.ts';

describe('lab up', () => {
  const lab = ownLab('tu');
  const options = { lab, policyFiles: [], withController: false, onProgress: () => {} };
  const never = new AbortController().signal;

  before(function () {
    requireRootOrSkip(this);
  });
  afterEach(async () => {
    if (process.getuid?.() === 0) await takeDown({ lab, onProgress: () => {} });
  });

  it('starts a lab, refuses to start it twice, and takes it over when its daemon died', async () => {
    const { socket } = await bringUp({ ...options, signal: never });
    await assert.rejects(bringUp({ ...options, signal: never }), (error) => isWeftError(error, 'ERR_LAB'));
    const platform = openLab({ socket });
    const { vms } = await platform.inventory(never);
    assert.ok(vms.length > 0 && vms.every((vm) => vm.power === 'on'));
    await killProcess(readPidFile(labPaths(lab).daemonPid)!);
    await bringUp({ ...options, signal: never });
    assert.deepEqual((await platform.inventory(never)).vms, vms);
    await platform.close();
  });

  it('completes its VMs, hosts, links and faults, and shows its status in every format', async () => {
    await bringUp({ ...options, signal: never });
    const weft = async (...args: string[]) => {
      const terminal = capturedTerminal({ env: { WEFT_LAB: lab } });
      assert.equal(await run(args, terminal), 0, terminal.complained());
      return terminal.printed();
    };
    const complete = async (...words: string[]) =>
      (await weft('complete', '--', 'lab', ...words)).split('\n').filter(Boolean);
    assert.deepEqual(await complete('migrate', 'app1'), ['app1']);
    assert.deepEqual(await complete('migrate', 'app1', ''), ['h1', 'h2', 'h3']);
    assert.deepEqual(await complete('power', 'app1', 'o'), ['on', 'off']);
    assert.deepEqual(await complete('exec', 'c'), ['client']);
    assert.deepEqual(await complete('fault', 'cut', 'app2/'), ['app2/eth0']);
    assert.deepEqual(await complete('fault', 'slow', 'att'), ['attach']);
    assert.deepEqual(JSON.parse(await weft('lab', 'fault', 'list', '--lab', lab, '-o', 'json')), []);
    assert.equal(JSON.parse(await weft('lab', 'status', '--lab', lab, '-o', 'json')).lab, lab);
    assert.match(await weft('lab', 'status', '--lab', lab, '-o', 'yaml'), new RegExp(`^lab: ${lab}$`, 'm'));
  });

  for (const delayMs of [20, 250, 500]) {
    it(`leaves nothing when it is interrupted after ${delayMs} ms`, async () => {
      const abort = new AbortController();
      const reason = new WeftError('ERR_LAB', 'interrupted');
      const timer = setTimeout(() => abort.abort(reason), delayMs);
      // A fast machine is done before the last of them; the lab then goes as any other.
      await bringUp({ ...options, signal: abort.signal }).catch((error: unknown) =>
        assert.equal(error, reason),
      );
      clearTimeout(timer);
      if (!abort.signal.aborted) await takeDown({ lab, onProgress: () => {} });
      assert.deepEqual(existingNamespaces(lab), []);
      assert.ok(!existsSync(labPaths(lab).runDir));
    });
  }

  it('gives the cloud of the sample policy the socket of its own lab', () => {
    const file = new URL('../../templates/lab.yaml', import.meta.url).pathname;
    const addressIn = (name: string) =>
      (
        meantForLab(readLabPolicies([file]), name).find((one) => one.kind === 'cloud')!.spec as {
          address: string;
        }
      ).address;
    assert.equal(addressIn('lab'), '/run/weft/lab/lab.sock');
    assert.equal(addressIn('two'), '/run/weft/two/lab.sock');
  });

  it('says what is missing while services do not serve', () => {
    const status = {
      controller: { version: '0', uptimeMs: 0, revision: 1, reconciling: null, lastError: null },
      clouds: [{ name: 'lab', state: 'unreachable', message: 'no answer' }],
      services: [{ name: 'web', state: 'pending', addresses: [], message: 'no engine' }],
      engines: [],
      hosts: [],
      members: [],
      pools: [],
      operations: [],
    } as SystemStatus;
    assert.deepEqual(missingFor(status, ['web', 'basket']), [
      'service web is pending (no engine)',
      'service basket is not known',
      'cloud lab is unreachable (no answer)',
    ]);
    assert.deepEqual(
      missingFor({ ...status, services: [{ ...status.services[0]!, state: 'serving' }] }, ['web']),
      [],
    );
  });
});
