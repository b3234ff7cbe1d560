import assert from 'node:assert/strict';
import type { FastPathChoice } from '../../../src/policy/engine-group.ts';
import { INSTALL_TIMEOUT_MS } from '../../debian-package.ts';
import { requireRoot } from '../../root.ts';
import { hasEthtool } from './ethtool.ts';
import { FloodSite, SPARED } from './flood-site.ts';

const REQUESTS_MS = 1000;

describe('a flood of SYNs to one service', function () {
  this.timeout(60_000 + INSTALL_TIMEOUT_MS);
  let site: FloodSite | null = null;

  before(function () {
    requireRoot(this, 'floods of a live engine');
    if (!hasEthtool()) this.skip();
  });
  afterEach(async () => {
    await site?.close();
    site = null;
  });

  for (const kind of ['tc', 'xdp', 'off'] as const satisfies readonly FastPathChoice[]) {
    it(`fails no request to another one, and is reported, with the fast path ${kind}`, async () => {
      site = new FloodSite();
      await site.start(kind, (graph) => {
        graph.engine.maxFlows = 4096;
      });
      assert.deepEqual((await site.counted()).floods, {});
      const stop = await site.flood();
      const during = await site.request(SPARED, REQUESTS_MS);
      assert.equal(during.failed, 0, `of ${during.requests} requests`);
      assert.ok(during.requests > 0);
      let counted = await site.counted();
      while (counted.floods.flooded === undefined) counted = await site.counted();
      assert.equal(counted.floods.spared, undefined);
      const { refused, evicted } = counted.floods.flooded;
      assert.ok(refused + evicted > 0);
      assert.ok(counted.components['flooded/flood-guard/evicted']! >= evicted);
      assert.ok(counted.flows <= 4096);
      assert.equal(counted.drops.fault, 0);
      await stop();
      assert.equal((await site.request(SPARED, 200)).failed, 0);
    });
  }
});
