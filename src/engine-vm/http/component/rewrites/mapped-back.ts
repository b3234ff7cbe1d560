/**
 * What members say of themselves in a response, as clients have to see it: the URLs of Location and Content-Location, and
 * the Path and Domain of cookies. What is not of the rewritten part of a site stays as it is: it would be
 * another resource for clients.
 */
import { isIP } from 'node:net';
import type { MemberTarget } from '../../member-target.ts';

/** The client, as its request came. */
export interface AskedBy {
  /** Host, perhaps with a port; empty where there was none. */
  readonly host: string;
  /** The host that a proxy in front says that the client named; else empty. */
  readonly toldHost: string;
  readonly isSecure: boolean;
}

const MOST_BYTES = 8192;

/** A URL, perhaps relative; null where it stays. */
export function urlBack(url: string, target: MemberTarget, asked: AskedBy): string | null {
  // Backslashes are slashes for browsers, and nothing for others.
  if (url.length > MOST_BYTES || url.includes('\\')) return null;
  // RFC 3986, appendix B.
  const parts = /^(?:([^:/?#]+):)?(?:\/\/([^/?#]*))?([^?#]*)(.*)$/s.exec(url)!;
  const [, scheme, authority, given = '', rest = ''] = parts;
  if (scheme !== undefined && (authority === undefined || !/^https?$/i.test(scheme))) return null;
  const beginning = authority === undefined ? '' : beginningBack(scheme, authority, target, asked);
  // A query or a fragment alone is of the address that was asked for.
  if (beginning === null || (authority === undefined && given === '')) return null;
  const path = pathBack(authority !== undefined && given === '' ? '/' : given, target);
  // Without a host, two slashes would begin one.
  if (path === null || (beginning === '' && path.startsWith('//'))) return null;
  const back = `${beginning}${path}${rest}`;
  return back === url ? null : back;
}

/** What comes before the path; null where it is no URL of ours. */
function beginningBack(
  scheme: string | undefined,
  authority: string,
  target: MemberTarget,
  asked: AskedBy,
): string | null {
  const named = authority.toLowerCase();
  const { host: rewritten } = target.rewrite;
  if (rewritten !== null && isSameHost(named, latin1(rewritten).toLowerCase(), scheme)) {
    // A path is enough, where the client is not to be sent from http to https.
    if (asked.isSecure || scheme?.toLowerCase() !== 'https') return '';
    const name = withoutPort(asked.toldHost || asked.host);
    return name === '' ? null : `https://${name}`;
  }
  const isClients = [asked.host, asked.toldHost].some((host) => host !== '' && host.toLowerCase() === named);
  return isClients ? `${scheme === undefined ? '' : `${scheme}:`}//${authority}` : null;
}

function isSameHost(named: string, host: string, scheme: string | undefined): boolean {
  return named === host || named === `${host}:${scheme?.toLowerCase() === 'https' ? 443 : 80}`;
}

function pathBack(path: string, { bytes, end, rewrite }: MemberTarget): string | null {
  if (path.startsWith('/') && !/\/(\.|%2e){1,2}(\/|$)/i.test(path)) return rewrite.pathBack(path);
  // Relative to what the member was asked for.
  const base = latin1(bytes.subarray(0, end));
  const whole = URL.parse(path, `http://member${base}`);
  return whole === null || whole.host !== 'member' ? null : rewrite.pathBack(whole.pathname);
}

/** The value of a Set-Cookie; null where it stays. */
export function cookieBack(cookie: string, { rewrite }: MemberTarget, asked: AskedBy): string | null {
  if (cookie.length > MOST_BYTES) return null;
  const [pair, ...attributes] = cookie.split(';');
  // Its name says that it is for the whole host (RFC 6265bis 4.1.3.2).
  const isForHost = /^\s*__Host-/i.test(pair!);
  let isChanged = false;
  const kept = attributes.flatMap((attribute) => {
    const [, name = '', value = ''] = /^\s*([^=\s]*)\s*=?\s*(.*?)\s*$/s.exec(attribute) ?? [];
    const back =
      /^path$/i.test(name) && value.startsWith('/') && !isForHost
        ? cookiePathBack(value, rewrite)
        : /^domain$/i.test(name)
          ? domainBack(value, rewrite.host, asked)
          : null;
    if (back === null) return [attribute];
    isChanged = true;
    return back === '' ? [] : [` ${name}=${back}`];
  });
  return isChanged ? [pair, ...kept].join(';') : null;
}

function cookiePathBack(path: string, rewrite: MemberTarget['rewrite']): string | null {
  const back = rewrite.changesPath ? rewrite.cookiePathBack(path) : null;
  return back === path ? null : back;
}

/** Empty where the cookie gets none: it is for the host that was asked for alone then. */
function domainBack(domain: string, rewritten: Uint8Array | null, asked: AskedBy): string | null {
  if (rewritten === null) return null;
  const host = withoutPort(latin1(rewritten)).toLowerCase();
  const named = domain.toLowerCase().replace(/^\./, '');
  if (host !== named && !host.endsWith(`.${named}`)) return null;
  const client = withoutPort(asked.toldHost || asked.host);
  return isIP(client) > 0 || client.startsWith('[') ? '' : client;
}

function withoutPort(host: string): string {
  return host.replace(/:\d*$/, '');
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}
