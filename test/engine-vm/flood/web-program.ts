/**
 * For tests and the bench of floods, a server and its clients:
 *   serve PORT ...                 answers every connection with a line; prints `ready`
 *   request ADDRESS MS PAUSE-MS N  one connection after the other to port 80; prints what became of them as JSON, the
 *                                  times without those of the first N, in which Node still compiles
 */
import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** A SYN that is lost comes again after one, three and seven seconds. */
const GIVE_UP_MS = 15_000;
const [mode, ...args] = process.argv.slice(2) as [string, ...string[]];

if (mode === 'serve') {
  let listening = 0;
  for (const port of args) {
    net
      .createServer((socket) => socket.on('error', () => {}).end('hello\n'))
      .listen(Number(port), '0.0.0.0', 511, () => {
        if (++listening === args.length) console.log('ready');
      });
  }
} else {
  const [address, milliseconds, pauseMs, uncounted] = args as [string, string, string, string];
  const times: number[] = [];
  let failed = 0;
  for (let warmUp = 0; warmUp < Number(uncounted); warmUp++) if (!(await request(address))) failed++;
  const end = performance.now() + Number(milliseconds);
  while (performance.now() < end) {
    const before = performance.now();
    if (await request(address)) times.push(performance.now() - before);
    else failed++;
    if (Number(pauseMs) > 0) await delay(Number(pauseMs));
  }
  times.sort((left, right) => left - right);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0;
  console.log(JSON.stringify({ requests: times.length + failed, failed, p50Ms: at(0.5), p99Ms: at(0.99) }));
}

/** Whether a connection brings its line. */
function request(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    let text = '';
    const socket = net.connect({ host: address, port: 80 });
    socket.setTimeout(GIVE_UP_MS, () => socket.destroy());
    socket.on('data', (data) => {
      text += data.toString();
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(text === 'hello\n'));
  });
}
