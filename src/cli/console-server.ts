/**
 * Puts the console's web server together for `weft controller`: its certificate, the REST API behind it, and the
 * vCenters whose users it knows.
 */
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import type { Rest } from '../console/data.ts';
import { type RunningConsole, serveConsole } from '../console/server.ts';
import { openPageCertificate, readPageCertificate } from '../pki/page-certificate.ts';
import type { ConsoleAddress } from '../policy/answers.ts';
import { ERROR_CODES, type ErrorCode, WeftError } from '../policy/errors.ts';
import type { Store } from '../state/store.ts';
import { cloudUsers } from './cloud-users.ts';

export interface ConsoleServerOptions {
  state: string;
  listen: { host: string; port: number };
  /** `https://address:port` as browsers and vCenters reach it; the address that it listens on where none is given. */
  advertise: string | null;
  /** PEM files; the console's own certificate where none are given. */
  files: { certificate: string; key: string } | null;
  store: Store;
  api: FastifyInstance;
  token: string;
  log: Logger;
}

export interface ConsoleServer {
  address: ConsoleAddress;
  close(): Promise<void>;
}

/** Starts it. Rejects with ERR_USAGE where it cannot listen or the certificate is none. */
export async function startConsole(options: ConsoleServerOptions): Promise<ConsoleServer> {
  const { state, listen, advertise, files, store, api, token, log } = options;
  const name = advertise === null ? listen.host : new URL(advertise).hostname.replace(/^\[|\]$/g, '');
  const pair = files
    ? await readPageCertificate(files.certificate, files.key)
    : await openPageCertificate(state, [name], Date.now());
  const running: RunningConsole = await serveConsole({
    ...pair,
    ...listen,
    token,
    rest: restOf(api, token),
    openCloudUser: cloudUsers(store, log),
    log,
  });
  const host = running.host.includes(':') ? `[${running.host}]` : running.host;
  return {
    address: {
      url: (advertise ?? `https://${host}:${running.port}`).replace(/\/+$/, ''),
      thumbprint: running.thumbprint,
      certificate: pair.certificate,
      build: running.build,
    },
    close: () => running.close(),
  };
}

/** Calls of the REST API without a socket between. */
function restOf(api: FastifyInstance, token: string): Rest {
  return async (method, url, body, headers = {}) => {
    const reply = await api.inject({
      method,
      url,
      headers: { ...headers, authorization: `Bearer ${token}` },
      ...(body === undefined ? {} : { payload: body as object }),
    });
    const answer = reply.body === '' ? undefined : (JSON.parse(reply.body) as unknown);
    if (reply.statusCode < 300) return answer;
    const { code, message } = (answer ?? {}) as { code?: string; message?: string };
    throw new WeftError(
      code !== undefined && Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : 'ERR_INTERNAL',
      message ?? `the API answered with status ${reply.statusCode}`,
    );
  };
}
