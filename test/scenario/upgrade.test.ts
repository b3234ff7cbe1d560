/** Engines that are upgraded in place under traffic: nothing fails, nobody is bypassed, and nothing is left behind. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { findVm } from '../../src/cli/lab-session.ts';
import { readLabStatus, upgradeEngine } from '../../src/lab/control.ts';
import { labPaths } from '../../src/lab/world/names.ts';
import { requireRoot } from '../root.ts';
import { type ScenarioLab, startScenarioLab } from './running-lab.ts';
import { failuresOf, sleep, whole } from './traffic.ts';

const WEB = ['10.77.0.101', '10.77.0.102', '10.77.0.103'];
/** On a slow machine too an engine is back within its dead time. */
const DEAD_AFTER_MS = 30_000;
const UPGRADES = Number(process.env.WEFT_TEST_UPGRADES ?? 6);

describe('upgrade of engines under traffic', function () {
  this.timeout(240_000);
  const signal = new AbortController().signal;
  let lab: ScenarioLab;

  before(async function () {
    requireRoot(this, 'scenarios in the lab');
    lab = await startScenarioLab('u');
  });
  after(async () => lab?.close());

  const engineOf = async (name: string) => findVm(await readLabStatus(lab.session, signal), name);
  const mounts = (): string[] =>
    readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => line.includes(` ${labPaths(lab.name).runDir}/`));

  it(`fails no request in ${UPGRADES} upgrades, and bypasses nobody`, async () => {
    const { kind, name, spec } = await lab.controller.get('engine-group', 'edge');
    await lab.controller.apply([{ kind, name, spec: { ...(spec as object), deadAfterMs: DEAD_AFTER_MS } }]);
    await whole(lab);
    const names = ['edge-h1', 'edge-h2', 'edge-h3'];
    let bypassed = 0;
    let isOver = false;
    const gaps: number[] = [];
    lab.client.forget();
    lab.client.startLoad(
      WEB.map((address) => ({ address, port: 80 })),
      { workers: 6, pauseMs: 20, timeoutMs: 20_000 },
    );
    const watching = (async () => {
      while (!isOver) {
        const { members } = await lab.controller.status();
        if (members.some(({ isIntercepted }) => !isIntercepted)) bypassed++;
        await sleep(100);
      }
    })();
    for (let upgrade = 0; upgrade < UPGRADES; upgrade++) {
      const { id, pid } = await engineOf(names[upgrade % names.length]!);
      const from = performance.now();
      await upgradeEngine(lab.session, id, signal);
      gaps.push(performance.now() - from);
      assert.notEqual((await engineOf(names[upgrade % names.length]!)).pid, pid);
      await sleep(500);
    }
    isOver = true;
    await watching;
    lab.client.stopLoad();
    await sleep(1000);
    const { results } = lab.client;
    const times = results.map(({ ms }) => ms).sort((one, other) => one - other);
    console.log(
      `      ${results.length} requests, p99 ${Math.round(times[Math.floor(times.length * 0.99)]!)} ms, slowest ${Math.round(times.at(-1)!)} ms; a new process took up to ${Math.round(Math.max(...gaps))} ms; ${bypassed} looks saw a bypassed member`,
    );
    assert.ok(results.length > 100);
    assert.deepEqual(failuresOf(results), []);
    assert.equal(bypassed, 0);
    await whole(lab);
  });

  it('refuses a VM that is no engine, and one that is off', async () => {
    const app = await engineOf('app1');
    await assert.rejects(
      upgradeEngine(lab.session, app.id, signal),
      /app1 is no engine; engines are .*edge-h1/,
    );
  });

  it('leaves no file system mounted when an engine is removed or the lab is down', async () => {
    assert.equal(mounts().length, 3);
    await lab.close();
    assert.deepEqual(mounts(), []);
  });
});
