/**
 * The monitor `http`: one HTTP/1.1 GET on a connection of its own, by TLS where asked; a member is up when the status is among the
 * expected ones and the response ends, or is longer than anybody would want to read.
 * Redirects are not followed: a 302 is a status like any other.
 */
import { get, type IncomingMessage } from 'node:http';
import { get as getByTls } from 'node:https';
import { isIP } from 'node:net';
import type { HealthMonitor as Spec } from '../../policy/pool.ts';
import { aborted, type CheckResult, failure, type Monitor } from './monitor.ts';

const MAX_HEADER_BYTES = 16 * 1024;
/** A response is read to its end up to here, so that servers see a client that went orderly. */
const MAX_BODY_BYTES = 64 * 1024;

export class HttpMonitor implements Monitor {
  readonly label: string;
  private readonly spec: Extract<Spec, { type: 'http' }>;

  constructor(spec: Extract<Spec, { type: 'http' }>) {
    this.spec = spec;
    this.label = `${spec.tls === true ? 'https' : 'http'} GET ${spec.path}`;
  }

  check(address: string, port: number, signal: AbortSignal): Promise<CheckResult> {
    if (signal.aborted) return Promise.resolve(aborted(signal));
    const { path, host, tls, expectStatus } = this.spec;
    return new Promise((resolve) => {
      const startedAt = performance.now();
      const ask = tls === true ? getByTls : get;
      const servername = host === undefined ? '' : host.replace(/:\d+$/, '');
      const request = ask({
        ...(tls === true
          ? { rejectUnauthorized: false, servername: isIP(servername) === 0 ? servername : '' }
          : {}),
        host: address,
        port,
        path,
        agent: false,
        maxHeaderSize: MAX_HEADER_BYTES,
        setHost: false,
        headers: {
          host: host ?? hostHeader(address, port),
          'user-agent': 'weft-health',
          accept: '*/*',
          connection: 'close',
        },
      });
      const end = (result: CheckResult): void => {
        signal.removeEventListener('abort', onAbort);
        request.destroy();
        resolve(result);
      };
      const onAbort = (): void => end(aborted(signal));
      signal.addEventListener('abort', onAbort, { once: true });
      // `on`, not `once`: an error behind the first must not become an uncaught one.
      request.on('error', (error) => end(failure(error)));
      request.once('response', (response) => {
        const status = response.statusCode ?? 0;
        const tookMs = Math.ceil(performance.now() - startedAt);
        if (!expectStatus.includes(status)) {
          end({ isUp: false, reason: `status ${status}, expected ${expectStatus.join(' or ')}` });
          return;
        }
        drain(response, (error) => {
          end(error === null ? { isUp: true, reason: `status ${status} in ${tookMs} ms` } : failure(error));
        });
      });
    });
  }
}

/** Reads the body away; calls back at its end, at the limit, or with what broke it. */
function drain(response: IncomingMessage, done: (error: Error | null) => void): void {
  let bytes = 0;
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) done(null);
  });
  response.on('end', () => done(null));
  response.on('error', done);
}

function hostHeader(address: string, port: number): string {
  const name = address.includes(':') ? `[${address}]` : address;
  return port === 80 ? name : `${name}:${port}`;
}
