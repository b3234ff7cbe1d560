/**
 * Members and clients of bench/l7.ts in one thread: HTTP servers that answer with a body of a fixed length, and clients
 * that each ask again once they have their answer. Prints one line of JSON: requests, seconds, latencies, and the CPU
 * that the proxy's process used meanwhile.
 *
 *   load-program.ts PROXY_PORT PROXY_PID MEMBER_PORT MEMBERS CONNECTIONS BODY_BYTES WARM_UP_MS MS RATE new|kept FEATURE FOLDER
 *
 * RATE: requests a second of all clients together; 0 is as many as there can be. FEATURE `gzip`: bodies are text, and
 * clients take gzip; `cache`: responses may be stored; `tls`: clients speak
 * TLS, and believe the certificate in FOLDER.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { EventFd } from '../../src/engine-vm/kernel/event-fd.ts';
import { listenTcp, socketAddress, tcpSocket } from '../../src/engine-vm/kernel/socket-address.ts';
import { SocketBuffers } from '../../src/engine-vm/kernel/socket-buffers.ts';
import { openSocketLoop, type SocketEvents } from '../../src/engine-vm/kernel/socket-loop.ts';
import { TlsClients } from './tls-clients.ts';

const [proxyPort, proxyPid, memberPort, members, connections, bodyBytes, warmUpMs, ms, rate] = process.argv
  .slice(2, 11)
  .map(Number) as [number, number, number, number, number, number, number, number, number];
const isNew = process.argv[11] === 'new';
const feature = process.argv[12];
const isGzip = feature === 'gzip';

const buffers = new SocketBuffers(8192);
const put = (text: string): { at: number; length: number } => {
  const at = buffers.reserve(text.length);
  buffers.bytes.set(Buffer.from(text, 'latin1'), at);
  return { at, length: text.length };
};
/** Text as it may stand in a page: the same in each run. */
function text(length: number): string {
  const words =
    'the of and to in is was for on as with by at from that this which are be has had it its'.split(' ');
  let state = 1;
  let made = '';
  while (made.length < length) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    const isName = state >>> 30 === 0;
    made += isName ? `${(state >>> 4).toString(36)} ` : `${words[(state >>> 16) % words.length]} `;
  }
  return made.slice(0, length);
}
const body = isGzip ? text(bodyBytes) : 'x'.repeat(bodyBytes);
const response = put(
  `HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Thu, 26 Nov 2026 00:00:00 GMT\r\nContent-Type: text/plain\r\n${feature === 'cache' ? 'Cache-Control: max-age=315360000\r\n' : ''}Content-Length: ${bodyBytes}\r\n\r\n${body}`,
);
const request = put(
  `GET /item/1234?color=blue HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: bench\r\nAccept: */*\r\n${isNew ? 'Connection: close\r\n' : ''}${isGzip ? 'Accept-Encoding: gzip\r\n' : ''}\r\n`,
);
const proxyAddress = socketAddress('127.0.0.1', proxyPort);
const addressAt = buffers.reserve(28);
buffers.bytes.set(proxyAddress, addressAt);

const isClient = new Uint8Array(1 << 17);
const sentAt = new Float64Array(1 << 17);
const left = new Int32Array(1 << 17);
const waiting: number[] = [];
const latencies = new Float64Array(4_000_000);
let counted = 0;
let isCounting = false;
let errors = 0;
let bytes = 0;
let now = performance.now();
let allowed = 0;
let paceFrom = 0;

const cpuTicks = (): number => {
  const fields = readFileSync(`/proc/${proxyPid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return Number(fields[11]) + Number(fields[12]);
};

function open(): void {
  const fd = tcpSocket(proxyAddress);
  if (fd < 0) throw new Error('no socket');
  isClient[fd] = 1;
  sentAt[fd] = performance.now();
  loop.connect(fd, addressAt, proxyAddress.length);
}

function ask(fd: number): void {
  left[fd] = -1;
  if (!isNew) sentAt[fd] = performance.now();
  if (tls === null) loop.send(fd, request.at, request.length);
  else tls.send(fd, request.at, request.length);
}

function next(fd: number): void {
  if (rate > 0) waiting.push(fd);
  else ask(fd);
}

/** The first request of a connection. */
function begin(fd: number): void {
  if (isNew) ask(fd);
  else next(fd);
}

function failed(fd: number): void {
  errors++;
  tls?.end(fd);
  loop.close(fd);
  open();
}

const LAST_CHUNK = Buffer.from('0\r\n\r\n');

/** Whether the bytes before `end` are the last chunk: compressed responses have no length. */
function endsChunks(end: number): boolean {
  return LAST_CHUNK.every((byte, n) => buffers.bytes[end - LAST_CHUNK.length + n] === byte);
}

function answered(fd: number, offset: number, length: number): void {
  if (left[fd]! < 0) {
    // The head has come whole: it is short.
    const text = Buffer.from(buffers.bytes.buffer, offset, Math.min(length, 1024)).toString('latin1');
    const end = text.indexOf('\r\n\r\n');
    if (end < 0 || !text.startsWith('HTTP/1.1 200')) {
      failed(fd);
      return;
    }
    if (isGzip && !text.includes('Content-Encoding: gzip') && !text.includes('content-encoding: gzip')) {
      failed(fd);
      return;
    }
    left[fd] = end + 4 + bodyBytes;
  }
  if (isCounting) bytes += length;
  left[fd]! -= length;
  if (isGzip ? !endsChunks(offset + length) : left[fd]! > 0) return;
  if (isCounting && counted < latencies.length) latencies[counted++] = now - sentAt[fd]!;
  if (isNew) {
    tls?.end(fd);
    loop.close(fd);
    open();
  } else next(fd);
}

const events: SocketEvents = {
  onTurn() {
    now = performance.now();
  },
  onAccept(_listener, fd) {
    isClient[fd] = 0;
    loop.receive(fd);
  },
  onConnect(fd, error) {
    if (error !== 0) {
      failed(fd);
      return;
    }
    loop.receive(fd);
    if (tls === null) begin(fd);
    else tls.begin(fd);
  },
  onReceive(fd, buffer, offset, length) {
    if (isClient[fd] === 1 && tls !== null) tls.received(fd, offset, length);
    else if (isClient[fd] === 1) answered(fd, offset, length);
    else if (buffers.bytes[offset + length - 1] === 10) loop.send(fd, response.at, response.length);
    buffers.give(buffer);
  },
  onEnd(fd) {
    if (isClient[fd] === 1) failed(fd);
    else loop.close(fd);
  },
  onSent(fd) {
    if (isClient[fd] === 1) tls?.sent(fd);
  },
  onWake: () => undefined,
};
const wake = new EventFd();
const loop = openSocketLoop(buffers, events, wake.fd);
const tls =
  feature === 'tls'
    ? new TlsClients(loop, join(process.argv[13]!, 'bench.pem'), {
        secured: begin,
        received: answered,
        failed,
      })
    : null;
for (let n = 0; n < members; n++) loop.accept(listenTcp('127.0.0.1', memberPort + n, 4096));
for (let n = 0; n < connections; n++) open();

function run(forMs: number): number {
  const begin = performance.now();
  paceFrom = begin;
  allowed = 0;
  while (now - begin < forMs) {
    loop.turn(rate > 0 ? 1 : 50);
    if (rate === 0) continue;
    for (; waiting.length > 0 && allowed < ((now - paceFrom) * rate) / 1000; allowed++) ask(waiting.shift()!);
  }
  return now - begin;
}

run(warmUpMs);
errors = 0;
isCounting = true;
const before = cpuTicks();
const took = run(ms);
const ticks = cpuTicks() - before;
const sorted = latencies.subarray(0, counted).sort();
console.log(
  JSON.stringify({
    requests: counted,
    seconds: took / 1000,
    cpuUs: (ticks * 10_000) / counted,
    p50: sorted[Math.floor(counted * 0.5)],
    p99: sorted[Math.floor(counted * 0.99)],
    errors,
    bytes: bytes / counted,
  }),
);
process.exit(0);
