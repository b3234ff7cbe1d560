/** Where this folder's programs write their log: any pino logger fits. */
import type { Logger } from 'pino';

export type StateLog = Pick<Logger, 'debug' | 'info' | 'warn' | 'error'>;

/** For those who give no log. */
export const SILENT: StateLog = {
  debug() {},
  info() {},
  warn() {},
  error() {},
};
