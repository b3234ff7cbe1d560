import assert from 'node:assert/strict';
import { CONFIG_BYTES } from '../../../src/engine-vm/fastpath/flow-slots.ts';
import {
  SHARE_BYTES,
  SHARES,
  type ShareMemory,
  UpcallShares,
} from '../../../src/engine-vm/fastpath/upcall-shares.ts';
import { BALANCER, graphFor, VIP } from '../dataplane/network.ts';

const WORDS = SHARE_BYTES / 4;
const SERVICE = 4;
const TAKEN = 8;
const REFUSED = 9;
const MOST_OPENED = 10;
const TICK_MS = 8;

function memory(seed = 7): ShareMemory {
  const config = new ArrayBuffer(CONFIG_BYTES);
  new Int32Array(config)[0] = seed;
  return { config, shares: new ArrayBuffer(SHARE_BYTES * (SHARES + 1)) };
}

/** The entries that are in use, and what a kernel counts in them. */
function entriesOf({ shares }: ShareMemory): { count(taken: number, refused: number): void }[] {
  const words = new Int32Array(shares);
  const used = Array.from({ length: SHARES }, (_, entry) => entry * WORDS).filter(
    (at) => words[at + SERVICE] !== 0,
  );
  return used.map((at) => ({
    count(taken, refused) {
      words[at + TAKEN]! += taken;
      words[at + REFUSED]! += refused;
    },
  }));
}

describe('shares of services', () => {
  const graph = graphFor('A', { components: [BALANCER] });
  const addresses = graph.services.flatMap(({ tiers }) => tiers.flatMap((tier) => tier.addresses));

  it('are kept for every address of a service, and again in other memory', () => {
    const shares = new UpcallShares();
    shares.load(graph);
    for (const seed of [1, 2]) {
      const here = memory(seed);
      shares.use(here);
      assert.equal(entriesOf(here).length, addresses.length);
      shares.load({ ...graph, services: graph.services.slice(0, 1) });
      assert.ok(entriesOf(here).length < addresses.length);
      shares.load(graph);
    }
    assert.ok(addresses.some(({ address }) => address === VIP));
  });

  it('shrink while TypeScript never rests from new flows, and grow while it does and somebody is refused', () => {
    const shares = new UpcallShares();
    const here = memory();
    shares.use(here);
    shares.load(graph);
    const [flooded, spared] = entriesOf(here) as [
      { count(a: number, b: number): void },
      { count(a: number, b: number): void },
    ];
    let now = 0;
    const tick = (frames: number, idleMs: number, isCrowded = true) => {
      now += TICK_MS;
      shares.tick(now, frames, idleMs, isCrowded);
    };
    tick(0, TICK_MS);
    const atRest = shares.share;
    // Half of what came up is done.
    for (let n = 0; n < 6; n++) {
      flooded.count(shares.share * 2, 10_000);
      spared.count(3, 0);
      tick(shares.share, 0);
    }
    const under = shares.share;
    assert.ok(under < atRest / 4, `${under} of ${atRest}`);
    for (let n = 0; n < 100; n++) {
      flooded.count(under * 2, 1000);
      tick(under * 4, TICK_MS / 2, false);
    }
    assert.ok(shares.share > atRest, 'nobody else wants the time');
    for (let n = 0; n < 100; n++) tick(0, TICK_MS);
    assert.equal(shares.share, atRest);
    for (let n = 0; n < 200; n++) {
      flooded.count(1, 1000);
      tick(2, 0);
    }
    assert.ok(shares.share >= 64, 'a service is never shut out');
    assert.equal(shares.refused().size, 1, 'only the one that is flooded was refused anything');
  });

  it('use nearly all of the time for a flood, and let no queue stand', () => {
    const shares = new UpcallShares();
    const here = memory();
    shares.use(here);
    shares.load(graph);
    const [flooded] = entriesOf(here) as [{ count(a: number, b: number): void }];
    // So many packets can be done in a tick; what is left over is done in the next one.
    const most = 5000;
    let waiting = 0;
    let now = 0;
    let sum = 0;
    const left: number[] = [];
    for (let n = 0; n < 250; n++) {
      const taken = Math.round((shares.share * TICK_MS) / 4.194304);
      flooded.count(taken, 1000);
      waiting += taken;
      const done = Math.min(waiting, most);
      waiting -= done;
      now += TICK_MS;
      shares.tick(now, done, TICK_MS * (1 - done / most), waiting > 256);
      if (n < 50) continue;
      sum += done;
      left.push(waiting);
    }
    assert.ok(sum / 200 > most * 0.93, `${sum / 200} of ${most}`);
    assert.ok(Math.max(...left) < most / 4, `${Math.max(...left)}`);
  });

  it('stay as they are while all time is used and nobody has to wait for long', () => {
    const shares = new UpcallShares();
    const here = memory();
    shares.use(here);
    shares.load(graph);
    const [flooded] = entriesOf(here) as [{ count(a: number, b: number): void }];
    let now = 0;
    const tick = (idleMs: number, isCrowded: boolean) => {
      now += TICK_MS;
      flooded.count(shares.share * 2, 1000);
      shares.tick(now, shares.share * 2, idleMs, isCrowded);
    };
    for (let n = 0; n < 5; n++) tick(TICK_MS / 2, false);
    const grown = shares.share;
    for (let n = 0; n < 50; n++) tick(0, false);
    assert.equal(shares.share, grown);
    for (let n = 0; n < 5; n++) tick(0, true);
    assert.ok(shares.share < grown, `${shares.share} of ${grown}`);
  });

  it('are bounded for a service whose half-open flows push each other out, also over a new graph', () => {
    const shares = new UpcallShares();
    const here = memory();
    const words = new Int32Array(here.shares);
    const bounds = () =>
      words.filter((_, at) => at % WORDS === MOST_OPENED && words[at - MOST_OPENED + SERVICE] !== 0);
    shares.use(here);
    shares.load(graph);
    assert.ok(bounds().every((most) => most === 0));
    const { name, tiers } = graph.services[0]!;
    const own = tiers.flatMap((tier) => tier.addresses).length;
    shares.confine(new Set([name]), 16_384);
    // Three seconds for each of 16,384, in slices of 4.2 ms.
    const confined = [...bounds()].filter((most) => most > 0);
    assert.deepEqual(confined, new Array<number>(own).fill(22));
    shares.load({ ...graph });
    assert.equal([...bounds()].filter((most) => most > 0).length, own);
    shares.confine(new Set(), 16_384);
    assert.ok(bounds().every((most) => most === 0));
  });

  it('stay as they are while known flows take the time', () => {
    const shares = new UpcallShares();
    const here = memory();
    shares.use(here);
    shares.load(graph);
    shares.tick(TICK_MS, 0, TICK_MS);
    const before = shares.share;
    for (let n = 2; n < 50; n++) {
      for (const entry of entriesOf(here)) entry.count(2, 0);
      shares.tick(n * TICK_MS, 4000, 0);
    }
    assert.equal(shares.share, before);
    // The first tick after a standstill has only what had piled up.
    for (const idleMs of [1, 0, 1]) {
      entriesOf(here)[0]!.count(2, 0);
      shares.tick(1000, 2, idleMs);
    }
    assert.equal(shares.share, before);
  });
});
