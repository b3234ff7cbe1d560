import type { Logger } from 'pino';
import type { HubAuthority } from './hub-authority.ts';
import type { SharedHub } from './shared.ts';
export interface HubOptions {
  authority: HubAuthority;
  /** Where to listen. Default `::`, port 0 (any). */
  host?: string;
  port?: number;
  /** Boot epoch of the controller. Default: now. */
  epoch?: number;
  log?: Pick<Logger, 'info' | 'warn' | 'error' | 'debug'>;
  /** How long an engine may be away before its `connections/` and `engine/` entries lapse. Default 3,000. */
  graceMs?: number;
}
export interface EmbeddedHub extends SharedHub {
  address(): { host: string; port: number };
}
export declare function openHub(options: HubOptions): Promise<EmbeddedHub>;
