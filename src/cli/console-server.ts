/**
 * Puts the console's web server together for `weft controller`: its certificate, the REST API behind it, and the
 * vCenters whose users it knows.
 */
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import type { OpenCloudUser } from '../console/caller.ts';
import type { Rest } from '../console/data.ts';
import { type RunningConsole, serveConsole } from '../console/server.ts';
import { openPageCertificate, readPageCertificate } from '../pki/page-certificate.ts';
import type { ConsoleAddress } from '../policy/answers.ts';
import { CloudSpec, type VcenterCloudSpec } from '../policy/cloud.ts';
import { ERROR_CODES, type ErrorCode, WeftError } from '../policy/errors.ts';
import type { Store } from '../state/store.ts';
import { OPERATE_PRIVILEGE, openClientSession, readGuid } from '../vcenter/client-session.ts';

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

/** Users of the vSphere Client of those vCenters that are clouds here, found by GUID. */
function cloudUsers(store: Store, log: Logger): OpenCloudUser {
  /** By address and thumbprint; a vCenter keeps its GUID. */
  const guids = new Map<string, string>();
  const vcenters = async (): Promise<{ name: string; spec: VcenterCloudSpec }[]> => {
    const entries = await store.list('policy/cloud/');
    return entries.flatMap(({ key, value }) => {
      const { data } = CloudSpec.safeParse(value);
      return data?.platform === 'vcenter' ? [{ name: key.slice('policy/cloud/'.length), spec: data }] : [];
    });
  };
  const guidOf = async (spec: VcenterCloudSpec, signal: AbortSignal): Promise<string> => {
    const key = `${spec.address} ${spec.thumbprint}`;
    const known = guids.get(key);
    if (known !== undefined) return known;
    const guid = await readGuid(spec, signal);
    guids.set(key, guid);
    return guid;
  };

  return async (guid, token, signal) => {
    const all = await vcenters();
    let found: (typeof all)[number] | undefined;
    if (guid === 'only') {
      if (all.length !== 1) {
        throw new WeftError(
          'ERR_NOT_FOUND',
          `the page does not say which vCenter it stands in, and the controller has ${all.length}: open the page of a VM or a host`,
        );
      }
      found = all[0];
    } else {
      for (const one of all) {
        // One vCenter that does not answer must not keep the users of another out.
        const own = await guidOf(one.spec, signal).catch((error: unknown) => {
          log.debug({ cloud: one.name, error: String(error) }, 'the GUID of a vCenter is not known');
          return '';
        });
        if (own === guid) found = one;
      }
    }
    if (!found) {
      throw new WeftError('ERR_NOT_FOUND', 'the vCenter of this page is no cloud of this controller of Weft');
    }
    const { name, spec } = found;
    const { address, thumbprint } = spec;
    const session = await openClientSession(
      { address, thumbprint, guid: await guidOf(spec, signal), token, log },
      signal,
    );
    log.info({ cloud: name, user: session.user }, 'a user of the vSphere Client looks at pages');
    return {
      name: session.user,
      cloud: name,
      async may(what, object, ended) {
        const privilege = what === 'read' ? 'System.Read' : OPERATE_PRIVILEGE;
        const ref = object === null ? null : { type: object.type, value: object.id };
        return (await session.granted([privilege], ref, ended)).has(privilege);
      },
      close: () => session.close(),
    };
  };
}
