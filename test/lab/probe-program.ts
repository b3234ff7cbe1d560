/**
 * Traffic for lab tests, run inside a namespace.
 *   http <timeoutMs> <url> [local address]   prints { status, vm, host, client } or { error }
 *   udp <address> <milliseconds>             one echo request each millisecond; prints { sent, lost }
 *   tcp <address> <port> <text>              prints what comes back
 */
import { createSocket } from 'node:dgram';
import { get } from 'node:http';
import { connect } from 'node:net';

const [verb, ...args] = process.argv.slice(2);
const print = (value: unknown) => console.log(JSON.stringify(value));

if (verb === 'http') {
  const [timeout, url, localAddress] = args;
  const request = get(
    url!,
    { timeout: Number(timeout), agent: false, ...(localAddress === undefined ? {} : { localAddress }) },
    (response) => {
      response.resume();
      const { 'x-weft-vm': vm, 'x-weft-host': host, 'x-weft-client': client } = response.headers;
      response.on('end', () => print({ status: response.statusCode, vm, host, client }));
    },
  );
  request.on('timeout', () => request.destroy(new Error('timeout')));
  request.on('error', (error) => print({ error: error.message }));
} else if (verb === 'udp') {
  const [address, milliseconds] = args;
  const socket = createSocket(address!.includes(':') ? 'udp6' : 'udp4');
  const answered = new Set<number>();
  socket.on('message', (message) => answered.add(message.readUInt32BE()));
  await new Promise<void>((resolve) => socket.bind(0, resolve));
  const started = performance.now();
  let sent = 0;
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      const due = Math.min(performance.now() - started, Number(milliseconds));
      while (sent < due) {
        const message = Buffer.alloc(64);
        message.writeUInt32BE(sent++);
        socket.send(message, 8080, address!);
      }
      if (due >= Number(milliseconds)) {
        clearInterval(timer);
        setTimeout(resolve, 150);
      }
    }, 1);
  });
  socket.close();
  print({ sent, lost: sent - answered.size });
} else {
  const [address, port, text] = args;
  const socket = connect(Number(port), address!);
  let received = '';
  socket.on('connect', () => socket.end(text));
  socket.on('data', (data) => {
    received += data.toString();
  });
  socket.on('close', () => print({ received }));
  socket.on('error', (error) => print({ error: error.message }));
}
