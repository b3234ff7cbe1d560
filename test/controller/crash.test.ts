/** A controller that is killed at any change it makes leaves nothing double and nothing behind. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Placement } from '../../src/controller/actual.ts';
import type { CloneRecord } from '../../src/controller/autoscale/fleet.ts';
import { datacenterOf } from '../hypervisor/memory-platform.ts';
import { openSite, type Site, settle } from './crash-site.ts';
import { applyShop } from './harness.ts';

const PROGRAM = join(import.meta.dirname, 'crash-site.ts');
/** Controllers that are killed at the same time. */
const AT_ONCE = 4;

/** Returns whether the controller was killed, rather than finished. */
function runAndKill(directory: string, number: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', PROGRAM, directory, String(number)],
      { stdio: ['ignore', 'inherit', 'inherit'] },
    );
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      if (signal === 'SIGKILL') resolve(true);
      else if (code === 0) resolve(false);
      else reject(new Error(`the controller ended with ${code ?? signal} before change ${number}`));
    });
  });
}

describe('crash', function () {
  this.timeout(120_000);
  let root: string;
  before(() => {
    root = mkdtempSync(join(tmpdir(), 'weft-crash-'));
  });
  after(() => rmSync(root, { recursive: true, force: true }));

  /** Kills a controller at every change on the way from a site's state to its policy, and lets another one finish. */
  async function everyChange(template: string, check: (site: Site) => Promise<void>): Promise<number> {
    let next = 1;
    let isOver = false;
    let kills = 0;
    const worker = async (): Promise<void> => {
      while (!isOver) {
        const number = next++;
        const directory = `${template}-${number}`;
        cpSync(template, directory, { recursive: true });
        if (!(await runAndKill(directory, number))) isOver = true;
        else kills++;
        const site = await openSite(directory);
        try {
          await site.harness.start();
          await settle(site);
          assert.deepEqual(site.harness.violations, [], `killed at change ${number}`);
          await check(site);
        } finally {
          await site.close();
        }
        rmSync(directory, { recursive: true });
      }
    };
    const stopAll = (error: unknown): never => {
      isOver = true;
      throw error;
    };
    await Promise.all(Array.from({ length: AT_ONCE }, () => worker().catch(stopAll)));
    return kills;
  }

  async function prepare(name: string, edit: (site: Site) => Promise<void>): Promise<string> {
    const directory = mkdtempSync(join(root, `${name}-`));
    const state = datacenterOf({ h1: ['app1', 'app2'], h2: ['app3'] });
    writeFileSync(join(directory, 'datacenter.json'), JSON.stringify(state));
    const site = await openSite(directory);
    await edit(site);
    await site.close();
    return directory;
  }

  it('on the way into service, at every change: one engine per host, every member in line', async () => {
    const template = await prepare('apply', (site) => applyShop(site.harness));
    const kills = await everyChange(template, async ({ harness }) => {
      const { vms } = harness.datacenter.state;
      const engines = vms.filter((vm) => vm.engine !== null);
      assert.deepEqual(engines.map((vm) => `${vm.engine} on ${vm.host}`).sort(), [
        'edge-h1 on h1',
        'edge-h2 on h2',
      ]);
      for (const app of ['app1', 'app2', 'app3']) assert.equal(harness.segmentOf(app), 'prod-weft');
      assert.equal(await harness.service('web'), 'serving');
      const interceptions = await harness.store.list('interception/');
      assert.deepEqual(
        interceptions.map(({ key, value }) => [key, value]),
        ['app1', 'app2', 'app3'].map((name) => [`interception/lab/id-${name}/eth0`, { segment: 'prod' }]),
      );
      const placements = (await harness.store.list<Placement>('placement/edge-')).map(({ value }) => value);
      assert.equal(new Set(placements.flatMap((placement) => placement.addresses)).size, 2);
      assert.deepEqual(placements.map((placement) => placement.vm).sort(), engines.map((vm) => vm.id).sort());
    });
    assert.ok(kills >= 25, `killed ${kills} times`);
  });

  it('on the way out of service, at every change: nothing of ours is left', async () => {
    const template = await prepare('remove', async (site) => {
      await applyShop(site.harness);
      await site.harness.start();
      await settle(site);
      await site.harness.stop();
      await site.harness.remove('virtual-service', 'web');
    });
    const kills = await everyChange(template, async ({ harness }) => {
      const { hosts, vms } = harness.datacenter.state;
      assert.deepEqual(
        vms.map((vm) => [vm.name, vm.nics[0]?.segment]),
        ['app1', 'app2', 'app3'].map((name) => [name, 'prod']),
      );
      assert.deepEqual(
        hosts.flatMap((host) => host.segments.filter((segment) => segment.role === 'shadow')),
        [],
      );
      assert.deepEqual(
        (await harness.store.list('placement/')).map(({ key }) => key),
        ['placement/cloud/lab'],
      );
      assert.deepEqual(await harness.store.list('interception/'), []);
    });
    assert.ok(kills >= 20, `killed ${kills} times`);
  });

  const scaled = (size: number): unknown => ({
    cloud: 'lab',
    members: { tags: ['app=shop'] },
    port: 8080,
    autoscale: { max: 6, size, drainTimeoutMs: 400 },
  });

  it('on the way to a larger pool, at every change: no clone too many, none forgotten', async () => {
    const template = await prepare('grow', async (site) => {
      await applyShop(site.harness);
      await site.harness.start();
      await settle(site);
      await site.harness.stop();
      await site.harness.apply('pool', 'shop', scaled(5));
    });
    const kills = await everyChange(template, async ({ harness }) => {
      const clones = harness.datacenter.state.vms.filter((vm) => vm.id.includes('clone of'));
      assert.deepEqual(clones.map((vm) => [vm.name, vm.power, vm.nics[0]?.segment]).sort(), [
        ['shop-1', 'on', 'prod-weft'],
        ['shop-2', 'on', 'prod-weft'],
      ]);
      const records = await harness.store.list<CloneRecord>('autoscale/shop/');
      assert.deepEqual(
        records.map(({ value }) => [value.clone.name, value.vm, value.phase]),
        clones.map((vm) => [vm.name, vm.id, 'ready']).sort((a, b) => (a[0]! < b[0]! ? -1 : 1)),
      );
    });
    assert.ok(kills >= 10, `killed ${kills} times`);
  });

  it('on the way back to a smaller pool, at every change: no clone is left, and nobody else is gone', async () => {
    const template = await prepare('shrink', async (site) => {
      await applyShop(site.harness);
      await site.harness.apply('pool', 'shop', scaled(5));
      await site.harness.start();
      await settle(site);
      await site.harness.stop();
      await site.harness.apply('pool', 'shop', scaled(3));
    });
    const kills = await everyChange(template, async ({ harness }) => {
      const members = harness.datacenter.state.vms.filter((vm) => vm.engine === null);
      assert.deepEqual(
        members.map((vm) => vm.name),
        ['app1', 'app2', 'app3'],
      );
      assert.deepEqual(await harness.store.list('autoscale/shop/'), []);
      const kept = (await harness.store.list('interception/')).map(({ key }) => key);
      assert.equal(kept.length, 3, kept.join(' '));
    });
    assert.ok(kills >= 8, `killed ${kills} times`);
  });
});
