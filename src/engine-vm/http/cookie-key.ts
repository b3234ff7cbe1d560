/** The key that signs session cookies, from a file: the same for all proxies that have that file, and after a restart. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { WeftError } from '../../policy/errors.ts';
import type { ServiceSettings } from './service.ts';

const LEAST_BYTES = 32;

/** Adds the key to settings whose policy names its file. Throws ERR_POLICY_INVALID where that cannot be read, or is too short. */
export function withCookieKey(settings: ServiceSettings): ServiceSettings {
  const path = settings.http.sessionCookie?.keyFile;
  return path === undefined ? settings : { ...settings, cookieKey: keyOf(path) };
}

function keyOf(path: string): Uint8Array {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw invalid(`${path} cannot be read (${code}): let \`sessionCookie.keyFile\` name a file that can`);
  }
  if (bytes.length < LEAST_BYTES) {
    throw invalid(
      `${path} holds ${bytes.length} bytes: a key has ${LEAST_BYTES} at least; make one by \`openssl rand -out ${path} ${LEAST_BYTES}\``,
    );
  }
  return createHash('sha256').update(bytes).digest();
}

function invalid(message: string): WeftError {
  return new WeftError('ERR_POLICY_INVALID', message);
}
