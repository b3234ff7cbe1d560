/**
 * The application that runs in every application VM of the lab: a small web shop that says who it is, so that one
 * sees which member answered. HTTP and a UDP echo on port 8080, both families.
 *
 *   /            a page that names the VM and its host
 *   /json        the same as JSON
 *   /health      200 `ok`
 *   /bytes?n=N   N bytes
 *   /slow?ms=N   answers after N milliseconds
 *
 * Run by guest.ts as `node app-server.ts identity.json`; the lab rewrites that file when it migrates the VM.
 */
import { createSocket } from 'node:dgram';
import { readFileSync, watch } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { dirname } from 'node:path';

const PORT = 8080;
const MAX_BYTES = 2 ** 30;
const MAX_DELAY_MS = 60_000;
const CHUNK = Buffer.alloc(64 * 1024, '0123456789abcdef');

const identityFile = process.argv[2]!;
let identity = readIdentity() ?? { vm: 'unknown', host: 'unknown' };
let served = 0;

watch(dirname(identityFile), () => {
  identity = readIdentity() ?? identity;
});

const server = createServer({ keepAliveTimeout: 65_000 }, (request, response) => {
  served++;
  const client = (request.socket.remoteAddress ?? '').replace(/^::ffff:/, '');
  response.setHeader('X-Weft-Vm', identity.vm);
  response.setHeader('X-Weft-Host', identity.host);
  response.setHeader('X-Weft-Client', client);
  request.resume();
  const url = URL.canParse(request.url ?? '', 'http://shop') ? new URL(request.url!, 'http://shop') : null;
  if (url) pageAt(url.pathname)({ request, response, url, client });
  else send(response, 400, 'text/plain', 'no such address\n');
});
server.on('clientError', (_error, socket) => socket.destroy());
server.listen({ host: '::', port: PORT });

const echo = createSocket({ type: 'udp6' });
echo.on('message', (message, from) => echo.send(message, from.port, from.address, () => {}));
echo.on('error', (error) => console.error(`UDP echo: ${error.message}`));
echo.bind(PORT, '::');

/** A request as the pages see it. */
interface Visit {
  request: IncomingMessage;
  response: ServerResponse;
  url: URL;
  client: string;
}

function pageAt(path: string): (visit: Visit) => void {
  switch (path) {
    case '/':
      return ({ response, client }) => send(response, 200, 'text/html; charset=utf-8', page(client));
    case '/json':
      return ({ request, response, client }) => {
        const forwardedFor = request.headers['x-forwarded-for'] ?? null;
        send(
          response,
          200,
          'application/json',
          JSON.stringify({ ...identity, client, forwardedFor, served }),
        );
      };
    case '/health':
      return ({ response }) => send(response, 200, 'text/plain', 'ok\n');
    case '/bytes':
      return sendBytes;
    case '/slow':
      return sendLate;
    default:
      return ({ response }) => send(response, 404, 'text/plain', 'no such page\n');
  }
}

function sendBytes({ request, response, url }: Visit): void {
  const count = numberOf(url, 'n', MAX_BYTES);
  if (count === null) {
    send(response, 400, 'text/plain', `n must be 0 to ${MAX_BYTES}\n`);
    return;
  }
  response.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Content-Length': count });
  if (request.method === 'HEAD') response.end();
  else stream(response, count);
}

function sendLate({ response, url }: Visit): void {
  const delayMs = numberOf(url, 'ms', MAX_DELAY_MS);
  if (delayMs === null) {
    send(response, 400, 'text/plain', `ms must be 0 to ${MAX_DELAY_MS}\n`);
    return;
  }
  const timer = setTimeout(() => send(response, 200, 'text/plain', `after ${delayMs} ms\n`), delayMs);
  response.once('close', () => clearTimeout(timer));
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body) });
  response.end(body);
}

/** Writes so many bytes, no faster than the client reads. */
function stream(response: ServerResponse, count: number): void {
  let left = count;
  const more = () => {
    while (left > 0 && !response.destroyed) {
      const size = Math.min(left, CHUNK.length);
      left -= size;
      if (!response.write(size === CHUNK.length ? CHUNK : CHUNK.subarray(0, size)) && left > 0) {
        response.once('drain', more);
        return;
      }
    }
    response.end();
  };
  more();
}

function numberOf(url: URL, name: string, max: number): number | null {
  const text = url.searchParams.get(name) ?? '';
  const value = Number(text);
  return /^\d+$/.test(text) && value <= max ? value : null;
}

function readIdentity(): { vm: string; host: string } | null {
  try {
    return JSON.parse(readFileSync(identityFile, 'utf8')) as { vm: string; host: string };
  } catch {
    return null; // It is being written; the next change event reads it.
  }
}

function page(client: string): string {
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>${identity.vm}: the shop</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem}
b{font-size:1.4em}dt{color:#666}dd{margin:0 0 .6rem}</style></head>
<body>
<h1>The shop</h1>
<dl>
<dt>You were served by</dt><dd><b>${identity.vm}</b> on ${identity.host}</dd>
<dt>You are</dt><dd>${client}</dd>
<dt>Requests this VM has answered</dt><dd>${served}</dd>
</dl>
</body>
</html>
`;
}
