/** Sending one file by HTTPS to vCenter or to a host that it names, pinned by a thumbprint. */
import { request } from 'node:https';
import { connect, type PeerCertificate, type TLSSocket } from 'node:tls';
import { WeftError } from '../policy/errors.ts';
import { refusal } from './host-networks.ts';
import { abortable, type VcenterSession } from './session.ts';

export interface UploadTarget {
  url: URL;
  method: 'PUT' | 'POST';
  headers: Record<string, string>;
  /** SHA-1 or SHA-256 of the certificate there, as vCenter tells it; null where only vCenter's own will do. */
  thumbprint: string | null;
}

export interface UploadSource {
  sizeBytes: number;
  read(signal: AbortSignal): AsyncIterable<Buffer>;
}

/** Without a byte taken. */
const STALL_MS = 60_000;
/** What proxies in front of hosts say while there is nobody behind them. */
const BUSY = [502, 503, 504];

/**
 * Sends the file whole. `uploaded` gets the bytes as they are taken. Throws ERR_HYPERVISOR_UNREACHABLE where it breaks
 * off, ERR_HYPERVISOR_REFUSED where the answer is no, the signal's reason, and what the source throws.
 */
export async function sendFile(
  session: VcenterSession,
  target: UploadTarget,
  source: UploadSource,
  uploaded: (bytes: number) => void,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  const { url, thumbprint } = target;
  const isVcenter = url.origin === new URL(session.address).origin;
  if (!thumbprint && !isVcenter) {
    throw refusal(`vCenter names no thumbprint for ${url.host}, so the disk is not sent there`);
  }
  let taken = 0;
  const outgoing = request(url, {
    method: target.method,
    headers: { ...target.headers, 'Content-Length': source.sizeBytes },
    signal,
    // The ticket is in the URL: the session's cookie is nothing for a host. Its own vCenter is pinned as ever.
    ...(isVcenter || !thumbprint
      ? { agent: session.transport.agent }
      : { createConnection: (_: object, done: Connected) => pinned(url, thumbprint, done) }),
  });
  outgoing.setTimeout(STALL_MS, () =>
    outgoing.destroy(new Error(`nothing was taken for ${STALL_MS / 1000} s`)),
  );
  const answer = new Promise<number>((resolve, reject) => {
    outgoing.once('error', reject);
    outgoing.once('response', (response) => {
      response.resume();
      response.once('error', reject);
      response.once('end', () => resolve(response.statusCode ?? 0));
    });
  });
  answer.catch(() => undefined);
  try {
    for await (const part of source.read(signal)) {
      if (outgoing.destroyed) break;
      if (!outgoing.write(part)) {
        await Promise.race([
          abortable(new Promise((resolve) => outgoing.once('drain', resolve)), signal),
          answer,
        ]);
      }
      taken += part.length;
      uploaded(part.length);
    }
    if (taken === source.sizeBytes) outgoing.end();
    const status = await abortable(answer, signal);
    if (BUSY.includes(status)) throw new Error(`it answered with HTTP status ${status}`);
    if (status < 200 || status >= 300)
      throw refusal(`${url.host} refused the disk with HTTP status ${status}`);
  } catch (error) {
    outgoing.destroy();
    if (signal.aborted) throw signal.reason;
    if (error instanceof WeftError) throw error;
    throw new WeftError(
      'ERR_HYPERVISOR_UNREACHABLE',
      `the upload to ${url.host} broke off after ${taken} of ${source.sizeBytes} bytes (${(error as Error).message})`,
      { cause: error },
    );
  }
}

type Connected = (error: Error | null, socket: TLSSocket) => void;

/** A connection to a host whose certificate is the one that vCenter told of, by SHA-1 or SHA-256. */
function pinned(url: URL, thumbprint: string, done: Connected): undefined {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const socket = connect({
    host,
    port: Number(url.port || 443),
    rejectUnauthorized: false,
    minVersion: 'TLSv1.2',
  });
  const fail = (error: Error): void => done(error, socket);
  socket.once('error', fail);
  socket.once('secureConnect', () => {
    socket.off('error', fail);
    const certificate: PeerCertificate = socket.getPeerCertificate();
    const plain = (text: string): string => text.replace(/[:\s]/g, '').toUpperCase();
    const wanted = plain(thumbprint);
    const shown = plain((wanted.length === 40 ? certificate.fingerprint : certificate.fingerprint256) ?? '');
    if (shown === wanted) return done(null, socket);
    socket.on('error', () => undefined);
    socket.destroy();
    done(
      new WeftError(
        'ERR_HYPERVISOR_UNREACHABLE',
        `${url.host} shows another certificate than the one that vCenter told of: the disk is not sent`,
      ),
      socket,
    );
  });
  return undefined;
}
