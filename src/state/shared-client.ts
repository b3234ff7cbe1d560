import type { Logger } from 'pino';
import type { Identity } from './identity.ts';
import type { SharedState } from './shared.ts';
export interface SharedClientOptions {
  /** `https://host:port` of the controller's hub. */
  url: string;
  /** Called again at each connection, so that a renewed certificate is taken up. */
  identity: Identity | (() => Identity);
  /** The engine's id. */
  writer: string;
  /** Boot epoch: greater at each boot. */
  epoch: number;
  log?: Pick<Logger, 'info' | 'warn' | 'error' | 'debug'>;
}
/** Returns at once and connects in the background, for ever, until `close`. */
export declare function connectShared(options: SharedClientOptions): SharedState;
