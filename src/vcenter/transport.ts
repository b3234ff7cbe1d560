/**
 * HTTPS to one vCenter, pinned to the thumbprint of its certificate: nothing is sent before the peer has shown that
 * certificate. Answers are bounded, redirects are refused, proxies of the environment are not used.
 */
import { Agent } from 'node:https';
import type { Duplex } from 'node:stream';
import { connect, type TLSSocket } from 'node:tls';
import axios, { type AxiosInstance, isAxiosError } from 'axios';
import { WeftError } from '../policy/errors.ts';

/** The longest answer that is read, in bytes. Listings are asked for in pages far below it. */
export const MAX_ANSWER_BYTES = 48 << 20;

export interface Reply {
  status: number;
  headers: Record<string, unknown>;
  text: string;
}

/** `aa:BB:...` or plain hex as upper-case pairs with colons. Throws ERR_POLICY_INVALID for what is no SHA-256. */
export function normalThumbprint(text: string): string {
  const hex = text.replace(/[:\s]/g, '').toUpperCase();
  if (!/^[0-9A-F]{64}$/.test(hex)) {
    throw new WeftError(
      'ERR_POLICY_INVALID',
      `"${text.slice(0, 200)}" is no SHA-256 thumbprint: it has 32 pairs of hexadecimal digits, and \`weft cloud trust ADDRESS\` shows it`,
    );
  }
  return hex.match(/../g)!.join(':');
}

/** The thumbprint and names of the certificate that is shown at an address now, whoever that is. */
export async function readThumbprint(
  address: string,
  signal: AbortSignal,
): Promise<{ thumbprint: string; subject: string; issuer: string; validTo: string }> {
  const { hostname, port } = new URL(address);
  const host = hostname.replace(/^\[|\]$/g, '');
  signal.throwIfAborted();
  const socket = connect({
    host,
    port: Number(port || 443),
    rejectUnauthorized: false,
    servername: serverName(host),
  });
  try {
    return await new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      socket.once('error', (error) => reject(unreachable(address, error)));
      socket.once('close', () => reject(unreachable(address, new Error('the connection was closed'))));
      socket.once('secureConnect', () => {
        const certificate = socket.getPeerX509Certificate();
        if (!certificate) return reject(unreachable(address, new Error('it shows no certificate')));
        const { fingerprint256: thumbprint, subject, issuer, validTo } = certificate;
        resolve({ thumbprint, subject, issuer, validTo });
      });
    });
  } finally {
    socket.destroy();
  }
}

export class Transport {
  /** `https://host:port` without a path. */
  readonly origin: string;
  readonly #agent: Agent;
  readonly #http: AxiosInstance;

  constructor(address: string, thumbprint: string) {
    const url = new URL(address);
    if (url.protocol !== 'https:') {
      throw new WeftError(
        'ERR_POLICY_INVALID',
        `a vCenter's address is like https://vc.example.org, not ${address}`,
      );
    }
    this.origin = url.origin;
    this.#agent = pinnedAgent(address, normalThumbprint(thumbprint));
    this.#http = axios.create({
      adapter: 'http',
      httpsAgent: this.#agent,
      proxy: false,
      maxRedirects: 0,
      maxContentLength: MAX_ANSWER_BYTES,
      maxBodyLength: MAX_ANSWER_BYTES,
      // Not asked for, and not undone where it comes all the same: a small answer stays small.
      decompress: false,
      responseType: 'arraybuffer',
      validateStatus: () => true,
    });
  }

  /** The agent that pins, for uploads and downloads that stream. */
  get agent(): Agent {
    return this.#agent;
  }

  /**
   * One request. Throws the signal's reason, ERR_HYPERVISOR_UNREACHABLE where no answer came or the certificate is
   * not the pinned one, ERR_HYPERVISOR_REFUSED where the answer is a redirect or too large.
   */
  async request(
    request: { method: string; path: string; headers: Record<string, string>; body?: string },
    signal: AbortSignal,
  ): Promise<Reply> {
    signal.throwIfAborted();
    try {
      const { status, headers, data } = await this.#http.request<Buffer>({
        method: request.method,
        url: this.origin + request.path,
        headers: { 'Accept-Encoding': 'identity', ...request.headers },
        signal,
        ...(request.body === undefined ? {} : { data: request.body }),
      });
      if (status >= 300 && status < 400) {
        throw new WeftError(
          'ERR_HYPERVISOR_REFUSED',
          `${this.origin} answered with a redirect, which is not followed; is it the vCenter's own address?`,
        );
      }
      return { status, headers: { ...headers }, text: Buffer.from(data).toString('utf8') };
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (error instanceof WeftError) throw error;
      if (isAxiosError(error) && /maxContentLength/.test(error.message)) {
        throw new WeftError(
          'ERR_HYPERVISOR_REFUSED',
          `${this.origin} sent an answer of more than ${MAX_ANSWER_BYTES >> 20} MiB, which is not read`,
        );
      }
      const cause = isAxiosError(error) ? error.cause : error;
      if (cause instanceof WeftError) throw cause;
      throw unreachable(this.origin, error as Error);
    }
  }

  close(): void {
    this.#agent.destroy();
  }
}

function pinnedAgent(address: string, thumbprint: string): Agent {
  const agent = new Agent({ keepAlive: true, maxSockets: 64, maxFreeSockets: 8 });
  agent.createConnection = (options, callback) => {
    const host = options.host ?? '';
    const socket: TLSSocket = connect({
      host,
      port: Number(options.port),
      // The chain proves nothing here: vCenter's is self-signed by default. The thumbprint below decides.
      rejectUnauthorized: false,
      minVersion: 'TLSv1.2',
      servername: serverName(host),
    });
    const give = callback as ((error: Error | null, stream: Duplex) => void) | undefined;
    const fail = (error: Error) => give?.(error, socket);
    socket.once('error', fail);
    socket.once('secureConnect', () => {
      const shown = socket.getPeerX509Certificate()?.fingerprint256 ?? 'none';
      socket.off('error', fail);
      if (shown === thumbprint) return give?.(null, socket);
      const error = new WeftError(
        'ERR_HYPERVISOR_UNREACHABLE',
        `${new URL(address).origin} shows a certificate with the thumbprint ${shown}, not the pinned ${thumbprint}; if it was replaced on purpose, pin the new one`,
      );
      socket.on('error', () => undefined);
      socket.destroy();
      give?.(error, socket);
    });
    return undefined;
  };
  return agent;
}

/** SNI is for names only. */
function serverName(host: string): string {
  return /^[\d.]+$|:/.test(host) ? '' : host;
}

function unreachable(address: string, error: Error): WeftError {
  const reason = error.message || (error as NodeJS.ErrnoException).code || error.name;
  return new WeftError(
    'ERR_HYPERVISOR_UNREACHABLE',
    `the vCenter at ${address} does not answer (${reason})`,
    {
      cause: new Error(reason),
    },
  );
}
