import type { HubAuthority } from '../state/hub-authority.ts';
import type { Store } from '../state/store.ts';
export interface AuthorityOptions {
  /** DNS names and addresses of the controller, besides the URI that engines check. */
  serverNames?: readonly string[];
  now?: () => number;
}
export interface Authority extends HubAuthority {
  /** The CA's certificate, PEM: what engines are given to pin. */
  readonly ca: string;
  /** A one-time secret with which `engine` may enrol within `ttlMs`. */
  createToken(engine: string, ttlMs: number): Promise<string>;
  /** Refuses, from now on, every certificate and token that the engine has. A later token lets it enrol anew. */
  revoke(engine: string): Promise<void>;
  close(): Promise<void>;
}
/** Opens the CA kept in the store under `pki/`, or in a directory of its own; makes it at the first call. */
export declare function openAuthority(place: Store | string, options?: AuthorityOptions): Promise<Authority>;
