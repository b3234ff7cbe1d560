import assert from 'node:assert/strict';
import {
  enhancedPacket,
  interfaceDescription,
  interfaceStatistics,
  sectionHeader,
} from '../../src/packet/pcapng.ts';
import { readPcapng } from './pcapng-reader.ts';

describe('pcapng', () => {
  it('is read as it was written: frames of every length, comments of every kind', () => {
    const frames = Array.from({ length: 9 }, (_, n) => ({
      port: n % 2,
      micros: 1_700_000_000_123_456 + n,
      bytes: Uint8Array.from({ length: n }, (_, at) => at + n),
      length: n * 100,
      isSent: n % 3 === 0,
      comment: ['', 'a', 'flow: pass, L=10', 'ä€😀'][n % 4]!,
    }));
    const file = readPcapng(
      Buffer.concat([
        sectionHeader('Weft', 'about'),
        interfaceDescription('edge-h1 out', 'a port', 64),
        interfaceDescription('edge-h1 in', 'another', 65_550),
        ...frames.map(enhancedPacket),
        interfaceStatistics(1, 5, 2 ** 40, 7, 'seven are missing'),
      ]),
    );
    assert.equal(file.comment, 'about');
    assert.deepEqual(
      file.interfaces.map(({ name, snap }) => [name, snap]),
      [
        ['edge-h1 out', 64],
        ['edge-h1 in', 65_550],
      ],
    );
    assert.deepEqual(
      file.frames.map((frame) => ({ ...frame, bytes: Uint8Array.from(frame.bytes) })),
      frames,
    );
    assert.deepEqual(file.statistics, [
      { port: 1, received: 2 ** 40, dropped: 7, comment: 'seven are missing' },
    ]);
  });

  it('keeps control characters out of comments, and cuts long ones at a whole character', () => {
    const comment = `\u001b[2J\n\0${'€'.repeat(5000)}`;
    const packet = { port: 0, micros: 0, bytes: new Uint8Array(0), length: 0, isSent: false, comment };
    const { frames } = readPcapng(
      Buffer.concat([sectionHeader('', ''), interfaceDescription('a', '', 1), enhancedPacket(packet)]),
    );
    assert.match(frames[0]!.comment, /^\ufffd\[2J\ufffd\ufffd€+$/u);
  });
});
