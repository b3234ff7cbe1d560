import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  formatAddress,
  formatMac,
  macHigh,
  macLow,
  parseAddress,
  parsePrefix,
} from '../../src/packet/address.ts';
import { arpOperation, turnIntoArpReply, writeArpRequest } from '../../src/packet/arp.ts';
import {
  checksumOffset,
  fold,
  ipv4HeaderChecksum,
  pseudoHeaderSum,
  transportChecksum,
} from '../../src/packet/checksum.ts';
import { writeEchoReply, writeIcmpProhibited } from '../../src/packet/icmp.ts';
import { writeNeighbourAnswer } from '../../src/packet/neighbour.ts';
import { HEADROOM, Packet } from '../../src/packet/packet.ts';
import { parse } from '../../src/packet/parse.ts';
import { rewriteDestination, rewriteSource } from '../../src/packet/rewrite.ts';
import { writeTcpReset } from '../../src/packet/tcp.ts';
import { arp, type FrameSpec, frame, neighbour } from './frames.ts';

function parsed(bytes: Uint8Array): Packet {
  const packet = new Packet();
  parse(packet, bytes, HEADROOM, bytes.length - HEADROOM);
  return packet;
}

const ipv4Text = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255)).map((bytes) => bytes.join('.'));
const ipv6Text = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .map((bytes) =>
    Array.from({ length: 8 }, (_, i) => ((bytes[2 * i]! << 8) | bytes[2 * i + 1]!).toString(16)).join(':'),
  )
  .filter((text) => !text.startsWith('0:0:0:0:0:ffff:'));
const port = fc.integer({ min: 1, max: 65535 });

function anySpec(family: fc.Arbitrary<string>): fc.Arbitrary<FrameSpec> {
  return fc.record({
    from: family,
    to: family,
    protocol: fc.constantFrom('tcp' as const, 'udp' as const),
    sport: port,
    dport: port,
    flags: fc.constantFrom('S', 'SA', 'A', 'FA', 'PA'),
    payload: fc.uint8Array({ maxLength: 80 }),
    vlans: fc.array(fc.integer({ min: 1, max: 4094 }), { maxLength: 2 }),
    hasHopByHop: fc.boolean(),
  });
}
const spec = fc.oneof(anySpec(ipv4Text), anySpec(ipv6Text));

describe('addresses', () => {
  it('come back from words as RFC 5952 text', () => {
    const words = new Int32Array(4);
    for (const [text, canonical] of [
      ['10.0.0.1', '10.0.0.1'],
      ['255.255.255.255', '255.255.255.255'],
      ['::', '::'],
      ['::1', '::1'],
      ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
      ['2001:db8::', '2001:db8::'],
      ['1:0:2:0:3:0:4:0', '1:0:2:0:3:0:4:0'],
      ['::ffff:10.0.0.1', '10.0.0.1'],
      ['64:ff9b::192.0.2.1', '64:ff9b::c000:201'],
    ] as const) {
      assert.equal(parseAddress(text, words), true, text);
      assert.equal(formatAddress(words[0]!, words[1]!, words[2]!, words[3]!), canonical);
    }
  });

  it('are refused where they are none', () => {
    const words = new Int32Array(4);
    for (const text of [
      '',
      '1.2.3',
      '1.2.3.256',
      '01.2.3.4',
      '1.2.3.4.5',
      ':',
      ':::',
      '1::2::3',
      '1:2:3:4:5:6:7',
      'g::',
      '::1.2.3',
      '1:2:3:4:5:6:7:8:9',
      '12345::',
      '1:2:3:4:5:6:7::8',
    ]) {
      assert.equal(parseAddress(text, words), false, text);
    }
    assert.equal(parsePrefix('10.0.0.0/33', words), -1);
    assert.equal(parsePrefix('10.0.0.0/8', words), 8);
  });

  it('survive the way to text and back', () => {
    fc.assert(
      fc.property(fc.int32Array({ minLength: 4, maxLength: 4 }), (words) => {
        const back = new Int32Array(4);
        assert.equal(parseAddress(formatAddress(words[0]!, words[1]!, words[2]!, words[3]!), back), true);
        assert.deepEqual(back, words);
      }),
    );
  });

  it('of links survive it too', () => {
    assert.equal(formatMac(macHigh('02:ab:FF:00:00:01'), macLow('02:ab:FF:00:00:01')), '02:ab:ff:00:00:01');
    assert.equal(macHigh('02:ab:ff:00:00'), -1);
  });
});

describe('the parser', () => {
  it('finds every field behind tags, options and extension headers', () => {
    const v4 = parsed(
      frame({
        from: '10.0.0.1',
        to: '10.0.0.2',
        sport: 1,
        dport: 2,
        vlans: [5, 6],
        options: new Uint8Array(8),
      }),
    );
    assert.deepEqual(
      [v4.l3, v4.l4, v4.sourcePort, v4.destinationPort, v4.tcpFlags, v4.malformed],
      [32, 60, 1, 2, 2, null],
    );
    const v6 = parsed(
      frame({ from: 'fd00::1', to: 'fd00::2', protocol: 'udp', sport: 9, dport: 10, hasHopByHop: true }),
    );
    assert.deepEqual(
      [v6.ipVersion, v6.protocol, v6.sourcePort, v6.destinationPort, v6.malformed],
      [6, 17, 9, 10, null],
    );
    const echo = parsed(frame({ from: '10.0.0.1', to: '10.0.0.2', protocol: 'icmp', sport: 77 }));
    assert.deepEqual([echo.icmpType, echo.sourcePort], [8, 77]);
  });

  it('knows first and later fragments of both families', () => {
    for (const [from, to] of [
      ['10.0.0.1', '10.0.0.2'],
      ['fd00::1', 'fd00::2'],
    ] as const) {
      const first = parsed(
        frame({
          from,
          to,
          protocol: 'udp',
          payload: 'x'.repeat(16),
          fragment: { id: 7, offset: 0, hasMore: true },
        }),
      );
      assert.deepEqual(
        [first.isFragment, first.fragmentOffset, first.fragmentId, first.destinationPort],
        [true, 0, 7, 53],
      );
      const later = parsed(
        frame({
          from,
          to,
          protocol: 'udp',
          payload: 'y'.repeat(8),
          fragment: { id: 7, offset: 24, hasMore: false },
        }),
      );
      assert.deepEqual([later.fragmentOffset, later.l4, later.protocol, later.malformed], [24, 0, 17, null]);
      const overlap = parsed(
        frame({ from, to, payload: 'y'.repeat(8), fragment: { id: 7, offset: 8, hasMore: false } }),
      );
      assert.match(overlap.malformed ?? '', /TCP header/);
    }
  });

  it('never throws, and never points outside of the frame, whatever the bytes', () => {
    const packet = new Packet();
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 120 }),
          fc
            .tuple(spec, fc.array(fc.tuple(fc.nat(150), fc.nat(255)), { maxLength: 8 }), fc.nat(150))
            .map(([one, changes, length]) => {
              const bytes = frame(one);
              for (const [at, value] of changes) bytes[at % bytes.length] = value;
              return bytes.subarray(0, Math.min(bytes.length, HEADROOM + length));
            }),
        ),
        (bytes) => {
          const length = Math.max(0, bytes.length - HEADROOM);
          parse(packet, bytes, HEADROOM, length);
          assert.ok(packet.end <= HEADROOM + length);
          assert.ok(packet.l4 <= packet.end);
          if (packet.malformed === null && packet.protocol === 6 && packet.l4 > 0)
            assert.ok(packet.l4 + 20 <= packet.end);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('translation', () => {
  const change = fc.record({ v4: ipv4Text, v6: ipv6Text, port, isSource: fc.boolean() });

  function rewrite(packet: Packet, to: { v4: string; v6: string; port: number; isSource: boolean }): void {
    const words = new Int32Array(4);
    parseAddress(packet.ipVersion === 4 ? to.v4 : to.v6, words);
    const [a, b, c, d] = words as unknown as [number, number, number, number];
    if (to.isSource) rewriteSource(packet, a, b, c, d, to.port);
    else rewriteDestination(packet, a, b, c, d, to.port);
  }

  it('keeps every checksum equal to one computed from scratch', () => {
    fc.assert(
      fc.property(spec, fc.array(change, { minLength: 1, maxLength: 3 }), (one, changes) => {
        const packet = parsed(frame(one));
        for (const to of changes) rewrite(packet, to);
        const view = packet.view;
        if (packet.ipVersion === 4) assert.equal(view.getUint16(packet.l3 + 10), ipv4HeaderChecksum(packet));
        assert.equal(view.getUint16(checksumOffset(packet)), transportChecksum(packet));
        const again = parsed(packet.buffer);
        assert.deepEqual(
          [again.s0, again.s3, again.d0, again.d3, again.sourcePort, again.destinationPort],
          [packet.s0, packet.s3, packet.d0, packet.d3, packet.sourcePort, packet.destinationPort],
        );
      }),
      { numRuns: 500 },
    );
  });

  it('keeps a partial checksum equal to the pseudo-header sum, whatever the ports', () => {
    fc.assert(
      fc.property(spec, change, (one, to) => {
        const packet = parsed(frame({ ...one, isPartial: true }));
        assert.equal(packet.isChecksumPartial, true);
        rewrite(packet, to);
        const field = packet.view.getUint16(checksumOffset(packet));
        assert.equal(field, fold(pseudoHeaderSum(packet)));
        // What the kernel does next: sum everything, the field included, and invert. It must verify.
        packet.isChecksumPartial = false;
        packet.view.setUint16(checksumOffset(packet), transportChecksum(packet));
        assert.equal(packet.view.getUint16(checksumOffset(packet)), transportChecksum(packet));
      }),
      { numRuns: 300 },
    );
  });

  it('leaves a UDP datagram without checksum without one', () => {
    const packet = parsed(frame({ from: '10.0.0.1', to: '10.0.0.2', protocol: 'udp', hasNoChecksum: true }));
    rewrite(packet, { v4: '10.9.9.9', v6: '::', port: 99, isSource: false });
    assert.equal(packet.view.getUint16(checksumOffset(packet)), 0);
  });

  it('changes only the addresses of a later fragment', () => {
    const packet = parsed(
      frame({
        from: '10.0.0.1',
        to: '10.0.0.2',
        protocol: 'udp',
        payload: 'z'.repeat(16),
        fragment: { id: 3, offset: 8, hasMore: false },
      }),
    );
    const before = Buffer.from(packet.buffer.subarray(packet.l3 + 20));
    rewrite(packet, { v4: '10.9.9.9', v6: '::', port: 99, isSource: false });
    assert.deepEqual(Buffer.from(packet.buffer.subarray(packet.l3 + 20)), before);
    assert.equal(packet.view.getUint16(packet.l3 + 10), ipv4HeaderChecksum(packet));
  });
});

describe('frames that the engine makes', () => {
  const out = new Uint8Array(2048);
  const view = new DataView(out.buffer);
  const start = 16;

  function made(length: number): Packet {
    const packet = new Packet();
    parse(packet, out, start, length);
    assert.equal(packet.malformed, null);
    if (packet.ipVersion === 4) assert.equal(view.getUint16(packet.l3 + 10), ipv4HeaderChecksum(packet));
    if (packet.l4 > 0) assert.equal(view.getUint16(checksumOffset(packet)), transportChecksum(packet));
    return packet;
  }

  for (const [from, to] of [
    ['10.0.0.1', '10.0.0.2'],
    ['fd00::1', 'fd00::2'],
  ] as const) {
    it(`reset a TCP segment as RFC 9293 asks (${from})`, () => {
      const syn = parsed(frame({ from, to, sport: 5, dport: 80, flags: 'S', seq: 100, vlans: [7] }));
      const reply = made(writeTcpReset(syn, out, view, start));
      assert.deepEqual(
        [reply.sourcePort, reply.destinationPort, reply.tcpFlags, reply.l3 - start],
        [80, 5, 20, 18],
      );
      assert.equal(view.getUint32(reply.l4 + 8), 101);
      const data = parsed(
        frame({ from, to, sport: 5, dport: 80, flags: 'PA', seq: 100, ack: 555, payload: 'abc' }),
      );
      const second = made(writeTcpReset(data, out, view, start));
      assert.deepEqual([second.tcpFlags, view.getUint32(second.l4 + 4)], [4, 555]);
      assert.equal(writeTcpReset(parsed(frame({ from, to, flags: 'R' })), out, view, start), 0);
    });

    it(`answer an echo request with its payload (${from})`, () => {
      const request = parsed(frame({ from, to, protocol: 'icmp', sport: 9, payload: 'hello' }));
      const reply = made(writeEchoReply(request, out, view, start));
      assert.equal(reply.icmpType, from.includes(':') ? 129 : 0);
      assert.equal(Buffer.from(out.subarray(reply.l4 + 8, reply.l4 + 13)).toString(), 'hello');
    });

    it(`quote the datagram that is prohibited (${from})`, () => {
      const datagram = parsed(frame({ from, to, protocol: 'udp', payload: 'q'.repeat(1400) }));
      const reply = made(writeIcmpProhibited(datagram, out, view, start));
      assert.equal(reply.icmpType, from.includes(':') ? 1 : 3);
      assert.ok(reply.end - reply.l3 <= (from.includes(':') ? 1280 : 576));
    });
  }

  it('answer ARP requests and announce addresses', () => {
    const request = parsed(
      arp({ operation: 1, fromMac: '02:00:00:00:00:09', sender: '10.0.0.9', target: '10.0.0.1' }),
    );
    assert.equal(arpOperation(request), 1);
    turnIntoArpReply(request, 0x0211, 0x22334455);
    assert.deepEqual(
      Buffer.from(request.buffer.subarray(HEADROOM)).toString('hex'),
      '020000000009021122334455080600010800060400020211223344550a0000010200000000090a000009',
    );
    assert.equal(writeArpRequest(view, start, 0xffff, -1, 0x0211, 0x22334455, 1, 1), 60);
  });

  it('answer neighbour solicitations, to all nodes where the asker has no address yet', () => {
    const asked = {
      fromMac: '02:00:00:00:00:09',
      toMac: '33:33:ff:00:00:01',
      to: 'ff02::1:ff00:1',
      target: 'fd00::1',
    };
    const reply = made(
      writeNeighbourAnswer(
        parsed(neighbour({ ...asked, from: 'fd00::9' })),
        out,
        view,
        start,
        0x0211,
        0x22334455,
      ),
    );
    assert.deepEqual([reply.icmpType, view.getUint32(reply.l4 + 4) >>> 28], [136, 6]);
    const anonymous = made(
      writeNeighbourAnswer(parsed(neighbour({ ...asked, from: '::' })), out, view, start, 0x0211, 0x22334455),
    );
    assert.equal(formatAddress(anonymous.d0, anonymous.d1, anonymous.d2, anonymous.d3), 'ff02::1');
  });
});
