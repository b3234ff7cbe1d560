/**
 * Mutated requests and responses through the whole proxy in memory. After each connection it is checked that what the
 * member read, with a parser of its own, is what the proxy logged as sent there: no more requests, no other ones.
 */
import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { seededRandom } from '../../random.ts';
import { assertAuthorised, MemoryProxy } from './memory-proxy.ts';

/** Pieces that mutations are made of: what tells parsers apart. */
const SPICE = [
  ...[
    '\r\n',
    '\n',
    '\r',
    ' ',
    '\t',
    ':',
    ',',
    ';',
    '\u0000',
    '\u000b',
    '0\r\n\r\n',
    '\r\n\r\n',
    '%2e%2e/',
    '..',
    '#',
  ],
  ...[
    'Content-Length: 3\r\n',
    'Content-Length: 0\r\n',
    'Transfer-Encoding: chunked\r\n',
    'Connection: close\r\n',
  ],
  ...[
    'Transfer-Encoding: identity\r\n',
    'Host: evil\r\n',
    ' folded\r\n',
    'GET /evil HTTP/1.1\r\nHost: e\r\n\r\n',
  ],
  ...[
    'HTTP/1.0',
    'chunked',
    'Expect: 100-continue\r\n',
    '5\r\nabcde\r\n',
    'ffffffff',
    ';x=y',
    'HTTP/1.1 200 OK\r\n\r\n',
  ],
  ...[
    'Connection: Content-Length\r\n',
    'Upgrade: websocket\r\nConnection: Upgrade\r\n',
    'HEAD',
    'HTTP/1.1 101 S\r\n',
  ],
];

const REQUESTS = [
  'GET /a?b=c HTTP/1.1\r\nHost: t\r\nAccept: */*\r\n\r\n',
  'POST /p HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello',
  'PUT /c HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;q=1\r\nde\r\n0\r\nX-T: 1\r\n\r\n',
  'HEAD /h HTTP/1.1\r\nHost: t\r\n\r\n',
  'GET http://t/abs HTTP/1.1\r\nHost: t\r\n\r\n',
  'GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n',
];

const RESPONSES = [
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  'HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n',
  'HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n',
  'HTTP/1.0 200 OK\r\n\r\nuntil the end',
];

/** What acceleration looks at; mixed in where a service has it. */
const ACCELERATED_REQUESTS = [
  'GET /a HTTP/1.1\r\nHost: t\r\nAccept-Encoding: gzip, br;q=0.5, zstd;q=0\r\n\r\n',
  'GET /a HTTP/1.1\r\nHost: t\r\nRange: bytes=1-3\r\nIf-None-Match: "b", W/"a"\r\n\r\n',
  'GET /b HTTP/1.1\r\nHost: t\r\nAccept-Encoding: identity\r\nCache-Control: no-store\r\n\r\n',
  'PURGE /* HTTP/1.1\r\nHost: t\r\n\r\n',
];
const CODED = 'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n';
const ACCELERATED_RESPONSES = [
  `${CODED}Cache-Control: max-age=60\r\nETag: "a"\r\nVary: Accept-Encoding\r\nContent-Length: 5\r\n\r\nhello`,
  `${CODED}Cache-Control: no-cache\r\nETag: "a"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
  `${CODED}Cache-Control: max-age=1, stale-if-error=9\r\nAge: 5\r\nETag: "a"\r\nContent-Length: 5\r\n\r\nhello`,
  `${CODED}Content-Encoding: gzip\r\nCache-Control: max-age=60\r\nContent-Length: 29\r\n\r\n${gzipSync('fuzzing').toString('latin1').padEnd(29, '\0')}`,
  'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nCache-Control: max-age=60\r\n\r\n',
  'HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy',
];

export interface FuzzOutcome {
  messages: number;
  /** Requests that members read. */
  forwarded: number;
  refused: number;
}

/** Runs so many messages; `http` are settings of the service. Throws AssertionError with the messages at the first disagreement. */
export function fuzz(messages: number, seed: number, http: Record<string, unknown> = {}): FuzzOutcome {
  const isAccelerated = Object.keys(http).length > 0;
  const requests = isAccelerated ? [...REQUESTS, ...ACCELERATED_REQUESTS] : REQUESTS;
  const responses = isAccelerated ? [...RESPONSES, ...ACCELERATED_RESPONSES] : RESPONSES;
  const next = seededRandom(seed);
  const pick = (list: readonly string[]): string => list[Math.floor(next() * list.length)]!;
  const site = new MemoryProxy(http);
  const { proxy, memory } = site;
  const outcome: FuzzOutcome = { messages: 0, forwarded: 0, refused: 0 };

  const mutate = (text: string): string => {
    let out = text;
    for (let n = Math.floor(next() * 4); n > 0; n--) {
      const at = Math.floor(next() * out.length);
      const length = Math.floor(next() * 6);
      const what = next();
      if (what < 0.3) out = out.slice(0, at) + pick(SPICE) + out.slice(at);
      else if (what < 0.5) out = out.slice(0, at) + out.slice(at + length);
      else if (what < 0.7)
        out = out.slice(0, at) + String.fromCharCode(Math.floor(next() * 256)) + out.slice(at + 1);
      else if (what < 0.85)
        out = out.slice(0, at) + out.slice(at, at + length).toUpperCase() + out.slice(at + length);
      else out = out.slice(0, at) + out.slice(at, at + 20) + out.slice(at);
    }
    return out;
  };

  while (outcome.messages < messages) {
    const said: string[] = [];
    const read: string[] = [];
    const client = site.connectClient();
    const count = 1 + Math.floor(next() * 3);
    let text = '';
    for (let n = 0; n < count; n++) text += mutate(pick(requests));
    outcome.messages += count;
    let isTunnel = false;
    const serve = (): void => {
      for (let again = true; again; ) {
        again = false;
        proxy.turn(0);
        for (const fd of [...memory.members]) {
          const found = isTunnel ? null : site.readNext(fd);
          if (found === null) continue;
          again = true;
          read.push(found);
          const answer = next() < 0.3 ? mutate(pick(responses)) : pick(responses);
          outcome.messages++;
          said.push(answer);
          isTunnel ||= answer.includes(' 101 ');
          const cut = next() < 0.5 ? Math.floor(next() * answer.length) : 0;
          if (cut > 0) memory.arrive(fd, answer.slice(0, cut));
          memory.arrive(fd, answer.slice(cut));
          if (answer.startsWith('HTTP/1.0') || next() < 0.2) memory.arrive(fd, null);
          proxy.turn(0);
        }
      }
    };
    for (let at = 0; at < text.length; ) {
      const length = next() < 0.5 ? text.length : 1 + Math.floor(next() * 40);
      memory.arrive(client, text.slice(at, at + length));
      at += length;
      serve();
    }
    memory.arrive(client, null);
    serve();
    // Whoever still waits is told that nothing comes.
    for (let n = 0; n < 4 || (n < 30 && memory.members.size > 0); n++) {
      for (const fd of [...memory.members]) if (memory.sent.get(fd) !== '' || n > 1) memory.arrive(fd, null);
      serve();
    }
    proxy.turn(0);
    const { logged, refused } = site.takeLog();
    outcome.refused += refused;
    outcome.forwarded += read.length;
    const show = JSON.stringify({ seed, text, said, read, logged }, null, 1);
    if (!isTunnel) assertAuthorised(read, logged, show);
    if (isTunnel || memory.isOpen(client)) {
      memory.arrive(client, null);
      for (const fd of [...memory.members]) memory.arrive(fd, null);
      proxy.turn(0);
    }
    assert.equal(proxy.figures.open, 0, `a client connection is left\n${show}`);
    assert.equal(memory.members.size, 0, `a connection to a member is left\n${show}`);
    assert.equal(memory.buffers.free, site.freeBefore, `a buffer is lost\n${show}`);
  }
  return outcome;
}
