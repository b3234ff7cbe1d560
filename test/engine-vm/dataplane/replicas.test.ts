import assert from 'node:assert/strict';
import { CompiledGraph } from '../../../src/engine-vm/dataplane/compiled-graph.ts';
import { nameHash } from '../../../src/engine-vm/dataplane/control.ts';
import { REPLICAS, Replicas } from '../../../src/engine-vm/dataplane/replicas.ts';
import { Packet } from '../../../src/packet/packet.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../../../src/packet/parse.ts';
import { graphFor, NAMES } from './network.ts';

const A1 = nameHash('cloud/a1/nic0');
const B2 = nameHash('cloud/b2/nic0');

function key(client: number): Packet {
  const packet = new Packet();
  packet.protocol = PROTOCOL_TCP;
  packet.s3 = client;
  packet.sourcePort = client & 0xffff;
  packet.destinationPort = 80;
  return packet;
}

describe('connections kept for peers', () => {
  let replicas: Replicas;

  beforeEach(() => {
    replicas = new Replicas(42);
    replicas.load(new CompiledGraph(graphFor('A')));
  });

  it('are found by both ends and ports, of TCP only', () => {
    replicas.note(key(1), A1, 0);
    assert.equal(replicas.find(key(1), 10), NAMES.indexOf('a1'));
    assert.equal(replicas.find(key(2), 10), -1);
    assert.equal(replicas.find(Object.assign(key(1), { d0: 1 }), 10), -1);
    assert.equal(replicas.find(Object.assign(key(1), { protocol: PROTOCOL_UDP }), 10), -1);
  });

  it('end when their member’s engine says so, but not for another member', () => {
    replicas.note(key(1), A1, 0);
    replicas.note(key(1), B2, 1);
    replicas.forget(key(1), A1);
    assert.equal(replicas.find(key(1), 10), NAMES.indexOf('b2'));
    replicas.forget(key(1), B2);
    assert.equal(replicas.find(key(1), 10), -1);
  });

  it('age as flows do, across the wrap of the clock', () => {
    const start = 2 ** 31 - 1000;
    replicas.note(key(1), A1, start);
    assert.equal(replicas.find(key(1), start + 3_599_999), NAMES.indexOf('a1'));
    assert.equal(replicas.find(key(1), start + 3_600_000), -1);
  });

  it('outlive graphs, and wait for a member that is absent', () => {
    replicas.note(key(1), A1, 0);
    replicas.load(new CompiledGraph(graphFor('A', { without: ['a1'] })));
    assert.equal(replicas.find(key(1), 10), -1);
    replicas.load(new CompiledGraph(graphFor('A', { without: ['b1'] })));
    assert.equal(replicas.find(key(1), 10), 0);
  });

  it('are bounded: the oldest make room, what is told again stays', () => {
    replicas.note(key(-1), A1, 0);
    for (let client = 0; client < REPLICAS * 3; client++) {
      replicas.note(key(client), A1, client);
      if (client % 16 === 0) replicas.note(key(-1), A1, client);
    }
    assert.equal(replicas.find(key(-1), REPLICAS * 3), 0);
    let kept = 0;
    for (let client = 0; client < REPLICAS * 3; client++) {
      if (replicas.find(key(client), REPLICAS * 3) >= 0) kept++;
    }
    assert.ok(kept <= REPLICAS && kept > REPLICAS * 0.9, `${kept} kept`);
  });
});
