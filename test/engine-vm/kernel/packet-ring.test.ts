import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Nic, restoreTag } from '../../../src/engine-vm/kernel/packet-ring.ts';
import type { PortCounters } from '../../../src/state/shared.ts';
import { requireRoot } from '../../root.ts';
import { line, Namespaces } from './namespaces.ts';

const program = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const isJson = (text: string): boolean => text.startsWith('{');
const MEGABYTES = 20;

describe('packet ring', () => {
  const spaces = new Namespaces();
  let client: string;
  let engine: string;
  let server: string;

  before(function () {
    requireRoot(this, 'tests of the packet ring');
    client = spaces.add('client');
    engine = spaces.add('engine');
    server = spaces.add('server');
    spaces.link(client, 'eth0', engine, 'out');
    spaces.link(server, 'eth0', engine, 'in');
    for (const [name, last] of [
      [client, 1],
      [server, 2],
    ] as const) {
      spaces.ip(name, `addr add 10.99.0.${last}/24 dev eth0`);
      spaces.ip(name, `addr add fd99::${last}/64 dev eth0 nodad`);
    }
  });
  after(() => spaces.close());

  for (const [family, address] of [
    ['IPv4', '10.99.0.2'],
    ['IPv6', 'fd99::2'],
  ]) {
    it(`carries a TCP stream with TSO unchanged both ways over ${family}`, async () => {
      const bridge = spaces.start(engine, program('bridge-program.ts'), ['out', 'in', '15000']);
      await line(bridge);
      const args = [address, '9000', String(MEGABYTES << 20)];
      const serve = spaces.start(server, program('transfer-program.ts'), ['serve', ...args]);
      await line(serve);
      const received = line(serve);
      const send = spaces.start(client, program('transfer-program.ts'), ['send', ...args]);
      const result = JSON.parse(await line(send)) as { sent: string; received: string; ms: number };
      assert.equal(await received, result.sent);
      assert.equal(result.received, result.sent);
      bridge.kill('SIGKILL');
      serve.kill('SIGKILL');
      await sleep(50);
    });
  }

  it('counts frames and bytes of both ports, and no loss', async () => {
    const bridge = spaces.start(engine, program('bridge-program.ts'), ['out', 'in', '1500']);
    await line(bridge);
    const counted = line(bridge);
    const frame = `ffffffffffff02000000000188b5${'5a'.repeat(1486)}`;
    await line(spaces.start(client, program('frame-program.ts'), ['eth0', '0', frame, frame, frame]), isJson);
    const { ports } = JSON.parse(await counted) as { ports: PortCounters[] };
    assert.ok(ports[0].receivedPackets >= 3);
    assert.ok(ports[0].receivedBytes >= 3 * 1500);
    assert.equal(ports[0].receivedPackets, ports[1].sentPackets);
    assert.equal(ports[0].receivedBytes, ports[1].sentBytes);
    assert.deepEqual(
      ports.map(({ lost }) => lost),
      [0, 0],
    );
  });

  it('refuses a frame that is too long for the link, counts it as lost, and sends those around it', async () => {
    const receiver = spaces.start(engine, program('frame-program.ts'), ['out', '3000']);
    await line(receiver);
    const got = [line(receiver, (hex) => hex.endsWith('01')), line(receiver, (hex) => hex.endsWith('03'))];
    const head = 'ffffffffffff02000000000188b5';
    const sender = spaces.start(client, program('frame-program.ts'), [
      'eth0',
      '0',
      `${head}${'00'.repeat(60)}01`,
      `${head}${'00'.repeat(1700)}02`,
      `${head}${'00'.repeat(60)}03`,
      `${head}${'00'.repeat(3000)}04`,
    ]);
    const counters = JSON.parse(await line(sender, isJson)) as PortCounters;
    assert.equal(counters.sentPackets, 2);
    assert.equal(counters.lost, 2);
    await Promise.all(got);
  });

  it('delivers an 802.1Q tag that the kernel took out of the frame', async () => {
    const receiver = spaces.start(engine, program('frame-program.ts'), ['out', '3000']);
    await line(receiver);
    const frame = `ffffffffffff0200000000018100206488b5${'5a'.repeat(60)}`;
    const got = line(receiver, (hex) => hex.includes('206488b5'));
    spaces.start(client, program('frame-program.ts'), ['eth0', '0', frame]);
    assert.equal(await got, frame);
  });

  it('goes on after the interface was down', async () => {
    const receiver = spaces.start(engine, program('frame-program.ts'), ['out', '4000']);
    await line(receiver);
    spaces.ip(engine, 'link set out down');
    spaces.ip(engine, 'link set out up');
    const got = line(receiver, (hex) => hex.includes('88b5'));
    spaces.start(client, program('frame-program.ts'), [
      'eth0',
      '0',
      `ffffffffffff02000000000188b5${'5a'.repeat(60)}`,
    ]);
    await got;
  });

  it('says which interface is missing', () => {
    assert.throws(() => new Nic('weft-absent'), {
      code: 'ERR_KERNEL',
      message: /weft-absent: ENODEV: is there such an interface/,
    });
  });

  it('puts the tag that the kernel took out back into the frame', () => {
    const bytes = new Uint8Array(64);
    const start = 26;
    // Needs a checksum at 34+16, is a TCPv4 super-frame whose headers are 54 bytes long.
    bytes.set([1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0], start - 10);
    bytes.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00, 0x45], start);
    restoreTag(bytes, start, 0x8100, 0x2064);
    assert.deepEqual([...bytes.subarray(start - 14, start - 4)], [1, 1, 58, 0, 0xb4, 5, 38, 0, 16, 0]);
    assert.deepEqual(
      [...bytes.subarray(start - 4, start + 15)],
      [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0x00, 0x20, 0x64, 0x08, 0x00, 0x45],
    );
  });
});
