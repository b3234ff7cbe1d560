/** Random and mutated frames into both ports of a live engine on the fast path: nothing forbidden reaches a member. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { INSTALL_TIMEOUT_MS } from '../../debian-package.ts';
import { requireRoot } from '../../root.ts';
import { line } from '../kernel/namespaces.ts';
import { hasEthtool } from './ethtool.ts';
import { FloodSite, SPARED } from './flood-site.ts';

const file = (name: string) => fileURLToPath(new URL(name, import.meta.url));
/** Into both ports together, of each kind of program; WEFT_TEST_FRAMES sets another number, WEFT_FUZZ_SEED repeats a run. */
const FRAMES = Number(process.env.WEFT_TEST_FRAMES ?? 200_000);
const SEED = Number(process.env.WEFT_FUZZ_SEED ?? Date.now() % 1_000_000);
const MAX_GROWTH_BYTES = 150 * 1024 * 1024;
/** Unlike the member's address in every byte: no frame becomes one to the member itself by a changed byte or three. */
const GUARDED = '172.30.55.77';
const ALLOWED = '10.64.1.';
const ADDRESSES = [GUARDED, `${ALLOWED}5`, `${ALLOWED}6`, '10.64.9.9', '172.16.3.3', 'fd99::77', 'fd64::9'];

interface Seen {
  frames: number;
  allowed: number;
  leaks: string[];
}

describe('hostile frames on the fast path', function () {
  // Whoever sets another number of frames has the time.
  this.timeout(60_000 + INSTALL_TIMEOUT_MS + FRAMES / 10);
  let site: FloodSite | null = null;

  before(function () {
    requireRoot(this, 'hostile frames on a live engine');
    if (!hasEthtool()) this.skip();
  });
  afterEach(async () => {
    await site?.close();
    site = null;
  });

  for (const kind of ['tc', 'xdp'] as const) {
    it(`reach members only where the policy allows it, and leave the engine whole (${FRAMES} frames, ${kind}, seed ${SEED})`, async () => {
      site = new FloodSite();
      const { spaces, client, server, engineSpace } = site;
      await site.start(kind, (graph) => {
        // Open, a starved engine's packets would pass unjudged, as its policy says.
        graph.engine.failMode = 'closed';
        const [like] = graph.services;
        graph.services.push({
          ...like!,
          name: 'guarded',
          tiers: [{ ...like!.tiers[0]!, addresses: [{ address: GUARDED, announcers: ['A'] }] }],
          components: [
            {
              type: 'firewall',
              policy: 'f',
              defaultAction: 'deny',
              rules: [{ name: 'r', action: 'allow', from: [`${ALLOWED}0/24`], protocol: 'any' }],
            },
            ...like!.components,
          ],
        });
      });
      const sink = spaces.start(server, file('sink-program.ts'), [
        'eth0',
        '10.99.0.2',
        '8001',
        GUARDED,
        ALLOWED,
      ]);
      await line(sink);
      // A client that the policy allows, in the middle of it all.
      spaces.ip(client, `addr add ${ALLOWED}200/32 dev eth0`);
      spaces.ip(client, `route add ${GUARDED} dev eth0 src ${ALLOWED}200`);
      spaces.ip(server, `neigh replace 10.99.0.254 lladdr ${site.macOf(client, 'eth0')} dev eth0`);
      assert.equal((await site.request(GUARDED, 200)).failed, 0);
      const before = residentBytes(site.enginePid);
      const engineMac = site.macOf(engineSpace, 'out');
      const memberMac = site.macOf(server, 'eth0');
      const clientMac = site.macOf(client, 'eth0');
      const storms = [
        [client, [clientMac, '02:cc:00:00:00:77'], [engineMac, memberMac, 'ff:ff:ff:ff:ff:ff']],
        [server, [memberMac, engineMac, '02:aa:00:00:00:77'], [engineMac, clientMac, 'ff:ff:ff:ff:ff:ff']],
      ] as const;
      const amid = site.request(GUARDED, 1000);
      const sent = await Promise.all(
        storms.map(async ([space, from, to], index) => {
          const storm = spaces.start(space, file('../../scenario/frame-storm.ts'), [
            'eth0',
            String(SEED + index),
            String(FRAMES / 2),
            from.join(','),
            to.join(','),
            ADDRESSES.join(','),
          ]);
          return (JSON.parse(await line(storm)) as { sent: number }).sent;
        }),
      );
      assert.equal(sent[0]! + sent[1]!, FRAMES);
      assert.ok((await amid).requests > 0);
      // What is under way arrives.
      await line(sink);
      await line(sink);
      const seen = JSON.parse(await line(sink)) as Seen;
      assert.deepEqual(seen.leaks, [], 'frames that the policy forbids');
      assert.ok(seen.allowed > 0, `of ${seen.frames} frames at the member none was allowed`);
      const growth = residentBytes(site.enginePid) - before;
      assert.ok(growth < MAX_GROWTH_BYTES, `the engine grew by ${growth} bytes`);
      const counted = await site.counted();
      assert.equal(counted.drops.fault, 0, 'no frame made the data plane throw');
      assert.ok(counted.drops.malformed! > 0);
      assert.ok(counted.path.kernelPackets > 0);
      assert.ok(counted.flows <= 65_536);
      console.log(
        `      ${kind}: ${seen.frames} at the member, ${seen.allowed} allowed; ${counted.path.kernelPackets} forwarded by the kernel, ${counted.path.typescriptPackets} by TypeScript; grown by ${Math.round(growth / 1e6)} MB; drops ${JSON.stringify(counted.drops)}`,
      );
      for (const address of [GUARDED, SPARED]) assert.equal((await site.request(address, 200)).failed, 0);
    });
  }
});

function residentBytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
}
