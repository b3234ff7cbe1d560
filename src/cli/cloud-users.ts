/**
 * Users of the vSphere Client of those vCenters that are clouds of this controller, by their own sessions there.
 *
 * Whoever reaches the console may ask as somebody who is not known yet. Such a caller learns whether the vCenter that he
 * names is a cloud here, and nothing else: no names, no addresses, no numbers. A token goes to the one vCenter that the
 * page stands in, and is tried nowhere.
 */
import type { CloudUser, OpenCloudUser } from '../console/caller.ts';
import { CloudSpec, type VcenterCloudSpec } from '../policy/cloud.ts';
import { isWeftError, WeftError } from '../policy/errors.ts';
import type { Store } from '../state/store.ts';
import {
  type ClientSession,
  OPERATE_PRIVILEGE,
  openClientSession,
  readGuid,
} from '../vcenter/client-session.ts';
import type { Log } from '../vcenter/session.ts';

interface VcenterCloud {
  name: string;
  spec: VcenterCloudSpec;
}

export interface CloudUsersLog extends Log {
  info(fields: object, message: string): void;
}

const CLOUDS = 'policy/cloud/';

/** Finds the vCenter by its GUID and clones the session there. Throws as {@link OpenCloudUser} says. */
export function cloudUsers(store: Pick<Store, 'list'>, log: CloudUsersLog): OpenCloudUser {
  /** By address and thumbprint; a vCenter keeps its GUID. */
  const guids = new Map<string, string>();
  const guidOf = async (spec: VcenterCloudSpec, signal: AbortSignal): Promise<string> => {
    const key = `${spec.address} ${spec.thumbprint}`;
    const known = guids.get(key);
    if (known !== undefined) return known;
    const guid = await readGuid(spec, signal);
    guids.set(key, guid);
    return guid;
  };
  const vcenters = async (): Promise<VcenterCloud[]> => {
    const entries = await store.list(CLOUDS);
    return entries.flatMap(({ key, value }) => {
      const { data } = CloudSpec.safeParse(value);
      return data?.platform === 'vcenter' ? [{ name: key.slice(CLOUDS.length), spec: data }] : [];
    });
  };
  /** The first that answers with that GUID: one that does not answer at all keeps nobody else's users out. */
  const withGuid = async (guid: string, signal: AbortSignal): Promise<VcenterCloud | undefined> => {
    const ended = new AbortController();
    const all = (await vcenters()).map(async (one) => {
      const own = await guidOf(one.spec, AbortSignal.any([signal, ended.signal])).catch((error: unknown) => {
        if (!ended.signal.aborted) {
          log.warn({ cloud: one.name, error: String(error) }, 'the GUID of a vCenter is not known');
        }
        return null;
      });
      if (own !== guid) throw new WeftError('ERR_NOT_FOUND', 'another one');
      return one;
    });
    const found = await Promise.any(all).catch(() => undefined);
    ended.abort();
    return found;
  };

  return async (guid, token, signal) => {
    const [only, ...more] = guid === 'only' ? await vcenters() : [];
    if (guid === 'only' && (!only || more.length > 0)) {
      throw new WeftError(
        'ERR_BODY_INVALID',
        'the page does not say which vCenter it stands in: register the plug-in at that vCenter again (weft plugin update CLOUD), or open the page of a VM or a host',
      );
    }
    const found = only ?? (await withGuid(guid, signal));
    if (!found) {
      throw new WeftError(
        'ERR_NOT_FOUND',
        'the vCenter of this page is no cloud of this controller of Weft, or does not answer it',
      );
    }
    const { name, spec } = found;
    const { address, thumbprint } = spec;
    let session: ClientSession;
    try {
      session = await openClientSession(
        { address, thumbprint, guid: await guidOf(spec, signal), token, log },
        signal,
      );
    } catch (error) {
      if (isWeftError(error, 'ERR_UNAUTHENTICATED') || signal.aborted) throw error;
      // Where the vCenter stands, and what is wrong with it, is for the log: nobody knows yet who asks.
      log.warn(
        { cloud: name, error: String(error) },
        'the session of a user of the vSphere Client was not cloned',
      );
      throw new WeftError(
        isWeftError(error) ? error.code : 'ERR_INTERNAL',
        'the vCenter of this page does not let Weft know who asks; the log of the controller says why',
        { cause: error },
      );
    }
    log.info({ cloud: name, user: session.user }, 'a user of the vSphere Client looks at pages');
    return userOf(name, session);
  };
}

function userOf(cloud: string, session: ClientSession): CloudUser {
  return {
    name: session.user,
    cloud,
    async may(what, object, ended) {
      const privilege = what === 'read' ? 'System.Read' : OPERATE_PRIVILEGE;
      const ref = object === null ? null : { type: object.type, value: object.id };
      return (await session.granted([privilege], ref, ended)).has(privilege);
    },
    close: () => session.close(),
  };
}
