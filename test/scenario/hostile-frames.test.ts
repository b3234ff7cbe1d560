/** Random and mutated frames into both ports of live engines: counted drops, no crash, service goes on. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readLabStatus } from '../../src/lab/control.ts';
import { namespaceFile, namespaceOf } from '../../src/lab/world/names.ts';
import { requireRoot } from '../root.ts';
import { type ScenarioLab, startScenarioLab } from './running-lab.ts';

const PROGRAM = join(import.meta.dirname, 'frame-storm.ts');
/** Frames into each port; WEFT_FUZZ_SEED repeats a run. */
const FRAMES = 60_000;
const SEED = Number(process.env.WEFT_FUZZ_SEED ?? Date.now() % 1_000_000);
const MAX_GROWTH_BYTES = 150 * 1024 * 1024;

describe('hostile frames on live engines', function () {
  this.timeout(60_000);
  const signal = new AbortController().signal;
  let lab: ScenarioLab;

  before(async function () {
    requireRoot(this, 'scenarios in the lab');
    lab = await startScenarioLab('h');
  });
  after(async () => lab?.close());

  for (const side of ['out', 'in'] as const) {
    it(`never stop an engine, through its ${side} port (seed ${SEED})`, async () => {
      const { vms } = await readLabStatus(lab.session, signal);
      const engines = vms.filter((vm) => vm.engine);
      const outMacs = engines.map((vm) => vm.nics.find((nic) => nic.id === 'out')!.mac);
      const app = vms.find((vm) => vm.name === 'app1')!;
      const memory = (): number[] => engines.map((vm) => residentBytes(vm.pid!));
      const before = memory();
      const namespace = namespaceOf(lab.name, side === 'out' ? 'client' : app.name);
      // A VM may pretend to be an engine; on the production side switches refuse forged sources.
      const ownMac = side === 'out' ? macOf(namespace) : app.nics[0]!.mac;
      const sources = side === 'out' ? [ownMac] : [ownMac, ...outMacs];
      const destinations = [
        ...outMacs,
        ...vms.filter((vm) => !vm.engine).map((vm) => vm.nics[0]!.mac),
        'ff:ff:ff:ff:ff:ff',
      ];
      const addresses = [
        '10.77.0.101',
        '10.77.0.102',
        '10.77.0.11',
        '10.77.0.13',
        '10.77.0.9',
        '10.77.0.201',
        'fd77::101',
        'fd77::11',
        'fd77::9',
      ];
      const storm = spawnSync(
        'nsenter',
        [
          `--net=${namespaceFile(namespace)}`,
          process.execPath,
          '--disable-warning=ExperimentalWarning',
          PROGRAM,
          'eth0',
          String(SEED),
          String(FRAMES),
          sources.join(','),
          destinations.join(','),
          addresses.join(','),
        ],
        { encoding: 'utf8' },
      );
      assert.equal(storm.status, 0, storm.stderr);
      assert.ok(JSON.parse(storm.stdout).sent > FRAMES / 2, storm.stdout);

      const status = await lab.until('every engine is ready', ({ engines: all }) =>
        all.every((engine) => engine.state === 'ready'),
      );
      for (const [index, bytes] of memory().entries()) {
        assert.ok(
          bytes - before[index]! < MAX_GROWTH_BYTES,
          `engine ${engines[index]!.name} grew from ${before[index]} to ${bytes} bytes`,
        );
      }
      const counted = status.engines.flatMap((engine) => Object.entries(engine.drops));
      assert.ok(
        counted.some(([reason, packets]) => reason !== 'fault' && packets > 0),
        'drops are counted',
      );
      assert.deepEqual(
        counted.filter(([reason, packets]) => reason === 'fault' && packets > 0),
        [],
        'no packet made the data plane throw',
      );
      for (const address of ['10.77.0.101', '10.77.0.102', '10.77.0.103', 'fd77::101']) {
        assert.equal((await lab.client.get({ address, port: 80 })).error, null, `${address} answers`);
      }
      const after = (await readLabStatus(lab.session, signal)).vms
        .filter((vm) => vm.engine)
        .map((vm) => vm.pid);
      assert.deepEqual(
        after,
        engines.map((vm) => vm.pid),
        'the same processes run',
      );
    });
  }
});

function residentBytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
}

function macOf(namespace: string): string {
  const { stdout } = spawnSync('ip', ['-n', namespace, '-br', 'link', 'show', 'eth0'], { encoding: 'utf8' });
  return /([0-9a-f]{2}:){5}[0-9a-f]{2}/.exec(stdout)![0];
}
