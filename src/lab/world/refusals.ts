/** How operations of the lab are refused. */
import { WeftError } from '../../policy/errors.ts';

/** What stands against it, with the remedy. */
export function refused(message: string): WeftError {
  return new WeftError('ERR_HYPERVISOR_REFUSED', message);
}

/** What was named is not there. */
export function notFound(message: string): WeftError {
  return new WeftError('ERR_NOT_FOUND', message);
}
