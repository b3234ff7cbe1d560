import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ConnectionTable } from '../../../src/engine-vm/balance/connection-table.ts';
import { end, sweep, TIMEOUTS, track } from '../../../src/engine-vm/flow/flow-life.ts';
import { FlowMemory, flowMemoryBytes } from '../../../src/engine-vm/flow/flow-memory.ts';
import {
  FORWARD,
  KIND_LOCAL,
  MEMBER_PORTS,
  MEMBER_SIDE,
  PROTOCOL,
  REVERSE,
  STATE,
  STATE_CLOSING,
  STATE_ESTABLISHED,
  STATE_FREE,
  STATE_HALF_OPEN,
  STRIDE,
} from '../../../src/engine-vm/flow/flow-record.ts';
import { FlowTable } from '../../../src/engine-vm/flow/flow-table.ts';
import { Packet } from '../../../src/packet/packet.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../../../src/packet/parse.ts';

function packetOf(client: number, port: number, protocol = PROTOCOL_TCP, flags = 2): Packet {
  const packet = new Packet();
  packet.ipVersion = 4;
  packet.protocol = protocol;
  packet.l4 = 34;
  packet.s2 = 0xffff;
  packet.s3 = client;
  packet.d2 = 0xffff;
  packet.d3 = 0x0a000064;
  packet.sourcePort = port;
  packet.destinationPort = 80;
  packet.tcpFlags = flags;
  return packet;
}

/** Adds a flow with a reverse key derived from the forward one. */
function add(table: FlowTable, client: number, port: number, now = 0): number {
  const flow = table.add(packetOf(client, port), KIND_LOCAL, now);
  if (flow < 0) return flow;
  const at = flow * STRIDE;
  table.words.set([0, 0, 0xffff, 0x0a00000b, 0, 0, 0xffff, client], at + MEMBER_SIDE);
  table.words[at + MEMBER_PORTS] = (8080 << 16) | port;
  table.fileReverse(flow);
  return flow;
}

function reverseOf(table: FlowTable, client: number, port: number): number {
  return table.findKey(PROTOCOL_TCP, 0, 0, 0xffff, 0x0a00000b, 0, 0, 0xffff, client, (8080 << 16) | port);
}

describe('flow table', () => {
  it('finds each flow by both directions, whatever was added and removed before', () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.array(
          fc.record({
            client: fc.integer({ min: 0, max: 5 }),
            port: fc.integer({ min: 1, max: 9 }),
            isRemoval: fc.boolean(),
          }),
          {
            maxLength: 200,
          },
        ),
        (seed, steps) => {
          const table = new FlowTable(16, seed);
          const oracle = new Map<string, number>();
          for (const { client, port, isRemoval } of steps) {
            const key = `${client}:${port}`;
            const known = oracle.get(key);
            if (isRemoval) {
              if (known !== undefined) table.remove(known);
              oracle.delete(key);
            } else if (known === undefined) {
              const flow = add(table, client, port);
              if (oracle.size === 16) assert.equal(flow, -1);
              else oracle.set(key, flow);
            }
            assert.equal(table.size, oracle.size);
            assert.equal(table.halfOpen.count, oracle.size);
          }
          for (let client = 0; client <= 5; client++) {
            for (let port = 1; port <= 9; port++) {
              const flow = oracle.get(`${client}:${port}`);
              assert.equal(table.find(packetOf(client, port)), flow === undefined ? -1 : flow * 2 + FORWARD);
              assert.equal(reverseOf(table, client, port), flow === undefined ? -1 : flow * 2 + REVERSE);
            }
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('names the oldest half-open flow to evict once a quarter of it is half open for one service', () => {
    const table = new FlowTable(16, 1);
    const flows = [1, 2, 3, 4].map((port) => add(table, 1, port));
    assert.equal(table.halfOpen.evictable(0), flows[0]);
    table.setState(flows[0]!, STATE_ESTABLISHED);
    assert.equal(table.halfOpen.evictable(0), -1);
    add(table, 1, 5);
    assert.equal(table.halfOpen.evictable(0), flows[1]);
    table.remove(flows[1]!);
    table.remove(flows[3]!);
    assert.equal(table.halfOpen.count, 2);
  });

  it('bounds the half-open flows of each service, and takes from the one that has most where all are too many', () => {
    const table = new FlowTable(32, 1);
    table.halfOpen.regroup(5, () => 0);
    const open = (group: number, count: number) =>
      Array.from({ length: count }, (_, n) => table.add(packetOf(group, n + 1), KIND_LOCAL, 0, group));
    const flooded = open(1, 8);
    assert.equal(table.halfOpen.evictable(1), flooded[0], "a quarter of the table is one service's");
    assert.equal(table.halfOpen.evictable(2), -1, 'another one is not concerned');
    open(2, 3);
    open(3, 5);
    assert.equal(table.halfOpen.evictable(2), flooded[0], 'half of the table is half open');
    assert.equal(table.halfOpen.evictable(4), flooded[0]);
    for (const flow of flooded.slice(0, 7)) table.remove(flow!);
    assert.equal(table.halfOpen.evictable(4), -1);
    // Services change their places: the flows and their order stay.
    const before = table.halfOpen.count;
    table.halfOpen.regroup(3, (flow) => (table.halfOpen.groupOf(flow) === 3 ? 2 : 0));
    assert.equal(table.halfOpen.count, before);
    for (const group of [0, 2]) assert.equal(table.halfOpen.evictable(group), -1);
    const more = Array.from({ length: 3 }, (_, n) => table.add(packetOf(9, n + 1), KIND_LOCAL, 0, 2));
    assert.ok(more.every((flow) => flow >= 0));
    assert.notEqual(table.halfOpen.evictable(2), -1);
    assert.ok(!more.includes(table.halfOpen.evictable(2)), 'the oldest one goes first');
  });

  it('keeps the order of half-open flows where its records move to other memory and back', () => {
    const table = new FlowTable(16, 1);
    const flows = [1, 2, 3].map((port) => add(table, 1, port));
    table.moveTo(new FlowMemory(new ArrayBuffer(flowMemoryBytes(16)), 16));
    flows.push(add(table, 1, 4));
    table.remove(flows.shift()!);
    table.moveTo(null);
    flows.push(add(table, 1, 5), add(table, 1, 6));
    for (const oldest of flows.slice(0, 2)) {
      assert.equal(table.halfOpen.evictable(0), oldest);
      table.remove(oldest);
    }
    assert.equal(table.halfOpen.evictable(0), -1);
    assert.equal(table.halfOpen.count, 3);
  });

  it('moves flows to a table of another size', () => {
    const before = new FlowTable(16, 1);
    for (let port = 1; port <= 16; port++) add(before, 7, port);
    const after = new FlowTable(8, 2);
    let moved = 0;
    for (let flow = 0; flow < 16; flow++) if (after.adopt(before, flow)) moved++;
    assert.deepEqual([moved, after.size, after.halfOpen.count], [8, 8, 8]);
    for (let port = 1; port <= 8; port++) {
      assert.ok(after.find(packetOf(7, port)) >= 0);
      assert.ok(reverseOf(after, 7, port) >= 0);
    }
  });
});

describe('the life of a flow', () => {
  const connections = new ConnectionTable('A', () => 0);
  const step = (table: FlowTable, flow: number, direction: number, flags: number, now = 0) =>
    track(table, connections, flow, direction, packetOf(1, 1, PROTOCOL_TCP, flags), now);
  const stateOf = (table: FlowTable, flow: number) => table.words[flow * STRIDE + STATE];

  it('is established by the client’s answer to the member’s SYN-ACK, not before', () => {
    const table = new FlowTable(8, 1);
    const flow = add(table, 1, 1);
    step(table, flow, FORWARD, 2);
    step(table, flow, FORWARD, 16);
    assert.equal(stateOf(table, flow), STATE_HALF_OPEN, 'a blind ACK proves nothing');
    step(table, flow, REVERSE, 18);
    assert.equal(stateOf(table, flow), STATE_HALF_OPEN);
    step(table, flow, FORWARD, 16);
    assert.equal(stateOf(table, flow), STATE_ESTABLISHED);
    step(table, flow, REVERSE, 17);
    assert.equal(stateOf(table, flow), STATE_ESTABLISHED);
    step(table, flow, FORWARD, 17);
    assert.equal(stateOf(table, flow), STATE_CLOSING);
  });

  it('ends after the silence that its stage allows', () => {
    const cases: [number, number, number][] = [
      [PROTOCOL_TCP, STATE_HALF_OPEN, TIMEOUTS.tcpHalfOpenMs],
      [PROTOCOL_TCP, STATE_ESTABLISHED, TIMEOUTS.tcpEstablishedMs],
      [PROTOCOL_TCP, STATE_CLOSING, TIMEOUTS.tcpClosingMs],
      [PROTOCOL_UDP, STATE_ESTABLISHED, TIMEOUTS.udpMs],
    ];
    for (const [protocol, state, timeoutMs] of cases) {
      // Across the wrap of the 32-bit clock, too.
      for (const born of [0, 2 ** 31 - 1000, 2 ** 32 - 1000]) {
        const table = new FlowTable(8, 1);
        const flow = table.add(packetOf(1, 1, protocol), KIND_LOCAL, born);
        assert.equal(table.words[flow * STRIDE + PROTOCOL], protocol);
        table.setState(flow, state);
        sweep(table, connections, born + timeoutMs - 1, 8);
        assert.equal(stateOf(table, flow), state);
        sweep(table, connections, born + timeoutMs, 8);
        assert.equal(stateOf(table, flow), STATE_FREE);
      }
    }
  });

  it('leaves no trace in the table', () => {
    const table = new FlowTable(8, 1);
    for (let round = 0; round < 100; round++) {
      const flow = add(table, round, 1);
      end(table, connections, flow);
    }
    assert.deepEqual([table.size, table.halfOpen.count, table.halfOpen.evictable(0)], [0, 0, -1]);
  });
});
