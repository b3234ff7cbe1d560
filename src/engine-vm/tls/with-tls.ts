/** Settings of a service with all files of its TLS, with clients and with the members of each pool. */
import type { PoolSettings, ServiceSettings } from '../http/service.ts';
import { loadMemberTls, loadTls } from './settings.ts';

/** `notes`: what somebody should look at. Throws ERR_POLICY_INVALID, which names the file. */
export function withTls(settings: ServiceSettings): { settings: ServiceSettings; notes: readonly string[] } {
  const notes: string[] = [];
  const { http, pools } = settings;
  const tls = http.tls === undefined ? {} : { tls: loadTls(http.tls, http.http2, notes) };
  const withMembers = <T extends Pick<PoolSettings, 'poolTls'>>(one: T): T =>
    one.poolTls === undefined ? one : { ...one, memberTls: loadMemberTls(one.poolTls, notes) };
  const filled = pools === undefined ? {} : { pools: pools.map(withMembers) };
  return { settings: { ...withMembers(settings), ...tls, ...filled }, notes };
}
