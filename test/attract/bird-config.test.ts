/** What engines say to routers: out of a service graph, as BIRD's configuration, and what BIRD says of it. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { birdConfig } from '../../src/attract/bird-config.ts';
import { readSessions } from '../../src/attract/bird-status.ts';
import { type Speech, speechOf } from '../../src/attract/speech.ts';
import type { GraphService } from '../../src/policy/graph.ts';
import { INSTALL_TIMEOUT_MS } from '../debian-package.ts';
import { graphFor } from '../engine-vm/dataplane/network.ts';
import { requireBird } from './bird.ts';

const BGP = {
  localAs: 64512,
  holdTimeSeconds: 3,
  bfd: true,
  peers: [
    { address: '10.0.0.1', as: 64513 },
    { address: 'fd00::1', as: 4_200_000_000 },
  ],
};

function graph(bgp: typeof BGP | undefined = BGP, announcers = ['A', 'B']) {
  const { engine, services } = graphFor('A');
  const routed: GraphService[] = services.map((service) => ({
    ...service,
    tiers: service.tiers.map((tier) => ({
      ...tier,
      addresses: [
        { address: '192.0.2.9', announcers, attraction: 'bgp' },
        { address: '2001:db8::9', announcers, attraction: 'bgp' },
        { address: '10.0.0.100', announcers: ['A'] },
      ],
    })),
  }));
  return { engine: { ...engine, ...(bgp ? { bgp } : {}) }, services: routed };
}

describe('what an engine says to routers', () => {
  it('are the addresses that it announces by BGP, each once, from its own address of the family', () => {
    const speech = speechOf(graph());
    assert.deepEqual(speech?.addresses, ['192.0.2.9', '2001:db8::9']);
    assert.deepEqual(speech.sessions, [
      { own: '10.0.0.201', router: '10.0.0.1', as: 64513 },
      { own: 'fd00::201', router: 'fd00::1', as: 4_200_000_000 },
    ]);
    assert.equal(speech.routerId, '10.0.0.201');
    assert.deepEqual(speech.bfd, { intervalMs: 100, multiplier: 5 }, 'dead after 500 ms, as among engines');
  });

  it('is nothing where the engine is left out, and no speech without routers or for an observer', () => {
    assert.deepEqual(speechOf(graph(BGP, ['B']))?.addresses, []);
    const { engine, services } = graph();
    const { bgp: _bgp, ...silent } = engine;
    assert.equal(speechOf({ engine: silent, services }), null);
    assert.equal(speechOf({ engine: { ...engine, mode: 'mirror' }, services }), null);
    const six = speechOf({ engine: { ...engine, dataAddresses: ['fd00::201/64'] }, services });
    assert.match(six!.routerId, /^\d+\.\d+\.\d+\.\d+$/);
    assert.equal(six!.sessions.length, 1);
  });

  it('is read back from what BIRD says of its sessions', () => {
    const said = `BIRD 2.0.12 ready.
Name       Proto      Table      State  Since         Info
device1    Device     ---        up     20:04:55.938
r_10_0_0_1 BGP        ---        up     20:04:57.185  Established
r_fd00__1  BGP        ---        start  20:05:03.050  Active        Socket: Connection reset by peer
r_fd00__2  BGP        ---        down   20:05:03.050
`;
    assert.deepEqual(readSessions(said, ['10.0.0.1', 'fd00::1', 'fd00::2', 'fd00::3']), {
      '10.0.0.1': 'Established',
      'fd00::1': 'Active Socket: Connection reset by peer',
      'fd00::2': 'down',
    });
    assert.deepEqual(readSessions('', ['10.0.0.1']), {});
  });

  it('is a configuration that BIRD takes', function () {
    this.timeout(INSTALL_TIMEOUT_MS);
    const bird = requireBird(this);
    const folder = mkdtempSync(join(tmpdir(), 'weft-bird-'));
    try {
      const speech = speechOf(graph())!;
      const forms: Speech[] = [speech, { ...speech, bfd: null }, { ...speech, addresses: [] }];
      for (const one of [...forms, { ...speech, sessions: [] }]) {
        const file = join(folder, 'bird.conf');
        writeFileSync(file, birdConfig(one));
        assert.equal(execFileSync(bird, ['-p', '-c', file], { encoding: 'utf8' }), '');
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
