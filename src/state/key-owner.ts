/** Who may write a key of the shared state, and who may see it: the table in shared.ts, in code. */

export type KeyOwner =
  | { type: 'controller' }
  | { type: 'engine'; engine: string }
  /** Whoever holds the lease of the same name. */
  | { type: 'lease' };

/** The writer of a key. Keys outside the table are the controller's. */
export function ownerOf(key: string): KeyOwner {
  const parts = key.split('/');
  switch (parts[0]) {
    case 'engine':
    case 'connections':
      if (parts.length === 2) return { type: 'engine', engine: parts[1]! };
      break;
    case 'session':
    case 'http-session':
      if (parts.length === 4) return { type: 'engine', engine: parts[3]! };
      break;
    case 'health':
      if (parts.length === 2) return { type: 'lease' };
      break;
  }
  return { type: 'controller' };
}

/** Where what every engine may see stands. Besides it, an engine sees `graph/<itself>` and `tls/<itself>/`. */
const COMMON_PREFIXES = ['connections/', 'session/', 'http-session/', 'health/', 'address-set/'];

/** True where every engine may see the key. */
export function isCommon(key: string): boolean {
  return COMMON_PREFIXES.some((prefix) => key.startsWith(prefix));
}

/** True where keys that every engine may see can stand under the prefix. */
export function reachesCommon(prefix: string): boolean {
  return COMMON_PREFIXES.some((common) => prefix.startsWith(common) || common.startsWith(prefix));
}

/** The key that only `engine` may see, besides those of `tlsPrefix`. */
export function graphKey(engine: string): string {
  return `graph/${engine}`;
}

/** Where certificates and keys of services of `engine` stand, which only that engine may see. */
export function tlsPrefix(engine: string): string {
  return `tls/${engine}/`;
}

/** The only engine that may see the key; null where none or all may. */
export function soleReader(key: string): string | null {
  const parts = key.split('/');
  if (parts[0] === 'graph' && parts.length === 2) return parts[1]!;
  return parts[0] === 'tls' && parts.length === 4 ? parts[1]! : null;
}

/** True for leases that engines may ask for. */
export function isEngineLease(key: string): boolean {
  return ownerOf(key).type === 'lease';
}
