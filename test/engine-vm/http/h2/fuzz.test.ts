/**
 * Mutated HTTP/2 frames through the whole proxy in memory. After each connection it is checked that members read only
 * requests that were logged as sent there, that all streams and buffers are given back, and that nothing threw.
 */
import assert from 'node:assert/strict';
import { ProxyLoop } from '../../../../src/engine-vm/http/proxy-loop.ts';
import { MemoryLoop } from '../memory-loop.ts';
import { settingsOf } from '../proxy-site.ts';
import { readRequest } from '../recording-origin.ts';
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

/** mulberry32 (Tommy Ettinger, public domain): numbers from 0 up to 1 that a seed repeats. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 4294967296;
  };
}

interface Outcome {
  frames: number;
  forwarded: number;
  refused: number;
}

function fuzz(frames: number, seed: number): Outcome {
  const next = random(seed);
  const below = (count: number): number => Math.floor(next() * count);
  let lines = '';
  let memory!: MemoryLoop;
  const settings = settingsOf(1, [2]);
  const proxy = new ProxyLoop({
    settings: { ...settings, listeners: [], http: { ...settings.http, maxConnections: 32 } },
    wakeFd: -1,
    loop: (buffers, events) => {
      memory = new MemoryLoop(buffers, events);
      return memory;
    },
    log: (piece) => {
      lines += Buffer.from(piece).toString('latin1');
    },
  });
  proxy.turn(0);
  const freeBefore = memory.buffers.free;
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
    const client = memory.connectClient(3);
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
          const found = readRequest(memory.sent.get(fd)!, fd);
          if (found === null) continue;
          again = true;
          memory.sent.set(fd, memory.sent.get(fd)!.slice(found.length));
          const [method, target] = found.request.line.split(' ');
          read.push(`${method} ${target} ${found.request.body.length}`);
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
    proxy.flushLog();
    const logged: string[] = [];
    for (const line of lines.split('\n')) {
      if (line === '') continue;
      const one = JSON.parse(line) as { request: string; received: number; member: string };
      if (one.member === '-') outcome.refused++;
      else logged.push(`${one.request} ${one.received}`);
    }
    lines = '';
    outcome.forwarded += read.length;
    const show = JSON.stringify({ seed, text, read, logged }, null, 1);
    const distinct = read.filter((one, n) => n === 0 || one !== read[n - 1]);
    const left = [...logged];
    for (const one of distinct) {
      const at = left.indexOf(one);
      assert.ok(at >= 0, `a member read ${one}, which was not sent: ${show}`);
      left.splice(at, 1);
    }
    assert.equal(memory.isOpen(client), false, `the connection is still open: ${show}`);
    assert.equal(proxy.figures.open, 0, show);
    if (memory.members.size === 0) assert.equal(memory.buffers.free, freeBefore, `buffers are lost: ${show}`);
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
