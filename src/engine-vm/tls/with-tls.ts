/** Settings of a service with all of its TLS, with clients and with the members of each pool. */
import type { PoolSettings, ServiceSettings } from '../http/service.ts';
import { loadMemberTls, loadTls, NO_OBJECTS, type TlsSources } from './settings.ts';

/** `notes`: what somebody should look at. Throws ERR_POLICY_INVALID, which names the file or object. */
export function withTls(
  settings: ServiceSettings,
  sources: TlsSources = NO_OBJECTS,
): { settings: ServiceSettings; notes: readonly string[] } {
  const notes: string[] = [];
  const { http, pools } = settings;
  const tls = http.tls === undefined ? {} : { tls: loadTls(http.tls, http.http2, notes, sources) };
  const withMembers = <T extends Pick<PoolSettings, 'poolTls'>>(one: T): T =>
    one.poolTls === undefined ? one : { ...one, memberTls: loadMemberTls(one.poolTls, notes, sources) };
  const filled = pools === undefined ? {} : { pools: pools.map(withMembers) };
  return { settings: { ...withMembers(settings), ...tls, ...filled }, notes };
}
