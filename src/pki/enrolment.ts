import type { Identity } from '../state/identity.ts';
export interface EngineIdentity extends Identity {
  /** Wall clock, milliseconds. */
  expiresAt: number;
}
export interface EnrolOptions {
  /** `https://host:port` of the controller's hub. */
  controller: string;
  /** PEM of the controller's CA: the only one trusted. */
  ca: string;
  engine: string;
  token: string;
  /** Where the identity is kept (made 0700). */
  stateDir: string;
  signal: AbortSignal;
  /** Told of each failed attempt. */
  onRetry?: (error: Error) => void;
}
export declare function enrol(options: EnrolOptions): Promise<EngineIdentity>;
export declare function renewalDue(identity: EngineIdentity, nowMs: number): boolean;
export interface RenewOptions {
  controller: string;
  identity: EngineIdentity;
  stateDir: string;
  signal: AbortSignal;
  onRetry?: (error: Error) => void;
}
export declare function renew(options: RenewOptions): Promise<EngineIdentity>;
