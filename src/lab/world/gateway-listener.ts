/**
 * Listens on an address of the namespace it is started in, and hands the socket to its parent over IPC: Node cannot
 * change namespaces, but it can accept from a socket of another one. Run by gateway.ts; ends when the parent has it.
 */
import { createServer } from 'node:net';

const [address, port] = process.argv.slice(2);
const server = createServer();
server.once('error', (error) => {
  console.error(error.message);
  process.exit(1);
});
server.listen(Number(port), address, () => {
  // The parent has the socket then, and alone accepts from it. It hangs up when it has it: nothing is left to do.
  process.send?.('listening', server, {}, () => server.close());
});
