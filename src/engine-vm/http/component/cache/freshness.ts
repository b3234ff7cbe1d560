/** What may be stored, and for how long it is fresh (RFC 9111 3, 4.2, 5.2; RFC 5861). Pure. */
import type { EntryTerms } from './cache-store.ts';

/** What the decision looks at: names in lower case, one string a field line. */
export interface StorableInput {
  readonly status: number;
  readonly cacheControl: string;
  readonly expires: string | undefined;
  readonly date: string | undefined;
  readonly age: string | undefined;
  readonly lastModified: string | undefined;
  readonly hasEtag: boolean;
  readonly setsCookie: boolean;
  /** The request bore Authorization or a cookie. */
  readonly hasSecret: boolean;
  readonly hasQuery: boolean;
  readonly nowMs: number;
}

export interface FreshnessRules {
  /** The longest lifetime that is guessed of Last-Modified, in seconds; 0: none is guessed. */
  readonly heuristicSeconds: number;
  readonly staleWhileRevalidateSeconds: number;
  readonly staleIfErrorSeconds: number;
}

/** RFC 9110 15.1: those that may be stored without being told. */
const HEURISTIC = new Set([200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501]);
/** Those that may be stored where the response says for how long. */
const EXPLICIT = new Set([...HEURISTIC, 302, 307]);
/** RFC 9111 1.2.2: what is longer is as good as for ever. */
const LONGEST_S = 2 ** 31;

/** Directives by name; those without a value are ''. The first of equal ones counts; quotes are taken off. */
export function readDirectives(text: string): Map<string, string> {
  const directives = new Map<string, string>();
  for (const match of text.matchAll(/([^\s,=;"]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,;"]*)))?/g)) {
    const name = match[1]!.toLowerCase();
    if (!directives.has(name)) directives.set(name, match[2] ?? match[3] ?? '');
  }
  return directives;
}

/** Why a response is not stored, or on which terms it is. */
export function termsOf(input: StorableInput, rules: FreshnessRules): EntryTerms | string {
  const { status, nowMs } = input;
  if (!EXPLICIT.has(status)) return 'status';
  if (input.setsCookie) return 'set-cookie';
  const directives = readDirectives(input.cacheControl);
  if (directives.has('no-store')) return 'no-store';
  if (directives.has('private')) return 'private';
  const isShared = directives.has('public') || directives.has('s-maxage');
  if (input.hasSecret && !isShared) return 'secret';
  const dateMs = parseDate(input.date) ?? nowMs;
  const lifetimeS = lifetime(input, directives, dateMs, rules);
  if (lifetimeS === null) return 'no-lifetime';
  const isNoCache = directives.has('no-cache');
  const canValidate = input.hasEtag || input.lastModified !== undefined;
  const isStrict = isNoCache || directives.has('must-revalidate') || directives.has('proxy-revalidate');
  // s-maxage forbids it, too (RFC 9111 5.2.2.10), unless the same response allows it by name.
  const isToldOnly = directives.has('s-maxage');
  const stale = (name: string, otherwise: number): number =>
    isStrict ? 0 : (seconds(directives.get(name)) ?? (isToldOnly ? 0 : otherwise));
  const whileRevalidateS = stale('stale-while-revalidate', rules.staleWhileRevalidateSeconds);
  const ifErrorS = stale('stale-if-error', rules.staleIfErrorSeconds);
  const ageS = Math.max(0, (nowMs - dateMs) / 1000, seconds(input.age) ?? 0);
  const isUseful = !isNoCache && lifetimeS + Math.max(whileRevalidateS, ifErrorS) > ageS;
  if (!isUseful && !canValidate) return 'stale';
  return { storedMs: nowMs, ageS, lifetimeS, whileRevalidateS, ifErrorS, isNoCache };
}

function lifetime(
  input: StorableInput,
  directives: Map<string, string>,
  dateMs: number,
  { heuristicSeconds }: FreshnessRules,
): number | null {
  for (const name of ['s-maxage', 'max-age']) {
    // What cannot be read is stale (RFC 9111 4.2.1).
    if (directives.has(name)) return seconds(directives.get(name)) ?? 0;
  }
  if (input.expires !== undefined) {
    const expiresMs = parseDate(input.expires);
    return expiresMs === null ? 0 : Math.max(0, (expiresMs - dateMs) / 1000);
  }
  // Nothing can be told of a response that its member wants to be asked about; but it can be kept for that.
  if (directives.has('no-cache')) return 0;
  if (!HEURISTIC.has(input.status)) return null;
  const modifiedMs = parseDate(input.lastModified);
  if (heuristicSeconds > 0 && modifiedMs !== null && !input.hasQuery && modifiedMs < dateMs) {
    return Math.min(heuristicSeconds, (dateMs - modifiedMs) / 10_000);
  }
  return null;
}

/** delta-seconds; null where it is none. */
export function seconds(text: string | undefined): number | null {
  return text === undefined || !/^\d+$/.test(text) ? null : Math.min(LONGEST_S, Number(text));
}

/** Milliseconds of an HTTP date in any of its three forms (RFC 9110 5.6.7); null where it is none. */
export function parseDate(text: string | undefined): number | null {
  if (text === undefined || !/^[A-Z][a-z]{2,8},? [\w: -]+$/.test(text)) return null;
  const ms = Date.parse(/GMT$/.test(text) ? text : `${text} GMT`);
  return Number.isNaN(ms) ? null : ms;
}
