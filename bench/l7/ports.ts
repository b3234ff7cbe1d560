/** Ports of bench/l7.ts: ones that nobody has, since listeners with SO_REUSEPORT share a port silently. */
import { once } from 'node:events';
import { connect, createServer, type Server } from 'node:net';

const LOWEST = 9000;
/** Below those that the kernel takes for connections. */
const HIGHEST = 30_000;
const TRIES = 100;

/** A free port for the proxy, and the first of free ones in a row for so many members. */
export async function freePorts(members: number): Promise<[port: number, memberPort: number]> {
  for (let n = 0; n < TRIES; n++) {
    const first = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST - members));
    if (await areFree(first, 1 + members)) return [first, first + 1];
  }
  throw new Error(`no ${1 + members} ports in a row are free on 127.0.0.1 from ${LOWEST} to ${HIGHEST}`);
}

/** Listens on them for a moment without SO_REUSEPORT: refused where anybody listens, whichever way. */
async function areFree(first: number, count: number): Promise<boolean> {
  const servers: Server[] = [];
  try {
    for (let n = 0; n < count; n++) {
      const server = createServer().listen({ port: first + n, host: '127.0.0.1', exclusive: true });
      servers.push(server);
      await once(server, 'listening');
    }
    return true;
  } catch {
    return false;
  } finally {
    for (const server of servers) server.close();
  }
}

export function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
