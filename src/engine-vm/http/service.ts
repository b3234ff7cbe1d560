/** One virtual service as the proxy of a thread runs it: its settings compiled, its components, its figures. */

import type { BalancingMethod } from '../../policy/balancing-methods.ts';
import { WeftError } from '../../policy/errors.ts';
import type { HttpService } from '../../policy/http-service.ts';
import type { MemberTls } from '../../policy/pool-tls.ts';
import type { MemberTlsSettings, TlsSettings } from '../tls/settings.ts';
import { AddressList } from './address-list.ts';
import { ClientOrigins } from './client-origin.ts';
import type { HttpComponent } from './component.ts';
import type { HeadLimits } from './parse-fields.ts';
import { createComponents } from './registry.ts';
import { Router } from './router.ts';

/** What the main thread hands a worker: plain data. */
export interface ServiceSettings {
  readonly name: string;
  readonly tier: string;
  readonly listeners: readonly ListenerSettings[];
  readonly method: BalancingMethod;
  readonly members: readonly MemberSettings[];
  /** Pools of routes, but for that of the tier. */
  readonly pools?: readonly PoolSettings[];
  readonly http: HttpService;
  /** By name, what rules name of them, as packet/packed-prefixes.ts writes it. */
  readonly addressSets?: Readonly<Record<string, string>>;
  /** How clients come back to their member without a cookie. */
  readonly persistence?: SessionPolicy;
  /** Eight bytes: clients are told by the same numbers wherever these are the same. */
  readonly sessionKey?: Uint8Array;
  /** The sessions of all threads, where there is such persistence. */
  readonly sessionMemory?: SharedArrayBuffer;
  /** Signs session cookies; the same for all threads, and after a reload. */
  readonly cookieKey?: Uint8Array;
  /** Certificates with their keys, where clients speak TLS. */
  readonly tls?: TlsSettings;
  /** Of the pool of the tier: TLS with members as the policy wants it, and that with its files. */
  readonly poolTls?: MemberTls;
  readonly memberTls?: MemberTlsSettings;
  /** What the caches of all threads share; each has its own where it is left out. */
  readonly cacheMemory?: SharedArrayBuffer;
  /** What the rate limits of all threads share; each has its own where it is left out. */
  readonly rateMemory?: SharedArrayBuffer;
}

export interface ListenerSettings {
  readonly address: string;
  readonly port: number;
  /** Of an address that is not this machine's: as `listenTcp` has it. */
  readonly mark?: number;
}

export type SessionPolicy =
  | { readonly type: 'source-address'; readonly timeoutMs: number }
  | { readonly type: 'header'; readonly name: string; readonly timeoutMs: number };

export interface PoolSettings {
  readonly name: string;
  readonly poolTls?: MemberTls;
  readonly memberTls?: MemberTlsSettings;
  readonly members: readonly MemberSettings[];
}

export interface MemberSettings {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly weight: number;
  /** How far it is from here, for the topological load; 0 where it is not said. */
  readonly hops?: number;
  /** Keeps its requests, gets no new ones. */
  readonly isDraining: boolean;
  /** Its health monitors say so. */
  readonly isDown?: boolean;
}

/** The request side, which a reload replaces: a request keeps the one that it began with. */
export class Service {
  readonly settings: ServiceSettings;
  readonly limits: HeadLimits;
  readonly components: readonly HttpComponent[];
  /** Null where all requests go to one pool. */
  readonly router: Router | null;
  /** Whose connections begin with a header of the PROXY protocol; null where there are none. */
  readonly proxies: AddressList | null;
  /** Null where no proxies in front tell of clients in fields. */
  readonly origins: ClientOrigins | null;
  /** Those that want to know of time. */
  readonly ticking: readonly HttpComponent[];

  /** `before`: in whose place it comes. Throws ERR_POLICY_INVALID where TLS is asked for without certificates, or with HTTP/2 to members. */
  constructor(settings: ServiceSettings, before: Service | null = null) {
    this.settings = settings;
    const { http } = settings;
    // Never plain HTTP where TLS was asked for: settings come from planProxy, their files from withTls.
    const isPlain = [settings, ...(settings.pools ?? [])].some(
      ({ poolTls, memberTls }) => poolTls !== undefined && memberTls === undefined,
    );
    if (isPlain || (http.tls !== undefined && settings.tls === undefined)) {
      throw new WeftError(
        'ERR_POLICY_INVALID',
        `${settings.name}: ${isPlain ? 'tls of a pool: its' : 'http.tls: its'} certificates are not loaded`,
      );
    }
    const ofTls = [settings, ...(settings.pools ?? [])].some(({ poolTls }) => poolTls !== undefined);
    if (ofTls && http.memberProtocol === 'http/2') {
      throw new WeftError(
        'ERR_POLICY_INVALID',
        `${settings.name}: http.memberProtocol: http/2 is not spoken by TLS so far: take out tls of its pools, or memberProtocol`,
      );
    }
    this.limits = {
      headBytes: http.maxHeadBytes,
      fields: http.maxFields,
      allowsEncodedSlash: http.allowsEncodedSlash,
    };
    this.router = Router.of(
      http.routes,
      (settings.pools ?? []).map(({ name }) => name),
    );
    const from = http.proxyProtocol?.from ?? [];
    this.proxies = from.length > 0 ? new AddressList(from) : null;
    this.origins = ClientOrigins.of(http);
    this.components = createComponents(settings, before?.components);
    this.ticking = this.components.filter(({ tick }) => tick !== undefined);
  }
}
