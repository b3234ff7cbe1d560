/**
 * For tests of whole connections:
 *   serve ADDRESS PORT            sends back what comes, to its end; prints `ready`
 *   send ADDRESS PORT BYTES       sends so many bytes, reads them back; prints `same` or what was wrong
 */
import { randomBytes } from 'node:crypto';
import net from 'node:net';

const [mode, address, port, bytes] = process.argv.slice(2) as [string, string, string, string?];

if (mode === 'serve') {
  net
    .createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => {}).pipe(socket))
    .listen(Number(port), address, () => console.log('ready'));
} else {
  const sent = randomBytes(Number(bytes));
  const parts: Buffer[] = [];
  const socket = net.connect({ host: address, port: Number(port), allowHalfOpen: true }, () =>
    socket.end(sent),
  );
  let error = '';
  socket.setTimeout(20_000, () => socket.destroy(new Error('silence')));
  socket.on('error', ({ message }) => {
    error = message;
  });
  socket.on('data', (part: Buffer) => parts.push(part));
  socket.on('close', () => {
    const got = Buffer.concat(parts);
    console.log(error || (got.equals(sent) ? 'same' : `${got.length} of ${sent.length} bytes, or others`));
  });
}
