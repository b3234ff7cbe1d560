/**
 * For tests: TCP bytes that can be checked. `transfer-program.ts serve <address> <port>` prints `ready`, then for each
 * connection what it received; `transfer-program.ts send <address> <port> <bytes>` sends, reads the same amount back,
 * and prints the two sums.
 */
import { createHash } from 'node:crypto';
import net from 'node:net';

const [mode, address, port, bytes] = process.argv.slice(2);

/** A stream of bytes that differ from block to block, so that swapped or repeated segments change the sum. */
function block(index: number): Buffer {
  const buffer = Buffer.alloc(65536);
  for (let at = 0; at < buffer.length; at += 4)
    buffer.writeUInt32LE(Math.imul(index * 16384 + at, 2654435761) >>> 0, at);
  return buffer;
}

async function send(socket: net.Socket, total: number): Promise<string> {
  const hash = createHash('sha256');
  for (let index = 0; index * 65536 < total; index++) {
    const data = block(index);
    hash.update(data);
    if (!socket.write(data)) await new Promise((resolve) => socket.once('drain', resolve));
  }
  return hash.digest('hex');
}

function receive(socket: net.Socket, total: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const hash = createHash('sha256');
    let got = 0;
    socket.on('data', (data) => {
      hash.update(data);
      got += data.length;
      if (got >= total) resolve(hash.digest('hex'));
    });
    socket.once('error', reject);
    socket.once('close', () => reject(new Error(`closed after ${got} of ${total} bytes`)));
  });
}

const total = Math.ceil(Number(bytes) / 65536) * 65536;
if (mode === 'serve') {
  const server = net.createServer(async (socket) => {
    const received = await receive(socket, total);
    await send(socket, total);
    socket.end();
    process.stdout.write(`${received}\n`);
  });
  server.listen(Number(port), address, () => process.stdout.write('ready\n'));
} else {
  const socket = net.connect(Number(port), address);
  const back = receive(socket, total);
  const started = performance.now();
  const sent = await send(socket, total);
  const received = await back;
  const ms = performance.now() - started;
  socket.destroy();
  process.stdout.write(`${JSON.stringify({ sent, received, ms })}\n`);
}
