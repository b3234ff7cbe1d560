/** The header of the PROXY protocol: by cases, cut at every byte, and what the writer writes. */
import assert from 'node:assert/strict';
import { proxyHeaderOf, readProxyHeader } from '../../../src/engine-vm/http/proxy-header.ts';

const text = (line: string): Uint8Array => Uint8Array.from(Buffer.from(line, 'latin1'));
const SIGNATURE = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10];
const ends4 = { sourceAddress: '192.0.2.7', sourcePort: 4711, targetAddress: '198.51.100.1', targetPort: 80 };
const ends6 = {
  sourceAddress: '2001:db8::7',
  sourcePort: 1,
  targetAddress: '2001:db8::1',
  targetPort: 65_535,
};

describe('proxy header', () => {
  const valid: [string, Uint8Array, typeof ends4 | null][] = [
    ['v1 of IPv4', text('PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n'), ends4],
    ['v1 of IPv6', text('PROXY TCP6 2001:DB8:0::7 2001:db8::1 1 65535\r\n'), ends6],
    ['v1 UNKNOWN', text('PROXY UNKNOWN\r\n'), null],
    ['v1 UNKNOWN with more', text('PROXY UNKNOWN ffff::1 ::1 1 2\r\n'), null],
    ['v2 LOCAL with anything', Uint8Array.from([...SIGNATURE, 0x20, 0x99, 0, 3, 1, 2, 3]), null],
    ['v2 unspecified', Uint8Array.from([...SIGNATURE, 0x21, 0, 0, 0]), null],
    [
      'v2 with TLVs',
      Uint8Array.from([
        ...[...SIGNATURE, 0x21, 0x11, 0, 17, 192, 0, 2, 7, 198, 51, 100, 1],
        ...[4711 >> 8, 4711 & 255, 0, 80, 4, 0, 2, 0, 0],
      ]),
      ends4,
    ],
    ['v2 as written, IPv6', proxyHeaderOf('v2', ends6), ends6],
    ['v2 as written, IPv4', proxyHeaderOf('v2', ends4), ends4],
    ['v1 as written, IPv6', proxyHeaderOf('v1', ends6), ends6],
    ['v1 as written, IPv4', proxyHeaderOf('v1', ends4), ends4],
    ['v1 of our own', proxyHeaderOf('v1', null), null],
    ['v2 of our own', proxyHeaderOf('v2', null), null],
  ];
  for (const [name, bytes, ends] of valid) {
    it(`takes ${name}, and waits for each byte of it`, () => {
      const more = Uint8Array.from([...bytes, 71, 69, 84]);
      assert.deepEqual(readProxyHeader(more), { state: 'whole', length: bytes.length, ends });
      for (let end = 0; end < bytes.length; end++) {
        assert.equal(readProxyHeader(bytes.subarray(0, end)).state, 'cut', `cut at ${end}`);
      }
    });
  }

  const invalid: [string, Uint8Array][] = [
    ['a request', text('GET / HTTP/1.1\r\n')],
    ['lower case', text('proxy TCP4 192.0.2.7 198.51.100.1 4711 80\r\n')],
    ['LF alone', text('PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\n')],
    ['two blanks', text('PROXY TCP4  192.0.2.7 198.51.100.1 4711 80\r\n')],
    ['a blank at the end', text('PROXY TCP4 192.0.2.7 198.51.100.1 4711 80 \r\n')],
    ['a port with zeros', text('PROXY TCP4 192.0.2.7 198.51.100.1 04711 80\r\n')],
    ['a port beyond', text('PROXY TCP4 192.0.2.7 198.51.100.1 65536 80\r\n')],
    ['a port left out', text('PROXY TCP4 192.0.2.7 198.51.100.1 80\r\n')],
    ['an octet beyond', text('PROXY TCP4 192.0.2.256 198.51.100.1 1 80\r\n')],
    ['the other family', text('PROXY TCP4 2001:db8::7 2001:db8::1 1 80\r\n')],
    ['IPv4 as TCP6', text('PROXY TCP6 192.0.2.7 198.51.100.1 1 80\r\n')],
    ['a zone', text('PROXY TCP6 fe80::1%eth0 2001:db8::1 1 80\r\n')],
    ['a family of no kind', text('PROXY TCP5 192.0.2.7 198.51.100.1 1 80\r\n')],
    ['no family', text('PROXY \r\n')],
    ['a line too long', text(`PROXY UNKNOWN ${'x'.repeat(100)}\r\n`)],
    ['version 3', Uint8Array.from([...SIGNATURE, 0x31])],
    ['a command of no kind', Uint8Array.from([...SIGNATURE, 0x22])],
    ['datagrams', Uint8Array.from([...SIGNATURE, 0x21, 0x12, 0, 12])],
    ['too short for its family', Uint8Array.from([...SIGNATURE, 0x21, 0x21, 0, 12])],
    ['too long', Uint8Array.from([...SIGNATURE, 0x21, 0x11, 0xff, 0xff])],
    ['a signature that differs', Uint8Array.from([13, 10, 13, 10, 1])],
  ];
  for (const [name, bytes] of invalid) {
    it(`refuses ${name}`, () => {
      assert.equal(readProxyHeader(bytes).state, 'invalid');
    });
  }
});
