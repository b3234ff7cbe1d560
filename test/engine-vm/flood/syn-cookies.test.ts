/** SYN cookies between real TCP stacks. */
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { TIMEOUTS } from '../../../src/engine-vm/flow/flow-life.ts';
import type { FastPathChoice } from '../../../src/policy/engine-group.ts';
import type { ServiceGraph } from '../../../src/policy/graph.ts';
import { INSTALL_TIMEOUT_MS } from '../../debian-package.ts';
import { requireRoot } from '../../root.ts';
import { line } from '../kernel/namespaces.ts';
import { hasEthtool } from './ethtool.ts';
import { FLOODED, FloodSite } from './flood-site.ts';

const ECHO = fileURLToPath(new URL('echo-program.ts', import.meta.url));
const ECHOED = '10.99.0.52';
const REQUESTS_MS = 500;
/** So that connections that have just ended do not fill the table. */
const PAUSE_MS = 5;
const FLOODED_MS = 3000;

/** The flooded service has cookies in floods; a third one, which echoes, always. */
function withCookies(graph: ServiceGraph): void {
  graph.engine.maxFlows = 1024;
  // What the flood leaves half open stays so until the test is over, however slow the machine is.
  graph.engine.timeouts = { ...TIMEOUTS, tcpHalfOpenMs: 60_000 };
  graph.pools.push({
    name: 'echo',
    port: 8003,
    healthMonitors: [],
    members: [{ member: 0, weight: 1, isDraining: false }],
  });
  const [flooded] = graph.services;
  graph.services.push({
    ...structuredClone(flooded!),
    name: 'echo',
    synCookies: 'always',
    tiers: [{ name: 'front', port: 80, pool: 2, addresses: [{ address: ECHOED, announcers: ['A'] }] }],
  });
  flooded!.synCookies = 'auto';
}

describe('SYN cookies between real hosts', function () {
  this.timeout(60_000 + INSTALL_TIMEOUT_MS);
  let site: FloodSite | null = null;

  before(function () {
    requireRoot(this, 'SYN cookies of a live engine');
    if (!hasEthtool()) this.skip();
  });
  afterEach(async () => {
    await site?.close();
    site = null;
  });

  it('come from the XDP program for what TypeScript has no time for, so that clients get in at the height of a flood', async () => {
    site = new FloodSite();
    await site.start('xdp', (graph) => {
      graph.services[0]!.synCookies = 'always';
    });
    const stop = await site.flood();
    const { requests, failed } = await site.request(FLOODED, FLOODED_MS, PAUSE_MS);
    const sent = await stop();
    const counted = await site.counted();
    console.log(`      ${sent} SYNs, ${requests} requests, ${JSON.stringify(counted.floods)}`);
    assert.equal(failed, 0, `of ${requests} requests`);
    const answered = counted.components['flooded/syn-cookies/sent']!;
    assert.ok(answered > sent / 4, `${answered} of ${sent} were answered`);
    assert.ok(requests > 0, 'clients get in');
    assert.equal(counted.drops.fault, 0);
  });

  for (const kind of ['tc', 'xdp'] as const satisfies readonly FastPathChoice[]) {
    it(`keep connections whole, and let clients in while a flood lasts, with the fast path ${kind}`, async () => {
      site = new FloodSite();
      await site.start(kind, withCookies);
      await line(site.spaces.start(site.server, ECHO, ['serve', '0.0.0.0', '8003']));
      const echo = site.spaces.start(site.client, ECHO, ['send', ECHOED, '80', '2000000']);
      assert.equal(await line(echo), 'same');
      const first = await site.counted();
      assert.equal(first.components['echo/syn-cookies/proven'], 1);
      assert.equal(first.components['flooded/syn-cookies/sent'], undefined);

      const stop = await site.flood();
      let counted = await site.counted();
      while ((counted.floods.flooded?.answered ?? 0) === 0) counted = await site.counted();
      await stop();
      // The flood is over, its half-open flows and the alarm are still there.
      const { requests, failed } = await site.request(FLOODED, REQUESTS_MS, PAUSE_MS);
      assert.equal(failed, 0, `of ${requests} requests`);
      counted = await site.counted();
      assert.ok(requests > 0 && counted.components['flooded/syn-cookies/proven']! > 0);
      assert.ok(counted.flows <= 1024);
      assert.equal(counted.drops.fault, 0);
    });
  }
});
