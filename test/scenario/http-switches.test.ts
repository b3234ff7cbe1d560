/** Services that begin and end to be proxied, get and lose addresses, and engines that are upgraded, all under load. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { findVm } from '../../src/cli/lab-session.ts';
import { readLabStatus, upgradeEngine } from '../../src/lab/control.ts';
import { namespaceFile, namespaceOf } from '../../src/lab/world/names.ts';
import { parseDocuments } from '../../src/policy/parse.ts';
import { requireRoot } from '../root.ts';
import { KEPT_REQUESTS } from './requests-program.ts';
import { type ScenarioLab, startScenarioLab } from './running-lab.ts';
import { failuresOf, sleep } from './traffic.ts';

const SWITCHES = Number(process.env.WEFT_TEST_SWITCHES ?? 50);
const UPGRADES = Number(process.env.WEFT_TEST_UPGRADES ?? 3);
const FRONT = ['10.77.0.161', 'fd77::161'];
const MORE = '10.77.0.162';
const SLOW_MS = 1000;

const policy = (isProxied: boolean, addresses = FRONT) => `
kind: virtual-service
name: front
spec:
  engineGroup: edge
  tiers:
    - { name: shop, addresses: ${JSON.stringify(addresses)}, port: 80, pool: shop }
  components:
    - { type: load-balancer, method: round-robin }
  ${isProxied ? 'http: {}' : ''}
`;

interface Kept {
  requests: number;
  slowestMs: number;
  errors: string[];
}

describe('HTTP in line, switched under load', function () {
  this.timeout(300_000);
  const signal = new AbortController().signal;
  let lab: ScenarioLab;

  const apply = async (text: string): Promise<void> => {
    await lab.controller.apply(parseDocuments(text, 'http-switches'));
  };
  const inside = async (...command: string[]): Promise<string> => {
    const entry = `--net=${namespaceFile(namespaceOf(lab.name, 'client'))}`;
    return (await promisify(execFile)('nsenter', [entry, ...command])).stdout;
  };
  /** The client as the member's body tells it where a proxy says so; `` where the connection is the member's. */
  const forwardedFor = async (address: string): Promise<string | null> => {
    const text = await inside('curl', '-sS', '-m', '5', `http://${address}/json`).catch(() => null);
    return text === null ? null : ((JSON.parse(text) as { forwardedFor?: string }).forwardedFor ?? '');
  };
  const until = async (what: string, holds: () => Promise<boolean>, timeoutMs = 15_000): Promise<void> => {
    const deadline = performance.now() + timeoutMs;
    while (!(await holds())) {
      assert.ok(performance.now() < deadline, `not ${what}`);
      await sleep(30);
    }
  };
  const isProxied = async (address = FRONT[0]!): Promise<boolean> =>
    (await forwardedFor(address)) === '10.77.0.9';

  /** Does the work under load of both kinds, and holds every request to be answered, in time. */
  const losesNothing = async (work: () => Promise<unknown>, slowMs = SLOW_MS): Promise<void> => {
    lab.client.forget();
    lab.client.startLoad(
      FRONT.map((address) => ({ address, port: 80 })),
      { workers: 6, pauseMs: 5, timeoutMs: 5000 },
    );
    let isOver = false;
    const kept: Kept[] = [];
    const keeping = (async () => {
      while (!isOver) {
        const [node, ...targets] = [process.execPath, ...FRONT];
        kept.push(JSON.parse(await inside(node!, '-e', KEPT_REQUESTS, '6', '4000', ...targets)) as Kept);
      }
    })();
    await sleep(300);
    try {
      await work();
    } finally {
      isOver = true;
      await keeping;
      lab.client.stopLoad();
    }
    await sleep(500);
    const results = [...lab.client.results];
    const slow = results
      .filter(({ ms }) => ms > slowMs)
      .map(({ address, ms }) => `${address}: ${Math.round(ms)} ms`);
    const count = kept.reduce((sum, { requests }) => sum + requests, 0);
    const slowest = Math.max(...results.map(({ ms }) => ms), ...kept.map(({ slowestMs }) => slowestMs));
    console.log(
      `      ${results.length} requests on new connections, ${count} on kept ones, the slowest ${Math.round(slowest)} ms`,
    );
    assert.ok(results.length > 100 && count > 100, 'there was load');
    assert.deepEqual([...failuresOf(results), ...kept.flatMap(({ errors }) => errors)], [], 'failed');
    assert.deepEqual(slow, [], 'slow');
    assert.ok(slowest <= slowMs, 'slow on a kept connection');
  };

  before(async function () {
    requireRoot(this, 'scenarios in the lab');
    lab = await startScenarioLab('k');
    await apply(policy(false));
    await lab.until('all is in line and serves', ({ services, members }) => {
      const isServing = services.every((service) => service.state === 'serving');
      return isServing && members.every(({ health, isIntercepted }) => health === 'up' && isIntercepted);
    });
  });
  after(async () => lab?.close());

  it(`loses and delays no request where http is added and taken away ${SWITCHES} times`, async () => {
    await losesNothing(async () => {
      for (let n = 0; n < SWITCHES; n++) {
        const wanted = n % 2 === 0;
        await apply(policy(wanted));
        await until(`${wanted ? '' : 'not '}proxied`, async () => (await isProxied()) === wanted);
        // Also where the last change is not over yet.
        await sleep(n % 5 === 0 ? 500 : 0);
      }
    });
  });

  it('answers an address from its first connection on, added to a service that is proxied', async () => {
    await apply(policy(true));
    await until('proxied', () => isProxied());
    for (let n = 0; n < 2; n++) {
      await losesNothing(async () => {
        await apply(policy(true, [...FRONT, MORE]));
        const errors = new Set<string>();
        await until('served by the new address', async () => {
          const { error } = await lab.client.get({ address: MORE, port: 80 }, 1000);
          if (error !== null) errors.add(error);
          return error === null;
        });
        // Before an engine has the address nobody answers; what one answers is never a refusal.
        assert.equal(errors.has('ECONNREFUSED') || errors.has('ECONNRESET'), false, [...errors].join());
        assert.equal(await isProxied(MORE), true);
      });
      await apply(policy(true));
      await until('without it', async () => (await forwardedFor(MORE)) === null);
    }
  });

  it(`loses no request in ${UPGRADES} upgrades of its engines`, async () => {
    const { kind, name, spec } = await lab.controller.get('engine-group', 'edge');
    await lab.controller.apply([{ kind, name, spec: { ...(spec as object), deadAfterMs: 30_000 } }]);
    await apply(policy(true));
    await until('proxied', () => isProxied());
    await losesNothing(async () => {
      for (let n = 0; n < UPGRADES; n++) {
        const engine = findVm(await readLabStatus(lab.session, signal), `edge-h${1 + (n % 3)}`);
        await upgradeEngine(lab.session, engine.id, signal);
        await sleep(500);
      }
      // A SYN that comes while the one process has ended and the other not begun is sent again after 1 s.
    }, 3 * SLOW_MS);
    assert.equal(await isProxied(), true);
  });
});
