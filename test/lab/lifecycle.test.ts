/** A lab outlives its daemon, and nothing outlives `weft lab down`. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { takeDown } from '../../src/cli/lab-down.ts';
import { openLab } from '../../src/lab/index.ts';
import { run } from '../../src/lab/world/iproute.ts';
import { existingNamespaces, labPaths, namespaceOf, requireLabName } from '../../src/lab/world/names.ts';
import {
  isAlive,
  killProcess,
  type ProcessRef,
  pidsIn,
  readPidFile,
  refOf,
} from '../../src/lab/world/process.ts';
import { isWeftError } from '../../src/policy/errors.ts';
import { eventually, type LabUnderTest, requireRootOrSkip, startLab } from './lab-under-test.ts';

const never = new AbortController().signal;

describe('lab lifecycle', () => {
  let lab: LabUnderTest;
  let linksBefore: string;

  before(async function () {
    requireRootOrSkip(this);
    linksBefore = await run('ip', ['-o', 'link', 'show'], '');
    lab = await startLab('l');
  });
  after(() => lab?.stop());

  const daemon = (): ProcessRef => readPidFile(labPaths(lab.lab).daemonPid)!;

  it('makes nothing in the root namespace', async () => {
    assert.equal(await run('ip', ['-o', 'link', 'show'], ''), linksBefore);
  });

  it('keeps its VMs when the daemon is killed, and the next daemon takes them over', async () => {
    const platform = openLab({ socket: labPaths(lab.lab).socket });
    const before = await platform.inventory(never);
    const pidsBefore = (await lab.status()).vms.map((vm) => vm.pid);
    await killProcess(daemon());
    await assert.rejects(platform.inventory(never), (error) =>
      isWeftError(error, 'ERR_HYPERVISOR_UNREACHABLE'),
    );

    await lab.startDaemon();
    const after = await platform.inventory(never);
    assert.deepEqual(after.vms, before.vms);
    assert.deepEqual(
      (await lab.status()).vms.map((vm) => vm.pid),
      pidsBefore,
    );
    assert.equal(
      await platform.watch(before.cursor, never),
      after.cursor,
      'the old cursor is not known any more',
    );
    await platform.close();
  });

  it('notices that a VM crashed which an earlier daemon had started', async () => {
    const platform = openLab({ socket: labPaths(lab.lab).socket });
    const { cursor } = await platform.inventory(never);
    const victim = (await lab.status()).vms.find((vm) => vm.name === 'app2')!;
    process.kill(victim.pid!, 'SIGKILL');
    await platform.watch(cursor, never);
    assert.equal((await platform.inventory(never)).vms.find((vm) => vm.id === victim.id)!.power, 'off');
    assert.ok(!existingNamespaces(lab.lab).includes(victim.namespace), 'a VM that is off has no namespace');
    await platform.power(victim.id, 'on', never);
    await platform.close();
  });

  it('shows VMs that crashed while there was no daemon as off', async () => {
    const victim = (await lab.status()).vms.find((vm) => vm.name === 'app3')!;
    await killProcess(daemon());
    process.kill(victim.pid!, 'SIGKILL');
    await lab.startDaemon();
    const vm = (await lab.status()).vms.find((one) => one.name === 'app3')!;
    assert.deepEqual([vm.power, vm.pid], ['off', null]);
  });

  it('keeps its run directory to root', async () => {
    const { runDir, socket } = labPaths(lab.lab);
    const modes = await run('stat', ['-c', '%a', runDir, socket], '');
    assert.deepEqual(modes.trim().split('\n'), ['700', '600']);
  });

  it('leaves nothing after everything was killed and the lab taken down, and goes quietly the second time', async () => {
    const { vms } = await lab.status();
    const others = readdirSync('/run/netns').filter((name) => !name.startsWith(namespaceOf(lab.lab, '')));
    const refs = vms.filter((vm) => vm.pid !== null).map((vm) => refOf(vm.pid!));
    const stray = pidsIn(namespaceOf(lab.lab, 'app1')).map(refOf);
    await killProcess(daemon());
    for (const ref of refs) await killProcess(ref);

    const lines: string[] = [];
    const gone = await takeDown({ lab: lab.lab, onProgress: (line) => lines.push(line) });
    assert.ok(gone.namespaces > 0 && gone.hadRunDir);
    assert.ok(lines.some((line) => line.includes('namespaces')));
    assert.deepEqual(existingNamespaces(lab.lab), []);
    assert.ok(!existsSync(labPaths(lab.lab).runDir));
    assert.ok([...refs, ...stray].every((ref) => !isAlive(ref)));
    assert.equal(await run('ip', ['-o', 'link', 'show'], ''), linksBefore);
    const left = new Set(readdirSync('/run/netns'));
    assert.ok(
      others.every((name) => left.has(name) || !name.startsWith('weft-t')),
      'other labs are untouched',
    );
    assert.deepEqual(processesNaming(lab.lab), []);

    assert.deepEqual(await takeDown({ lab: lab.lab, onProgress: (line) => lines.push(line) }), {
      processes: 0,
      namespaces: 0,
      hadRunDir: false,
    });
  });

  it('ends a running lab with its daemon and processes', async () => {
    await eventually(async () => (await lab.startDaemon()) > 0);
    const { vms } = await lab.status();
    const refs = [daemon(), ...vms.map((vm) => refOf(vm.pid!))];
    await takeDown({ lab: lab.lab, onProgress: () => {} });
    assert.ok(refs.every((ref) => !isAlive(ref)));
    assert.deepEqual(processesNaming(lab.lab), []);
  });

  it('takes no name that could be part of another', () => {
    for (const name of ['', 'a-b', '../x', 'Lab', 'ninechars', 'a b']) {
      assert.throws(
        () => requireLabName(name),
        (error) => isWeftError(error, 'ERR_USAGE'),
        name,
      );
    }
  });
});

/** Command lines of processes that are about the run directory of a lab. */
function processesNaming(lab: string): string[] {
  const runDir = labPaths(lab).runDir;
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
        return command.includes(`${runDir}/`) ? [command] : [];
      } catch {
        return [];
      }
    });
}
