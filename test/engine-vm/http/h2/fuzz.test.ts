/**
 * Mutated HTTP/2 frames through the whole proxy in memory. After each connection it is checked that members read only
 * requests that were logged as sent there, that all streams and buffers are given back, and that nothing threw.
 */
import assert from 'node:assert/strict';
import { seededRandom } from '../../../random.ts';
import { assertAuthorised, MemoryProxy } from '../memory-proxy.ts';
import { block, frame, GET, number } from './raw-client.ts';

const POST = block([[':method', 'POST'], ...GET.slice(1), ['x-a', '1']]);
const SIZED = block([[':method', 'PUT'], ...GET.slice(1), ['content-length', '5']]);
/** Of entries of both tables, and Huffman-coded. */
const TABLES = Buffer.concat([
  Buffer.from([0x82, 0x86, 0x84, 0x41, 0x8c]),
  Buffer.from('f1e3c2e5f23a6ba0ab90f4ff', 'hex'),
  Buffer.from([0x40, 0x81, 0x1f, 0x03, 97, 98, 99, 0xbe]),
]);

/** The frames of a whole request on that stream. */
const REQUESTS: ((id: number) => Buffer[])[] = [
  (id) => [frame(1, 5, id, block(GET))],
  (id) => [frame(1, 5, id, TABLES)],
  (id) => [frame(1, 4, id, POST), frame(0, 0, id, Buffer.from('abc')), frame(0, 1, id, Buffer.from('de'))],
  (id) => [frame(1, 4, id, SIZED), frame(0, 9, id, Buffer.from('\u0002hello\0\0'))],
  (id) => [
    frame(1, 0, id, POST.subarray(0, 9)),
    frame(9, 4, id, POST.subarray(9)),
    frame(1, 5, id, block([['x-t', '1']])),
  ],
  (id) => [frame(1, 4, id, POST), frame(3, 0, id, number(8))],
  (id) => [frame(8, 0, id, number(1000)), frame(6, 0, 0, Buffer.alloc(8)), frame(2, 0, id, Buffer.alloc(5))],
  () => [
    frame(4, 0, 0, Buffer.from([0, 4, 0, 0, 0, 3])),
    frame(8, 0, 0, number(70_000)),
    frame(7, 0, 0, Buffer.alloc(8)),
  ],
];
const RESPONSES = [
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n',
  'HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut',
];

interface Outcome {
  frames: number;
  forwarded: number;
  refused: number;
}

function fuzz(frames: number, seed: number): Outcome {
  const next = seededRandom(seed);
  const below = (count: number): number => Math.floor(next() * count);
  const site = new MemoryProxy();
  const { proxy, memory } = site;
  const outcome: Outcome = { frames: 0, forwarded: 0, refused: 0 };
  const mutate = (bytes: Buffer): Buffer => {
    const out = Buffer.from(bytes);
    if (next() < 0.6) return out;
    for (let n = 1 + below(2); n > 0; n--) {
      const at = below(out.length);
      // Mostly bits, so that more than the header of the frame is met.
      out[at] = next() < 0.5 ? out[at]! ^ (1 << below(8)) : below(256);
    }
    return next() < 0.1 ? out.subarray(0, below(out.length)) : out;
  };
  while (outcome.frames < frames) {
    const client = site.connectClient();
    const read: string[] = [];
    const parts = [Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(4, 0, 0)];
    const requests = Array.from({ length: 1 + below(4) }, (_, n) =>
      REQUESTS[below(REQUESTS.length)]!(2 * n + 1),
    );
    for (const one of requests) {
      for (const part of one) parts.push(mutate(part));
      outcome.frames += one.length;
    }
    const text = Buffer.concat(parts).toString('latin1');
    const serve = (): void => {
      for (let again = true; again; ) {
        again = false;
        proxy.turn(0);
        for (const fd of [...memory.members]) {
          const found = site.readNext(fd);
          if (found === null) continue;
          again = true;
          read.push(found);
          const answer = RESPONSES[below(RESPONSES.length)]!;
          memory.arrive(fd, answer);
          if (answer.endsWith('cut')) memory.arrive(fd, null);
          proxy.turn(0);
        }
      }
    };
    for (let at = 0; at < text.length; ) {
      const length = next() < 0.5 ? text.length : 1 + below(40);
      memory.arrive(client, text.slice(at, at + length));
      at += length;
      serve();
    }
    memory.arrive(client, null);
    serve();
    for (let n = 0; n < 4; n++) {
      for (const fd of [...memory.members]) memory.arrive(fd, null);
      serve();
    }
    proxy.turn(0);
    const { logged, refused } = site.takeLog();
    outcome.refused += refused;
    outcome.forwarded += read.length;
    const show = JSON.stringify({ seed, text, read, logged }, null, 1);
    assertAuthorised(read, logged, show);
    assert.equal(memory.isOpen(client), false, `the connection is still open: ${show}`);
    assert.equal(proxy.figures.open, 0, show);
    if (memory.members.size === 0)
      assert.equal(memory.buffers.free, site.freeBefore, `buffers are lost: ${show}`);
  }
  return outcome;
}

describe('HTTP/2 under mutated frames', () => {
  it('sends members only what it logs, and gives everything back', function () {
    this.timeout(120_000);
    const seed = Math.floor(Math.random() * 2 ** 31);
    console.log(`      seed ${seed}`);
    const { frames, forwarded, refused } = fuzz(200_000, seed);
    assert.ok(frames >= 200_000 && forwarded > 2000 && refused > 1000, `${forwarded} ${refused}`);
  });
});
