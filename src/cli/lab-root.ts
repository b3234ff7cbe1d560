/** The privilege that labs need. */
import { WeftError } from '../policy/errors.ts';

/** Throws ERR_PRIVILEGE where we are not root. */
export function requireRoot(verb: string): void {
  if (process.getuid?.() === 0) return;
  throw new WeftError(
    'ERR_PRIVILEGE',
    `${verb} works on network namespaces, so it needs root: run it as root (for example: sudo ${verb}).`,
  );
}
