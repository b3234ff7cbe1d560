/** Requests while something happens, and what it means that a lab is whole again: shared by the scenario tests. */
import assert from 'node:assert/strict';
import type { RequestResult } from '../../src/cli/lab-run/client.ts';
import { readLabStatus } from '../../src/lab/control.ts';
import type { ScenarioLab } from './running-lab.ts';

/** Addresses that engines announce; the addresses of `basket` belong to members, who lose theirs with their host. */
const WEB = ['10.77.0.101', '10.77.0.102', '10.77.0.103', 'fd77::101', 'fd77::102', 'fd77::103'];
const ENGINES = ['edge-h1', 'edge-h2', 'edge-h3'];

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Runs `work` under load and gives every request that began and ended in that time. */
export async function underLoad(lab: ScenarioLab, work: () => Promise<unknown>): Promise<RequestResult[]> {
  lab.client.forget();
  const beganAt = performance.timeOrigin + performance.now();
  lab.client.startLoad(
    WEB.map((address) => ({ address, port: 80 })),
    { workers: 12, pauseMs: 10, timeoutMs: 4000 },
  );
  await sleep(300);
  try {
    await work();
  } finally {
    lab.client.stopLoad();
  }
  await sleep(300);
  return lab.client.results.filter(({ startedAt }) => startedAt >= beganAt);
}

/** A line for each request that failed. */
export function failuresOf(results: readonly RequestResult[]): string[] {
  return results.filter(({ error }) => error !== null).map(({ address, error }) => `${address}: ${error}`);
}

/** Everything as it is meant to be: nothing to do, members in line and up, one engine a host, traffic without loss. */
export async function whole(lab: ScenarioLab, timeoutMs = 15_000): Promise<void> {
  await lab.until(
    'everything serves',
    ({ services, engines, members }) =>
      services.every(({ state }) => state === 'serving') &&
      engines.length === 3 &&
      engines.every(({ state }) => state === 'ready') &&
      members.every(({ health, isIntercepted }) => health === 'up' && isIntercepted),
    timeoutMs,
  );
  const deadline = performance.now() + timeoutMs;
  let steps = await lab.controller.plan([]);
  while (steps.length > 0 && performance.now() < deadline) {
    await sleep(100);
    steps = await lab.controller.plan([]);
  }
  assert.deepEqual(steps, [], 'nothing is left to do');
  const { vms } = await readLabStatus(lab.session, AbortSignal.timeout(10_000));
  const engines = vms.filter((vm) => vm.engine !== null).map(({ name }) => name);
  assert.deepEqual(engines.sort(), ENGINES, 'one engine a host');
  assert.deepEqual(failuresOf(await underLoad(lab, () => sleep(300))), [], 'requests after the fault');
}
