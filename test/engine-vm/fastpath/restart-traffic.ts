/**
 * For the test of restarts. `restart-traffic.ts serve` answers what it gets: UDP 5000, TCP 5001 (until the other side
 * closes). `restart-traffic.ts send ADDRESS UDP TCP [lasting]`: numbered datagrams in one flow (2000 a second), numbered lines in
 * one connection, and (unless `lasting`) a new connection every 50 ms, until standard input ends; then it prints what was lost, as JSON.
 */
import { createSocket } from 'node:dgram';
import { connect, createServer } from 'node:net';

const BURST = 10;
const BURST_MS = 5;
const NEW_MS = 50;
/** TCP repeats its SYN after 1, 3, 7 and 15 s. */
const PATIENCE_MS = 20_000;

if (process.argv[2] === 'serve') {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20, sendBufferSize: 4 << 20 });
  socket.on('message', (data, { port, address }) => socket.send(data, port, address));
  socket.bind(5000, '0.0.0.0', () =>
    createServer((one) => one.on('error', () => undefined).pipe(one)).listen(5001, '0.0.0.0', () =>
      console.log('ready'),
    ),
  );
} else await send(process.argv[3]!, Number(process.argv[4]), Number(process.argv[5]));

async function send(address: string, udpPort: number, tcpPort: number): Promise<void> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20, sendBufferSize: 4 << 20 });
  let sent = 0;
  let received = 0;
  const seen: boolean[] = [];
  let twice = 0;
  socket.on('message', (data) => {
    const number = data.readUInt32BE(0);
    if (seen[number]) twice++;
    else received++;
    seen[number] = true;
    if (received === 1) console.log('flowing');
  });
  await new Promise<void>((resolve) => socket.connect(udpPort, address, resolve));
  const datagrams = setInterval(() => {
    for (let i = 0; i < BURST; i++) {
      const data = Buffer.alloc(64);
      data.writeUInt32BE(sent++);
      socket.send(data);
    }
  }, BURST_MS);

  let lines = 0;
  let echoed = '';
  let broken: string | null = null;
  const long = connect(tcpPort, address);
  long.on('error', (error) => {
    broken = error.message;
  });
  long.on('close', () => {
    broken ??= 'closed';
  });
  long.on('data', (data) => {
    echoed += String(data);
  });
  const writing = setInterval(() => long.write(`${lines++}\n`), 5);

  let opened = 0;
  let failed = 0;
  let late = 0;
  let slowestMs = 0;
  const waiting = new Set<Promise<void>>();
  const opening = setInterval(() => {
    if (process.argv[6] === 'lasting') return;
    const one = attempt().then(() => void waiting.delete(one));
    waiting.add(one);
  }, NEW_MS);
  async function attempt(): Promise<void> {
    const from = performance.now();
    opened++;
    const isGood = await new Promise<boolean>((resolve) => {
      const one = connect(tcpPort, address, () => one.write('hello'));
      one.setTimeout(PATIENCE_MS, () => one.destroy());
      one.on('data', () => {
        one.end();
        resolve(true);
      });
      one.on('error', () => resolve(false)).on('close', () => resolve(false));
    });
    if (!isGood) failed++;
    const tookMs = performance.now() - from;
    if (tookMs > 900) late++;
    slowestMs = Math.max(slowestMs, tookMs);
  }

  process.stdin.resume();
  await new Promise((resolve) => process.stdin.once('end', resolve));
  for (const timer of [datagrams, writing, opening]) clearInterval(timer);
  await Promise.all(waiting);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const lost: number[] = [];
  for (let number = 0; number < sent; number++) if (!seen[number]) lost.push(number);
  const expected = Array.from({ length: lines }, (_, number) => `${number}\n`).join('');
  console.log(
    JSON.stringify({
      sent,
      received,
      twice,
      lost: lost.length,
      firstLost: lost.slice(0, 10),
      lines,
      isEchoWhole: echoed === expected,
      broken,
      opened,
      failed,
      late,
      slowestMs: Math.round(slowestMs),
    }),
  );
  process.exit(0);
}
