/** A full flow table between real hosts: what does not fit is forwarded by hash, or dropped, and reported. */
import assert from 'node:assert/strict';
import type { FastPathChoice } from '../../../src/policy/engine-group.ts';
import type { ServiceGraph } from '../../../src/policy/graph.ts';
import { INSTALL_TIMEOUT_MS } from '../../debian-package.ts';
import { requireRoot } from '../../root.ts';
import { hasEthtool } from './ethtool.ts';
import { FLOODED, FloodSite, SPARED } from './flood-site.ts';

/** Connections that have ended keep their records for a while: after so many the table is full. */
const MOST_FLOWS = 16;
const REQUESTS_MS = 1000;

function full(graph: ServiceGraph): void {
  graph.engine.maxFlows = MOST_FLOWS;
  const spared = graph.services.find(({ name }) => name === 'spared');
  spared!.whenTableFull = 'hash';
}

describe('a full flow table between real hosts', function () {
  this.timeout(60_000 + INSTALL_TIMEOUT_MS);
  let site: FloodSite | null = null;

  before(function () {
    requireRoot(this, 'a live engine with a full flow table');
    if (!hasEthtool()) this.skip();
  });
  afterEach(async () => {
    await site?.close();
    site = null;
  });

  for (const kind of ['tc', 'xdp', 'off'] as const satisfies readonly FastPathChoice[]) {
    it(`fails no connection of a service that forwards by hash, with the fast path ${kind}`, async () => {
      site = new FloodSite();
      await site.start(kind, full);
      const { requests, failed } = await site.request(SPARED, REQUESTS_MS);
      assert.equal(failed, 0, `of ${requests} requests`);
      assert.ok(requests > MOST_FLOWS * 2, `${requests}`);
      let counted = await site.counted();
      const hashed = counted.components['spared/table-full/hashed'] ?? 0;
      // Each of its packets is TypeScript's: SYN, ACK and FIN at the least.
      assert.ok(hashed > (requests - MOST_FLOWS) * 3, `${hashed} packets of ${requests} connections`);
      assert.equal(counted.components['spared/table-full/refused'], undefined);
      assert.ok(counted.fullTables.spared!.hashed > 0);
      assert.equal(counted.fullTables.flooded, undefined);
      assert.ok(counted.flows <= MOST_FLOWS);
      assert.equal(counted.drops.fault, 0);
      // The other service drops what finds no room.
      const dropped = await site.request(FLOODED, 1);
      assert.equal(dropped.requests, 1);
      counted = await site.counted();
      assert.equal(counted.components['flooded/table-full/hashed'], undefined);
      assert.ok(dropped.failed === 0 || counted.components['flooded/table-full/refused']! > 0);
    });
  }
});
